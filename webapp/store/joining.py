"""Appending in somebody else's transaction: business rows and events commit together, or neither does.

```python
with Session(engine) as session, session.begin():                 # SQLAlchemy: a Session or a Connection
    session.add(OrderRow(id="42", total=100))
    store.append_in(session, [Append("order", "42", [NewEvent("order.placed", {"total": 100})])])

with transaction.atomic(), store.joining(django.db.connection.connection) as connection:       # any driver's connection
    store.append_in(connection, [...])
```
Append last: the log's counter is held from there to the commit, and all who append to that log wait for it. What isn't
committed yet is seen by the transaction itself alone; the store reads over connections of its own.

On SQLite the transaction should begin with BEGIN IMMEDIATE: one that has read can't turn into a writer once somebody
else has written. On MySQL it should be READ COMMITTED, or append before it reads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

import sqlalchemy as sa

from webapp.errors import Conflict, InvalidRequest, StoreUnavailable
from webapp.store.appending import Appender, PreparedAppend
from webapp.store.catalog import Catalog
from webapp.store.database import Database
from webapp.store.dialects.base import LogCounter
from webapp.store.dialects.callers import CallersDriver
from webapp.store.events import RecordedEvent
from webapp.store.notifying import Notifier
from webapp.store.parallel import meeting_rivals

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, scoped_session

CallersConnection: TypeAlias = "sa.Connection | Session | scoped_session[Any]"

_savepoint = "projectionist_append"


class Joining:
    """Lets appends to one store join transactions that are not its own. Thread-safe."""

    def __init__(self, database: Database, notifier: Notifier) -> None:
        self._database = database
        self._notifier = notifier
        self._place: Hashable = None
        self._known: WeakSet[Any] = WeakSet()
        """Connections of drivers that were found to lead to the store's own tables."""
        self._to_wake: WeakKeyDictionary[sa.Connection, set[str]] = WeakKeyDictionary()

    @contextmanager
    def join(self, raw: Any) -> Iterator[sa.Connection]:
        """See EventStore.joining."""
        self._check_driver(raw)
        borrowed = _Borrowed(raw, self._driver)
        connection = self._wrap(borrowed)
        try:
            yield connection
        finally:
            borrowed.is_over = True
            connection.close()

    def check(self, given: CallersConnection) -> sa.Connection:
        """The connection of the caller's transaction, found fit for an append; a Session is flushed before.

        Raises InvalidRequest for one that leads elsewhere or commits by itself, Conflict for a failed transaction, and
        StoreUnavailable for one on SQLite that can't write any more.
        """
        connection = given if isinstance(given, sa.Connection) else _connection_of(given)
        with self._database.translated():
            raw: Any = connection.connection.driver_connection
            is_own = self._is_own(connection)
            if not is_own:
                self._check_driver(raw)
            if not connection.in_transaction():
                connection.begin()  # as any statement of the caller's would have
            if not is_own or self._driver.takes(raw):  # the store itself may use any driver
                self._driver.check_transaction(_raw(raw))
            if not is_own:
                self._check_place(raw)
        return connection

    def append(
        self, connection: sa.Connection, catalog: Catalog, appends: Sequence[PreparedAppend], *, check_ids: bool
    ) -> list[RecordedEvent]:
        """The events as recorded in the caller's checked transaction: all, or none even if it goes on after an error.

        The catalog learns nothing, since nobody knows whether the transaction will commit.
        """
        if not appends:
            return []
        is_own = self._is_own(connection)
        if check_ids or not is_own:
            catalog = Catalog()  # it would learn what isn't committed yet, and knows nothing of other search paths
        dialect, logs = self._database.dialect, {append.log for append in appends}

        def attempt(is_second: bool) -> list[RecordedEvent]:
            with self._database.translated(), self._plain(connection, is_own) as plain, _all_or_none(plain):
                return _JoinedAppender(dialect, plain, catalog, is_own).run(appends, check_ids=is_second)

        try:
            recorded = meeting_rivals(attempt, dialect, catalog, sorted(logs), is_second=check_ids)
        except StoreUnavailable as error:
            if not self._database.is_retryable(error):
                raise
            raise StoreUnavailable(
                f"Another transaction was in the way of this one ({_first_line(error.__cause__)}). Roll it back and run "
                "it again, whole."
            ) from error.__cause__
        self._wake(connection, logs)
        return recorded

    def _wake(self, connection: sa.Connection, logs: set[str]) -> None:
        """Wakes followers in this process at the commit, and now: nobody tells of the commit of a raw connection."""
        if not self._notifier.has_waiters:
            return
        self._notifier.wake(logs)
        if isinstance(connection.connection.driver_connection, _Borrowed):
            return
        if connection not in self._to_wake:
            self._to_wake[connection] = set()
            sa.event.listen(connection, "commit", self._wake_at_commit)
        self._to_wake[connection] |= logs

    def _wake_at_commit(self, connection: sa.Connection) -> None:
        logs = self._to_wake.get(connection)
        if logs:
            self._notifier.wake(logs)  # just before it, so they look, and again some milliseconds later
            logs.clear()

    # --- connections ------------------------------------------------------------------------------------------------

    @property
    def _driver(self) -> CallersDriver:
        return self._database.dialect.callers

    def _is_own(self, connection: sa.Connection) -> bool:
        return connection.engine.pool is self._database.engine.pool

    @contextmanager
    def _plain(self, connection: sa.Connection, is_own: bool) -> Iterator[sa.Connection]:
        """The connection with cursors that are as the store expects them."""
        raw: Any = connection.connection.driver_connection
        if is_own or isinstance(raw, _Borrowed):
            yield connection
        else:
            with self.join(raw) as joined:
                yield joined

    def _wrap(self, borrowed: _Borrowed) -> sa.Connection:
        engine = self._database.engine
        pool = sa.pool.StaticPool(lambda: borrowed, dialect=engine.dialect, reset_on_return=None)
        return sa.Engine(pool, engine.dialect, engine.url).connect()

    def _check_driver(self, raw: Any) -> None:
        if not self._driver.takes(_raw(raw)):
            raise InvalidRequest(
                f"The store is on {self._database.dialect.name}, so its events can't be part of a transaction on "
                f"{_describe(raw)}. Give {self._driver.wanted}."
            )

    def _check_place(self, raw: Any) -> None:
        """Raises InvalidRequest if the connection sees other tables than the store's, or none."""
        raw = _raw(raw)
        if raw in self._known:
            return
        cursor = self._driver.cursor(raw)
        found = self._driver.place(cursor)
        if found != self._place:
            with self._database.reading() as own:
                self._place = self._driver.place(own.connection.cursor())
        if found != self._place:
            raise InvalidRequest(
                f"This connection doesn't lead to the store's tables in {self._database.name}, so the two can't commit "
                "together. Connect it to that database, or keep the store's tables beside the business rows."
            )
        with contextlib.suppress(TypeError):  # of a type that can't be remembered, so it's looked at each time
            self._known.add(raw)


