"""What the pool does between two users of a connection: no round trip where none is needed."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

trusted_seconds = 1.0
"""How long a connection may have been idle before the server is asked when somebody takes it."""
_clean = "has_no_transaction"


class PoolGuard:
    """Tests connections before they are used again, and rolls back on return only where a transaction may be open.

    One used a moment ago is looked at from here: a server that ended it has said so. Only after a while is the server asked.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._distrusted_before = 0.0
        self.when_lost: list[Callable[[], None]] = []
        """Called whenever a connection turns out dead."""
        sa.event.listen(engine, "checkin", self._note_use)
        sa.event.listen(engine, "checkout", self._test)
        sa.event.listen(engine, "reset", self._reset)

    def distrust(self) -> None:
        """Has every connection that is idle now tested before its next use: one of them has just turned out dead."""
        self._distrusted_before = time.monotonic()
        for call in self.when_lost:
            call()

    @staticmethod
    def mark_clean(connection: Any) -> None:
        """Says that no transaction is open on a connection, so that giving it back needs no rollback."""
        connection.record_info[_clean] = True

    @staticmethod
    def _note_use(_connection: Any, record: Any) -> None:
        record.info["used_at"] = time.monotonic()

    def _test(self, connection: Any, record: Any, _proxy: Any) -> None:
        used_at = record.info.get("used_at")
        record.info.pop(_clean, None)
        if used_at is None:
            return  # just made
        is_trusted = used_at > self._distrusted_before and time.monotonic() - used_at <= trusted_seconds
        if not is_trusted or _has_news(connection):
            dialect = self._engine.dialect
            try:
                is_alive = dialect.do_ping(connection)
            except dialect.loaded_dbapi.Error:
                is_alive = False
            if not is_alive:
                self.distrust()
                raise sa.exc.DisconnectionError("the connection was lost while it was idle")  # the pool takes another

    @staticmethod
    def _reset(connection: Any, record: Any, state: Any) -> None:
        if not (state.transaction_was_reset or record.info.pop(_clean, False)):
            connection.rollback()


def _has_news(connection: Any) -> bool:
    """Whether the server has sent something unasked, as it does when it ends a connection."""
    end = connection if hasattr(connection, "fileno") else getattr(connection, "_sock", None)  # psycopg, PyMySQL
    if end is None:
        return False
    poll = select.poll()
    poll.register(end, select.POLLIN)
    return bool(poll.poll(0))
