"""One database: how it is reached, read with a time limit, written, and how its errors become sentences."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event as sa_event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidRequestError, NoSuchModuleError

from webapp.errors import InvalidRequest, ProjectionistError, StoreUnavailable
from webapp.store.dialects import Dialect, dialect_for
from webapp.store.pooling import PoolGuard

T = TypeVar("T")
page_seconds = 5.0
_retry_seconds = 30.0
pool_size, pool_overflow = 5, 10
"""Connections that a process keeps to one database, and how many more it may open."""
_drivers = {
    "postgresql": "psycopg",
    "postgres": "psycopg",
    "mysql": "pymysql",
    "mariadb": "pymysql",
    "sqlite": "pysqlite",
}


def parse_url(text: str | URL) -> URL:
    """A SQLAlchemy URL from its text or short form, with our default driver; raises InvalidRequest with a sentence."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise InvalidRequest(
            "That is not a database URL. Write sqlite:///file.db, postgresql://user:password@host/database, "
            "mysql://… or mariadb://…",
            field="url",
        ) from error
    backend, _, driver = url.drivername.partition("+")
    if backend not in _drivers:
        raise InvalidRequest(
            f"A “{backend}” database is not known. Known are sqlite, postgresql, mysql and mariadb.", field="url"
        )
    backend = "postgresql" if backend == "postgres" else backend
    url = url.set(drivername=f"{backend}+{driver or _drivers[backend]}")
    if backend in ("mysql", "mariadb") and "charset" not in url.query:
        url = url.update_query_dict({"charset": "utf8mb4"})
    return url


def _take_prepare_threshold(url: URL) -> tuple[URL, dict[str, Any]]:
    """The URL without `prepare_threshold`, and that as the driver takes it.

    psycopg prepares a statement on the server when it runs for so many times; `none` is for poolers that don't know of
    that, such as PgBouncer before 1.21 in transaction mode.
    """
    key = "prepare_threshold"
    value = url.query.get(key)
    if value is None or url.get_backend_name() != "postgresql":
        return url, {}
    if value != "none" and not (isinstance(value, str) and value.isdecimal()):
        raise InvalidRequest(f"{key} in the URL must be a number, or none for never; “{value}” is not.", field="url")
    return url.difference_update_query([key]), {key: None if value == "none" else int(value)}


def hide_password(url: str | URL) -> str:
    """The URL fit for people: short form, the password as ***."""
    url = parse_url(url)
    query = {key: value for key, value in url.query.items() if key != "charset"}
    shown = url.set(drivername=url.get_backend_name(), query=query)
    return shown.render_as_string(hide_password=True)


