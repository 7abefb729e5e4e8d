"""Slowing down who guesses passwords, counted in the database so that all workers count together."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
from typing import Any

import sqlalchemy as sa

from webapp.accounts import tables
from webapp.accounts.home import Home
from webapp.errors import TooManyLogins

log = logging.getLogger(__name__)
window = dt.timedelta(minutes=15)
username_limit = 10
address_limit = 30  # an office behind one address has several people who mistype
_attempts = tables.login_attempts.c


def begin_attempt(home: Home, username: str, address: str) -> int:
    """Counts a login as failed before the password is looked at; raises TooManyLogins where there were too many.

    Counting comes after the own row is committed, so of many attempts at once no more than the limit pass.
    """
    now = dt.datetime.now(dt.UTC)
    values = {"username_hash": _hash(username), "address": address[:64], "attempted_at": now}
    attempt = home.database.retrying(lambda connection: _insert(connection, values))
    for column, value, limit in (
        (_attempts.username_hash, values["username_hash"], username_limit),
        (_attempts.address, values["address"], address_limit),
    ):
        recent = (
            sa.select(_attempts.attempted_at)
            .where(column == value, _attempts.attempted_at > now - window, _attempts.id != attempt)
            .order_by(_attempts.attempted_at.desc())
            .limit(limit)
        )
        with home.database.reading() as connection:
            times = connection.execute(recent).scalars().all()
        if len(times) >= limit:
            _delete(home, _attempts.id == attempt)  # only real tries count, or asking again would never end
            log.warning("login refused after %s failures from %s", limit, address)
            raise TooManyLogins(max(1, int((times[-1] + window - now).total_seconds()) + 1))
    return attempt


def end_attempt(home: Home, attempt: int, username: str, address: str) -> None:
    """Takes a login that succeeded out of the count, with the failures of that name from that address before it."""
    same = sa.and_(_attempts.username_hash == _hash(username), _attempts.address == address[:64])
    outdated = _attempts.attempted_at < dt.datetime.now(dt.UTC) - window
    _delete(home, sa.or_(_attempts.id == attempt, same, outdated))


def forget_attempts(connection: sa.Connection, username: str) -> None:
    """Lets a person try again at once, after a new password was set, within that transaction."""
    connection.execute(sa.delete(tables.login_attempts).where(_attempts.username_hash == _hash(username)))


def _insert(connection: sa.Connection, values: dict[str, Any]) -> int:
    key = connection.execute(sa.insert(tables.login_attempts).values(values)).inserted_primary_key
    return int(key[0]) if key else 0


def _delete(home: Home, where: sa.ColumnElement[bool]) -> None:
    statement = sa.delete(tables.login_attempts).where(where)
    home.database.retrying(lambda connection: connection.execute(statement))


def _hash(username: str) -> str:
    return hashlib.sha256(username.encode("utf-8", "surrogatepass")).hexdigest()
