"""The logs of a store and the types of events and aggregates in them, each with how many there are."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from webapp.store.counting import Uncounted, count
from webapp.store.dialects import Dialect
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
    tail = count(dialect, connection, [_uncounted(row) for row in connection.execute(sa.select(logs))])
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
            sa.func.sum(types.c.total).label("total"),
        )
        .where(types.c.kind == "event").group_by(types.c.log_id).subquery()
    )  # fmt: skip
    query = (
        sa.select(logs, first.c.first_at, first.c.total)
        .join_from(logs, first, first.c.log_id == logs.c.id, isouter=True)
        .where(where).order_by(logs.c.name)
    )  # fmt: skip
    return [
        Log(
            name=row.name,
            head=row.head,
            settled_head=row.head,
            count=Count(_number_of_events(dialect, connection, row)),
            strategy=row.ordering,
            derived_from=row.derived_from,
            is_retired=row.retired_at is not None,
            first_at=row.first_at,
            last_at=row.recorded_at,
            details={"streams": row.streams},
        )
        for row in connection.execute(query).all()
    ]


def _number_of_events(dialect: Dialect, connection: sa.Connection, row: Any) -> int:
    if row.ordering == "dense":
        return int(row.head)
    sql = "SELECT count(*) FROM projectionist_events WHERE log_id = {p} AND position > {p} AND position <= {p}"
    values = (row.id, row.counted, row.head)
    ((tail,),) = dialect.read_rows(connection, sql.replace("{p}", dialect.parameter), values)
    return int(row.total or 0) + int(tail)


def _uncounted(row: Any) -> Uncounted:
    return Uncounted(row.id, row.counted, row.head, row.counted_streams, row.streams)
