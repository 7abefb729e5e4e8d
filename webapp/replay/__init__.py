"""Replays: rebuilding projections without downtime, as jobs that survive their workers; verifying and stepping."""

from webapp.replay.rebuild import Phase, Rebuild, rebuild
from webapp.replay.stepper import step_projection
from webapp.replay.steps import Steps, StepsFrom
from webapp.replay.verify import Verification, verify_projection

__all__ = [
    "Phase",
    "Rebuild",
    "Steps",
    "StepsFrom",
    "Verification",
    "rebuild",
    "step_projection",
    "verify_projection",
]
