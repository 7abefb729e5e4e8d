"""Logs whose writers don't wait for each other: where positions come from, and up to where nothing more can appear."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from webapp.errors import InvalidRequest
from webapp.store.tables import stream_bits

_rows_at_once = 2000
_lock_bits = 31
_add_tombstone = (
    "INSERT INTO projectionist_events (log_id, position, stream_id, version, type_id, id, recorded_at, data, metadata) "
    "VALUES (%s, %s, %s, %s, 0, %s, UTC_TIMESTAMP(6), '', '{}')"
)
_purge_rows = 5000


class Entry(NamedTuple):
    """What a writer learns when it enters a log."""

    is_retired: bool
    now: dt.datetime
    """The database's clock."""


class ParallelLogs:
    """One database's way of keeping logs that have many writers at once. Stateless; methods take their connection."""

    is_kept = False
    """Whether there can be such logs; not where there is one writer anyway."""

    leaves_holes = False
    """Whether an append that fails leaves a position that nothing passes until it's claimed."""

    def check(self, connection: sa.Connection) -> None:
        """Raises InvalidRequest, saying why, where this server can't keep such logs."""

    def create(self, connection: sa.Connection, log_id: int) -> None:
        """Makes what gives a log its positions, unless it's there."""
        raise NotImplementedError

    def enter(self, connection: sa.Connection, log_id: int) -> Entry:
        """Makes the transaction known as a writer of the log, which it must be before it takes positions."""
        raise NotImplementedError

    def take_positions(self, connection: sa.Connection, log_id: int, number: int) -> Sequence[int]:
        """New positions in ascending order, taken by nobody else, whatever becomes of this transaction."""
        raise NotImplementedError

    def settled_head(self, connection: sa.Connection, log_id: int, after: int) -> int:
        """The last event's position at or below which nothing more can appear; `after` is one known to be settled."""
        raise NotImplementedError

    def claim_holes(self, connection: sa.Connection, log_id: int, after: int) -> None:
        """Takes positions behind a settled one that nobody has filled, so that nobody will; for followers."""

    def tidy(self, connection: sa.Connection, log_id: int, settled: int) -> None:
        """Removes what is of no use any more below a settled position."""


class SequenceAndLocks(ParallelLogs):
    """PostgreSQL: a sequence per log, and a shared lock by which each writer says where the sequence stood before it.

    The sequence is read before the locks. Whoever takes its lock after that takes a position above what was read; whoever
    holds one already takes positions above what the lock says. A standby knows of no locks, so ask the primary.
    """

    is_kept = True

    def create(self, connection: sa.Connection, log_id: int) -> None:
        connection.exec_driver_sql(f"CREATE SEQUENCE IF NOT EXISTS {_name(log_id)}")

    def enter(self, connection: sa.Connection, log_id: int) -> Entry:
        # The key is the sequence's own number, which no other log of this database has, and where it stands.
        cursor: Any = connection.connection.cursor()
        cursor.execute(
            "SELECT l.retired_at IS NOT NULL, clock_timestamp(), pg_advisory_xact_lock_shared(s.tableoid::int4, "
            f"((s.last_value - (NOT s.is_called)::int) & {(1 << _lock_bits) - 1})::int4) "
            f"FROM {_name(log_id)} s, projectionist_logs l WHERE l.id = %s",
            (log_id,),
        )
        is_retired, now, _ = cursor.fetchone()
        return Entry(is_retired, now)

    def take_positions(self, connection: sa.Connection, log_id: int, number: int) -> Sequence[int]:
        cursor = connection.connection.cursor()
        cursor.execute(f"SELECT nextval('{_name(log_id)}') FROM generate_series(1, %s)", (number,))
        return [row[0] for row in cursor.fetchall()]

    def settled_head(self, connection: sa.Connection, log_id: int, after: int) -> int:
        cursor: Any = connection.connection.cursor()
        # Two statements, in this order: one would read both at once, and so could miss a writer between the two.
        cursor.execute(f"SELECT last_value - (NOT is_called)::int, pg_is_in_recovery() FROM {_name(log_id)}")
        bound, is_standby = cursor.fetchone()
        if is_standby:
            raise InvalidRequest("A standby doesn't know who writes to a parallel log. Give the URL of the primary.")
        cursor.execute(
            "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
            f"AND classid = '{_name(log_id)}'::regclass::oid"
        )
        taken = bound
        for (stood_at,) in cursor.fetchall():
            behind = (taken - stood_at) % (1 << _lock_bits)
            if behind < 1 << (_lock_bits - 1):  # else it came later, and the sequence stood higher by then
                bound = min(bound, taken - behind)
        # An event's own position, never just a number: a number that isn't on disk yet could be given again after a crash.
        cursor.execute(
            "SELECT position FROM projectionist_events WHERE log_id = %s AND position <= %s ORDER BY position DESC LIMIT 1",
            (log_id, bound),
        )
        row = cursor.fetchone()
        return max(after, row[0] if row else 0)


