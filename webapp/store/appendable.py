"""What a store must offer to be appended to: the seam that repositories, deciders and sagas are written against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from webapp.store.events import Append, NewEvent, RecordedEvent
from webapp.store.source import EventSource

if TYPE_CHECKING:
    from webapp.store.joining import CallersConnection


class AppendableSource(EventSource, Protocol):
    """A store of events to read and to append to: `EventStore`, or one in memory for tests."""

    def append(
        self,
        aggregate_type: str,
        aggregate_id: str,
        events: Sequence[NewEvent],
        *,
        expected_version: int | None = None,
        log: str = "main",
    ) -> list[RecordedEvent]:
        """The events as recorded, all or none; see EventStore.append."""
        ...

    def append_many(self, appends: Sequence[Append]) -> list[RecordedEvent]:
        """Like append, for many streams of any logs, all or none."""
        ...

    def append_in(self, connection: CallersConnection, appends: Sequence[Append]) -> list[RecordedEvent]:
        """Like append_many inside the caller's own transaction; InvalidRequest where there is no database for one."""
        ...
