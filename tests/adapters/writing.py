"""Writes tables as Ecotone makes them, for what its own dumps don't hold: holes in flight, odd values, many streams.

The DDL is what Ecotone's own strategies create on each server.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from webapp.store.database import parse_url

registries = {
    "postgresql": "(no BIGSERIAL PRIMARY KEY, real_stream_name VARCHAR(150) NOT NULL,"
    " stream_name CHAR(41) NOT NULL UNIQUE, metadata JSONB, category VARCHAR(150))",
    "mysql": "(no BIGINT AUTO_INCREMENT PRIMARY KEY, real_stream_name VARCHAR(150) NOT NULL,"
    " stream_name CHAR(41) NOT NULL, metadata JSON,"
    " category VARCHAR(150), UNIQUE ix_rsn (real_stream_name)) CHARSET utf8mb3 COLLATE utf8mb3_bin",
}
projections = {
    "postgresql": "(no BIGSERIAL PRIMARY KEY, name VARCHAR(150) UNIQUE NOT NULL, position JSONB, state JSONB,"
    " status VARCHAR(28) NOT NULL, locked_until CHAR(26))",
    "mysql": "(no BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(150) NOT NULL, position JSON, state JSON,"
    " status VARCHAR(28) NOT NULL, locked_until CHAR(26), UNIQUE ix_name (name)) CHARSET utf8mb3 COLLATE utf8mb3_bin",
}
states = (
    "(projection_name VARCHAR(255) NOT NULL, partition_key VARCHAR(255) NOT NULL DEFAULT '',"
    " last_position TEXT NOT NULL, metadata JSON NOT NULL, user_state JSON,"
    " PRIMARY KEY (projection_name, partition_key))"
)


@dataclass
class Written:
    """An event to be written; `aggregate` is its type, id and version."""

    no: int
    aggregate: tuple[str, Any, int] | None = None
    type: str = "thing.happened"
    payload: str = "{}"
    at: dt.datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """Its columns."""
        metadata = dict(self.metadata)
        if self.aggregate is not None:
            keys = ("_aggregate_type", "_aggregate_id", "_aggregate_version")
            metadata |= dict(zip(keys, self.aggregate, strict=True))
        at = self.at or dt.datetime(2026, 10, 1) + dt.timedelta(seconds=self.no)
        text = json.dumps(metadata, ensure_ascii=False) if metadata else "[]"
        return {
            "no": self.no, "event_id": str(uuid.uuid4()), "event_name": self.type, "payload": self.payload,
            "metadata": text, "created_at": at,
        }  # fmt: skip


class Writer:
    """A database to write into as Ecotone would."""

    def __init__(self, url: str, server: str) -> None:
        self.engine = sa.create_engine(parse_url(url), poolclass=sa.pool.NullPool)
        self.server = server
        self._dialect = "postgresql" if server == "postgresql" else "mysql"

    def run(self, *statements: str) -> None:
        """Runs SQL as it stands."""
        with self.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement.replace("%", "%%"))

    def create(self, event_streams: str = "event_streams", projections_table: str = "projections") -> None:
        """Makes the registry and both generations' tables of projections."""
        self.run(
            f"CREATE TABLE {event_streams} {registries[self._dialect]}",
            f"CREATE TABLE {projections_table} {projections[self._dialect]}",
            f"CREATE TABLE ecotone_projection_state {states}",
        )

    def add_streams(self, names: Sequence[str], strategy: str = "partition", registry: str = "event_streams") -> None:
        """Makes streams and registers them."""
        with self.engine.begin() as connection:
            for name in names:
                for statement in self._tables(table_of(name), strategy):
                    connection.exec_driver_sql(statement)
            head, _, _ = zip(*[(name.partition("-")) for name in names], strict=True)
            rows = [
                {"name": name, "table": table_of(name), "category": category if category != name else None}
                for name, category in zip(names, head, strict=True)
            ]
            query = f"INSERT INTO {registry} (real_stream_name, stream_name, metadata, category)"
            connection.execute(sa.text(f"{query} VALUES (:name, :table, '[]', :category)"), rows)

    def append(self, stream: str, events: Iterable[Written]) -> None:
        """Writes events."""
        with self.engine.begin() as connection:
            self.append_in(connection, stream, events)

    def append_in(self, connection: sa.Connection, stream: str, events: Iterable[Written]) -> None:
        """Writes events in the caller's transaction."""
        query = f"INSERT INTO {table_of(stream)} (no, event_id, event_name, payload, metadata, created_at) VALUES "
        values = "(:no, :event_id, :event_name, :payload, :metadata, :created_at)"
        if self.server == "postgresql":
            values = values.replace(":payload", "CAST(:payload AS json)").replace(
                ":metadata", "CAST(:metadata AS jsonb)"
            )
            values = values.replace(":event_id", "CAST(:event_id AS uuid)")
        rows = [event.row() for event in events]
        for start in range(0, len(rows), 1000):
            connection.execute(sa.text(query + values), rows[start : start + 1000])

    def _tables(self, table: str, strategy: str) -> list[str]:
        if self.server == "postgresql":
            return self._postgresql(table, strategy)
        json_type = "JSON" if self.server == "mysql" else "LONGTEXT"
        not_null = " NOT NULL" if self.server == "mysql" else ""

        def generated(name: str, type_: str) -> str:
            value = f"JSON_UNQUOTE(JSON_EXTRACT(metadata, '$._{name}'))"
            return f"{name} {type_} GENERATED ALWAYS AS ({value}) STORED{not_null}"

        columns = [
            "no BIGINT AUTO_INCREMENT PRIMARY KEY", "event_id CHAR(36) COLLATE utf8mb4_bin NOT NULL",
            "event_name VARCHAR(100) COLLATE utf8mb4_bin NOT NULL", f"payload {json_type} NOT NULL",
            f"metadata {json_type} NOT NULL", "created_at DATETIME(6) NOT NULL",
        ]  # fmt: skip
        if strategy != "simple":
            columns.append(generated("aggregate_version", "INT UNSIGNED"))
        if strategy == "partition":
            columns += [
                generated("aggregate_id", "CHAR(36)"), generated("aggregate_type", "VARCHAR(150)"),
                "UNIQUE KEY ix_unique_event (aggregate_type, aggregate_id, aggregate_version)",
                "KEY ix_query_aggregate (aggregate_type, aggregate_id, no)",
            ]  # fmt: skip
        if strategy == "aggregate":
            columns.append("UNIQUE KEY ix_aggregate_version (aggregate_version)")
        columns.append(f"UNIQUE KEY {'ix_query_aggregate' if strategy == 'simple' else 'ix_event_id'} (event_id)")
        return [f"CREATE TABLE {table} ({', '.join(columns)}) ENGINE=InnoDB CHARSET utf8mb4 COLLATE utf8mb4_bin"]

    def _postgresql(self, table: str, strategy: str) -> list[str]:
        checks = "".join(
            f", CONSTRAINT aggregate_{key}_not_null CHECK ((metadata->>'_aggregate_{key}') IS NOT NULL)"
            for key in ("version", "type", "id")
            if strategy == "partition"
        )
        statements = [
            f"CREATE TABLE {table} (no BIGSERIAL PRIMARY KEY, event_id UUID NOT NULL UNIQUE,"
            f" event_name VARCHAR(100) NOT NULL, payload JSON NOT NULL, metadata JSONB NOT NULL,"
            f" created_at TIMESTAMP(6) NOT NULL{checks})"
        ]
        aggregate = "(metadata->>'_aggregate_type'), (metadata->>'_aggregate_id')"
        if strategy == "partition":
            statements += [
                f"CREATE UNIQUE INDEX ON {table} ({aggregate}, (metadata->>'_aggregate_version'))",
                f"CREATE INDEX ON {table} ({aggregate}, no)",
            ]
        if strategy == "aggregate":
            statements.append(f"CREATE UNIQUE INDEX ON {table} ((metadata->>'_aggregate_version'))")
        return statements


def table_of(stream: str) -> str:
    """The table of a stream, which Ecotone names by a hash."""
    return "_" + hashlib.sha1(stream.encode(), usedforsecurity=False).hexdigest()
