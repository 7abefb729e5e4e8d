"""What differs between the servers that Ecotone writes to, as named operations on SQL text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import sqlalchemy as sa

from webapp.store.database import Database

Strategy = Literal["simple", "partition", "aggregate"]


class Server:
    """The SQL that MySQL and MariaDB share, and what all do alike. Expressions are over one stream's table."""

    payload = "payload"
    metadata = "metadata"
    event_id = "event_id"
    event_id_is = "event_id = :event_id"
    aggregate_type = "aggregate_type"
    aggregate_id = "aggregate_id"
    version = "aggregate_version"
    now = "UTC_TIMESTAMP(6)"
    schema = "DATABASE()"
    along_positions = " FORCE INDEX (PRIMARY)"
    """A hint after a table's name: read along the primary key, whatever the filter suggests."""
    skips_aggregate_streams = True
    """Whether V1 projections read nothing from streams of the aggregate strategy, without an error."""

    def __init__(self, database: Database) -> None:
        self._preparer = database.engine.dialect.identifier_preparer

    def quote(self, table: str) -> str:
        """A table's name as an identifier in SQL text."""
        return self._preparer.quote_identifier(table)

    def field(self, key: str) -> str:
        """The text of a metadata key's value, NULL where it is absent or null."""
        # As plain text before it is compared: MariaDB would take the string "null" for null.
        return f"JSON_UNQUOTE(NULLIF(CONCAT(JSON_EXTRACT(metadata, '$.\"{key}\"')), 'null'))"

    def text_of(self, column: str) -> str:
        """A JSON column as the text it was stored as."""
        return column

    def payload_contains(self, parameter: str) -> str:
        """Whether the payload holds a text as it was written, upper and lower case apart."""
        return f"LOCATE({parameter}, CONVERT(payload USING utf8mb4) COLLATE utf8mb4_bin) > 0"

    def is_named(self, name: str) -> str:
        """Whether a row of the registry is the one of `:name`, which is given for a look."""
        if any(character > "\uffff" for character in name):  # Ecotone's column is utf8mb3, which has no word for those
            return "CONVERT(real_stream_name USING utf8mb4) = :name"
        return "real_stream_name = :name"

    def strategies(self, connection: sa.Connection) -> dict[str, Strategy]:
        """The strategy that each stream's table was made for, of all tables that can be a stream's."""
        rows = connection.exec_driver_sql(
            "SELECT table_name, MAX(column_name = 'aggregate_id'), MAX(column_name = 'aggregate_version')"
            " FROM information_schema.columns WHERE table_schema = DATABASE()"
            " AND column_name IN ('event_id', 'aggregate_id', 'aggregate_version') GROUP BY table_name"
        )
        return {row[0]: _strategy(row[1], row[2]) for row in rows}

    def estimates(self, connection: sa.Connection, tables: Sequence[str]) -> dict[str, int]:
        """The server's own idea of the number of rows in each table, where it has one."""
        query = sa.text(
            "SELECT table_name, table_rows FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND table_name IN :tables"
        ).bindparams(sa.bindparam("tables", expanding=True))
        return {row[0]: int(row[1]) for row in connection.execute(query, {"tables": tables}) if row[1] is not None}

    def tables_with(self, connection: sa.Connection, columns: Iterable[str]) -> list[str]:
        """Tables that have all of these columns, by name."""
        wanted = sorted(columns)
        query = sa.text(
            f"SELECT table_name FROM information_schema.columns WHERE table_schema = {self.schema} "
            "AND column_name IN :wanted GROUP BY table_name HAVING COUNT(*) = :many ORDER BY table_name"
        ).bindparams(sa.bindparam("wanted", expanding=True))
        return list(connection.execute(query, {"wanted": wanted, "many": len(wanted)}).scalars())

    def columns_of(self, connection: sa.Connection, table: str) -> set[str]:
        """The columns of a table that this user may see."""
        query = f"SELECT column_name FROM information_schema.columns WHERE table_schema = {self.schema}"
        return set(connection.execute(sa.text(f"{query} AND table_name = :name"), {"name": table}).scalars())

    def aggregate_ids(self, table: str) -> str:
        """A query for the first `:limit` ids of `:type` after `:after` that begin with `:prefix`, along the index.

        It hops from id to id, so it doesn't matter how many events each has. Comparing is by bytes.
        """
        return (
            f"SELECT aggregate_id AS id FROM {table} WHERE aggregate_type = :type AND aggregate_id > :after"
            # Up to the prefix followed by the highest character there is.
            " AND aggregate_id >= :prefix AND aggregate_id < CONCAT(:prefix, CONVERT(x'F48FBFBF' USING utf8mb4))"
            " GROUP BY aggregate_id ORDER BY aggregate_id LIMIT :limit"
        )

    def in_order(self, connection: sa.Connection, ids: Iterable[str], after: str, limit: int) -> list[str]:
        """The first ids after one, sorted as `aggregate_ids` sorts them."""
        return sorted(id for id in ids if id > after)[:limit]


