"""The drivers alone, each by its fastest way, into tables like ours and into bare ones."""

from __future__ import annotations

import datetime as dt
import sqlite3
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import orjson
import psycopg
import pymysql
from sqlalchemy.engine import URL

from bench.contestants import Contestant
from bench.workload import Given
from webapp.store import EventStore
from webapp.store.database import parse_url
from webapp.store.events import uuid7_bytes
from webapp.store.reading import columns, kinds

PAGE = 2_000
NAMES = ", ".join(columns)


class Raw(Contestant):
    """One connection, one table, no library of ours in what is timed but the maker of time-ordered ids."""

    name = "raw"
    marker = "%s"

    def __init__(self, url: str, bare: bool) -> None:
        self.table = "projectionist_events"
        store = EventStore.open(url)
        store.migrate()
        store.close()
        self.url = parse_url(url)
        self.connect(self.url)
        self.position = 0
        self.stream = 0
        if bare:
            self.name = "bare"
            self.table = "bare_events"
            self.execute(self.bare_table)

    bare_table = "CREATE TABLE bare_events AS SELECT * FROM projectionist_events WHERE 1 = 0"

    def connect(self, url: URL) -> None:
        """Opens the one connection."""
        raise NotImplementedError

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Rows of a statement."""
        raise NotImplementedError

    def encode_id(self, value: bytes) -> Any:
        """An id as the driver takes it."""
        return value

    def encode_time(self, value: dt.datetime) -> Any:
        """A time as the driver takes it."""
        return value.replace(tzinfo=None)

    def rows(self, call: Sequence[Given]) -> list[tuple[Any, ...]]:
        """Rows of a table like ours, made from the inputs."""
        rows = []
        position, dumps, encode_id = self.position, orjson.dumps, self.encode_id
        now = self.encode_time(dt.datetime.now(dt.UTC))
        types = {"order.placed": 1, "order.paid": 2, "order.packed": 3, "order.shipped": 4}
        for one in call:
            self.stream += 1
            for version, (type_, data, metadata) in enumerate(one.events, one.version + 1):
                position += 1
                rows.append(
                    (
                        1, position, self.stream, version, types[type_], encode_id(uuid7_bytes()), now,
                        metadata["correlation_id"], metadata["causation_id"], metadata["actor"],
                        dumps(data).decode(), dumps(metadata).decode(),
                    )
                )  # fmt: skip
        self.position = position
        return rows

    def pages(self) -> Iterator[list[Any]]:
        """Keyset pages of 2,000 whole rows."""
        position = 0
        sql = (
            f"SELECT {NAMES} FROM {self.table} WHERE log_id = 1 AND position > {self.marker} "
            f"ORDER BY position LIMIT {PAGE}"
        )
        while rows := self.execute(sql, (position,)):
            yield rows
            position = rows[-1][1]

    def read(self) -> int:
        """Looks at each row."""
        number = 0
        for rows in self.pages():
            for row in rows:
                if row[1] and row[10]:
                    number += 1
        return number

    upsert = "ON CONFLICT (type_id) DO UPDATE SET total = counts.total + excluded.total"

    def rebuild(self) -> int:
        """Counts a page in memory, then writes the counts and how far it got in one transaction."""
        self.execute("DROP TABLE IF EXISTS counts")
        self.execute("DROP TABLE IF EXISTS reached")
        self.execute("CREATE TABLE counts (type_id INTEGER PRIMARY KEY, total INTEGER NOT NULL)")
        self.execute("CREATE TABLE reached (position BIGINT NOT NULL)")
        self.execute("INSERT INTO reached VALUES (0)")
        for rows in self.pages():
            values = ", ".join(f"({type_}, {total})" for type_, total in Counter(row[4] for row in rows).items())
            self.together(
                f"INSERT INTO counts (type_id, total) VALUES {values} {self.upsert}",
                f"UPDATE reached SET position = {rows[-1][1]}",
            )
        return int(self.execute("SELECT sum(total) FROM counts")[0][0])

    def together(self, *statements: str) -> None:
        """Statements in one transaction."""
        raise NotImplementedError


class RawPostgreSql(Raw):
    """psycopg 3."""

    how = "psycopg: COPY … FROM STDIN (FORMAT BINARY), one row: INSERT; keyset pages by a binary cursor."
    bare_table = "CREATE TABLE bare_events (LIKE projectionist_events)"

    def connect(self, url: URL) -> None:
        """A connection that begins a transaction by itself."""
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self.connection = psycopg.connect(plain)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Rows of a statement in a transaction of its own."""
        with self.connection.transaction():
            cursor = self.connection.execute(sql, values or None, binary=True)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def together(self, *statements: str) -> None:
        """Statements in one transaction."""
        with self.connection.transaction():
            for statement in statements:
                self.connection.execute(statement.encode())

    def encode_id(self, value: bytes) -> Any:
        """psycopg writes UUID objects."""
        return uuid.UUID(bytes=value)

    def encode_time(self, value: dt.datetime) -> Any:
        """timestamptz."""
        return value

    def settle(self) -> None:
        """ANALYZE."""
        self.execute("ANALYZE")

    def append(self, call: Sequence[Given]) -> None:
        """COPY, or an INSERT if there is one row."""
        rows = self.rows(call)
        if len(rows) == 1:
            marks = ", ".join(["%s"] * len(columns))
            with self.connection.cursor() as cursor:
                cursor.execute(f"INSERT INTO {self.table} ({NAMES}) VALUES ({marks})", rows[0])  # type: ignore[call-overload]
        else:
            sql = f"COPY {self.table} ({NAMES}) FROM STDIN (FORMAT BINARY)"
            with self.connection.cursor() as cursor, cursor.copy(sql) as copy:  # type: ignore[call-overload]
                copy.set_types(kinds)
                for row in rows:
                    copy.write_row(row)
        self.connection.commit()

    def close(self) -> None:
        """Closes the connection."""
        self.connection.close()


