"""A partitioned projection: one checkpoint per aggregate, compared with each aggregate's version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from webapp.adapters.ecotone.heads import read_heads, rows_counted
from webapp.adapters.ecotone.positions import PartitionKey, parse_partition_key
from webapp.adapters.ecotone.servers import Server
from webapp.adapters.ecotone.streams import Stream
from webapp.adapters.ecotone.types import read_aggregate_types
from webapp.adapters.ecotone.words import amount
from webapp.store.source import Count, Health

partitions_compared = 1000
ids_a_query = 200


@dataclass(frozen=True, slots=True)
class Partitions:
    """What the rows of one projection tell. `never` are aggregates of its streams that have no row."""

    number: Count
    compared: int
    behind: int
    events_behind: int
    unreadable: int
    uninitialized: int
    never: Count | None

    def details(self) -> dict[str, Any]:
        """The numbers under names for people."""
        details: dict[str, Any] = {"partitions compared": self.compared, "events behind": self.events_behind}
        if self.never is not None and self.never.number:
            details["aggregates never projected"] = self.never.number
        if self.uninitialized:
            details["partitions in or after a first run that did not end"] = self.uninitialized
        return details


def read_partitions(
    connection: sa.Connection, server: Server, projection: str, streams: Mapping[str, Stream]
) -> Partitions:
    """Compares up to 1,000 partitions with their aggregates' versions; counts the rows up to 10,000."""
    of_it = "FROM ecotone_projection_state WHERE projection_name = :name AND partition_key > ''"
    counting = f"SELECT COUNT(*) FROM (SELECT 1 AS one {of_it} LIMIT {rows_counted + 1}) counted"
    number = connection.execute(sa.text(counting), {"name": projection}).scalar_one()
    query = (
        f"SELECT partition_key, last_position, {server.text_of('metadata')} AS metadata {of_it}"
        f" ORDER BY partition_key LIMIT {partitions_compared}"
    )
    rows = connection.execute(sa.text(query), {"name": projection}).all()
    done: dict[PartitionKey, int] = {}
    for row in rows:
        try:
            done[parse_partition_key(row.partition_key)] = int(row.last_position or 0)
        except ValueError:
            continue
    versions = _versions(connection, server, list(done), streams)
    late = [versions[key] - version for key, version in done.items() if versions.get(key, 0) > version]
    is_complete = number <= partitions_compared
    return Partitions(
        Count(min(number, rows_counted), exact=number <= rows_counted), len(done), len(late), sum(late),
        len(rows) - len(done), sum('"uninitialized"' in (row.metadata or "") for row in rows),
        _never_projected(connection, server, list(done), streams) if is_complete else None,
    )  # fmt: skip


def judge(found: Partitions) -> tuple[Health, str]:
    """Health and explanation; a partition's failure blocks only its own aggregate, and leaves no trace but lag."""
    first = "" if found.compared == found.number.number else f"first {found.compared:,} of the "
    of_all = f"of the {first}{amount(found.number, 'partition')}"
    rest = f" {found.unreadable:,} have a key or a position that can't be read." if found.unreadable else ""
    if found.never is not None and found.never.number:
        estimated = "" if found.never.exact else "about "
        has = "has" if found.never.number == 1 else "have"
        rest = f" {estimated}{amount(found.never.number, 'aggregate')} {has} never been projected.{rest}"
    if found.behind:
        are = "is" if found.behind == 1 else "are"
        return Health.behind, f"{found.behind:,} {of_all} {are} behind ({amount(found.events_behind, 'event')}).{rest}"
    if rest:
        return Health.behind, f"None {of_all} is behind, but:{rest}"
    return Health.up_to_date, f"None {of_all} is behind."


def _versions(
    connection: sa.Connection, server: Server, keys: Sequence[PartitionKey], streams: Mapping[str, Stream]
) -> dict[PartitionKey, int]:
    """The version at which each aggregate stands."""
    named = {key.stream: streams[key.stream] for key in keys if key.stream in streams}
    alone = [stream for stream in named.values() if stream.strategy == "aggregate"]
    heads = read_heads(connection, server, alone)
    found = {key: heads[key.stream].last for key in keys if key.stream in heads}
    groups: dict[tuple[str, str], list[PartitionKey]] = {}
    for key in keys:
        if key.stream in named and named[key.stream].is_indexed:
            groups.setdefault((key.stream, key.aggregate_type), []).append(key)
    for (stream, type_), members in groups.items():
        query = sa.text(
            f"SELECT {server.aggregate_id} AS id, MAX({server.version}) AS version FROM {named[stream].sql}"
            f" WHERE {server.aggregate_type} = :type AND {server.aggregate_id} IN :ids GROUP BY {server.aggregate_id}"
        ).bindparams(sa.bindparam("ids", expanding=True))
        for start in range(0, len(members), ids_a_query):
            ids = [key.aggregate_id for key in members[start : start + ids_a_query]]
            for row in connection.execute(query, {"type": type_, "ids": ids}):
                found[PartitionKey(stream, type_, row.id)] = row.version
    return found


def _never_projected(
    connection: sa.Connection, server: Server, keys: Sequence[PartitionKey], streams: Mapping[str, Stream]
) -> Count:
    """How many aggregates of the keys' streams and types have no key."""
    shared = [
        streams[name] for name in sorted({key.stream for key in keys}) if name in streams and streams[name].is_indexed
    ]
    types = read_aggregate_types(connection, server, shared, read_heads(connection, server, shared))
    wanted = {(key.stream, key.aggregate_type) for key in keys}
    counts = [found.count for found in types if (found.log, found.name) in wanted]
    with_row = sum(1 for key in keys if key.stream in streams and streams[key.stream].is_indexed)
    return Count(max(0, sum(count.number for count in counts) - with_row), all(count.exact for count in counts))