class _JoinedAppender(Appender):
    def __init__(self, dialect: Any, connection: sa.Connection, catalog: Catalog, is_own: bool) -> None:
        super().__init__(dialect, connection, catalog)
        self._is_own = is_own

    def _lock(self, log: str) -> LogCounter:
        counter = super()._lock(log)
        if not self._is_own and not self.dialect.callers.sees_last(self.cursor, counter):
            raise Conflict(
                f"This transaction sees the log {log} as it was before the last events came. Roll it back and run it "
                "again; READ COMMITTED, or appending before the first read, keeps it from happening."
            )
        return counter


class _Borrowed:
    """A driver's connection that is somebody else's: its cursors are plain ones, and it ends nothing by itself."""

    def __init__(self, raw: Any, driver: CallersDriver) -> None:
        self.raw = raw
        self.is_over = False
        self._driver = driver

    def cursor(self, *_: Any, **options: Any) -> Any:
        return self._driver.cursor(self.raw, **options)

    def execute(self, sql: str, values: Any = ()) -> Any:
        cursor = self.cursor()
        cursor.execute(sql, values)
        return cursor

    def executemany(self, sql: str, rows: Any) -> Any:
        cursor = self.cursor()
        cursor.executemany(sql, rows)
        return cursor

    def commit(self) -> None:
        raise InvalidRequest("This transaction belongs to its caller. Commit it where it was begun.")

    def rollback(self) -> None:
        if not self.is_over:
            raise InvalidRequest("This transaction belongs to its caller. Roll it back where it was begun.")

    def close(self) -> None:
        """Nothing: the caller closes it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


@contextmanager
def _all_or_none(connection: sa.Connection) -> Iterator[None]:
    """Takes back what the block wrote if it raises, so that a caller who goes on and commits leaves no half append."""
    cursor = connection.connection.cursor()
    cursor.execute(f"SAVEPOINT {_savepoint}")
    try:
        yield
    except BaseException:
        # Fails where the whole transaction is gone, as after a deadlock; what is raised already says more.
        with contextlib.suppress(connection.dialect.loaded_dbapi.Error):
            cursor.execute(f"ROLLBACK TO SAVEPOINT {_savepoint}")
            cursor.execute(f"RELEASE SAVEPOINT {_savepoint}")
        raise
    cursor.execute(f"RELEASE SAVEPOINT {_savepoint}")


def _connection_of(given: Any) -> sa.Connection:
    """The connection of a Session in its transaction, what is pending in it written before."""
    from sqlalchemy.exc import UnboundExecutionError
    from sqlalchemy.orm import Session, scoped_session

    if isinstance(given, scoped_session):
        given = given()
    if not isinstance(given, Session):
        raise InvalidRequest(
            f"Give a SQLAlchemy Connection or Session; {_describe(given)} is neither. A driver's own connection goes "
            "through store.joining(…), an AsyncSession or AsyncConnection through its run_sync with a synchronous driver."
        )
    try:
        given.flush()  # first, so that the counter is held as shortly as can be
        return given.connection()
    except UnboundExecutionError as error:
        raise InvalidRequest(
            "This Session has several databases, and it can't be told which one is meant. "
            "Give session.connection(bind_arguments=…)."
        ) from error


def _raw(connection: Any) -> Any:
    return connection.raw if isinstance(connection, _Borrowed) else connection


def _describe(given: Any) -> str:
    if given is None:
        return "None (a connection that isn't open yet; in Django it is within transaction.atomic())"
    if hasattr(given, "ensure_connection"):
        return "Django's wrapper of a connection, whose own is its attribute “connection”"
    kind = type(_raw(given))
    return f"{kind.__module__}.{kind.__qualname__}"


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