class RawMySql(Raw):
    """PyMySQL, for MariaDB too."""

    how = "PyMySQL: executemany, which joins rows into long INSERTs; keyset pages by an ordinary cursor."
    bare_table = "CREATE TABLE bare_events AS SELECT * FROM projectionist_events WHERE 1 = 0"

    def connect(self, url: URL) -> None:
        """A connection that commits when told."""
        self.connection = pymysql.connect(
            host=url.host, port=url.port or 3306, user=url.username, password=str(url.password), database=url.database,
            charset="utf8mb4",
        )  # fmt: skip

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Rows of a statement."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            rows = list(cursor.fetchall())
        self.connection.commit()
        return rows

    upsert = "ON DUPLICATE KEY UPDATE total = total + VALUES(total)"

    def together(self, *statements: str) -> None:
        """Statements in one transaction."""
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
        self.connection.commit()

    def append(self, call: Sequence[Given]) -> None:
        """One executemany."""
        marks = ", ".join(["%s"] * len(columns))
        with self.connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {self.table} ({NAMES}) VALUES ({marks})", self.rows(call))
        self.connection.commit()

    def close(self) -> None:
        """Closes the connection."""
        self.connection.close()


class RawSqlite(Raw):
    """The standard library's sqlite3."""

    how = (
        "sqlite3: executemany of INSERTs of 50 rows (a third quicker than of one row) inside BEGIN IMMEDIATE, WAL, "
        "synchronous as SQLite has it (FULL); keyset pages."
    )
    marker = "?"

    def connect(self, url: URL) -> None:
        """A connection whose transactions are begun by hand."""
        self.connection = sqlite3.connect(str(url.database), isolation_level=None)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Rows of a statement."""
        return self.connection.execute(sql, values).fetchall()

    def encode_time(self, value: dt.datetime) -> Any:
        """Text, as in our table."""
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")

    def together(self, *statements: str) -> None:
        """Statements in one transaction."""
        for statement in ("BEGIN IMMEDIATE", *statements, "COMMIT"):
            self.connection.execute(statement)

    def append(self, call: Sequence[Given]) -> None:
        """One executemany."""
        rows = self.rows(call)
        size = 50 if len(rows) % 50 == 0 else 1
        one = f"({', '.join('?' * len(columns))})"
        sql = f"INSERT INTO {self.table} ({NAMES}) VALUES {', '.join([one] * size)}"
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(sql, [tuple(chain(*rows[at : at + size])) for at in range(0, len(rows), size)])
        self.connection.execute("COMMIT")

    def close(self) -> None:
        """Closes the connection."""
        self.connection.close()


RAW: dict[str, type[Raw]] = {
    "sqlite": RawSqlite,
    "postgresql": RawPostgreSql,
    "mariadb": RawMySql,
    "mysql": RawMySql,
}
