"""A projection's events folded anew, without a write into the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

from webapp.errors import ProjectionFailed
from webapp.projections.batch import Context, not_the_events_fault
from webapp.projections.projection import Projection, Table
from webapp.projections.targets import TableWriter
from webapp.replay.scratch import Scratch, ScratchTable
from webapp.store.database import Database
from webapp.store.events import RecordedEvent
from webapp.store.native import EventStore

MakeTable = Callable[[Table, Database, Scratch], ScratchTable]


class FreshFold:
    """What a projection comes to from its first event on: `positions`, `state`, and `tables` by name.

    Handlers are told that it's a replay, and nothing is emitted. `close` removes it all.
    """

    def __init__(self, store: EventStore, projection: Projection, make_table: MakeTable = ScratchTable) -> None:
        self.projection = projection
        self.positions: dict[str, int] = {}
        self.state: dict[str, Any] = {}
        self.events = 0
        self.scratch = Scratch()
        self.tables = {table.name: make_table(table, store.database, self.scratch) for table in projection.tables}
        self._dialect = store.database.dialect

    def apply(self, events: Sequence[RecordedEvent], skipped: Collection[tuple[str, int]]) -> None:
        """Applies a batch, all or nothing; raises ProjectionFailed naming the first event that fails."""
        try:
            self._apply(events, skipped)
        except (*not_the_events_fault, ProjectionFailed):
            raise
        except Exception as error:  # a row that can't be kept: find which event it came from
            if len(events) == 1:
                raise self._failed(events[0], error) from error
            middle = len(events) // 2
            self.apply(events[:middle], skipped)
            self.apply(events[middle:], skipped)

    def _apply(self, events: Sequence[RecordedEvent], skipped: Collection[tuple[str, int]]) -> None:
        tables = list(self.tables.values())
        for table in tables:
            table.forget_batch()
        writers: dict[str, TableWriter] = dict(self.tables)
        context = Context(self.projection, writers, json.loads(json.dumps(self.state)), is_replay=True)
        with self.scratch.writing() as connection:
            for event in events:
                if (event.log, event.position) in skipped:
                    continue
                for table in tables:
                    table.event = event
                try:
                    self.projection.handle(event, context)
                except not_the_events_fault:
                    raise
                except Exception as error:
                    raise self._failed(event, error) from error
            state = json.loads(json.dumps(context.state))
            for table in tables:
                table.flush(self._dialect, connection)
        self.positions = self.positions | {event.log: event.position for event in events}
        self.state = state
        self.events += len(events)

    def _failed(self, event: RecordedEvent, error: Exception) -> ProjectionFailed:
        return ProjectionFailed(self.projection.name, event.log, event.position, f"{type(error).__name__}: {error}")

    def close(self) -> None:
        """Removes all of it."""
        self.scratch.close()