class MySql(Server):
    """MySQL: native JSON, which it rewrites (order of keys, 2.0 as 2)."""


class MariaDb(Server):
    """MariaDB: JSON is text with a check, kept as it was written."""


class PostgreSql(Server):
    """PostgreSQL: payloads kept as written, metadata as jsonb under expression indexes."""

    payload = "payload::text"
    metadata = "metadata::text"
    event_id = "event_id::text"
    event_id_is = "event_id = CAST(:event_id AS uuid)"
    # Word for word as in Ecotone's indexes, or those aren't used.
    aggregate_type = "(metadata ->> '_aggregate_type')"
    aggregate_id = "(metadata ->> '_aggregate_id')"
    version = "CAST(metadata ->> '_aggregate_version' AS bigint)"
    now = "(clock_timestamp() AT TIME ZONE 'UTC')"
    schema = "current_schema()"
    along_positions = ""
    skips_aggregate_streams = False

    def quote(self, table: str) -> str:
        # A stream's name with a dot in it has its table in the schema before the dot.
        return ".".join(self._preparer.quote_identifier(part) for part in table.split(".", 1))

    def field(self, key: str) -> str:
        return f"(metadata ->> '{key}')"

    def is_named(self, name: str) -> str:
        return "real_stream_name = :name"

    def text_of(self, column: str) -> str:
        return f"{column}::text"

    def payload_contains(self, parameter: str) -> str:
        return f"strpos(payload::text, {parameter}) > 0"

    def strategies(self, connection: sa.Connection) -> dict[str, Strategy]:
        # They show in the check constraints and in a unique index over the version.
        rows = connection.exec_driver_sql(
            "SELECT c.relname, n.nspname || '.' || c.relname,"
            " EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c'"
            "  AND strpos(pg_get_constraintdef(k.oid), '''_aggregate_id''') > 0),"
            " EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indexprs IS NOT NULL"
            "  AND strpos(pg_get_indexdef(i.indexrelid), '''_aggregate_version''') > 0)"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p') AND length(c.relname) = 41 AND left(c.relname, 1) = '_'"
        )
        found: dict[str, Strategy] = {}
        for name, qualified, has_aggregate, has_version in rows:
            found[name] = found[qualified] = _strategy(has_aggregate, has_version)
        return found

    def estimates(self, connection: sa.Connection, tables: Sequence[str]) -> dict[str, int]:
        query = sa.text(
            "SELECT place - 1, (SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(name))"
            " FROM unnest(CAST(:tables AS text[])) WITH ORDINALITY AS named(name, place)"
        )
        rows = connection.execute(query, {"tables": [self.quote(table) for table in tables]})
        return {tables[place]: number for place, number in rows if number is not None and number >= 0}

    def aggregate_ids(self, table: str) -> str:
        # Not every collation keeps ids with one beginning together, so a search by prefix ends after some hops.
        ids = f"SELECT {self.aggregate_id} FROM {table} WHERE {self.aggregate_type} = :type AND {self.aggregate_id}"
        return (
            f"WITH RECURSIVE hops(id, hop) AS (SELECT ({ids} > :after AND {self.aggregate_id} >= :prefix"
            f" ORDER BY {self.aggregate_id} LIMIT 1), 1 UNION ALL"
            f" SELECT ({ids} > hops.id ORDER BY {self.aggregate_id} LIMIT 1), hop + 1 FROM hops"
            " WHERE hops.id IS NOT NULL AND hop < 10000)"
            " SELECT id FROM hops WHERE id IS NOT NULL AND starts_with(id, :prefix) LIMIT :limit"
        )

    def in_order(self, connection: sa.Connection, ids: Iterable[str], after: str, limit: int) -> list[str]:
        query = sa.text("SELECT id FROM unnest(CAST(:ids AS text[])) AS id WHERE id > :after ORDER BY id LIMIT :limit")
        return list(connection.execute(query, {"ids": list(ids), "after": after, "limit": limit}).scalars())


def _strategy(has_aggregate: bool, has_version: bool) -> Strategy:
    if has_aggregate:
        return "partition"
    return "aggregate" if has_version else "simple"


def server_for(database: Database) -> Server:
    """The operations of the server that a database is on."""
    servers: dict[str, type[Server]] = {"PostgreSQL": PostgreSql, "MySQL": MySql, "MariaDB": MariaDb}
    return servers[database.dialect.name](database)
