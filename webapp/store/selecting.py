"""A filter as SQL over one log: what an index can answer, and windows of positions for what none can."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from webapp.store.dialects import Dialect
from webapp.store.events import EventFilter


@dataclass(frozen=True, slots=True)
class Window:
    """One statement's condition and order; `edge` is the last position it looks at."""

    sql: str
    values: Sequence[Any]
    order: str
    edge: int


@dataclass(slots=True)
class Selection:
    """The events left to read in one log: after < position < before, plus conditions."""

    log_id: int
    after: int
    before: int
    conditions: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    is_narrow: bool = False
    """Whether an index leads to few events."""
    is_ordered: bool = True
    """Whether an index leads, in order of position, to nothing but what passes."""

    @classmethod
    def make(
        cls,
        dialect: Dialect,
        connection: sa.Connection,
        log_id: int,
        head: int,
        after: int,
        before: int | None,
        where: EventFilter,
        *,
        is_in_time_order: bool,
    ) -> Selection | None:
        """The selection, or None where it is plain that nothing can match.

        Where time order isn't position order, times are compared event by event.
        """
        lookup = _Lookup(dialect, connection, log_id, head)
        selection = cls(log_id, max(0, after), head + 1 if before is None else min(before, head + 1))
        for moment, sign in ((where.since, ">="), (where.until, "<")):
            if moment is not None and not is_in_time_order:
                selection.add(f"e.recorded_at {sign} {{p}}", [dialect.encode_time(moment.astimezone(dt.UTC))])
        if where.since is not None and is_in_time_order:
            selection.after = max(selection.after, lookup.last_before(where.since))
        if where.until is not None and is_in_time_order:
            selection.before = min(selection.before, lookup.last_before(where.until) + 1)
        if where.types:
            ids = lookup.type_ids("event", where.types)
            if not ids:
                return None
            selection.add(f"e.type_id{{idle}} IN ({', '.join(['{p}'] * len(ids))})", ids, is_ordered=len(ids) == 1)
        if where.aggregate_type is not None:
            ids = lookup.type_ids("aggregate", [where.aggregate_type])
            if not ids:
                return None
            if where.aggregate_id is None:
                # Not IN: SQLite would gather all streams of the type before it looks at the first event.
                of_type = "SELECT 1 FROM projectionist_streams s WHERE s.id = e.stream_id AND s.type_id = {p}"
                selection.add(f"EXISTS ({of_type})", ids)
            else:
                stream = lookup.stream_id(ids[0], where.aggregate_id)
                if stream is None:
                    return None
                selection.add("e.stream_id = {p}", [stream], is_narrow=True)
        elif where.aggregate_id is not None:
            found = lookup.stream_ids(where.aggregate_id)
            if not found:
                return None
            selection.add(f"e.stream_id IN ({', '.join(['{p}'] * len(found))})", found, is_narrow=True)
        if where.correlation_id is not None:
            selection.add("e.correlation_id = {p}", [where.correlation_id], is_narrow=True)
        if where.actor is not None:
            selection.add("e.actor = {p}", [where.actor])
        if where.event_id is not None:
            event_id = to_uuid(where.event_id)
            if event_id is None:
                return None
            selection.add("e.id = {p}", [event_id.bytes], is_narrow=True)
        if where.contains is not None:
            selection.add(dialect.contains("e.data"), [where.contains])
        return selection if selection.after + 1 < selection.before else None

    def add(self, sql: str, values: Sequence[Any], *, is_narrow: bool = False, is_ordered: bool = False) -> None:
        """One more condition; what an index alone can't answer is looked for in windows."""
        self.is_narrow |= is_narrow
        self.is_ordered &= is_ordered
        self.conditions.append(sql)
        self.values.extend(values)

    def window(self, rows: int, newest_first: bool) -> Window:
        """The next statement's condition: all that is left, or `rows` positions of it where no index helps."""
        after, before = self.after, self.before
        if not self.is_narrow and not self.is_ordered:
            if newest_first:
                after = max(after, before - 1 - rows)
            else:
                before = min(before, after + 1 + rows)
        sql = " AND ".join(
            ["e.log_id{idle} = {p}", "e.position{idle} > {p}", "e.position{idle} < {p}", *self.conditions]
        )
        # Where an index leads to few events, planners are kept off those that would walk the log until they come by.
        idle = " + 0" if self.is_narrow else ""
        return Window(
            sql.replace("{idle}", idle), [self.log_id, after, before, *self.values],
            f"e.position{idle}{' DESC' if newest_first else ''}", after + 1 if newest_first else before - 1,
        )  # fmt: skip

    def move(self, reached: int, newest_first: bool) -> bool:
        """Leaves everything up to `reached` behind; False when nothing is left."""
        if newest_first:
            self.before = reached
        else:
            self.after = reached
        return self.after + 1 < self.before


def to_uuid(text: str) -> uuid.UUID | None:
    """The UUID that a text writes, None if it's something else."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


class _Lookup:
    def __init__(self, dialect: Dialect, connection: sa.Connection, log_id: int, head: int) -> None:
        self.dialect = dialect
        self.cursor = connection.connection.cursor()
        self.log_id = log_id
        self.head = head

    def _rows(self, sql: str, values: Sequence[Any]) -> list[Any]:
        self.cursor.execute(sql.replace("{p}", self.dialect.parameter), tuple(values))
        return list(self.cursor.fetchall())

    def type_ids(self, kind: str, names: Sequence[str]) -> list[int]:
        marks = ", ".join(["{p}"] * len(names))
        sql = f"SELECT id FROM projectionist_types WHERE log_id = {{p}} AND kind = {{p}} AND name IN ({marks})"
        return [row[0] for row in self._rows(sql, [self.log_id, kind, *names])]

    def stream_id(self, type_id: int, aggregate_id: str) -> int | None:
        sql = "SELECT id FROM projectionist_streams WHERE type_id = {p} AND aggregate_id = {p}"
        rows = self._rows(sql, [type_id, aggregate_id])
        return rows[0][0] if rows else None

    def stream_ids(self, aggregate_id: str) -> list[int]:
        """The streams of this log that have an id, whatever their aggregate's type."""
        types = self._rows(
            "SELECT id FROM projectionist_types WHERE log_id = {p} AND kind = 'aggregate'", [self.log_id]
        )
        if not types:
            return []
        marks = ", ".join(["{p}"] * len(types))
        sql = f"SELECT id FROM projectionist_streams WHERE type_id IN ({marks}) AND aggregate_id = {{p}}"
        return [row[0] for row in self._rows(sql, [*(row[0] for row in types), aggregate_id])]

    def last_before(self, moment: dt.datetime) -> int:
        """The last position recorded before a moment, 0 if none: time order is position order, so halving finds it."""
        low, high = 0, self.head  # position `low` is before the moment (or 0), everything above `high` is not
        sql = "SELECT recorded_at < {p} FROM projectionist_events WHERE log_id = {p} AND position = {p}"
        time = self.dialect.encode_time(moment.astimezone(dt.UTC))
        while low < high:
            middle = (low + high + 1) // 2
            rows = self._rows(sql, [time, self.log_id, middle])
            if rows and rows[0][0]:
                low = middle
            else:
                high = middle - 1
        return low
