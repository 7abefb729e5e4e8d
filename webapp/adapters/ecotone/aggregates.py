"""Which aggregates there are and where each stands, over streams of many aggregates and streams of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from webapp.adapters.ecotone.heads import utc
from webapp.adapters.ecotone.servers import Server
from webapp.adapters.ecotone.streams import Stream, gather
from webapp.store.source import Aggregate


class Owner(NamedTuple):
    """The one aggregate that a stream of the aggregate strategy is about."""

    type: str
    id: str


class Owners:
    """Whose each stream of the aggregate strategy is, learnt from its first event and remembered. Thread-safe."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._known: dict[str, Owner] = {}

    def of(self, connection: sa.Connection, streams: Sequence[Stream]) -> dict[Stream, Owner]:
        """The owners of those of the streams that are kept by aggregate; empty streams have none."""
        kept = [stream for stream in streams if stream.strategy == "aggregate"]
        unknown = [stream for stream in kept if stream.table not in self._known]
        type_, id_ = self._server.field("_aggregate_type"), self._server.field("_aggregate_id")
        branches = [
            f"SELECT {place} AS place, {type_} AS type, {id_} AS id FROM {stream.sql} ORDER BY no LIMIT 1"
            for place, stream in enumerate(unknown)
        ]
        for row in gather(connection, branches):
            if row.type is not None and row.id is not None:
                self._known[unknown[row.place].table] = Owner(row.type, row.id)
        return {stream: self._known[stream.table] for stream in kept if stream.table in self._known}


def find_holders(
    connection: sa.Connection, server: Server, owners: Owners, streams: Sequence[Stream], type_: str, id_: str
) -> list[Stream]:
    """The streams that hold events of one aggregate, by name."""
    found = [stream for stream, owner in owners.of(connection, streams).items() if owner == (type_, id_)]
    shared = [stream for stream in streams if stream.is_indexed]
    branches = [
        # The id as it was written decides, since MySQL and MariaDB look over spaces at the end.
        f"SELECT {place} AS place, {server.field('_aggregate_type')} AS type, {server.field('_aggregate_id')} AS id"
        f" FROM {stream.sql} WHERE {server.aggregate_type} = :type AND {server.aggregate_id} = :id LIMIT 1"
        for place, stream in enumerate(shared)
    ]
    rows = gather(connection, branches, {"type": type_, "id": id_})
    found += [shared[row.place] for row in rows if (row.type, row.id) == (type_, id_)]
    return sorted(found, key=lambda stream: stream.name.encode())


def list_aggregates(
    connection: sa.Connection, server: Server, owners: Owners, streams: Sequence[Stream],
    type_: str, after_id: str | None, prefix: str, limit: int,
) -> list[Aggregate]:  # fmt: skip
    """The first `limit` aggregates of a type after an id, by id as the database sorts it, then by log."""
    after = after_id or ""
    holders: dict[str, list[Stream]] = {}
    for stream, owner in owners.of(connection, streams).items():
        if owner.type == type_ and owner.id.startswith(prefix):
            holders.setdefault(owner.id, []).append(stream)
    shared = [stream for stream in streams if stream.is_indexed]
    parameters = {"type": type_, "after": after, "prefix": prefix, "limit": limit}
    branches = [
        f"SELECT {place} AS place, id FROM ({server.aggregate_ids(stream.sql)}) found"
        for place, stream in enumerate(shared)
    ]
    for row in gather(connection, branches, parameters):
        holders.setdefault(row.id, []).append(shared[row.place])
    pairs = [
        (stream, id_)
        for id_ in server.in_order(connection, holders, after, limit)
        for stream in sorted(holders[id_], key=lambda stream: stream.name.encode())
    ]
    return _with_ends(connection, server, type_, pairs[:limit])


def _with_ends(
    connection: sa.Connection, server: Server, type_: str, pairs: Sequence[tuple[Stream, str]]
) -> list[Aggregate]:
    """Each aggregate with its version and times, two look-ups each."""
    branches, parameters = [], {"type": type_}
    for place, (stream, id_) in enumerate(pairs):
        where = ""
        if stream.is_indexed:
            where = f" WHERE {server.aggregate_type} = :type AND {server.aggregate_id} = :id_{place}"
            parameters[f"id_{place}"] = id_
        for is_last, order in ((0, "ASC"), (1, "DESC")):
            branches.append(
                f"SELECT {place} AS place, {is_last} AS is_last, {server.field('_aggregate_id')} AS id,"
                f" {server.version} AS version, created_at FROM {stream.sql}{where} ORDER BY no {order} LIMIT 1"
            )
    ends: dict[int, dict[int, Any]] = {}
    for row in gather(connection, branches, parameters):
        ends.setdefault(row.place, {})[row.is_last] = row
    return [
        Aggregate(
            pairs[place][0].name, type_, row[1].id, row[1].version, utc(row[0].created_at), utc(row[1].created_at)
        )
        for place, row in sorted(ends.items())
    ]
