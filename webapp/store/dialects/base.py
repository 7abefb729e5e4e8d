"""The operations that differ, with the default that most databases share."""

from __future__ import annotations

import datetime as dt
import logging
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from webapp.errors import NeedsMigration, ProjectionistError, RefusedData, StoreUnavailable
from webapp.store.dialects.settling import ParallelLogs

if TYPE_CHECKING:
    from webapp.store.database import Database
    from webapp.store.dialects.callers import CallersDriver
    from webapp.store.dialects.listening import Listener


_logger = logging.getLogger(__name__)
rename_seconds = 2
"""How long a rename waits for readers before it lets those pass that queue behind it."""


class LogCounter(NamedTuple):
    """A log's row, locked until commit."""

    id: int
    head: int
    streams: int
    now: dt.datetime
    """The database's clock, but never below the time of the log's last event."""
    is_retired: bool
    ordering: str
    counted: int
    counted_streams: int


class Dialect:
    """One database's way of doing what SQL leaves open. Stateless; methods take the connection they work on."""

    name = ""
    can_swap_in_transaction = True
    """Whether renaming tables is part of the transaction it happens in."""

    # --- transactions -----------------------------------------------------------------------------------------------

    def begin_reading(self, connection: sa.Connection, seconds: float) -> None:
        """Starts a read-only transaction whose statements end after `seconds`."""
        raise NotImplementedError

    def begin_snapshot(self, connection: sa.Connection, seconds: float) -> None:
        """Like begin_reading; every statement of it sees the data as they stood at one moment."""
        self.begin_reading(connection, seconds)

    def end_reading(self, connection: sa.Connection) -> None:
        """Ends what begin_reading began."""
        connection.rollback()

    def begin_writing(self, connection: sa.Connection) -> None:
        """Starts a transaction that may write, without a time limit."""

    def wait_before_retry(self, attempt: int) -> None:
        """Sleeps a little, longer and less predictably each time, so that rivals don't meet again."""
        time.sleep(random.uniform(0.001, 0.01) * 2 ** min(attempt, 6))  # noqa: S311 - no secret, only spread

    callers: CallersDriver
    """How connections are used that belong to a caller."""

    parallel: ParallelLogs = ParallelLogs()
    """How logs with many writers at once are kept."""

    # --- names and small expressions --------------------------------------------------------------------------------

    def quote(self, connection: sa.Connection, name: str) -> str:
        """A name as an identifier in SQL text."""
        return connection.dialect.identifier_preparer.quote_identifier(name)

    def now(self) -> str:
        """SQL for the database's clock in UTC with microseconds."""
        raise NotImplementedError

    # --- what comes back --------------------------------------------------------------------------------------------

    keeps_decimals = True
    """Whether decimals come back as they were written, not as floating point."""

    def float_digits(self, type_: sa.types.TypeEngine[Any]) -> int:
        """How many digits of a number come back from a column of floating point."""
        return 15

    def time_digits(self, type_: sa.types.TypeEngine[Any]) -> int:
        """How many digits of a second come back from a column of dates with times."""
        return 6

    # --- errors -----------------------------------------------------------------------------------------------------

    def is_retryable(self, error: BaseException) -> bool:
        """Whether running the whole transaction again is the cure: a deadlock, a lock timeout, a lost race."""
        return False

    def is_lost_connection(self, error: BaseException) -> bool:
        """Whether the connection to the server broke; where there is no server it can't."""
        return False

    def is_about_data(self, error: BaseException) -> bool:
        """Whether the values were at fault, not the connection: all drivers share these names (PEP 249)."""
        return bool({"DataError", "IntegrityError"} & {kind.__name__ for kind in type(error).__mro__})

    def explain_error(self, error: BaseException, where: str) -> ProjectionistError:
        """A driver's error as one of ours, ending in what to do."""
        detail = str(error).strip().splitlines()
        if self.is_about_data(error):
            return RefusedData(f"{where} refused a value: {detail[0] if detail else type(error).__name__}")
        return StoreUnavailable(f"{where} can't be used: {detail[0] if detail else type(error).__name__}")

    def disk_full(self, where: str, detail: str) -> StoreUnavailable:
        """The error for a write that found no room; the transaction it was part of is rolled back."""
        return StoreUnavailable(
            f"{where} has no room left to write: {detail}. The disk is full, or a quota or file size limit is reached: "
            "make room, then try again. What was acknowledged is safe."
        )

    def needs_migration(self, where: str, what: str) -> NeedsMigration:
        """The error for a missing table or column of ours."""
        return NeedsMigration(f"{where} lacks {what}. Run: projectionist migrate URL")

    # --- our tables -------------------------------------------------------------------------------------------------

    def has_table(self, connection: sa.Connection, table: str) -> bool:
        """Whether a table or view of that name is visible in the current schema."""
        return sa.inspect(connection).has_table(table)

    def prepare_database(self, database: Database) -> None:
        """Settings that a database of ours should have before its first table; nothing for servers."""

    @contextmanager
    def migration_lock(self, connection: sa.Connection) -> Iterator[None]:
        """Holds the one right to migrate this database."""
        yield

    triggers = ""
    """SQL for the names of the triggers that this user can see."""

    def lock_log(self, connection: sa.Connection, log: str) -> LogCounter | None:
        """A log's row with its counter locked until commit; None if there is no such log."""
        raise NotImplementedError

    def lock_log_name(self, connection: sa.Connection, log: str) -> None:
        """Waits for other appends to a log of that name, where a row lock alone is slow under contention."""

    parameter = "%s"
    """How the driver marks a value in SQL text."""

    insert_or_ignore = "INSERT INTO"
    ignore_conflict = ""
    """What stands around an insert that does nothing where the key is taken."""

    def encode_time(self, value: dt.datetime) -> Any:
        """An aware moment in UTC as the driver wants it."""
        return value

    def decode_time(self, value: Any) -> dt.datetime:
        """A moment as the driver gives it, aware, in UTC."""
        return value.replace(tzinfo=dt.UTC)  # type: ignore[no-any-return]

    def one_of(self, column: str, values: Sequence[Any]) -> tuple[str, Sequence[Any]]:
        """SQL for "the column holds one of these", its values marked {p}, and what to give for the marks."""
        return f"{column} IN ({', '.join(['{p}'] * len(values))})", values

    def contains(self, column: str) -> str:
        """SQL for "the text holds this", byte by byte; its value is marked {p}."""
        raise NotImplementedError

    # --- appending one event ----------------------------------------------------------------------------------------

    def create_routine(self, connection: sa.Connection, statement: str) -> None:
        """Makes the routine of webapp.store.routines, or says in the log why this user can't."""
        try:
            with self.savepoint_for_ddl(connection):
                connection.exec_driver_sql(statement)
        except sa.exc.DBAPIError as error:
            if error.orig is None or not self.is_denied(error.orig):
                raise
            _logger.warning("Appends will take more round trips, for this user can't make routines: %s", error.orig)

    def savepoint_for_ddl(self, connection: sa.Connection) -> AbstractContextManager[object]:
        """What keeps a statement that fails from spoiling the transaction; nothing where DDL commits by itself."""
        return nullcontext()

    def is_denied(self, error: BaseException) -> bool:
        """Whether the user lacks a right."""
        return False

    def append_one(self, connection: sa.PoolProxiedConnection, values: Sequence[Any]) -> tuple[int, int, Any] | None:
        """Position, version and time of one event, appended and committed at once; None where that can't be, and nothing is changed.

        The values are the parameters of the routine, in its order; no transaction may be open.
        """
        raise NotImplementedError

    def lacks_routine(self, error: BaseException) -> bool:
        """Whether append_one failed because its routine isn't there, or not for this user."""
        return False

    # --- bulk -------------------------------------------------------------------------------------------------------

    @contextmanager
    def pipelined(self, connection: sa.Connection) -> Iterator[None]:
        """Sends the statements of the block without waiting for each one's answer, where the driver can.

        The first error is raised at the end of the block at the latest; none of the statements may be a bulk one.
        """
        yield

    def octets(self, column: str) -> str:
        """SQL for how long a text is, in bytes or about, without reading a large one."""
        return f"octet_length({column})"

    bulk_rows = 1
    """From how many rows on append_rows is a bulk statement."""

    def read_rows(self, connection: sa.Connection, sql: str, values: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        """Rows of a SELECT by the driver's fastest way; event ids are 16 bytes on both sides."""
        cursor = connection.connection.cursor()
        cursor.execute(sql, tuple(values))
        return cursor.fetchall()

    def append_rows(
        self,
        connection: sa.Connection,
        table: str,
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        kinds: Sequence[str] = (),
    ) -> None:
        """Inserts rows by the driver's fastest way; `kinds`, the columns' types by PostgreSQL's names, makes it faster."""
        raise NotImplementedError

    def append_narrow_rows(
        self,
        connection: sa.Connection,
        table: str,
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        kinds: Sequence[str],
    ) -> None:
        """Like append_rows, for rows of a few short values; may stand in a pipelined block however many they are."""
        self.append_rows(connection, table, columns, rows, kinds)

    def upsert_rows(
        self,
        connection: sa.Connection,
        table: str,
        columns: Sequence[str],
        key: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
    ) -> None:
        """Inserts whole rows, replacing the other columns where the key is there."""
        raise NotImplementedError

    def _upsert_sql(self, connection: sa.Connection, table: str, columns: Sequence[str], key: Sequence[str]) -> str:
        """The part after the inserted rows, as PostgreSQL and SQLite write it."""
        quoted = {column: self.quote(connection, column) for column in columns}
        changes = [f"{quoted[column]} = excluded.{quoted[column]}" for column in columns if column not in key]
        action = f"UPDATE SET {', '.join(changes)}" if changes else "NOTHING"
        return f"ON CONFLICT ({', '.join(quoted[column] for column in key)}) DO {action}"

    # --- following --------------------------------------------------------------------------------------------------

    def announce_append(self, connection: sa.Connection, log: str) -> None:
        """Lets those who listen for appends know of one when its transaction commits; nothing where nobody can."""

    def open_listener(self, database: Database) -> Listener | None:
        """A connection that hears of appends by other processes; None where the database has no such thing."""
        return None

    def connection_limit(self, connection: sa.Connection) -> int | None:
        """How many connections the server allows in all, None if there is no such limit."""
        return None

    # --- generations of tables --------------------------------------------------------------------------------------

    def clock(self, connection: sa.Connection) -> dt.datetime:
        """The database's time now, aware, in UTC."""
        raise NotImplementedError

    def find_dependents(self, connection: sa.Connection, table: str) -> list[str]:
        """Views and foreign keys that would go with a table when it's renamed, as people call them."""
        return []

    def copy_grants(self, connection: sa.Connection, source: str, target: str) -> None:
        """Lets everybody use one table as they may use another; nothing where rights go by name."""

    def rename_tables(self, connection: sa.Connection, renames: Sequence[tuple[str, str]]) -> None:
        """Renames tables in order, so that no reader finds a name missing in between.

        Raises a retryable error rather than wait long for a reader's transaction, since other readers queue behind.
        """
        for old, new in renames:
            connection.exec_driver_sql(
                f"ALTER TABLE {self.quote(connection, old)} RENAME TO {self.quote(connection, new)}"
            )
