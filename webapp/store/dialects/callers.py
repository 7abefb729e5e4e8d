"""What differs between drivers when connection and transaction are the caller's, not the store's."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webapp.errors import Conflict, InvalidRequest, StoreUnavailable

if TYPE_CHECKING:
    from webapp.store.dialects.base import LogCounter


class CallersDriver:
    """How a driver's own connection is looked at and used without changing anything of it. Stateless."""

    wanted = ""
    """What a caller has to bring, for sentences."""

    def takes(self, raw: Any) -> bool:
        """Whether this is a driver's connection to this kind of database, as the store needs it."""
        raise NotImplementedError

    def cursor(self, raw: Any, **options: Any) -> Any:
        """A cursor that gives rows as tuples and times as the store expects them, whatever the caller set."""
        raise NotImplementedError

    def check_transaction(self, raw: Any) -> None:
        """Makes sure that statements are part of a transaction that ends when the caller says so; costs no round trip.

        Raises InvalidRequest where each would commit by itself, Conflict where the transaction failed already.
        """
        raise NotImplementedError

    def place(self, cursor: Any) -> Hashable:
        """What tells apart the store's tables that this connection sees from those of other databases."""
        raise NotImplementedError

    def sees_last(self, cursor: Any, counter: LogCounter) -> bool:
        """Whether the transaction's reads see the log as far as its counter, which is locked, has come."""
        return True

    def _refuse_autocommit(self) -> None:
        raise InvalidRequest(
            "No transaction is open on this connection, so each statement would commit by itself. Begin one first "
            "(connection.begin(), session.begin(), Django: transaction.atomic()) and append in it."
        )


class PsycopgCallers(CallersDriver):
    """psycopg 3."""

    wanted = "a connection of psycopg 3 (postgresql+psycopg://…), not an asynchronous one"

    def takes(self, raw: Any) -> bool:
        from psycopg import Connection

        return isinstance(raw, Connection)

    def cursor(self, raw: Any, **options: Any) -> Any:
        from psycopg import Cursor
        from psycopg.pq import Format
        from psycopg.rows import tuple_row
        from psycopg.types.datetime import TimestamptzLoader

        cursor = Cursor(raw, row_factory=tuple_row)
        if options.get("binary"):
            cursor.format = Format.BINARY
        cursor.adapters.register_loader("timestamptz", TimestamptzLoader)
        return cursor

    def check_transaction(self, raw: Any) -> None:
        from psycopg.pq import TransactionStatus

        status = raw.info.transaction_status
        if raw.autocommit and status == TransactionStatus.IDLE:
            self._refuse_autocommit()
        if status == TransactionStatus.INERROR:
            raise Conflict("This transaction failed at an earlier statement. Roll it back and run it again, whole.")
        if raw.info.encoding != "utf-8":
            raise InvalidRequest(
                f"This connection talks {raw.info.encoding}, which not every event fits into. "
                "Set its client_encoding to UTF8."
            )

    def place(self, cursor: Any) -> Hashable:
        cursor.execute("SELECT current_database(), to_regclass('projectionist_logs')::oid")
        return cursor.fetchone()  # type: ignore[no-any-return]


class MySqlCallers(CallersDriver):
    """PyMySQL."""

    wanted = "a connection of PyMySQL to a MySQL server (in Django, pymysql.install_as_MySQLdb() makes it one)"
    has_mariadb = False

    def takes(self, raw: Any) -> bool:
        from pymysql.connections import Connection

        return isinstance(raw, Connection) and ("MariaDB" in raw.get_server_info()) == self.has_mariadb  # type: ignore[no-untyped-call]

    def cursor(self, raw: Any, **options: Any) -> Any:
        from pymysql.cursors import Cursor

        return raw.cursor(Cursor)

    def check_transaction(self, raw: Any) -> None:
        from pymysql.constants import SERVER_STATUS

        if raw.get_autocommit() and not raw.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS:
            self._refuse_autocommit()
        charset = raw.character_set_name()
        if charset != "utf8mb4":
            raise InvalidRequest(
                f"This connection talks {charset}, which not every event fits into. Connect it with charset=utf8mb4."
            )

    def place(self, cursor: Any) -> Hashable:
        cursor.execute("SELECT DATABASE()")
        return cursor.fetchone()  # type: ignore[no-any-return]

    def sees_last(self, cursor: Any, counter: LogCounter) -> bool:
        # Under REPEATABLE READ plain reads are of the moment of the transaction's first read, while locks see today's
        # rows: without this a stream would look shorter than it is.
        cursor.execute("SELECT head FROM projectionist_logs WHERE id = %s", (counter.id,))
        return bool(cursor.fetchone() == (counter.head,))


class MariaDbCallers(MySqlCallers):
    """The same driver, another server."""

    wanted = "a connection of PyMySQL to a MariaDB server (in Django, pymysql.install_as_MySQLdb() makes it one)"
    has_mariadb = True


class SqliteCallers(CallersDriver):
    """Python's own sqlite3."""

    wanted = "a connection of Python's sqlite3 (sqlite:///…), not an asynchronous one"

    def takes(self, raw: Any) -> bool:
        import sqlite3

        return isinstance(raw, sqlite3.Connection)

    def cursor(self, raw: Any, **options: Any) -> Any:
        cursor = raw.cursor()
        cursor.row_factory = None
        return cursor

    def check_transaction(self, raw: Any) -> None:
        import sqlite3

        cursor = self.cursor(raw)
        if not raw.in_transaction:
            if raw.isolation_level is None or getattr(raw, "autocommit", None) is True:
                self._refuse_autocommit()
            cursor.execute("BEGIN IMMEDIATE")  # the driver would begin too, but only at the first change
            return
        try:
            cursor.execute(
                "UPDATE projectionist_logs SET head = head WHERE 0"
            )  # takes the write lock, if it isn't held
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            raise StoreUnavailable(
                "This transaction can't write, for another connection does or did since it began. Roll it back, begin it "
                'with BEGIN IMMEDIATE (Django: "OPTIONS": {"transaction_mode": "IMMEDIATE"}) and run it again, whole.'
            ) from error

    def place(self, cursor: Any) -> Hashable:
        cursor.execute("PRAGMA database_list")
        files = {name: file for _, name, file in cursor.fetchall()}
        if not files["main"]:
            return id(cursor.connection)  # in memory: nobody else can see it
        found = Path(files["main"]).stat()
        return found.st_dev, found.st_ino
