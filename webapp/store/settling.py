"""Up to where a log with many writers at once may be read, and its counts, which no append of it writes."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from webapp.errors import ProjectionistError, StoreUnavailable
from webapp.store.counting import Uncounted, count, write_totals
from webapp.store.database import Database
from webapp.store.dialects import Dialect
from webapp.store.events import RecordedEvent
from webapp.store.tables import count_step, logs

_logger = logging.getLogger(__name__)
_grace_seconds = 0.02
"""How long an empty position is left to its writer, who is most likely about to fill it."""
_looks = 3
"""How often empty positions are looked at in one call: others may be claiming them at the same moment."""
_steps_at_once = 20
_most_looked_at = 10_000
no_tombstone = "e.type_id + 0 <> 0"
"""SQL that passes over claimed positions; the sum keeps planners from an index of no use."""


def settled_head(dialect: Dialect, connection: sa.Connection, log: Any) -> int:
    """The settled head of a log by its row (id, head, ordering), as far as it's known without writing."""
    if log.ordering != "parallel":
        return int(log.head)
    return dialect.parallel.settled_head(connection, log.id, log.head)


def settle(database: Database, log: Any) -> int:
    """The settled head of a parallel log after claiming what stayed empty below its last event; for followers.

    Writes where something is to be claimed; who may only read gets what is known without.
    """
    dialect = database.dialect
    with database.reading() as connection:
        settled = settled_head(dialect, connection, log)
        last = last_position(connection, log.id)
    for _ in range(_looks if dialect.parallel.leaves_holes else 0):
        if settled >= last:
            break
        time.sleep(_grace_seconds)
        _claim_holes(database, log.id, settled)
        with database.reading() as connection:
            settled = dialect.parallel.settled_head(connection, log.id, settled)
    if settled - log.counted >= count_step:
        count_log(database, log.id, settled)
    return settled


def _claim_holes(database: Database, log_id: int, after: int) -> None:
    """Claims what it can: not what is another's, be it a writer at work or somebody who claims as well."""
    dialect = database.dialect
    try:
        with database.writing() as connection:
            dialect.parallel.claim_holes(connection, log_id, after)
    except StoreUnavailable as error:
        is_denied = error.__cause__ is not None and dialect.is_denied(error.__cause__)
        if not is_denied and not database.is_retryable(error):
            raise
        _logger.info("Positions of log %d that stayed empty aren't claimed: %s", log_id, error)


def last_position(connection: sa.Connection, log_id: int) -> int:
    """The highest position that a log holds, settled or not."""
    query = "SELECT max(position) FROM projectionist_events WHERE log_id = :log"
    return connection.execute(sa.text(query), {"log": log_id}).scalar() or 0


def find_missing(dialect: Dialect, connection: sa.Connection, log_id: int) -> tuple[int, ...]:
    """Positions of a parallel log that hold no event, of the last ten thousand below its head."""
    head = last_position(connection, log_id)
    start = max(0, head - _most_looked_at)
    sql = (
        f"SELECT position FROM projectionist_events e WHERE e.log_id = {{p}} AND e.position > {{p}} AND {no_tombstone}"
    )
    rows = dialect.read_rows(connection, sql.replace("{p}", dialect.parameter), (log_id, start))
    return tuple(sorted(set(range(start + 1, head)).difference(position for (position,) in rows)))


def count_log(database: Database, log_id: int, settled: int) -> None:
    """Brings the totals of a parallel log's types up to a settled position, and notes that it's settled."""
    dialect = database.dialect
    with database.writing() as connection:
        row = connection.execute(sa.select(logs).where(logs.c.id == log_id).with_for_update()).one()
        settled = min(settled, row.counted + _steps_at_once * count_step)
        if row.counted < settled:
            counts = count(dialect, connection, [uncounted(row, settled)])
            write_totals(dialect, connection, log_id, settled, settled, counts)
            connection.execute(sa.update(logs).where(logs.c.id == log_id).values(head=settled, streams=0))
    with database.writing() as connection:
        dialect.parallel.tidy(connection, log_id, settled)


def keep_counts(database: Database, recorded: Iterable[RecordedEvent]) -> None:
    """Counts the parallel logs of which an append, committed by now, reached one more step; fails in silence."""
    names = {event.log for event in recorded if event.position % count_step == 0}
    try:
        for name in names:
            with database.reading() as connection:
                row = connection.execute(sa.select(logs).where(logs.c.name == name)).one()
            if row.ordering == "parallel":
                settle(database, row)
    except ProjectionistError as error:
        _logger.info("Counting %s is left to a later append: %s", ", ".join(sorted(names)), error)


def uncounted(log: Any, settled: int) -> Uncounted:
    """What of a log isn't in its types' totals; the streams of a parallel log are numbered by positions."""
    streams = settled if log.ordering == "parallel" else log.streams
    return Uncounted(log.id, log.counted, settled, log.counted_streams, streams)
