"""An event store in memory that keeps the rules of the one in a database, for tests that need no database.

```python
store = MemoryStore(clock)
store.append("order", "42", [NewEvent("order.placed", {"total": 100})], expected_version=0)
accounts = Repository(store, Account, snapshots=SnapshotPolicy(every=100))
```
"""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from webapp.errors import AmbiguousLog, InvalidRequest, NotFound
from webapp.store.appending import PreparedAppend
from webapp.store.events import Append, EventFilter, NewEvent, RecordedEvent, can_be_stored
from webapp.store.folding import checked_time
from webapp.store.importing import checked_import_time, prepare_import
from webapp.store.repeats import match_repeated
from webapp.store.saga_runner import utc_now
from webapp.store.source import (
    Aggregate,
    AggregateType,
    Capability,
    Count,
    DeadLetter,
    EventType,
    Log,
    ProjectionStatus,
    no_filter,
)
from webapp.store.writer import prepare_appends, refuse_repeated_ids
from webapp.testing.memory_log import Draft, MemoryLog
from webapp.testing.memory_snapshots import MemorySnapshots


class MemoryStore:
    """Events in memory, under the rules of `EventStore`: the same checks, numbers, conflicts and errors. Thread-safe.

    `clock` tells what events are recorded at, which is never below the log's last. Repositories, deciders and sagas
    work on it; `snapshot_store` keeps their snapshots. There is no database to join, to subscribe to or to put a
    projection's tables in: `temporary_store` gives a real one for that.
    """

    layout = "memory"
    dialect = "Memory"
    capabilities = frozenset({Capability.append, Capability.payload_search})

    def __init__(self, clock: Callable[[], dt.datetime] = utc_now) -> None:
        self.clock = clock
        self.snapshot_store = MemorySnapshots()
        self._lock = threading.RLock()
        self._logs: dict[str, MemoryLog] = {}
        self._by_id: dict[bytes, RecordedEvent] = {}

    def migrate(self, *, with_triggers: bool = True) -> None:
        """Nothing: there are no tables to make."""

    def check(self) -> None:
        """Nothing: there are no tables to miss."""

    def close(self) -> None:
        """Nothing: there are no connections to give back; the events stay until the store itself goes."""

    # --- appending --------------------------------------------------------------------------------------------------

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
        return self.append_many([Append(aggregate_type, aggregate_id, events, expected_version, log)])

    def append_many(self, appends: Sequence[Append]) -> list[RecordedEvent]:
        """Like append, for many streams of any logs, all or none."""
        prepared = prepare_appends(appends)
        with self._lock:
            return self._find_repeated(prepared) or self._append(prepared)

    def append_in(self, connection: Any, appends: Sequence[Append]) -> list[RecordedEvent]:
        """Raises InvalidRequest: no database's transaction can hold what is in memory."""
        raise InvalidRequest(
            "A store in memory has no database, so no transaction to append in. Leave the connection out, or test with "
            "an EventStore such as the fixture event_store.",
            "connection",
        )

    def import_events(self, events: Sequence[RecordedEvent]) -> list[RecordedEvent]:
        """Events that another store recorded, with their own times, ids and actors; see EventStore.import_events."""
        prepared = [prepare_import(event) for event in events]
        refuse_repeated_ids(prepared)
        with self._lock:
            earlier = self._find_repeated(prepared)
            if earlier is not None:
                return earlier
            now, last = self._now(), {name: log.last_at for name, log in self._logs.items()}
            for append in prepared:
                for event in append.events:
                    before = last.get(append.log)
                    last[append.log] = checked_import_time(append.log, event.type, event.recorded_at, before, now)
            return self._append(prepared)

    def _append(self, prepared: Sequence[PreparedAppend]) -> list[RecordedEvent]:
        now = self._now()
        drafts = {name: Draft(self._logs.get(name) or MemoryLog(name), now) for name in {one.log for one in prepared}}
        # Log by log, so that of several conflicts the same one is told as by a database.
        by_log = sorted(range(len(prepared)), key=lambda index: prepared[index].log)
        added = {index: drafts[prepared[index].log].add(prepared[index]) for index in by_log}
        recorded = [event for index in range(len(prepared)) for event in added[index]]
        for name, draft in drafts.items():
            draft.commit()
            self._logs[name] = draft.log
        self._by_id |= {uuid.UUID(event.id).bytes: event for event in recorded}
        return [_copy(event) for event in recorded]

    def _find_repeated(self, prepared: Sequence[PreparedAppend]) -> list[RecordedEvent] | None:
        ids = [event.id for append in prepared for event in append.events]
        found = {id_: self._by_id[id_] for id_ in ids if id_ in self._by_id}
        repeated = match_repeated(prepared, found)
        return None if repeated is None else [_copy(event) for event in repeated]

    def _now(self) -> dt.datetime:
        return checked_time(self.clock(), "clock's time").astimezone(dt.UTC)

    # --- logs -------------------------------------------------------------------------------------------------------

    def head(self, log: str) -> int:
        """The highest position of a log; raises NotFound."""
        return len(self._log(log).events)

    def settled_head(self, log: str) -> int:
        """The highest position at or below which nothing more can appear: the head."""
        return self.head(log)

    def logs(self) -> Sequence[Log]:
        """All logs by name."""
        return [log.describe() for log in self._all_logs()]

    def log(self, name: str) -> Log:
        """One log; raises NotFound."""
        with self._lock:
            return self._log(name).describe()

    def _log(self, name: str) -> MemoryLog:
        try:
            return self._logs[name]
        except KeyError:
            raise NotFound("log", name) from None

    def _all_logs(self, name: str | None = None) -> list[MemoryLog]:
        """Copies of the logs as they stand at one moment, by name; of one of them if it's named."""
        with self._lock:
            chosen = [self._log(name)] if name is not None else self._logs.values()
            copies = [log.copy() for log in chosen]
        return sorted(copies, key=lambda log: log.name.encode())

    # --- reading ----------------------------------------------------------------------------------------------------

    def read_log(
        self,
        log: str,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int | None = 1000,
        newest_first: bool = False,
        where: EventFilter = no_filter,
        with_payload: bool = True,
        seconds: float | None = None,
    ) -> Iterator[RecordedEvent]:
        """Events with after < position < before that pass the filter, by position; a search never runs out of time."""
        with self._lock:
            events = self._log(log).events
            head = len(events)
        places = range(max(after, 0), head if before is None else min(before - 1, head))
        found = 0
        for place in reversed(places) if newest_first else places:
            if limit is not None and found >= limit:
                return
            if where.matches(events[place]):  # the list only ever grows, so it can be read while others append
                found += 1
                yield _copy(events[place], with_payload)

    def read_stream(
        self,
        aggregate_type: str,
        aggregate_id: str,
        *,
        log: str | None = None,
        after: int = 0,
        limit: int | None = None,
        with_payload: bool = True,
    ) -> Iterator[RecordedEvent]:
        """One aggregate's events with version > after, by version; raises AmbiguousLog if several logs hold it."""
        stream = (aggregate_type, aggregate_id)
        with self._lock:
            chosen = [self._log(log)] if log is not None else list(self._logs.values())
            found = {one.name: [one.events[place] for place in one.streams.get(stream, ())] for one in chosen}
        found = {name: events for name, events in found.items() if events}
        if len(found) > 1:
            raise AmbiguousLog(aggregate_type, aggregate_id, sorted(found))
        for events in found.values():
            start = max(after, 0)
            for event in events[start:] if limit is None else events[start : start + max(limit, 0)]:
                yield _copy(event, with_payload)

    def event(self, log: str, position: int) -> RecordedEvent:
        """One event whole; raises NotFound."""
        events = self._log(log).events
        if not 0 < position <= len(events):
            raise NotFound("event", f"{log}:{position}")
        return _copy(events[position - 1])

    # --- types and aggregates ---------------------------------------------------------------------------------------

    def event_types(self) -> Sequence[EventType]:
        """All types of events by log and name, counted."""
        found: list[EventType] = []
        for log in self._all_logs():
            times: dict[str, list[dt.datetime]] = {}
            for event in log.events:
                times.setdefault(event.type, []).append(event.recorded_at)
            found += [EventType(log.name, name, Count(len(at)), at[0], at[-1]) for name, at in _by_bytes(times)]
        return found

    def aggregate_types(self) -> Sequence[AggregateType]:
        """All types of aggregates by log and name, counted; `last_at` is when the youngest of them began."""
        found: list[AggregateType] = []
        for log in self._all_logs():
            began: dict[str, list[dt.datetime]] = {}
            for (type_, _), places in log.streams.items():
                began.setdefault(type_, []).append(log.events[places[0]].recorded_at)
            found += [AggregateType(log.name, name, Count(len(at)), max(at)) for name, at in _by_bytes(began)]
        return found

    def aggregates(
        self,
        aggregate_type: str,
        *,
        log: str | None = None,
        after_id: str | None = None,
        prefix: str = "",
        limit: int = 50,
    ) -> Sequence[Aggregate]:
        """Aggregates of a type in byte order of id (then log), after one id, by prefix."""
        found = [
            Aggregate(
                one.name, type_, id_, len(places), one.events[places[0]].recorded_at, one.events[places[-1]].recorded_at
            )
            for one in self._all_logs(log)
            for (type_, id_), places in one.streams.items()
            if type_ == aggregate_type and id_.startswith(prefix)
        ]
        if after_id is not None:
            found = [one for one in found if can_be_stored(after_id) and one.id.encode() > after_id.encode()]
        return sorted(found, key=lambda one: (one.id.encode(), one.log))[: max(limit, 0)]

    # --- what lies beside events ------------------------------------------------------------------------------------

    def projections(self) -> Sequence[ProjectionStatus]:
        """None: their tables need a database."""
        return []

    def dead_letters(self, *, before: str | None = None, limit: int = 50) -> Sequence[DeadLetter]:
        """None: nothing is published from here."""
        return []

    def dead_letter(self, id: str) -> DeadLetter:
        """Raises NotFound."""
        raise NotFound("dead letter", id)

    def read_model_tables(self) -> Sequence[str]:
        """None: there is no database."""
        return []

    def overview_facts(self) -> Sequence[tuple[str, Count]]:
        """None: all there is shows under logs and types."""
        return []


def _by_bytes(found: dict[str, list[dt.datetime]]) -> list[tuple[str, list[dt.datetime]]]:
    return sorted(found.items(), key=lambda item: item[0].encode())


def _copy(event: RecordedEvent, with_payload: bool = True) -> RecordedEvent:
    """The event as a reader's own: what he does to its decoded data changes nothing here."""
    return event.copied() if with_payload else event.copied(data_text=None, metadata_text=None)
