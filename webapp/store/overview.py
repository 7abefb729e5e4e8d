"""The logs of a store and the types of events and aggregates in them, each with how many there are."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from webapp.store.counting import count
from webapp.store.dialects import Dialect
from webapp.store.settling import last_position, no_tombstone, settled_head, uncounted
from webapp.store.source import Count, Log
from webapp.store.tables import logs, types


@dataclass(frozen=True, slots=True)
class CountedType:
    """A type of events or aggregates in one log."""

    log: str
    name: str
    total: int
    first_at: dt.datetime | None
    last_at: dt.datetime | None


def list_types(dialect: Dialect, connection: sa.Connection, kind: str) -> list[CountedType]:
    """Types that there are events (or aggregates) of, by log and name; the connection must see one moment."""
    rows = connection.execute(sa.select(logs)).all()
    tail = count(dialect, connection, [uncounted(row, settled_head(dialect, connection, row)) for row in rows])
    query = (
        sa.select(types, logs.c.name.label("log")).join_from(types, logs, logs.c.id == types.c.log_id)
        .where(types.c.kind == kind).order_by(logs.c.name, types.c.name)
    )  # fmt: skip
    found = []
    for row in connection.execute(query):
        last_at = dialect.decode_time(tail.last_at[row.id]) if row.id in tail.last_at else row.last_at
        total = row.total + tail.totals[row.id]
        if total:
            found.append(CountedType(row.log, row.name, total, row.first_at, last_at))
    return found


def list_logs(dialect: Dialect, connection: sa.Connection, where: sa.ColumnElement[bool]) -> list[Log]:
    """Logs by name; the connection must see one moment."""
    first = (
        sa.select(
            types.c.log_id,
            sa.func.min(types.c.first_at).label("first_at"),
            sa.func.max(types.c.last_at).label("last_at"),
            sa.func.sum(types.c.total).label("total"),
        )
        .where(types.c.kind == "event").group_by(types.c.log_id).subquery()
    )  # fmt: skip
    query = (
        sa.select(logs, first.c.first_at, first.c.last_at, first.c.total)
        .join_from(logs, first, first.c.log_id == logs.c.id, isouter=True)
        .where(where).order_by(logs.c.name)
    )  # fmt: skip
    return [_log(dialect, connection, row) for row in connection.execute(query).all()]


def _log(dialect: Dialect, connection: sa.Connection, row: Any) -> Log:
    settled = settled_head(dialect, connection, row)
    is_parallel = row.ordering == "parallel"
    tail_number, tail_last_at = (0, None) if row.ordering == "dense" else _tail(dialect, connection, row, settled)
    times = [time for time in (row.last_at, tail_last_at) if time is not None]
    streams = row.streams
    if is_parallel:
        kinds = sa.select(types.c.id, types.c.total).where(types.c.log_id == row.id, types.c.kind == "aggregate")
        found = connection.execute(kinds).all()
        tail = count(dialect, connection, [uncounted(row, settled)])
        streams = sum(kind.total + tail.totals[kind.id] for kind in found)
    return Log(
        name=row.name,
        head=last_position(connection, row.id) if is_parallel else row.head,
        settled_head=settled,
        count=Count(settled if row.ordering == "dense" else int(row.total or 0) + tail_number),
        strategy=row.ordering,
        derived_from=row.derived_from,
        is_retired=row.retired_at is not None,
        first_at=row.first_at,
        last_at=max(times, default=None) if is_parallel else row.recorded_at,
        details={"streams": streams},
    )


def _tail(dialect: Dialect, connection: sa.Connection, row: Any, settled: int) -> tuple[int, dt.datetime | None]:
    """How many events a log has that aren't counted yet, and the time of the latest of them."""
    sql = (
        "SELECT count(*), max(e.recorded_at) FROM projectionist_events e "
        f"WHERE e.log_id = {{p}} AND e.position > {{p}} AND e.position <= {{p}} AND {no_tombstone}"
    )
    values = (row.id, row.counted, settled)
    ((number, last_at),) = dialect.read_rows(connection, sql.replace("{p}", dialect.parameter), values)
    return int(number), None if last_at is None else dialect.decode_time(last_at)
