"""Appending to a log with many writers at once: nobody holds a row that others want.

Positions are taken outside of any order of commit, so a reader goes no further than the settled head. What keeps writers
apart are the unique keys: who comes second at one, of a stream's version, of an event's id, of a stream's name or, where
followers claim holes, of a position, runs its whole append again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from webapp.errors import Conflict, DuplicateKey
from webapp.store.catalog import Catalog
from webapp.store.dialects import Dialect
from webapp.store.dialects.base import LogCounter
from webapp.store.drafting import Draft
from webapp.store.numbers import chunks
from webapp.store.tables import stream_bits

T = TypeVar("T")
most_attempts = 20
_provisional = 1 << (stream_bits - 1)
"""Where numbers of new streams begin until their first position is known: above any that there are."""


def find_parallel(dialect: Dialect, connection: sa.Connection, catalog: Catalog, log: str) -> int | None:
    """The number of a log if it has many writers at once, None if it's dense or not there yet."""
    if not dialect.parallel.is_kept:
        return None
    if log not in catalog.parallel:
        sql = f"SELECT id, ordering FROM projectionist_logs WHERE name = {dialect.parameter}"
        rows = dialect.read_rows(connection, sql, (log,))
        if not rows:
            return None
        ((log_id, ordering),) = rows
        catalog.parallel[log] = log_id if ordering == "parallel" else None  # which never changes
    return catalog.parallel[log]


def enter_log(dialect: Dialect, connection: sa.Connection, log_id: int) -> LogCounter:
    """A log as a draft wants it, without anything held that others wait for; its head is 0 until positions are taken."""
    entry = dialect.parallel.enter(connection, log_id)
    return LogCounter(log_id, 0, _provisional, entry.now, entry.is_retired, "parallel", 0, 0)


def give_positions(dialect: Dialect, connection: sa.Connection, log_id: int, draft: Draft) -> None:
    """Numbers the rows of a draft by positions of their own, and its new streams by those of their first events."""
    positions = dialect.parallel.take_positions(connection, log_id, len(draft.rows))
    numbers: dict[int, int] = {}
    rows: list[tuple[Any, ...]] = []
    for position, row in zip(positions, draft.rows, strict=True):
        stream_id = row[2]
        if stream_id & _provisional:
            stream_id = numbers.setdefault(stream_id, log_id << stream_bits | position)
        rows.append((log_id, position, stream_id, *row[3:]))
    draft.rows = rows
    draft.new_streams = [
        (numbers[stream_id], type_id, aggregate_id) for stream_id, type_id, aggregate_id in draft.new_streams
    ]
    draft.stream_ids = {key: numbers.get(stream_id, stream_id) for key, stream_id in draft.stream_ids.items()}


def lock_streams(dialect: Dialect, connection: sa.Connection, stream_ids: Iterable[int]) -> None:
    """Waits for other appends to these streams: for who came second once, lest he does for ever."""
    for chunk in chunks(sorted(stream_ids)):
        where, values = dialect.one_of("id", chunk)
        sql = f"SELECT id FROM projectionist_streams WHERE {where} ORDER BY id FOR UPDATE"
        dialect.read_rows(connection, sql.replace("{p}", dialect.parameter), values)


def meeting_rivals(
    work: Callable[[bool], T], dialect: Dialect, catalog: Catalog, logs: Sequence[str], *, is_second: bool = False
) -> T:
    """What `work` returns, run again while it comes second at a unique key of a parallel log; told whether it did."""
    for attempt in range(1, most_attempts + 1):
        try:
            return work(is_second)
        except DuplicateKey as error:
            if not any(map(catalog.is_parallel, logs)):
                raise
            if attempt == most_attempts:
                raise Conflict(
                    f"Others were quicker {most_attempts} times while appending to {', '.join(logs)}. Reload and try again."
                ) from error
            is_second = True
            dialect.wait_before_retry(min(attempt, 4))
    raise AssertionError("unreachable")
