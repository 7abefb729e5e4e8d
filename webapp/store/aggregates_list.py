"""Streams by name, and the aggregates of one type page by page, with where each stream stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from webapp.errors import AmbiguousLog
from webapp.store.dialects import Dialect
from webapp.store.source import Aggregate
from webapp.store.tables import events, logs, streams, types


def find_streams(
    connection: sa.Connection, aggregate_type: str, aggregate_id: str, log_id: int | None
) -> dict[str, int]:
    """The numbers of the streams of one aggregate, by log; of one log if it's given."""
    query = _numbers_of(aggregate_type)
    if log_id is not None:
        query = query.where(types.c.log_id == log_id)
    names = {row.id: row.name for row in connection.execute(query)}
    if not names:
        return {}
    # A query of its own: joined in one, SQLite reads all streams of all types to find these.
    found = sa.select(streams.c.type_id, streams.c.id).where(
        streams.c.type_id.in_(names), streams.c.aggregate_id == aggregate_id
    )
    return {names[row.type_id]: row.id for row in connection.execute(found)}


def find_stream(connection: sa.Connection, aggregate_type: str, aggregate_id: str, log_id: int | None) -> int | None:
    """The number of the one stream of an aggregate, None if there is none; raises AmbiguousLog if several logs hold it."""
    found = find_streams(connection, aggregate_type, aggregate_id, log_id)
    if len(found) > 1:
        raise AmbiguousLog(aggregate_type, aggregate_id, sorted(found))
    return next(iter(found.values()), None)


def _numbers_of(aggregate_type: str) -> sa.Select[int, str]:
    """A query for the numbers of a type of aggregates, with the names of the logs that have it."""
    query = sa.select(types.c.id, logs.c.name).join_from(types, logs, logs.c.id == types.c.log_id)
    return query.where(types.c.kind == "aggregate", types.c.name == aggregate_type)


def list_aggregates(
    dialect: Dialect,
    connection: sa.Connection,
    aggregate_type: str,
    log: str | None,
    after_id: str | None,
    prefix: str,
    limit: int,
) -> Sequence[Aggregate]:
    """Up to `limit` aggregates per log in byte order of id, merged; see EventSource.aggregates."""
    query = _numbers_of(aggregate_type)
    if log is not None:
        query = query.where(logs.c.name == log)
    found: list[tuple[str, str, int]] = []
    for type_id, name in connection.execute(query):
        page = sa.select(streams.c.aggregate_id, streams.c.id).where(streams.c.type_id == type_id)
        if after_id is not None:
            page = page.where(streams.c.aggregate_id > after_id)
        if prefix:
            # A range, not LIKE: it uses the index whatever the pattern's characters, and compares by bytes.
            page = page.where(streams.c.aggregate_id >= prefix, streams.c.aggregate_id < prefix + "\U0010ffff")
        page = page.order_by(streams.c.aggregate_id).limit(limit)
        found += [(row.aggregate_id, name, row.id) for row in connection.execute(page)]
    found = sorted(found, key=lambda row: (row[0].encode(), row[1]))[:limit]
    ends = _ends(connection, [stream_id for _, _, stream_id in found])
    return [
        Aggregate(name, aggregate_type, id_, *ends.get(stream_id, (0, None, None))) for id_, name, stream_id in found
    ]


def _ends(connection: sa.Connection, stream_ids: Sequence[int]) -> dict[int, tuple[int, Any, Any]]:
    """Version, first and last time of each stream: two index lookups each."""
    if not stream_ids:
        return {}
    version = (
        # One end of an index, however long the stream is: max() under GROUP BY would read all of it.
        sa.select(events.c.version).where(events.c.stream_id == streams.c.id)
        .order_by(events.c.version.desc()).limit(1).scalar_subquery()
    )  # fmt: skip
    first_event, last_event = events.alias(), events.alias()
    query = sa.select(streams.c.id, last_event.c.version, first_event.c.recorded_at, last_event.c.recorded_at)
    query = query.join_from(
        streams, first_event, sa.and_(first_event.c.stream_id == streams.c.id, first_event.c.version == 1)
    ).join(last_event, sa.and_(last_event.c.stream_id == streams.c.id, last_event.c.version == version))
    query = query.where(streams.c.id.in_(stream_ids))
    return {row[0]: (row[1], row[2], row[3]) for row in connection.execute(query)}
