"""MySQL 8.0 and newer: no RETURNING, DDL commits by itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from webapp.errors import AppendOnly, DuplicateKey, ProjectionistError, RefusedData, StoreUnavailable, TimedOut
from webapp.store.dialects.base import Dialect, LogCounter, rename_seconds
from webapp.store.dialects.callers import MySqlCallers
from webapp.store.dialects.settling import TicketsAndTombstones

_no_room = (1114, 1021, 1026, 1030, 3, 20)
"""Table is full, disk is full, a write failed; 1030 and 3 carry the number of the operating system's error."""
_raise_the_limit = (
    "Raise max_allowed_packet on the server, or keep large contents elsewhere and put their address into the event."
)
_surely_fits = 1_000_000


class MySql(Dialect):
    """MySQL through PyMySQL."""

    name = "MySQL"
    callers = MySqlCallers()
    parallel = TicketsAndTombstones()
    can_swap_in_transaction = False

    def begin_reading(self, connection: sa.Connection, seconds: float) -> None:
        self._limit(connection.connection, seconds)
        # Opens SQLAlchemy's transaction too; PyMySQL itself begins nothing, so the server sees just this.
        connection.exec_driver_sql("START TRANSACTION READ ONLY")

    def begin_snapshot(self, connection: sa.Connection, seconds: float) -> None:
        self._limit(connection.connection, seconds)
        # For the next transaction alone; the engine's own level lets every statement see another moment.
        connection.connection.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

    def begin_writing(self, connection: sa.Connection) -> None:
        self._limit(connection.connection, 0)

    def _limit(self, connection: sa.PoolProxiedConnection, seconds: float) -> None:
        """Sets the session's time limit where it is another one; the pool's record remembers it."""
        record = connection.record_info if connection.record_info is not None else {}
        if record.get("seconds") != seconds:
            connection.cursor().execute(self.time_limit_sql(seconds))
            record["seconds"] = seconds

    def time_limit_sql(self, seconds: float) -> str:
        """The statement that limits how long later SELECTs of the session may take; 0 lifts the limit."""
        return f"SET SESSION max_execution_time = {int(seconds * 1000)}"

    def now(self) -> str:
        return "UTC_TIMESTAMP(6)"

    def float_digits(self, type_: sa.types.TypeEngine[Any]) -> int:
        # FLOAT is of four bytes here, and shown with the digits that are sure.
        precision = getattr(type_, "precision", None)
        return 15 if isinstance(type_, sa.Double) or (precision or 0) > 24 else 6

    def time_digits(self, type_: sa.types.TypeEngine[Any]) -> int:
        return getattr(type_, "fsp", None) or 0  # DATETIME keeps whole seconds unless told

    def _code(self, error: BaseException) -> int:
        arguments: tuple[object, ...] = error.args
        code = arguments[0] if arguments else 0
        return code if isinstance(code, int) else 0

    def is_retryable(self, error: BaseException) -> bool:
        # lock wait timeout, deadlock (also Galera's certification failure), record changed since last read,
        # table looked at while another session renames it
        return self._code(error) in (1205, 1213, 1020, 1684, 1412)

    def is_lost_connection(self, error: BaseException) -> bool:
        # gone away, lost, killed, shutting down, timed out while idle; closed by the driver after one of these
        return self._code(error) in (2006, 2013, 2055, 1927, 1053, 4031) or type(error).__name__ == "InterfaceError"

    def explain_error(self, error: BaseException, where: str) -> ProjectionistError:
        code = self._code(error)
        arguments: tuple[object, ...] = error.args
        detail = str(arguments[1] if len(arguments) > 1 else error)
        if code == 1062:
            return DuplicateKey(f"{where}: {detail}")
        if code in (3024, 1969, 1317):
            return TimedOut("The database took too long for one page. Narrow the filter or continue from there.")
        if code == 1146:
            return self.needs_migration(where, f"a table ({detail})")
        if code == 1644 and "append-only" in detail:
            return AppendOnly(detail)
        if code in (1142, 1143, 1370, 1044, 1227):
            return StoreUnavailable(f"{where} denied a right: {detail}. Grant it, or use another user.")
        if code == 1045:
            return StoreUnavailable(f"{where} refused the login. Check user and password.")
        if code == 1049:
            return StoreUnavailable(f"{where}: there is no such database. Create it, or mend the URL.")
        if code in (2003, 2002, 2005):
            return StoreUnavailable(f"{where} can't be reached. Is it running, are host and port right?")
        if code == 1153 or (code == 1105 and "max_allowed_packet" in detail):
            return StoreUnavailable(f"{where} refused a packet as too large. {_raise_the_limit}")
        if code in _no_room or "Errcode: 28" in detail:
            return self.disk_full(where, detail)
        if self.is_lost_connection(error):
            return StoreUnavailable(
                f"{where} closed the connection{f': {detail}' if detail.strip() else ''}. Is it running? If this was a "
                f"large statement: {_raise_the_limit[0].lower()}{_raise_the_limit[1:]}"
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
        # PyMySQL joins the rows into statements of about max_stmt_length by itself when VALUES is nothing but %s.
        marks = ", ".join(["%s"] * len(columns))
        cursor = connection.connection.cursor()
        texts = [itemgetter(columns.index(name)) for name in ("data", "metadata") if name in columns]
        if any(max(map(len, map(text, rows))) > _surely_fits for text in texts):
            for row in rows:
                self._check_size(cursor, row)
        cursor.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)

    def _check_size(self, cursor: Any, values: Sequence[Any]) -> None:
        """Raises RefusedData for values too large for one packet, at which the server would just hang up."""
        texts = [value for value in values if isinstance(value, str)]
        if not any(len(text) > _surely_fits for text in texts):
            return
        # In a statement, where each large row stands alone, the driver writes some characters as two.
        size = sum(len(text.encode()) + sum(map(text.count, "\\\"'\n\r\0\x1a")) for text in texts) + 1_000
        cursor.execute("SELECT @@max_allowed_packet")
        (limit,) = cursor.fetchone()
        if size > limit:
            raise RefusedData(
                f"An event of {size:,} bytes is too large for the server, whose max_allowed_packet is {limit:,}. "
                + _raise_the_limit
            )

    @contextmanager
    def migration_lock(self, connection: sa.Connection) -> Iterator[None]:
        # Such locks are the server's, so the name says which database; it may have 64 characters.
        name = "CONCAT('projectionist migrate ', LEFT(SHA2(DATABASE(), 256), 40))"
        if connection.exec_driver_sql(f"SELECT GET_LOCK({name}, 60)").scalar() != 1:
            raise StoreUnavailable("Another process has been migrating this database for a minute. Try again later.")
        try:
            yield
        finally:
            connection.connection.cursor().execute(f"SELECT RELEASE_LOCK({name})")

    # Only those of tables for which the user has the TRIGGER right.
    triggers = "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()"

    def lock_log(self, connection: sa.Connection, log: str) -> LogCounter | None:
        cursor = connection.connection.cursor()
        cursor.execute(
            "SELECT id, head, streams, GREATEST(COALESCE(recorded_at, UTC_TIMESTAMP(6)), UTC_TIMESTAMP(6)), "
            "retired_at IS NOT NULL, ordering, counted, counted_streams FROM projectionist_logs WHERE name = %s FOR UPDATE",
            (log,),
        )
        row = cursor.fetchone()
        if row is None:
            return None
        log_id, head, streams, now, is_retired, *rest = row
        return LogCounter(log_id, head, streams, self.decode_time(now), bool(is_retired), *rest)

    def is_denied(self, error: BaseException) -> bool:
        return self._code(error) in (1044, 1142, 1227, 1370, 1419)

    call = "CALL"  # to which the session's time limit doesn't apply

    def append_one(self, connection: sa.PoolProxiedConnection, values: Sequence[Any]) -> tuple[int, int, Any] | None:
        cursor = connection.cursor()
        self._check_size(cursor, values)
        cursor.execute(f"{self.call} projectionist_append(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", values)
        row = cursor.fetchone()
        cursor.nextset()  # the end of the routine, without which the next statement would be out of step
        if row is None or row[0] is None:
            return None
        position, version, microsecond = map(int, row[0].split())
        return position, version, microsecond

    def lacks_routine(self, error: BaseException) -> bool:
        return self._code(error) in (1305, 1370)

    insert_or_ignore = "INSERT IGNORE INTO"

    def encode_time(self, value: dt.datetime) -> Any:
        return value.replace(tzinfo=None)

    def contains(self, column: str) -> str:
        return f"LOCATE(CAST({{p}} AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin, {column}) > 0"

    def upsert_rows(
        self,
        connection: sa.Connection,
        table: str,
        columns: Sequence[str],
        key: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        quoted = {column: self.quote(connection, column) for column in columns}
        changed = [column for column in columns if column not in key] or [key[0]]
        # VALUES(…) and not a row alias: MariaDB knows no alias, and PyMySQL joins rows into one statement only so.
        changes = ", ".join(f"{quoted[column]} = VALUES({quoted[column]})" for column in changed)
        marks = ", ".join(["%s"] * len(columns))
        connection.connection.cursor().executemany(
            f"INSERT INTO {self.quote(connection, table)} ({', '.join(quoted.values())}) VALUES ({marks}) "
            f"ON DUPLICATE KEY UPDATE {changes}",
            rows,
        )

    def clock(self, connection: sa.Connection) -> dt.datetime:
        return connection.exec_driver_sql("SELECT UTC_TIMESTAMP(6)").scalar_one().replace(tzinfo=dt.UTC)  # type: ignore[no-any-return]

    def rename_tables(self, connection: sa.Connection, renames: Sequence[tuple[str, str]]) -> None:
        # One statement is atomic for readers, though it commits by itself.
        pairs = (f"{self.quote(connection, old)} TO {self.quote(connection, new)}" for old, new in renames)
        connection.exec_driver_sql(f"SET SESSION lock_wait_timeout = {rename_seconds}")
        try:
            connection.exec_driver_sql(f"RENAME TABLE {', '.join(pairs)}")
        finally:
            connection.exec_driver_sql("SET SESSION lock_wait_timeout = DEFAULT")

    def find_dependents(self, connection: sa.Connection, table: str) -> list[str]:
        # Views go by name; foreign keys go with the table.
        found = connection.exec_driver_sql(
            "SELECT CONCAT('The foreign key ', constraint_name, ' of ', table_name) FROM "
            "information_schema.referential_constraints WHERE constraint_schema = DATABASE() "
            "AND referenced_table_name = %s ORDER BY 1",
            (table,),
        )
        return list(found.scalars())

    def connection_limit(self, connection: sa.Connection) -> int | None:
        return int(connection.exec_driver_sql("SELECT @@max_connections").scalar_one())