class TicketsAndTombstones(ParallelLogs):
    """MySQL and MariaDB: an AUTO_INCREMENT table per log gives positions, and followers claim those that stay empty.

    Who claims a position inserts a row of the reserved type 0 there, which no reader returns; a writer that comes to its
    position later finds the key taken, and runs its whole append again.
    """

    is_kept = leaves_holes = True

    def check(self, connection: sa.Connection) -> None:
        row = connection.exec_driver_sql("SHOW VARIABLES LIKE 'wsrep_on'").one_or_none()
        if row is not None and row[1] == "ON":
            raise InvalidRequest(
                "This server is a node of a Galera cluster, whose nodes can't see each other's writers, so a log can't be "
                "parallel here. Make it dense, which holds on every node."
            )
        if connection.exec_driver_sql("SELECT @@auto_increment_increment").scalar_one() != 1:
            raise InvalidRequest(
                "This server counts in steps (auto_increment_increment), as one of several that are written to, so a log "
                "can't be parallel here. Make it dense, or set auto_increment_increment=1 if it's the only one."
            )

    def create(self, connection: sa.Connection, log_id: int) -> None:
        connection.exec_driver_sql(
            f"CREATE TABLE IF NOT EXISTS {_name(log_id)} (ticket BIGINT AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB"
        )

    def enter(self, connection: sa.Connection, log_id: int) -> Entry:
        cursor: Any = connection.connection.cursor()
        cursor.execute(
            "SELECT retired_at IS NOT NULL, UTC_TIMESTAMP(6) FROM projectionist_logs WHERE id = %s", (log_id,)
        )
        is_retired, now = cursor.fetchone()
        return Entry(bool(is_retired), now.replace(tzinfo=dt.UTC))

    def take_positions(self, connection: sa.Connection, log_id: int, number: int) -> Sequence[int]:
        cursor = connection.connection.cursor()
        cursor.execute(f"INSERT INTO {_name(log_id)} VALUES {', '.join(['(NULL)'] * number)}")
        return range(cursor.lastrowid, cursor.lastrowid + number)

    def settled_head(self, connection: sa.Connection, log_id: int, after: int) -> int:
        while True:
            found = _positions(connection, log_id, after)
            for position in found:
                if position != after + 1:
                    return after
                after = position
            if len(found) < _rows_at_once:
                return after

    def claim_holes(self, connection: sa.Connection, log_id: int, after: int) -> None:
        cursor = connection.connection.cursor()
        for position in _positions(connection, log_id, after):
            for hole in range(after + 1, position):
                if not self._claim(connection, cursor, log_id, hole):
                    return
            after = position

    def _claim(self, connection: sa.Connection, cursor: Any, log_id: int, hole: int) -> bool:
        """Whether the hole is one no more; False where its writer is still at work."""
        error_type = connection.dialect.loaded_dbapi.Error
        try:
            cursor.execute(
                "SELECT 1 FROM projectionist_events WHERE log_id = %s AND position = %s FOR UPDATE NOWAIT",
                (log_id, hole),
            )
            if cursor.fetchone() is None:
                cursor.execute(_add_tombstone, (log_id, hole, log_id << stream_bits, hole, uuid.uuid4().bytes))
        except error_type as error:
            code = error.args[0] if error.args else 0
            if code == 1062:
                return True  # its writer was quicker
            if code in (1205, 3572):
                return False
            raise
        return True

    def tidy(self, connection: sa.Connection, log_id: int, settled: int) -> None:
        cursor = connection.connection.cursor()
        # The newest stay: they tell the server where to go on, should it have lost count.
        cursor.execute(
            f"SELECT ticket FROM {_name(log_id)} WHERE ticket < %s ORDER BY ticket LIMIT {_purge_rows} "
            "FOR UPDATE SKIP LOCKED",
            (settled - _rows_at_once,),
        )
        tickets = [row[0] for row in cursor.fetchall()]
        if tickets:
            cursor.execute(f"DELETE FROM {_name(log_id)} WHERE ticket IN ({', '.join(map(str, tickets))})")


def _name(log_id: int) -> str:
    """The sequence or table that numbers a log."""
    return f"projectionist_log_{int(log_id)}"


def _positions(connection: sa.Connection, log_id: int, after: int) -> list[int]:
    cursor = connection.connection.cursor()
    cursor.execute(
        "SELECT position FROM projectionist_events WHERE log_id = %s AND position > %s "
        f"ORDER BY position LIMIT {_rows_at_once}",
        (log_id, after),
    )
    return [row[0] for row in cursor.fetchall()]
