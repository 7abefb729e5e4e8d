"""How many events and aggregates of each type there are: kept in steps, so that appends don't all write the same rows.

A log's types are brought up to date by the append that passes a multiple of `count_step`; a reader adds the few events after.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from webapp.store.dialects import Dialect
from webapp.store.tables import count_step, stream_bits

_logs_in_a_statement = 100


@dataclass
class Counts:
    """Events and new aggregates by the number of their type, and when each type was last seen."""

    totals: Counter[int] = field(default_factory=Counter)
    last_at: dict[int, Any] = field(default_factory=dict)

    def add(self, rows: Iterable[tuple[int, int, Any]]) -> None:
        """Adds (type, number, last time), later ones last."""
        for type_id, number, last_at in rows:
            self.totals[type_id] += number
            self.last_at[type_id] = last_at

    def add_each(self, seen: Sequence[tuple[int, Any]]) -> None:
        """Adds one for each (type, time), later ones last."""
        self.totals.update(type_id for type_id, _ in seen)
        self.last_at.update(seen)


def is_due(head: int, new_head: int) -> bool:
    """Whether an append that moves a log's head so far has to bring the totals up to date."""
    return new_head // count_step > head // count_step


@dataclass(frozen=True)
class Uncounted:
    """The part of a log that isn't in its types' totals: after < position <= head, and streams likewise by number."""

    log_id: int
    after: int
    head: int
    streams_after: int
    streams: int


def count(dialect: Dialect, connection: sa.Connection, parts: Sequence[Uncounted]) -> Counts:
    """The counts of these parts of logs, at most about `count_step` events each."""
    found = Counts()
    parts = [part for part in parts if part.after < part.head]
    for at in range(0, len(parts), _logs_in_a_statement):
        chunk = parts[at : at + _logs_in_a_statement]
        events = ["(log_id = {p} AND position > {p} AND position <= {p})"] * len(chunk)
        rows = dialect.read_rows(
            connection,
            ("SELECT type_id, count(*), max(recorded_at) FROM projectionist_events WHERE "
             + " OR ".join(events) + " GROUP BY type_id").replace("{p}", dialect.parameter),
            [value for part in chunk for value in (part.log_id, part.after, part.head)],
        )  # fmt: skip
        found.add(rows)
        streams = ["(s.id > {p} AND s.id <= {p})"] * len(chunk)
        # When an aggregate began says the first event of its stream; looked up one by one, whatever a planner thinks.
        rows = dialect.read_rows(
            connection,
            ("SELECT s.type_id, count(*), max((SELECT e.recorded_at FROM projectionist_events e "
             "WHERE e.stream_id = s.id AND e.version = 1)) FROM projectionist_streams s WHERE "
             + " OR ".join(streams) + " GROUP BY s.type_id").replace("{p}", dialect.parameter),
            [part.log_id << stream_bits | number for part in chunk for number in (part.streams_after, part.streams)],
        )  # fmt: skip
        found.add(rows)
    return found


def write_totals(
    dialect: Dialect, connection: sa.Connection, log_id: int, head: int, streams: int, counts: Counts
) -> None:
    """Adds counts to the totals of their types, and notes how far the log is counted by that."""
    cursor = connection.connection.cursor()
    # In a parallel log the latest event need not be among the last ones.
    later = "CASE WHEN last_at > {p} THEN last_at ELSE {p} END"
    sql = f"UPDATE projectionist_types SET total = total + {{p}}, last_at = {later} WHERE id = {{p}}"
    for type_id, number in sorted(counts.totals.items()):
        last_at = counts.last_at[type_id]
        cursor.execute(sql.replace("{p}", dialect.parameter), (number, last_at, last_at, type_id))
    sql = "UPDATE projectionist_logs SET counted = {p}, counted_streams = {p} WHERE id = {p}"
    cursor.execute(sql.replace("{p}", dialect.parameter), (head, streams, log_id))
