"""Sessions: who is logged in where. The browser has a random token, we keep its hash."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from webapp.accounts import tables
from webapp.accounts.home import Home

idle_limit = dt.timedelta(hours=12)
absolute_limit = dt.timedelta(days=7)
_seen_every = dt.timedelta(minutes=1)
_sessions = tables.sessions.c
_select = sa.select(
    _sessions.token_hash,
    _sessions.person_id,
    _sessions.created_at,
    _sessions.last_seen_at,
    _sessions.expires_at,
    _sessions.address,
    _sessions.browser,
)


@dataclass(frozen=True, slots=True)
class Session:
    """A login that still holds; `key` names it without giving the token away."""

    key: str
    person_id: int
    created_at: dt.datetime
    last_seen_at: dt.datetime
    expires_at: dt.datetime
    address: str | None
    browser: str | None


def start_session(home: Home, person_id: int, address: str | None = None, browser: str | None = None) -> str:
    """The token of a new session; what has run out is swept away on the way."""
    token, now = secrets.token_urlsafe(32), dt.datetime.now(dt.UTC)
    values = {
        "token_hash": hash_token(token),
        "person_id": person_id,
        "created_at": now,
        "last_seen_at": now,
        "expires_at": now + absolute_limit,
        "address": (address or "")[:64] or None,
        "browser": (browser or "")[:255] or None,
    }

    def work(connection: sa.Connection) -> None:
        connection.execute(sa.delete(tables.sessions).where(~_holds(now)))
        connection.execute(sa.insert(tables.sessions), values)

    home.database.retrying(work)
    return token


def find_session(connection: sa.Connection, token: str) -> Session | None:
    """The session of a token, if it still holds, on a connection at hand."""
    of_token = _sessions.token_hash == hash_token(token)
    row = connection.execute(_select.where(of_token, _holds(dt.datetime.now(dt.UTC)))).one_or_none()
    return Session(*row) if row else None


def note_seen(home: Home, session: Session) -> None:
    """Moves the idle limit on; at most once a minute, so that browsing hardly writes."""
    now = dt.datetime.now(dt.UTC)
    if now - session.last_seen_at > _seen_every:
        seen = sa.update(tables.sessions).where(_sessions.token_hash == session.key).values(last_seen_at=now)
        home.database.retrying(lambda connection: connection.execute(seen))


def list_sessions(home: Home, person_id: int) -> Sequence[Session]:
    """A person's sessions that still hold, the last seen first; at most 100."""
    query = (
        _select.where(_sessions.person_id == person_id, _holds(dt.datetime.now(dt.UTC)))
        .order_by(_sessions.last_seen_at.desc())
        .limit(100)
    )
    with home.database.reading() as connection:
        return [Session(*row) for row in connection.execute(query)]


def end_session(home: Home, token: str) -> None:
    """Ends the session of a token, if there is one."""
    statement = sa.delete(tables.sessions).where(_sessions.token_hash == hash_token(token))
    home.database.retrying(lambda connection: connection.execute(statement))


def end_own_session(home: Home, person_id: int, key: str) -> None:
    """Ends the session with that key if it is this person's; else nothing happens."""
    statement = sa.delete(tables.sessions).where(_sessions.token_hash == key, _sessions.person_id == person_id)
    home.database.retrying(lambda connection: connection.execute(statement))


def forget_sessions(connection: sa.Connection, person_id: int, keep: str | None = None) -> None:
    """Ends all sessions of a person, but the one with the token to keep, within a transaction at hand."""
    statement = sa.delete(tables.sessions).where(_sessions.person_id == person_id)
    if keep is not None:
        statement = statement.where(_sessions.token_hash != hash_token(keep))
    connection.execute(statement)


def hash_token(token: str) -> str:
    """What is kept of a token. A plain hash does: tokens are random, so there is nothing to guess."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _holds(now: dt.datetime) -> sa.ColumnElement[bool]:
    return sa.and_(_sessions.expires_at > now, _sessions.last_seen_at > now - idle_limit)
