"""The right to go on with something, held by one worker at a time: an owner, an epoch and an expiry in the row it's about.

The epoch goes up with every claim. Whoever was stalled past his lease finds another one there when he wants to record
what he did, and rolls back. Times are by the database's clock.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import socket
from typing import Any

import sqlalchemy as sa

from webapp.errors import LeaseLost
from webapp.store.dialects import Dialect


def worker_name() -> str:
    """A name for one worker, unlike any other's: made when it claims, never at import."""
    return f"{socket.gethostname()[:50]}:{os.getpid()}:{secrets.token_hex(4)}"


def claim_lease(
    connection: sa.Connection,
    dialect: Dialect,
    table: sa.Table,
    row: sa.ColumnElement[bool],
    owner: str,
    seconds: float,
) -> int | None:
    """The new epoch under which `owner` may go on, None while somebody else's lease runs.

    The table has the columns owner, epoch and lease_expires_at; `row` is the condition that finds the one row.
    """
    now = dialect.clock(connection)
    free = sa.or_(table.c.owner.is_(None), table.c.owner == owner, table.c.lease_expires_at < now)
    expires_at = now + dt.timedelta(seconds=seconds)
    changed = connection.execute(
        sa.update(table).where(row, free).values(owner=owner, epoch=table.c.epoch + 1, lease_expires_at=expires_at)
    ).rowcount
    if changed != 1:
        return None
    return int(connection.execute(sa.select(table.c.epoch).where(row)).scalar_one())


def renew_lease(
    connection: sa.Connection,
    dialect: Dialect,
    table: sa.Table,
    row: sa.ColumnElement[bool],
    owner: str | None,
    epoch: int,
    seconds: float,
    what: str,
    **values: Any,
) -> None:
    """Sets columns of the row under the owner's epoch, its `updated_at` too, and lets the lease run anew.

    Raises LeaseLost, naming `what` it was about, if another worker has taken over.
    """
    now = dialect.clock(connection)
    values |= {"updated_at": now, "lease_expires_at": now + dt.timedelta(seconds=seconds)}
    mine = sa.and_(row, table.c.owner == owner, table.c.epoch == epoch)
    if connection.execute(sa.update(table).where(mine).values(**values)).rowcount != 1:
        raise LeaseLost(f"Another worker has taken {what} over, so this batch was rolled back.")


def release_lease(
    connection: sa.Connection, table: sa.Table, row: sa.ColumnElement[bool], owner: str, epoch: int
) -> None:
    """Gives a lease back, if it's still this owner's, so that another worker needn't wait for its end."""
    mine = sa.and_(row, table.c.owner == owner, table.c.epoch == epoch)
    connection.execute(sa.update(table).where(mine).values(owner=None, lease_expires_at=None))
