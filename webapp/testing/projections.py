"""Given/when/then for projections, on a real database, so that tables, keys and types are what they will be."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self

from webapp.errors import InvalidDefinition, InvalidRequest
from webapp.projections.projection import Projection
from webapp.store.events import NewEvent, RecordedEvent
from webapp.store.native import EventStore
from webapp.store.recording import EventSerializer, RawEvents, to_new_event
from webapp.testing.applying import Applied, replay, start
from webapp.testing.clock import Clock
from webapp.testing.comparing import compare_events
from webapp.testing.feeding import as_stream, record
from webapp.testing.memory import MemoryStore
from webapp.testing.rows import compare_rows
from webapp.testing.scenario import Scenario
from webapp.testing.temporary import temporary_store


class ProjectionScenario(Scenario):
    """One projection, fed batch by batch with events of a store in memory, its tables in a temporary SQLite file.

    Given a `store`, a migrated one that has no projection of that name yet, its tables are made there. A step's events
    are the derived ones that the projection emitted.
    """

    def __init__(
        self,
        projection: Projection,
        events: Sequence[Any] = (),
        *,
        serializer: EventSerializer | None = None,
        clock: Clock | None = None,
        store: EventStore | None = None,
    ) -> None:
        self.name = f"The projection {projection.name}"
        self.clock = clock or Clock()
        self.projection = projection
        self.events = MemoryStore(self.clock)
        self.serializer = serializer or projection.serializer or RawEvents()
        stack = ExitStack()
        weakref.finalize(self, stack.close)
        self.store = store or stack.enter_context(temporary_store())
        self._all: list[RecordedEvent] = []
        self._applied: Applied = start(self.store, projection)
        self._apply(events, is_replay=False)

    def when(self, *events: Any, is_replay: bool = False) -> Self:
        """Applies events as one batch; with `is_replay` as a rebuild does, in which nothing is emitted."""
        return self._run(lambda: self._apply(events, is_replay))

    def _apply(self, events: Sequence[Any], is_replay: bool) -> list[RecordedEvent]:
        recorded = record(self.events, events, self.serializer, self.projection.logs)
        self._all += recorded
        return self._applied.apply(recorded, is_replay=is_replay) if recorded else []

    # --- claims -----------------------------------------------------------------------------------------------------

    def then_rows(self, table: str, rows: Mapping[Any, Mapping[str, Any]]) -> Self:
        """Claims that a table holds these rows, by key, and no others; of each the columns named are compared.

        A key of several columns is a tuple. Values are compared as Python compares them.
        """
        __tracebackhide__ = True
        self._look_at_events()
        definition = next((one for one in self.projection.tables if one.name == table), None)
        if definition is None:
            raise InvalidDefinition(f"{self.name} has no table {table}.")
        known = {column.name for column in definition.columns}
        unknown = sorted({column for row in rows.values() for column in row} - known)
        if unknown:
            raise InvalidRequest(f"The table {table} has no column {', '.join(unknown)}.", "rows")
        shown = compare_rows(self._applied.read(definition), rows)
        if shown is not None:
            raise self._failed(f"left other rows in {table} than expected", shown)
        return self

    def then_emitted(self, *events: Any) -> Self:
        """Claims that the step emitted these derived events, in this order, and no others; none if none is given.

        An event may stand in a `stream` of the aggregate that it must have been emitted for.
        """
        __tracebackhide__ = True
        recorded = self._look_at_events()
        streams: list[tuple[str, str] | None] = []
        expected: list[NewEvent] = []
        for item in events:
            one = as_stream(item)
            for event in one.events:
                expected.append(to_new_event(event, self.serializer))
                streams.append((one.aggregate_type, one.aggregate_id) if one is item else None)
        shown = compare_events(expected, recorded, streams=streams)
        if shown is not None:
            raise self._failed("emitted other events than expected", shown)
        return self

    def then_replay_is_the_same(self) -> Self:
        """Claims that all events so far, applied again from the first, come to the same tables and state.

        Once in one batch, once event by event, in generations that nobody sees, as a rebuild does it: this finds
        handlers that depend on more than the events, such as the time of day or where a batch ends.
        """
        __tracebackhide__ = True
        self._look_at_events()
        for size, words in ((len(self._all) or 1, "in one batch"), (1, "event by event")):
            state, tables = replay(self._applied, self._all, size)
            for table in self.projection.tables:
                shown = compare_rows(tables[table.name], self._applied.read(table), ("live", "replayed"))
                if shown is not None:
                    raise self._failed(f"comes to other rows in {table.name} when it is replayed {words}", shown)
            if state != self._state():
                self._claim_state(state, self._state())
        return self

    def _expected(self, events: Sequence[Any]) -> list[NewEvent]:
        return [to_new_event(event, self.serializer) for event in events]

    def _state(self) -> dict[str, Any]:
        return self._applied.batch.checkpoint.state