class Database:
    """A lazily connected database. Thread-safe; `close()` gives the connections back.

    `may_create` lets SQLite make a missing file; otherwise a missing file is an error like a missing server.
    `page_seconds` is the time limit of a reading statement.
    """

    def __init__(
        self,
        url: str | URL,
        *,
        may_create: bool = False,
        pool_size: int = pool_size,
        overflow: int = pool_overflow,
        page_seconds: float = page_seconds,
    ) -> None:
        self.url, driver_arguments = _take_prepare_threshold(parse_url(url))
        self.page_seconds = page_seconds
        self._lock = threading.Lock()
        self._dialect: Dialect | None = None
        arguments: dict[str, Any] = {"pool_reset_on_return": None}  # what the guard does
        backend = self.url.get_backend_name()
        if backend == "sqlite":
            self.path = self._sqlite_path()
            if self.path is not None:
                arguments["creator"] = functools.partial(_connect_sqlite, self.path, may_create)
                arguments |= {"poolclass": sa.pool.QueuePool, "pool_size": pool_size, "max_overflow": overflow}
            else:
                arguments |= {"poolclass": sa.pool.StaticPool}
        else:
            arguments |= {
                "pool_size": pool_size,
                "max_overflow": overflow,
                "pool_timeout": 10,
                "pool_recycle": 1800,
            }
            arguments["isolation_level"] = "READ COMMITTED"
            arguments["connect_args"] = {"connect_timeout": 5} | driver_arguments
        try:
            self.engine = sa.create_engine(self.url, **arguments)
        except (NoSuchModuleError, ModuleNotFoundError, ArgumentError) as error:
            raise InvalidRequest(
                f"The driver of {self.url.drivername} isn't installed: {error}. Leave the “+driver” out to use ours.",
                field="url",
            ) from error
        self._guard = PoolGuard(self.engine)
        if backend == "postgresql":
            sa_event.listen(self.engine, "connect", _prepare_postgresql)
        if backend == "sqlite":
            sa_event.listen(self.engine, "connect", _prepare_sqlite)
            sa_event.listen(self.engine, "begin", _begin_sqlite)

    def _sqlite_path(self) -> Path | None:
        name = self.url.database
        if not name or name == ":memory:":
            return None
        return Path(name)

    def when_lost(self, call: Callable[[], None]) -> None:
        """Has something called whenever a connection turns out dead, as after a crash of the server."""
        self._guard.when_lost.append(call)

    @property
    def name(self) -> str:
        """The URL for people, its password hidden."""
        return hide_password(self.url)

    @property
    def dialect(self) -> Dialect:
        """The operations of this database; connects once to learn which server it is."""
        if self._dialect is None:
            with self.translated(), self._lock:
                if self._dialect is None:
                    try:
                        with self.engine.connect():
                            self._dialect = dialect_for(self.engine.dialect)
                    except InvalidRequestError as error:  # so says SQLAlchemy that a mariadb:// URL leads to MySQL
                        raise InvalidRequest(
                            f"{self.name} is a MySQL server, not MariaDB. Begin the URL with mysql://.", field="url"
                        ) from error
        return self._dialect

    @contextmanager
    def reading(self, seconds: float | None = None, *, at_one_moment: bool = False) -> Iterator[sa.Connection]:
        """A connection in a read-only transaction whose statements end after `seconds` (by default those of a page).

        With `at_one_moment` all its statements see the data of one moment, else each of them those of its own.
        """
        dialect = self.dialect
        with self.translated(), self.engine.connect() as connection:
            begin = dialect.begin_snapshot if at_one_moment else dialect.begin_reading
            begin(connection, self.page_seconds if seconds is None else seconds)
            try:
                yield connection
            finally:
                if not connection.closed:
                    dialect.end_reading(connection)

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A connection in a transaction that commits at the end, or rolls back if the block raises."""
        dialect = self.dialect
        with self.translated(), self.engine.connect() as connection:
            dialect.begin_writing(connection)
            with connection.begin() if not connection.in_transaction() else connection.get_transaction():  # type: ignore[union-attr]
                yield connection

    @contextmanager
    def borrowed(self) -> Iterator[sa.PoolProxiedConnection]:
        """A connection outside of any transaction, for a block that ends those it begins, unless it raises."""
        with self.translated():
            connection = self.engine.raw_connection()
            try:
                yield connection
                self._guard.mark_clean(connection)
            finally:
                connection.close()

    def retrying(self, work: Callable[[sa.Connection], T], attempts: int = 25) -> T:
        """What `work` returns, run in a writing transaction; deadlocks and lock timeouts run it again, whole.

        So does a Galera node that another was quicker than. It is given up after so many attempts, or 30 seconds.
        """
        ends_at = time.monotonic() + _retry_seconds
        for attempt in range(1, attempts + 1):
            try:
                with self.writing() as connection:
                    return work(connection)
            except StoreUnavailable as error:
                if attempt == attempts or time.monotonic() > ends_at or not self.is_retryable(error):
                    raise
                self.dialect.wait_before_retry(attempt)
        raise AssertionError("unreachable")

    def is_retryable(self, error: StoreUnavailable) -> bool:
        """Whether running the whole transaction again is the cure."""
        return error.__cause__ is not None and self.dialect.is_retryable(error.__cause__)

    def lost_connection(self, error: StoreUnavailable) -> bool:
        """Whether the connection broke while in use, so that what it was doing may be done or not."""
        return error.__cause__ is not None and self.dialect.is_lost_connection(error.__cause__)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turns driver errors inside the block into our error family, the driver's error as their cause."""
        driver = self.engine.dialect.loaded_dbapi
        try:
            yield
        except DBAPIError as error:
            raise self._explain(error.orig or error) from error.orig
        except driver.Error as error:  # hot paths use the driver's own cursor
            raise self._explain(error) from error
        except sa.exc.TimeoutError as error:
            raise StoreUnavailable(
                f"All connections to {self.name} are busy. Try again, or allow a larger pool."
            ) from error

    def _explain(self, error: BaseException) -> ProjectionistError:
        dialect = self._dialect or dialect_for(self.engine.dialect)
        if dialect.is_lost_connection(error):
            self._guard.distrust()
        return dialect.explain_error(error, self.name)

    def close(self) -> None:
        """Gives all connections back; may be called twice."""
        self.engine.dispose()


def _connect_sqlite(path: Path, may_create: bool) -> Any:
    import sqlite3

    if not may_create and not path.exists():
        raise sqlite3.OperationalError(f"no such file: {path}")
    if path.is_dir():
        raise sqlite3.OperationalError(f"is a folder: {path}")
    return sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=30, cached_statements=256)


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    """Prepares no statements behind a pooler, which may run them in another session than the one that prepared them."""
    if not hasattr(connection, "prepare_threshold"):  # another driver
        return
    autocommit, connection.autocommit = connection.autocommit, True
    (session,) = connection.execute("SELECT pg_backend_pid()").fetchone()
    if session != connection.info.backend_pid:
        connection.prepare_threshold = None
    connection.autocommit = autocommit


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver would otherwise commit around DDL by itself
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 30000")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute("PRAGMA recursive_triggers = ON")  # without it REPLACE would delete events behind our trigger's back
    cursor.execute("PRAGMA cache_size = -16000")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))
