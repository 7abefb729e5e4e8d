"""What else is in the database: other tables, waiting messages, snapshots."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from webapp.adapters.ecotone.heads import rows_counted
from webapp.adapters.ecotone.servers import Server
from webapp.adapters.ecotone.streams import Stream, gather
from webapp.store.source import Count

queue_table = "enqueue"
document_table = "ecotone_document_store"
snapshots = "aggregate_snapshots"
counted_tables = {"ecotone_error_messages": "Dead letters", "ecotone_deduplication": "Messages remembered as handled"}
_stream_table = re.compile(r"_[0-9a-f]{40}")


def table_names(connection: sa.Connection) -> set[str]:
    """The tables of the database, whether or not they may be read."""
    return set(sa.inspect(connection).get_table_names())


def read_model_tables(connection: sa.Connection, own: Iterable[str | None], streams: Iterable[Stream]) -> list[str]:
    """Tables that are neither Ecotone's, nor streams, nor ours, by name."""
    known = {queue_table, *own, *(stream.table for stream in streams)}
    return sorted(
        name
        for name in table_names(connection)
        if name not in known
        and not name.startswith(("ecotone_", "projectionist_"))
        and not _stream_table.fullmatch(name)
    )


def count_facts(connection: sa.Connection, server: Server, models: Sequence[str]) -> list[tuple[str, Count]]:
    """Labels and numbers, none counted past 10,000."""
    tables = table_names(connection)
    facts: list[tuple[str, Count]] = []
    if queue_table in tables:
        query = (
            f"SELECT queue, COUNT(*) FROM (SELECT queue FROM enqueue LIMIT {rows_counted + 1}) waiting GROUP BY queue"
        )
        rows = connection.exec_driver_sql(f"{query} ORDER BY queue LIMIT 100").all()
        is_whole = sum(number for _, number in rows) <= rows_counted
        facts += [(f"Messages waiting in queue {queue}", Count(number, is_whole)) for queue, number in rows]
    labels = {name: label for name, label in counted_tables.items() if name in tables}
    labels |= {name: f"Rows in {name}" for name in models}
    branches = [
        f"SELECT {place} AS place, COUNT(*) AS number FROM (SELECT 1 AS one FROM {server.quote(name)}"
        f" LIMIT {rows_counted + 1}) counted"
        for place, name in enumerate(labels)
    ]
    names = list(labels)
    if document_table in tables:
        for label, condition in (("Snapshots", "LIKE"), ("Documents", "NOT LIKE")):
            branches.append(
                f"SELECT {len(names)} AS place, COUNT(*) AS number FROM (SELECT 1 AS one FROM {document_table}"
                f" WHERE collection {condition} '{snapshots}%' LIMIT {rows_counted + 1}) counted"
            )
            names.append(label)
            labels[label] = label
    for row in gather(connection, branches):
        number = Count(min(row.number, rows_counted), row.number <= rows_counted)
        if number.number:
            facts.append((labels[names[row.place]], number))
    return sorted(facts)
