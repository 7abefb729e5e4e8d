"""Replays: rebuilding projections without downtime, as jobs that survive their workers."""

from webapp.replay.rebuild import Phase, Rebuild, rebuild

__all__ = ["Phase", "Rebuild", "rebuild"]
