"""Our own tables as a source with projections: the store plus what is kept beside its events."""

from __future__ import annotations

from collections.abc import Sequence

from webapp.projections.status import list_read_model_tables, list_statuses
from webapp.store.native import EventStore
from webapp.store.source import ProjectionStatus


class NativeSource(EventStore):
    """An EventStore that also tells of the projections in its database."""

    def projections(self) -> Sequence[ProjectionStatus]:
        """Every projection started in this database, by name."""
        return list_statuses(self)

    def read_model_tables(self) -> Sequence[str]:
        """Tables in this database that projections fill, by name."""
        return list_read_model_tables(self)
