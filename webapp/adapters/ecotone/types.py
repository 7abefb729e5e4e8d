"""Which types of events and of aggregates there are, and how many of each, without reading a large log whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from webapp.adapters.ecotone.heads import Head, rows_counted, utc
from webapp.adapters.ecotone.servers import Server
from webapp.adapters.ecotone.streams import Stream, gather
from webapp.store.source import AggregateType, Count, EventType

ends_looked_at = 2500
windows, window = 10, 500


class Sample:
    """Some of a stream's rows as a relation: all of them up to 10,000 positions, else parts from all over it.

    The parts are the beginning, the end, and ten short stretches between, so that counts can be scaled up.
    """

    def __init__(self, stream: Stream, head: Head, columns: str) -> None:
        self.is_whole = head.span <= rows_counted
        if self.is_whole:
            ranges = [(head.first, head.last)]
        else:
            starts = head.first + ends_looked_at
            stride = (head.last - ends_looked_at - starts) // windows
            middle = [starts + stride * place for place in range(windows)]
            ranges = [
                (head.first, starts - 1),
                *((start, start + window - 1) for start in middle),
                (head.last - ends_looked_at + 1, head.last),
            ]
        self._scale = head.span / sum(end - start + 1 for start, end in ranges) if head.span else 1.0
        self._known_from, self._known_to = ranges[-1][0], ranges[0][1]
        parts = (f"SELECT {columns} FROM {stream.sql} WHERE no BETWEEN {start} AND {end}" for start, end in ranges)
        self.sql = f"({' UNION ALL '.join(parts)}) sample"

    def count(self, found: int) -> Count:
        """The number in the whole stream, from the number found in the sample."""
        return Count(found) if self.is_whole else Count(round(found * self._scale), exact=False)

    def has_first(self, position: int) -> bool:
        """Whether the first one found is the first of the stream, too."""
        return position <= self._known_to

    def has_last(self, position: int) -> bool:
        """Whether the last one found is the last of the stream, too."""
        return position >= self._known_from


def read_event_types(
    connection: sa.Connection, streams: Sequence[Stream], heads: Mapping[str, Head]
) -> list[EventType]:
    """Types of events by stream and name; in large streams estimated, and rare ones may be missing."""
    samples = [Sample(stream, heads[stream.name], "no, event_name, created_at") for stream in streams]
    branches = [
        f"SELECT {place} AS place, event_name AS name, COUNT(*) AS number, MIN(no) AS first, MAX(no) AS last,"
        f" MIN(created_at) AS first_at, MAX(created_at) AS last_at FROM {sample.sql} GROUP BY event_name"
        for place, sample in enumerate(samples)
    ]
    found = []
    for row in gather(connection, branches):
        sample = samples[row.place]
        first_at = row.first_at if sample.has_first(row.first) else None
        last_at = row.last_at if sample.has_last(row.last) else None
        found.append(
            EventType(streams[row.place].name, row.name, sample.count(row.number), utc(first_at), utc(last_at))
        )
    return sorted(found, key=lambda type_: (type_.log.encode(), type_.name.encode()))


def read_aggregate_types(
    connection: sa.Connection, server: Server, streams: Sequence[Stream], heads: Mapping[str, Head]
) -> list[AggregateType]:
    """Types of aggregates in streams that many share; in large ones estimated by how many events are first ones."""
    columns = (
        f"no, created_at, {server.aggregate_type} AS type, {server.aggregate_id} AS id, {server.version} AS version"
    )
    samples = [Sample(stream, heads[stream.name], columns) for stream in streams]
    branches = [
        f"SELECT {place} AS place, type AS name, COUNT(DISTINCT id) AS ids,"
        " SUM(CASE WHEN version = 1 THEN 1 ELSE 0 END) AS beginnings, MAX(no) AS last, MAX(created_at) AS last_at"
        f" FROM {sample.sql} GROUP BY type"
        for place, sample in enumerate(samples)
    ]
    found = []
    for row in gather(connection, branches):
        sample = samples[row.place]
        count = Count(row.ids) if sample.is_whole else sample.count(int(row.beginnings))
        last_at = row.last_at if sample.has_last(row.last) else None
        found.append(AggregateType(streams[row.place].name, row.name, count, utc(last_at)))
    return found
