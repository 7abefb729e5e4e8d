"""PostgreSQL: advisory locks, COPY, transactional DDL."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from webapp.errors import AppendOnly, DuplicateKey, ProjectionistError, StoreUnavailable, TimedOut
from webapp.store.dialects.base import Dialect, LogCounter, rename_seconds
from webapp.store.dialects.callers import PsycopgCallers
from webapp.store.dialects.listening import Listener, announce_sql
from webapp.store.dialects.settling import SequenceAndLocks

if TYPE_CHECKING:
    from webapp.store.database import Database

_append_one = (
    "SELECT at_position, at_version, at_microsecond "
    "FROM projectionist_append(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)

_no_room = ("could not extend file", "could not write to file", "could not write block")
"""How errors begin that carry another code than that of a full disk where a limit of file sizes was reached."""


class PostgreSql(Dialect):
    """PostgreSQL 13 and newer through psycopg 3."""

    name = "PostgreSQL"
    callers = PsycopgCallers()
    parallel = SequenceAndLocks()

    def begin_reading(self, connection: sa.Connection, seconds: float) -> None:
        connection.exec_driver_sql(
            "SELECT set_config('transaction_read_only', 'on', true), set_config('statement_timeout', %s, true)",
            (str(int(seconds * 1000)),),
        )

    def begin_snapshot(self, connection: sa.Connection, seconds: float) -> None:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.begin_reading(connection, seconds)

    def now(self) -> str:
        return "clock_timestamp()"

    def is_retryable(self, error: BaseException) -> bool:
        # serialization_failure, deadlock_detected, lock_not_available
        return getattr(error, "sqlstate", None) in ("40001", "40P01", "55P03")

    def is_lost_connection(self, error: BaseException) -> bool:
        # without a code the driver itself says so; else it's a connection exception or an operator's intervention
        state = getattr(error, "sqlstate", None)
        return type(error).__name__ in ("OperationalError", "AdminShutdown", "CrashShutdown") and (
            state is None or state.startswith(("08", "57P"))
        )

    def is_about_data(self, error: BaseException) -> bool:
        # datatype_mismatch: a number given to a column of text
        return super().is_about_data(error) or getattr(error, "sqlstate", None) == "42804"

    def explain_error(self, error: BaseException, where: str) -> ProjectionistError:
        state = getattr(error, "sqlstate", None) or ""
        detail = (str(error).strip().splitlines() or [""])[0]
        if state == "23505":
            return DuplicateKey(f"{where}: {detail}")
        if state == "57014":
            return TimedOut("The database took too long for one page. Narrow the filter or continue from there.")
        if state == "42P01":
            return self.needs_migration(where, f"a table ({detail})")
        if state == "P0001" and "append-only" in detail:
            return AppendOnly(detail)
        if state == "53100" or detail.startswith(_no_room):
            return self.disk_full(where, detail)
        if state == "42501":
            return StoreUnavailable(f"{where} denied a right: {detail}. Grant it, or use another role.")
        if not state and type(error).__name__ in ("OperationalError", "ConnectionTimeout"):
            return self._explain_connecting(detail, where)
        return super().explain_error(error, where)

    def _explain_connecting(self, detail: str, where: str) -> ProjectionistError:
        """While connecting there is no SQLSTATE, just the server's words."""
        if "authentication failed" in detail or "no password supplied" in detail:
            return StoreUnavailable(f"{where} refused the login. Check user and password.")
        if "FATAL" in detail and "database" in detail and "does not exist" in detail:
            return StoreUnavailable(f"{where}: there is no such database. Create it, or mend the URL.")
        if "FATAL" in detail:
            return StoreUnavailable(
                f"{where} refused the connection: {detail.rsplit('FATAL:', maxsplit=1)[-1].strip()}."
            )
        return StoreUnavailable(f"{where} can't be reached: {detail}. Is it running, are host and port right?")

    def append_rows(
        self,
        connection: sa.Connection,
        table: str,
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        kinds: Sequence[str] = (),
    ) -> None:
        names = ", ".join(columns)
        cursor = _cursor_of_ids(connection)
        if len(rows) < self.bulk_rows:
            one = f"({', '.join(['%s'] * len(columns))})"
            values = [value for row in rows for value in row]
            cursor.execute(f"INSERT INTO {table} ({names}) VALUES {', '.join([one] * len(rows))}", values)
            return
        binary = " (FORMAT BINARY)" if kinds else ""
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN{binary}") as copy:
            if kinds:
                copy.set_types(kinds)
            for row in rows:
                copy.write_row(row)

    def append_narrow_rows(
        self,
        connection: sa.Connection,
        table: str,
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        kinds: Sequence[str],
    ) -> None:
        arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
        connection.connection.cursor().execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM unnest({arrays})",
            [list(values) for values in zip(*rows, strict=True)],
        )

    bulk_rows = 20  # below this a COPY costs more than it saves

    @contextmanager
    def pipelined(self, connection: sa.Connection) -> Iterator[None]:
        driver: Any = connection.connection.driver_connection
        with driver.pipeline() if _can_pipeline() else nullcontext():
            yield

    def read_rows(self, connection: sa.Connection, sql: str, values: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        cursor = _cursor_of_ids(connection)
        # Planned each time: a plan kept from when a table was small would go on reading all of it when it has grown.
        cursor.execute(sql, tuple(values), prepare=False)
        rows: Sequence[tuple[Any, ...]] = cursor.fetchall()
        return rows

    @contextmanager
    def migration_lock(self, connection: sa.Connection) -> Iterator[None]:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('projectionist migrate'))")
        yield

    triggers = (
        "SELECT tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
        "WHERE NOT tgisinternal AND c.relnamespace = current_schema()::regnamespace"
    )

    def lock_log_name(self, connection: sa.Connection, log: str) -> None:
        # Queueing at an advisory lock is far quicker than queueing at a row that each winner rewrites; the class of the
        # two-key form keeps our keys apart from those of others.
        connection.connection.cursor().execute("SELECT pg_advisory_xact_lock(20260, hashtext(%s))", (log,))

    def lock_log(self, connection: sa.Connection, log: str) -> LogCounter | None:
        cursor = connection.connection.cursor()
        with self.pipelined(connection):
            self.lock_log_name(connection, log)
            cursor.execute(
                "SELECT id, head, streams, greatest(recorded_at, clock_timestamp()), retired_at IS NOT NULL, ordering, "
                "counted, counted_streams FROM projectionist_logs WHERE name = %s FOR UPDATE",
                (log,),
            )
        row = cursor.fetchone()
        return None if row is None else LogCounter(*row)

    def decode_time(self, value: Any) -> dt.datetime:
        return value.astimezone(dt.UTC)  # type: ignore[no-any-return]

    def one_of(self, column: str, values: Sequence[Any]) -> tuple[str, Sequence[Any]]:
        return f"{column} = ANY({{p}})", [list(values)]  # planned far quicker than hundreds of values

    def savepoint_for_ddl(self, connection: sa.Connection) -> AbstractContextManager[object]:
        return connection.begin_nested()

    def is_denied(self, error: BaseException) -> bool:
        return getattr(error, "sqlstate", None) == "42501"

    def append_one(self, connection: sa.PoolProxiedConnection, values: Sequence[Any]) -> tuple[int, int, Any] | None:
        driver: Any = connection.driver_connection
        driver.autocommit = True  # or BEGIN and COMMIT would be round trips of their own
        try:
            row = driver.execute(_append_one, (*values[:5], values[5].hex(), *values[6:])).fetchone()
        finally:
            if not driver.closed:
                driver.autocommit = False
        return None if row[0] is None else row

    def lacks_routine(self, error: BaseException) -> bool:
        return getattr(error, "sqlstate", None) in ("42883", "42501")

    ignore_conflict = "ON CONFLICT DO NOTHING"

    def contains(self, column: str) -> str:
        return f"strpos({column}, {{p}}) > 0"

    def upsert_rows(
        self,
        connection: sa.Connection,
        table: str,
        columns: Sequence[str],
        key: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        name = self.quote(connection, table)
        names = ", ".join(self.quote(connection, column) for column in columns)
        tail = self._upsert_sql(connection, table, columns, key)
        cursor: Any = connection.connection.cursor()
        if len(rows) < 50:
            marks = f"({', '.join(['%s'] * len(columns))})"
            values = [value for row in rows for value in row]
            cursor.execute(f"INSERT INTO {name} ({names}) VALUES {', '.join([marks] * len(rows))} {tail}", values)
            return
        cursor.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS pg_temp.incoming_rows (LIKE {name}) ON COMMIT DROP")
        with cursor.copy(f"COPY pg_temp.incoming_rows ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        cursor.execute(f"INSERT INTO {name} ({names}) SELECT {names} FROM pg_temp.incoming_rows {tail}")
        cursor.execute("DROP TABLE pg_temp.incoming_rows")

    def announce_append(self, connection: sa.Connection, log: str) -> None:
        connection.connection.cursor().execute(announce_sql, (log, log))

    def open_listener(self, database: Database) -> Listener | None:
        return Listener(database)

    def clock(self, connection: sa.Connection) -> dt.datetime:
        return connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one().astimezone(dt.UTC)  # type: ignore[no-any-return]

    def rename_tables(self, connection: sa.Connection, renames: Sequence[tuple[str, str]]) -> None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{rename_seconds}s'")
        super().rename_tables(connection, renames)

    def find_dependents(self, connection: sa.Connection, table: str) -> list[str]:
        name = self.quote(connection, table)
        found = connection.exec_driver_sql(
            "SELECT DISTINCT 'The view ' || v.oid::regclass FROM pg_depend d "
            "JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid "
            "JOIN pg_class v ON v.oid = r.ev_class "
            "WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass(%s) AND v.oid <> d.refobjid "
            "UNION ALL SELECT 'The foreign key ' || conname || ' of ' || conrelid::regclass FROM pg_constraint "
            "WHERE contype = 'f' AND confrelid = to_regclass(%s) ORDER BY 1",
            (name, name),
        )
        return list(found.scalars())

    def copy_grants(self, connection: sa.Connection, source: str, target: str) -> None:
        rights = connection.exec_driver_sql(
            "SELECT a.privilege_type, a.is_grantable, r.rolname FROM pg_class c CROSS JOIN aclexplode(c.relacl) a "
            "LEFT JOIN pg_roles r ON r.oid = a.grantee WHERE c.oid = to_regclass(%s) AND a.grantee <> c.relowner",
            (self.quote(connection, source),),
        )
        for right, is_grantable, role in rights.all():
            grantee = "PUBLIC" if role is None else self.quote(connection, role)
            option = " WITH GRANT OPTION" if is_grantable else ""
            connection.exec_driver_sql(f"GRANT {right} ON {self.quote(connection, target)} TO {grantee}{option}")

    def connection_limit(self, connection: sa.Connection) -> int | None:
        return int(connection.exec_driver_sql("SHOW max_connections").scalar_one())


def _cursor_of_ids(connection: sa.Connection) -> Any:
    """A cursor that takes and gives UUIDs as 16 bytes, which spares making an object of each."""
    from psycopg.types.string import ByteaBinaryLoader

    driver: Any = connection.connection.driver_connection
    cursor = driver.cursor(binary=True)
    cursor.adapters.register_loader("uuid", ByteaBinaryLoader)
    cursor.adapters.register_dumper(bytes, _id_dumper())
    return cursor


@functools.cache
def _id_dumper() -> type[Any]:
    from psycopg.adapt import Dumper
    from psycopg.postgres import types
    from psycopg.pq import Format

    class IdDumper(Dumper):
        format = Format.BINARY
        oid = types["uuid"].oid

        def dump(self, obj: bytes) -> bytes:
            return obj

    return IdDumper


@functools.cache
def _can_pipeline() -> bool:
    """libpq 14 and newer can."""
    from psycopg import Pipeline

    return Pipeline.is_supported()
