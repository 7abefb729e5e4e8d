"""Replays: rebuilding projections without downtime, as jobs that survive their workers, and verifying them."""

from webapp.replay.rebuild import Phase, Rebuild, rebuild
from webapp.replay.verify import Verification, verify_projection

__all__ = ["Phase", "Rebuild", "Verification", "rebuild", "verify_projection"]
