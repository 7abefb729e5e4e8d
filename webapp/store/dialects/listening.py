"""PostgreSQL's LISTEN on a connection of its own, which another thread can end at any time."""

from __future__ import annotations

import contextlib
import selectors
import socket
from typing import TYPE_CHECKING, Any

from webapp.errors import StoreUnavailable

if TYPE_CHECKING:
    from webapp.store.database import Database

channel = "projectionist"
presence = "20261, 0"
"""The advisory lock that every listener shares, by which an append knows that somebody listens."""
announce_sql = (
    # Taken and given back at once if nobody listens, so that two appends don't take each other for listeners.
    f"SELECT CASE WHEN pg_try_advisory_lock({presence}) THEN pg_advisory_unlock({presence})::text "
    # Those who notify commit one after the other, each with its own write to disk, so of those who append to a log at
    # once only one does. Who is woken by him looks again soon, and so finds what the others commit.
    f"WHEN pg_try_advisory_xact_lock(20262, hashtext(%s)) THEN pg_notify('{channel}', %s)::text END"
)
"""Tells those who listen, if there are any, of an append when it commits; takes the log's name, twice."""


class CantListen(Exception):
    """Notifications can't arrive on this kind of connection, however often it's tried."""


class Listener:
    """A connection that hears of appends until it is closed. `stop` may be called from any thread, the rest from one."""

    def __init__(self, database: Database) -> None:
        self._stopping, self._stopped = socket.socketpair()
        self._driver: Any = None
        try:
            with database.translated():
                self._connect(database)
        except BaseException:
            self.close()
            raise

    def _connect(self, database: Database) -> None:
        dialect = database.engine.dialect
        arguments, options = dialect.create_connect_args(database.url)
        # So that a server that vanished without a word is noticed.
        alive = {"connect_timeout": 5, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
        self._driver = dialect.loaded_dbapi.connect(*arguments, **{**alive, **options}, autocommit=True)
        (backend,) = self._driver.execute("SELECT pg_backend_pid()").fetchone()
        if backend != self._driver.info.backend_pid:
            # A pooler such as PgBouncer stands between: it may hand every statement to another session, where a LISTEN
            # goes astray and a session's lock stays behind for ever.
            raise CantListen
        self._driver.execute(f"LISTEN {channel}")
        self._driver.execute(f"SELECT pg_advisory_lock_shared({presence})")

    def hear(self) -> list[str]:
        """The logs that were appended to, as soon as there are any; empty when stopped. Raises StoreUnavailable."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._driver.fileno(), selectors.EVENT_READ)
            selector.register(self._stopped, selectors.EVENT_READ)
            while True:
                try:
                    heard = [notice.payload for notice in self._driver.notifies(timeout=0)]
                except Exception as error:
                    raise StoreUnavailable(f"The connection that listens for appends was lost: {error}") from error
                if heard:
                    return heard
                if any(key.fileobj is self._stopped for key, _ in selector.select()):
                    return []

    def stop(self) -> None:
        """Makes `hear` return, now and ever after."""
        with contextlib.suppress(OSError):  # closed already
            self._stopping.send(b".")

    def close(self) -> None:
        """Gives the connection back."""
        if self._driver is not None:
            self._driver.close()
        self._stopping.close()
        self._stopped.close()
