"""SQLite: one writer at a time, transactions begun by us, no server clock but the host's."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from webapp.errors import AppendOnly, DuplicateKey, ProjectionistError, StoreUnavailable, TimedOut
from webapp.store.dialects.base import Dialect, LogCounter
from webapp.store.dialects.callers import SqliteCallers
from webapp.store.tables import count_step, stream_bits

if TYPE_CHECKING:
    from webapp.store.database import Database

_instructions_between_looks = 20_000
_mode_attempts = 10
_values_in_a_statement = 600

# What webapp.store.routines does on a server: here statements cost no round trip.
_find_standing = (
    "SELECT l.id, l.head + 1, l.streams, l.recorded_at, e.id, a.id, s.id, s.continued_by, "
    "coalesce((SELECT max(v.version) FROM projectionist_events v WHERE v.stream_id = s.id), 0) "
    "FROM projectionist_logs l JOIN projectionist_types e ON e.log_id = l.id AND e.kind = 'event' AND e.name = ? "
    "JOIN projectionist_types a ON a.log_id = l.id AND a.kind = 'aggregate' AND a.name = ? "
    "LEFT JOIN projectionist_streams s ON s.type_id = a.id AND s.aggregate_id = ? "
    "WHERE l.name = ? AND l.ordering = 'dense' AND l.retired_at IS NULL"
)
_add_stream = "INSERT INTO projectionist_streams (id, type_id, aggregate_id) VALUES (?, ?, ?)"
_move_counter = "UPDATE projectionist_logs SET head = ?, streams = ?, recorded_at = ? WHERE id = ?"
_add_event = (
    "INSERT INTO projectionist_events (log_id, position, stream_id, version, type_id, id, recorded_at, correlation_id, "
    "causation_id, actor, data, metadata) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Sqlite(Dialect):
    """SQLite 3.35 and newer, the file in WAL mode."""

    name = "SQLite"
    callers = SqliteCallers()

    keeps_decimals = False  # NUMERIC is an affinity to floating point here

    def begin_reading(self, connection: sa.Connection, seconds: float) -> None:
        driver = connection.connection.driver_connection
        ends_at = time.monotonic() + seconds
        driver.set_progress_handler(lambda: time.monotonic() > ends_at, _instructions_between_looks)  # type: ignore[union-attr]
        connection.exec_driver_sql("PRAGMA query_only = ON")  # also begins SQLAlchemy's transaction

    def end_reading(self, connection: sa.Connection) -> None:
        driver = connection.connection.driver_connection
        driver.set_progress_handler(None, 0)  # type: ignore[union-attr]
        connection.rollback()
        driver.execute("PRAGMA query_only = OFF")  # type: ignore[union-attr]

    def begin_writing(self, connection: sa.Connection) -> None:
        # Takes the write lock at once: a reader that turns writer would fail instead of waiting.
        connection.execution_options(sqlite_begin="BEGIN IMMEDIATE")

    def now(self) -> str:
        return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"

    def is_retryable(self, error: BaseException) -> bool:
        return "database is locked" in str(error) or "table is locked" in str(error)

    def is_about_data(self, error: BaseException) -> bool:
        return super().is_about_data(error) or "binding parameter" in str(error)

    def explain_error(self, error: BaseException, where: str) -> ProjectionistError:
        detail = str(error)
        if detail.startswith("UNIQUE constraint failed"):
            return DuplicateKey(f"{where}: {detail}")
        if detail == "interrupted":
            return TimedOut("The database took too long for one page. Narrow the filter or continue from there.")
        if "append-only" in detail:
            return AppendOnly(detail)
        if detail.startswith("no such table"):
            return self.needs_migration(where, f"a table ({detail})")
        if detail.startswith("no such file"):
            return StoreUnavailable(
                f"{where}: there is no such file. Mend the path, or make it: projectionist migrate URL"
            )
        if detail.startswith("is a folder"):
            return StoreUnavailable(f"{where} is a folder, not a file. Name the database file in it.")
        if "unable to open database file" in detail:
            return StoreUnavailable(
                f"{where} can't be opened. Does its folder exist, and may this user read and write it?"
            )
        if "file is not a database" in detail:
            return StoreUnavailable(f"{where} is not an SQLite database. Mend the path.")
        if "disk is full" in detail or "disk I/O error" in detail:
            # SQLite says I/O error for a file size limit too, and for a disk that fails.
            return self.disk_full(where, detail)
        if "readonly" in detail:
            return StoreUnavailable(
                f"{where} can't be written. Give this user the right to write the file and its folder."
            )
        return super().explain_error(error, where)

    def append_rows(
        self,
        connection: sa.Connection,
        table: str,
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        kinds: Sequence[str] = (),
    ) -> None:
        # Statements of many rows: a row of a statement of its own costs half as much again.
        driver: Any = connection.connection.driver_connection
        one = f"({', '.join('?' * len(columns))})"
        sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "
        size = max(1, _values_in_a_statement // len(columns))
        whole = len(rows) - len(rows) % size
        chunks = (tuple(chain.from_iterable(rows[at : at + size])) for at in range(0, whole, size))
        driver.executemany(sql + ", ".join([one] * size), chunks)
        driver.executemany(sql + one, rows[whole:])

    parameter = "?"

    def octets(self, column: str) -> str:
        return f"length(CAST({column} AS BLOB))"  # octet_length came with 3.43; a text's own length has to be counted

    def prepare_database(self, database: Database) -> None:
        # WAL lets pages read while a writer writes; the mode stays with the file. SQLite doesn't wait by itself where
        # several processes change the mode at once.
        for attempt in range(1, _mode_attempts + 1):
            try:
                with database.translated(), database.engine.connect() as connection:
                    connection.connection.driver_connection.execute("PRAGMA journal_mode = WAL")  # type: ignore[union-attr]
                    return
            except StoreUnavailable as error:
                if attempt == _mode_attempts or not database.is_retryable(error):
                    raise
                self.wait_before_retry(attempt)

    triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"

    def lock_log(self, connection: sa.Connection, log: str) -> LogCounter | None:
        # BEGIN IMMEDIATE holds the whole file's write lock already.
        row = connection.connection.driver_connection.execute(  # type: ignore[union-attr]
            "SELECT id, head, streams, recorded_at, retired_at IS NOT NULL, ordering, counted, counted_streams "
            "FROM projectionist_logs WHERE name = ?",
            (log,),
        ).fetchone()
        if row is None:
            return None
        now = dt.datetime.now(dt.UTC)  # the host's clock is the database's; SQLite's own stops at milliseconds
        last = self.decode_time(row[3]) if row[3] else now
        log_id, head, streams, _, is_retired, *rest = row
        return LogCounter(log_id, head, streams, max(last, now), bool(is_retired), *rest)

    def decode_time(self, value: Any) -> dt.datetime:
        if not isinstance(value, dt.datetime):  # which it is on connections that convert, such as Django's
            value = dt.datetime.fromisoformat(value)
        return value.replace(tzinfo=dt.UTC)  # type: ignore[no-any-return]

    def append_one(self, connection: sa.PoolProxiedConnection, values: Sequence[Any]) -> tuple[int, int, Any] | None:
        driver: Any = connection.driver_connection
        log, aggregate_type, aggregate_id, expected, type_, *content = values
        driver.execute("BEGIN IMMEDIATE")
        row = driver.execute(_find_standing, (type_, aggregate_type, aggregate_id, log)).fetchone()
        if (
            row is None
            or row[7] is not None
            or (expected is not None and expected != row[8])
            or row[1] % count_step == 0
        ):
            driver.execute("ROLLBACK")
            return None
        log_id, position, streams, last_at, type_id, aggregate_type_id, stream_id, _, version = row
        time = self.encode_time(dt.datetime.now(dt.UTC))
        if last_at is not None and last_at > time:
            time = last_at
        if stream_id is None:
            streams += 1
            stream_id = log_id << stream_bits | streams
            driver.execute(_add_stream, (stream_id, aggregate_type_id, aggregate_id))
        driver.execute(_move_counter, (position, streams, time, log_id))
        driver.execute(_add_event, (log_id, position, stream_id, version + 1, type_id, content[0], time, *content[1:]))
        driver.execute("COMMIT")
        return position, version + 1, time

    def encode_time(self, value: dt.datetime) -> Any:
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")

    ignore_conflict = "ON CONFLICT DO NOTHING"

    def contains(self, column: str) -> str:
        return f"instr({column}, {{p}}) > 0"

    def upsert_rows(
        self,
        connection: sa.Connection,
        table: str,
        columns: Sequence[str],
        key: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        names = ", ".join(self.quote(connection, column) for column in columns)
        marks = ", ".join("?" * len(columns))
        connection.connection.driver_connection.executemany(  # type: ignore[union-attr]
            f"INSERT INTO {self.quote(connection, table)} ({names}) VALUES ({marks}) "
            + self._upsert_sql(connection, table, columns, key),
            rows,
        )

    def rename_tables(self, connection: sa.Connection, renames: Sequence[tuple[str, str]]) -> None:
        # Otherwise views would be rewritten to go with the table that is renamed away.
        connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
        try:
            super().rename_tables(connection, renames)
        finally:
            connection.exec_driver_sql("PRAGMA legacy_alter_table = OFF")

    def clock(self, connection: sa.Connection) -> dt.datetime:
        return dt.datetime.now(dt.UTC)  # the host's clock is SQLite's own, and one host is all it serves
