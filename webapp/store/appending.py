"""How events get in: one transaction under the log's counter, so that positions are dense and in order of commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from webapp.errors import Conflict, InvalidEvent
from webapp.store.catalog import Catalog, Names
from webapp.store.counting import Counts, Uncounted, count, is_due, write_totals
from webapp.store.dialects import Dialect
from webapp.store.dialects.base import LogCounter
from webapp.store.drafting import Draft
from webapp.store.events import (
    Append,
    NewEvent,
    PreparedEvent,
    RecordedEvent,
    checked_name,
    id_limit,
    log_limit,
    prepare,
    type_limit,
)  # fmt: skip
from webapp.store.numbers import Numbers
from webapp.store.parallel import enter_log, find_parallel, give_positions, lock_streams
from webapp.store.reading import StoredEvent, columns, kinds
from webapp.store.repeats import find_repeated

stream_columns = ("id", "type_id", "aggregate_id")
stream_kinds = ("int8", "int4", "text")


@dataclass(frozen=True, slots=True)
class PreparedAppend:
    """A checked append: names within their limits, events as texts."""

    log: str
    aggregate_type: str
    aggregate_id: str
    events: Sequence[PreparedEvent]
    expected_version: int | None


def prepare_append(append: Append) -> PreparedAppend:
    """The append with everything checked that needs no database; raises InvalidEvent with a sentence."""
    expected = append.expected_version
    if expected is not None and (type(expected) is not int or expected < 0):
        raise InvalidEvent(f"The expected_version must be a number from 0 on, or None for any; {expected!r} is not.")
    events = append.events
    if not isinstance(events, Sequence) or not all(isinstance(event, NewEvent) for event in events):
        raise InvalidEvent("The events of an append must be a list of NewEvent(type, data, …).")
    return PreparedAppend(
        checked_name(append.log, "log", log_limit),
        checked_name(append.aggregate_type, "aggregate type", type_limit),
        checked_name(append.aggregate_id, "aggregate id", id_limit),
        [prepare(event) for event in append.events],
        expected,
    )


class Appender:
    """One append transaction on one connection: call `run` or `run_group` once, then let the transaction commit."""

    def __init__(self, dialect: Dialect, connection: sa.Connection, catalog: Catalog) -> None:
        self.dialect = dialect
        self.connection = connection
        self.catalog = catalog
        self.cursor = connection.connection.cursor()
        self.numbers = Numbers(dialect, connection, catalog)
        self.is_second = False
        """Whether this very append failed before, so that it rather waits for others than meets them again."""

    @property
    def learned(self) -> Sequence[Callable[[], None]]:
        """What the catalog may remember once the transaction has committed."""
        return self.numbers.learned

    def run(self, appends: Sequence[PreparedAppend], *, check_ids: bool) -> list[RecordedEvent]:
        """The recorded events, in order of the appends.

        `check_ids` looks ids up first, which only an append that failed once needs: a clash of ids or of versions makes
        the caller roll back and come again with it. Raises WrongExpectedVersion, StreamClosed, EventIdReused.
        """
        # Everybody locks in the same order, so that two appends can't wait for each other.
        logs = sorted({append.log for append in appends})
        if check_ids:
            self.is_second = True
            for log in logs:
                if self._find_parallel(log) is None:
                    self._lock(log)
            earlier = find_repeated(self.dialect, self.connection, self.catalog, appends)
            if earlier is not None:
                return earlier
        recorded: dict[int, list[RecordedEvent]] = {}
        for log in logs:
            indexes = [index for index, append in enumerate(appends) if append.log == log]
            (outcome,) = self._append_to_log(log, [[appends[index] for index in indexes]])
            if isinstance(outcome, Conflict):
                raise outcome
            recorded |= zip(indexes, outcome, strict=True)
        return [event for index in range(len(appends)) for event in recorded[index]]

    def run_group(
        self, log: str, members: Sequence[Sequence[PreparedAppend]]
    ) -> list[list[RecordedEvent] | Conflict]:  # fmt: skip
        """For each member, whose appends are all for this log, what `run` would return or raise if it came in its turn."""
        outcomes = self._append_to_log(log, members)
        return [
            outcome if isinstance(outcome, Conflict) else [event for events in outcome for event in events]
            for outcome in outcomes
        ]

    def _append_to_log(
        self, log: str, members: Sequence[Sequence[PreparedAppend]]
    ) -> list[list[list[RecordedEvent]] | Conflict]:
        """For each member the recorded events of each of its appends, or why it was refused, which hinders no other."""
        parallel_id = self._find_parallel(log)
        counter = self._lock(log) if parallel_id is None else enter_log(self.dialect, self.connection, parallel_id)
        if counter.is_retired:
            raise Conflict(f"The log {log} is retired, so nothing can be appended to it. Choose another log.")
        draft = Draft.make(self.dialect, self.numbers, counter, [append for member in members for append in member])
        if parallel_id is not None:
            self._catch_up(counter, draft)
        spans = [draft.add_together(member) for member in members]
        if draft.rows:
            if parallel_id is not None:
                give_positions(self.dialect, self.connection, parallel_id, draft)
            self._write(log, counter, draft)
            # No lambda: it would hold the rows in a cycle, till the garbage collector comes by.
            self.numbers.learned.append(partial(self.catalog.remember_streams, draft.stream_ids))
        names = Names(
            {counter.id: log},
            {number: name for known in (draft.type_ids, draft.aggregate_type_ids) for name, number in known.items()},
            {stream_id: key for key, stream_id in draft.stream_ids.items()},
        )
        events: list[RecordedEvent] = [StoredEvent(row, names) for row in draft.rows]
        return [
            outcome if isinstance(outcome, Conflict) else [events[start:end] for start, end in outcome]
            for outcome in spans
        ]

    def _write(self, log: str, counter: LogCounter, draft: Draft) -> None:
        def insert() -> None:
            self.dialect.append_rows(self.connection, "projectionist_events", columns, draft.rows, kinds)

        # A parallel log is counted by whoever settles it.
        counts = (
            self._count(counter, draft) if counter.ordering != "parallel" and is_due(counter.head, draft.head) else None
        )
        is_bulk = len(draft.rows) >= self.dialect.bulk_rows
        with self.dialect.pipelined(self.connection):
            if counter.ordering != "parallel":
                self._execute(
                    "UPDATE projectionist_logs SET head = {p}, streams = {p}, recorded_at = {p} WHERE id = {p}",
                    (draft.head, draft.streams, draft.time, counter.id),
                )
            if counts is not None:
                write_totals(self.dialect, self.connection, counter.id, draft.head, draft.streams, counts)
            if draft.new_streams:
                self.dialect.append_narrow_rows(
                    self.connection, "projectionist_streams", stream_columns, draft.new_streams, stream_kinds
                )
            self.dialect.announce_append(self.connection, log)
            if not is_bulk:
                insert()
        if is_bulk:
            insert()

    def _count(self, counter: LogCounter, draft: Draft) -> Counts:
        """What there is of each type after what was counted last, this append included."""
        tail = Uncounted(counter.id, counter.counted, counter.head, counter.counted_streams, counter.streams)
        counts = count(self.dialect, self.connection, [tail])
        began_at = dict(map(itemgetter(2, 6), reversed(draft.rows)))
        counts.add_each([(type_id, began_at[stream_id]) for stream_id, type_id, _ in draft.new_streams])
        counts.add_each(list(map(itemgetter(4, 6), draft.rows)))
        return counts

    def _find_parallel(self, log: str) -> int | None:
        return find_parallel(self.dialect, self.connection, self.catalog, log)

    def _catch_up(self, counter: LogCounter, draft: Draft) -> None:
        """Looks again at what others may have changed since the log was entered, for nothing of it stands still."""
        if self.is_second:
            lock_streams(self.dialect, self.connection, draft.stream_ids.values())
            draft.look_again()
        if self.numbers.learned:  # types that were new a moment ago, whose first event may be later than the clock then
            now = enter_log(self.dialect, self.connection, counter.id).now
            draft.time = self.dialect.encode_time(now)
            self.numbers.see_first(counter.id, counter.now, now)

    def _lock(self, log: str) -> LogCounter:
        locked = self.dialect.lock_log(self.connection, log)
        if locked is None:
            self._execute(
                f"{self.dialect.insert_or_ignore} projectionist_logs (name) VALUES ({{p}}) {self.dialect.ignore_conflict}",
                (log,),
            )
            locked = self.dialect.lock_log(self.connection, log)
        if locked is None:
            raise Conflict(f"The log {log} vanished while it was being made. Try again.")
        return locked

    def _execute(self, sql: str, values: Sequence[Any]) -> None:
        self.cursor.execute(sql.replace("{p}", self.dialect.parameter), values)
