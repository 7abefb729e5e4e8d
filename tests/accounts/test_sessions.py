"""Sessions: tokens, limits, ends."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from tests.accounts.conftest import password
from webapp.accounts import sessions, tables
from webapp.accounts.home import Home
from webapp.accounts.people import Person, add_person
from webapp.accounts.sessions import Session, end_own_session, end_session, list_sessions, note_seen, start_session


def find(home: Home, token: str) -> Session | None:
    with home.database.reading() as connection:
        return sessions.find_session(connection, token)


def move_back(home: Home, **columns: dt.timedelta) -> None:
    """Makes all sessions look older, as if time had passed."""
    found = [(session.key, session) for session in all_sessions(home)]

    def work(connection: sa.Connection) -> None:
        for key, session in found:
            values = {name: getattr(session, name) - by for name, by in columns.items()}
            connection.execute(sa.update(tables.sessions).where(tables.sessions.c.token_hash == key).values(**values))

    home.database.retrying(work)


def all_sessions(home: Home) -> list[Session]:
    with home.database.reading() as connection:
        return [Session(*row) for row in connection.execute(sessions._select)]


def ann(home: Home) -> Person:
    return add_person(home, "ann", password, [])


def test_a_session_is_found_by_its_token_which_is_not_in_the_database(home: Home) -> None:
    person = ann(home)
    token = start_session(home, person.id, "192.0.2.7", "Firefox/150")
    found = find(home, token)
    assert found is not None
    assert (found.person_id, found.address, found.browser) == (person.id, "192.0.2.7", "Firefox/150")
    assert found.key != token
    with home.database.reading() as connection:
        row = connection.execute(sa.select(tables.sessions)).one()
    assert token not in [str(value) for value in row]
    assert find(home, token + "x") is None
    assert find(home, found.key) is None


def test_a_session_ends_when_idle_or_old(home: Home) -> None:
    token = start_session(home, ann(home).id)
    move_back(home, last_seen_at=sessions.idle_limit - dt.timedelta(minutes=5))
    assert find(home, token)
    move_back(home, last_seen_at=dt.timedelta(minutes=6))
    assert find(home, token) is None

    second = start_session(home, find_person_id(home))
    assert len(all_sessions(home)) == 1, "what has run out is swept away by the next login"
    move_back(home, expires_at=sessions.absolute_limit)
    assert find(home, second) is None


def find_person_id(home: Home) -> int:
    with home.database.reading() as connection:
        return int(connection.execute(sa.select(tables.people.c.id)).scalar_one())


def test_being_seen_moves_the_idle_limit_but_not_the_absolute_one(home: Home) -> None:
    token = start_session(home, ann(home).id)
    before = find(home, token)
    assert before is not None
    note_seen(home, before)
    assert find(home, token) == before, "within a minute nothing is written"
    move_back(home, last_seen_at=dt.timedelta(hours=2))
    moved = find(home, token)
    assert moved is not None
    note_seen(home, moved)
    after = find(home, token)
    assert after is not None
    assert after.last_seen_at > moved.last_seen_at
    assert after.expires_at == before.expires_at


def test_sessions_end_one_by_one_and_only_by_their_owner(home: Home) -> None:
    person, other = ann(home), add_person(home, "bob", password, [])
    token, second = start_session(home, person.id), start_session(home, person.id)
    assert len(list_sessions(home, person.id)) == 2
    found = find(home, second)
    assert found is not None
    end_own_session(home, other.id, found.key)
    assert find(home, second)
    end_own_session(home, person.id, found.key)
    assert find(home, second) is None
    end_session(home, token)
    assert list_sessions(home, person.id) == []
