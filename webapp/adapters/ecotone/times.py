"""From times to positions by halving, since Ecotone's streams have no index on time."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from webapp.adapters.ecotone.events import without_zone
from webapp.adapters.ecotone.heads import Head
from webapp.adapters.ecotone.streams import Stream
from webapp.store.events import EventFilter

slack = dt.timedelta(minutes=10)  # several writers' clocks and long transactions let times run back a little


def narrow(
    connection: sa.Connection, stream: Stream, head: Head, where: EventFilter, low: int, high: int
) -> tuple[int, int]:
    """The part of low < position < high that can hold events of the filter's time, with ten minutes to spare."""
    if where.since is not None:
        low = max(low, _first_at_or_after(connection, stream, head, _shifted(where.since, -slack)) - 1)
    if where.until is not None:
        high = min(high, _first_at_or_after(connection, stream, head, _shifted(where.until, slack)))
    return low, high


def _shifted(moment: dt.datetime, by: dt.timedelta) -> dt.datetime:
    try:
        return without_zone(moment) + by
    except OverflowError:
        return without_zone(moment)


def _first_at_or_after(connection: sa.Connection, stream: Stream, head: Head, moment: dt.datetime) -> int:
    """The position of the first event at or after a moment, one after the last if there is none."""
    query = sa.text(f"SELECT no, created_at FROM {stream.sql} WHERE no >= :middle ORDER BY no LIMIT 1")
    low, high = head.first, head.last + 1
    while low < high:
        middle = (low + high) // 2
        no, created_at = connection.execute(query, {"middle": middle}).one()
        if created_at >= moment:
            high = middle
        else:
            low = no + 1
    return low
