"""Projections: read models kept up to date from events, and rebuilt from them. Usable alone, with the store."""

from webapp.projections.batch import Context
from webapp.projections.follower import Follower, run_to_head
from webapp.projections.lifecycle import (
    delete_projection,
    init_projection,
    pause_projection,
    resume_projection,
    skip_failed_event,
)
from webapp.projections.projection import Projection, Table

__all__ = [
    "Context",
    "Follower",
    "Projection",
    "Table",
    "delete_projection",
    "init_projection",
    "pause_projection",
    "resume_projection",
    "run_to_head",
    "skip_failed_event",
]
