"""Where streams begin and end, how much is in them, and up to where nothing more can appear."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from webapp.adapters.ecotone.servers import Server
from webapp.adapters.ecotone.streams import Stream, gather
from webapp.store.source import Count

rows_counted = 10_000
in_flight_seconds = 60  # Ecotone's own rule: a number still missing when its neighbour is older was rolled back


@dataclass(slots=True)
class Head:
    """The first and the last event of a stream; zeros and None where there is none. `now` is the database's clock."""

    now: dt.datetime
    first: int = 0
    last: int = 0
    first_at: dt.datetime | None = None
    last_at: dt.datetime | None = None
    settled: int = 0

    @property
    def span(self) -> int:
        """From the first to the last number, which is at least the number of events."""
        return self.last - self.first + 1 if self.last else 0


def utc(moment: dt.datetime | None) -> dt.datetime | None:
    """A time of Ecotone's, which is UTC without saying so, with its zone; None for None."""
    return None if moment is None else moment.replace(tzinfo=dt.UTC)


def database_now(connection: sa.Connection, server: Server) -> dt.datetime:
    """The database's clock, in UTC without a zone, as Ecotone writes times."""
    now: dt.datetime = connection.exec_driver_sql(f"SELECT {server.now}").scalar_one()
    return now


def read_heads(connection: sa.Connection, server: Server, streams: Sequence[Stream]) -> dict[str, Head]:
    """The head of each stream by name, two look-ups by primary key each, with `settled` filled in."""
    now = database_now(connection, server)
    heads = {stream.name: Head(now) for stream in streams}
    branches = [
        f"SELECT {place} AS place, {is_last} AS is_last, no, created_at FROM {stream.sql} ORDER BY no {order} LIMIT 1"
        for place, stream in enumerate(streams)
        for is_last, order in ((0, "ASC"), (1, "DESC"))
    ]
    for row in gather(connection, branches):
        head = heads[streams[row.place].name]
        if row.is_last:
            head.last = head.settled = row.no
            head.last_at = row.created_at
        else:
            head.first, head.first_at = row.no, row.created_at
    _settle(connection, now, streams, heads)
    return heads


def _settle(connection: sa.Connection, now: dt.datetime, streams: Sequence[Stream], heads: Mapping[str, Head]) -> None:
    """Lowers `settled` to before the first hole that may still fill.

    Looks only at streams written to within the last minute, in windows from the head that grow until one begins with
    an event older than that.
    """
    young_since = now - dt.timedelta(seconds=in_flight_seconds)
    open_streams = [stream for stream in streams if (at := heads[stream.name].last_at) is not None and at > young_since]
    width = 1000
    while open_streams:
        branches = []
        for place, stream in enumerate(open_streams):
            start = heads[stream.name].last - width
            branches.append(
                f"SELECT {place} AS place,"
                f" (SELECT created_at FROM {stream.sql} WHERE no >= {start} ORDER BY no LIMIT 1) AS starts_at,"
                f" (SELECT MIN(e.no) FROM {stream.sql} e WHERE e.no >= {start} AND e.no > 1 AND e.created_at > :young"
                f" AND NOT EXISTS (SELECT 1 FROM {stream.sql} p WHERE p.no = e.no - 1)) AS after_hole"
            )
        still_open, holes = [], []
        for row in gather(connection, branches, {"young": young_since}):
            stream = open_streams[row.place]
            if row.starts_at > young_since and heads[stream.name].last - width > heads[stream.name].first:
                still_open.append(stream)
            elif row.after_hole is not None:
                holes.append((stream, row.after_hole))
        before = [
            f"SELECT {place} AS place, COALESCE(MAX(no), 0) AS no FROM {stream.sql} WHERE no < {after_hole}"
            for place, (stream, after_hole) in enumerate(holes)
        ]
        for row in gather(connection, before):
            heads[holes[row.place][0].name].settled = row.no
        open_streams, width = still_open, width * 10


def read_counts(
    connection: sa.Connection, server: Server, streams: Sequence[Stream], heads: Mapping[str, Head]
) -> dict[str, Count]:
    """The number of events of each stream by name: exact up to 10,000, else the server's estimate."""
    # Streams of one aggregate number their events by its version, which has no holes.
    counts = {stream.name: Count(heads[stream.name].span) for stream in streams if stream.strategy == "aggregate"}
    others = [stream for stream in streams if stream.strategy != "aggregate"]
    branches = [
        f"SELECT {place} AS place, COUNT(*) AS number FROM"
        f" (SELECT 1 AS one FROM {stream.sql} LIMIT {rows_counted + 1}) counted"
        for place, stream in enumerate(others)
    ]
    counts |= {others[row.place].name: Count(row.number) for row in gather(connection, branches)}
    large = [stream for stream in others if counts[stream.name].number > rows_counted]
    estimates = server.estimates(connection, [stream.table for stream in large]) if large else {}
    for stream in large:
        estimate = min(estimates.get(stream.table, 0), heads[stream.name].span)
        counts[stream.name] = Count(max(estimate, rows_counted), exact=False)
    return counts


@dataclass(frozen=True, slots=True)
class Holes:
    """Numbers without an event; `looked_from` is the first number looked at."""

    missing: tuple[int, ...]
    looked_from: int


def read_holes(connection: sa.Connection, stream: Stream, head: Head) -> Holes:
    """The missing numbers among the last 10,000 events of a stream, 1,000 at most."""
    query = (
        "SELECT no, before_it FROM (SELECT no, LAG(no) OVER (ORDER BY no) AS before_it FROM"
        f" (SELECT no FROM {stream.sql} WHERE no <= {head.last} ORDER BY no DESC LIMIT {rows_counted}) latest) pairs"
        " WHERE before_it IS NULL OR no - before_it > 1 ORDER BY no LIMIT 1001"
    )
    missing: list[int] = []
    looked_from = 1
    for no, before_it in connection.exec_driver_sql(query):
        below = before_it
        if before_it is None:  # the first one looked at: below it is either the beginning or unknown
            looked_from = 1 if no == head.first else no
            below = looked_from - 1
        missing.extend(range(below + 1, min(no, below + 1001)))
    return Holes(tuple(missing[:1000]), looked_from)
