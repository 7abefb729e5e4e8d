"""People: who may log in, with which roles."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from webapp.accounts import tables
from webapp.accounts.activity import record
from webapp.accounts.home import Home
from webapp.accounts.passwords import checked_password, hash_password, needs_rehash, random_password, verify_password
from webapp.accounts.roles import Grant, all_stores, checked_role, covers
from webapp.accounts.sessions import forget_sessions
from webapp.accounts.throttle import forget_attempts
from webapp.config import Config
from webapp.errors import Conflict, DuplicateKey, InvalidRequest, NotFound

_people, _grants = tables.people.c, tables.grants.c
_username = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may log in, with the roles held when it was read."""

    id: int
    username: str
    created_at: dt.datetime
    is_disabled: bool = False
    time_zone: str | None = None
    grants: tuple[Grant, ...] = ()

    def may(self, role: str, store: str | None = None) -> bool:
        """Whether this person may do what `role` stands for, in a store; without a store: in all of them."""
        return covers(self.grants, role, store)

    def role_in(self, store: str | None = None) -> str:
        """The roles that count in a store (or everywhere) as words, such as "auditor and operator"."""
        held = {grant.role for grant in self.grants if store is None or grant.is_everywhere or grant.store == store}
        if "admin" in held:
            return "admin"
        return " and ".join(sorted(held - {"viewer"})) or ("viewer" if held else "no role")


def normal_username(username: str) -> str:
    """The username as it is kept: without spaces around it, in lower case."""
    return username.strip().lower()


def checked_username(username: str) -> str:
    """The username as it is kept, if it may be used; raises InvalidRequest with a sentence."""
    username = normal_username(username)
    if not _username.fullmatch(username):
        raise InvalidRequest(
            "A username has 1 to 64 letters (a–z), digits, dots, dashes, underscores, + or @, and begins with a letter "
            "or digit.",
            field="username",
        )
    return username


# --- reading --------------------------------------------------------------------------------------------------------


def find_person(home: Home, username: str) -> Person:
    """The person of that name; raises NotFound."""
    with home.database.reading() as connection:
        person = read_person(connection, _people.username == normal_username(username))
    if person is None:
        raise NotFound("person", username)
    return person


def list_people(home: Home, after: str = "", limit: int = 100) -> Sequence[Person]:
    """People in order of their names, after one name."""
    query = sa.select(tables.people).where(_people.username > after).order_by(_people.username).limit(limit)
    with home.database.reading() as connection:
        rows = connection.execute(query).all()
        held: dict[int, list[Grant]] = {row.id: [] for row in rows}
        of_these = sa.select(tables.grants).where(_grants.person_id.in_(held)).limit(10_000)
        for grant in connection.execute(of_these) if held else ():
            held[grant.person_id].append(Grant(grant.role, grant.store))
    return [_person(row, held[row.id]) for row in rows]


def read_person(connection: sa.Connection, where: sa.ColumnElement[bool]) -> Person | None:
    """The first person for whom the condition holds, with roles, on a connection at hand."""
    row = connection.execute(sa.select(tables.people).where(where).limit(1)).one_or_none()
    if row is None:
        return None
    query = sa.select(_grants.role, _grants.store).where(_grants.person_id == row.id).limit(1000)
    return _person(row, [Grant(*grant) for grant in connection.execute(query)])


def _person(row: Any, grants: Iterable[Grant]) -> Person:
    return Person(row.id, row.username, row.created_at, row.is_disabled, row.time_zone, tuple(sorted(grants)))


def check_password(home: Home, username: str, password: str) -> Person | None:
    """The person, if the password is right and the person may log in; takes as long when nobody has that name."""
    username = normal_username(username)
    with home.database.reading() as connection:
        query = sa.select(_people.password_hash).where(_people.username == username)
        password_hash = connection.execute(query).scalar()
    if not verify_password(password_hash, password):
        return None
    person = find_person(home, username)
    if person.is_disabled:
        return None
    if password_hash is not None and needs_rehash(password_hash):
        stronger = hash_password(password)
        home.database.retrying(lambda connection: _update(connection, person.id, password_hash=stronger))
    return person


# --- changing -------------------------------------------------------------------------------------------------------


def add_person(home: Home, username: str, password: str, grants: Iterable[Grant], actor: str | None = None) -> Person:
    """A new person; raises Conflict where the name is taken, InvalidRequest for a name, password or role of no use."""
    username = checked_username(username)
    password_hash = hash_password(checked_password(password, username))
    grants = _checked_grants(grants)
    values = {"username": username, "password_hash": password_hash, "created_at": dt.datetime.now(dt.UTC)}

    def work(connection: sa.Connection) -> None:
        key = connection.execute(sa.insert(tables.people), values).inserted_primary_key
        _insert_grants(connection, key[0] if key else 0, grants)
        roles = [str(grant) for grant in grants]
        record(home, actor, "person.added", {"roles": roles}, person=username, connection=connection)

    try:
        home.database.retrying(work)
    except DuplicateKey as error:
        raise Conflict(f"There is a person named “{username}” already. Choose another name.") from error
    return find_person(home, username)


def set_grants(home: Home, username: str, grants: Iterable[Grant], actor: str | None = None) -> Person:
    """The person with these roles instead of the former ones; raises Conflict where no admin would be left."""
    person, grants = find_person(home, username), _checked_grants(grants)

    def work(connection: sa.Connection) -> None:
        if Grant("admin") not in grants:
            _check_another_admin(connection, person.id)
        connection.execute(sa.delete(tables.grants).where(_grants.person_id == person.id))
        _insert_grants(connection, person.id, grants)
        data = {"from": [str(grant) for grant in person.grants], "to": [str(grant) for grant in grants]}
        record(home, actor, "person.roles_changed", data, person=person.username, connection=connection)

    home.database.retrying(work)
    return find_person(home, username)


def set_password(
    home: Home, username: str, password: str, actor: str | None = None, keep_session: str | None = None
) -> None:
    """Gives a person another password and ends all their sessions but the one whose token is kept."""
    person = find_person(home, username)
    password_hash = hash_password(checked_password(password, person.username))

    def work(connection: sa.Connection) -> None:
        _update(connection, person.id, password_hash=password_hash)
        forget_sessions(connection, person.id, keep=keep_session)
        forget_attempts(connection, person.username)
        record(home, actor, "person.password_changed", person=person.username, connection=connection)

    home.database.retrying(work)


def set_disabled(home: Home, username: str, is_disabled: bool, actor: str | None = None) -> None:
    """Shuts a person out, which ends all their sessions, or lets them in again."""
    person = find_person(home, username)

    def work(connection: sa.Connection) -> None:
        if is_disabled:
            _check_another_admin(connection, person.id)
            forget_sessions(connection, person.id)
        _update(connection, person.id, is_disabled=is_disabled)
        act = "person.disabled" if is_disabled else "person.enabled"
        record(home, actor, act, person=person.username, connection=connection)

    home.database.retrying(work)


def set_time_zone(home: Home, username: str, time_zone: str | None) -> None:
    """The time zone in which this person reads times; None means UTC. Its name has been checked by the caller."""
    person = find_person(home, username)
    home.database.retrying(lambda connection: _update(connection, person.id, time_zone=time_zone))


def ensure_admin(home: Home, config: Config) -> str | None:
    """Makes the person `admin` where nobody is there yet; the random password to show once, None if none was made."""
    if list_people(home, limit=1):
        return None
    password = config.admin_password or random_password()
    try:
        add_person(home, "admin", password, [Grant("admin")])
    except Conflict:  # another process was faster
        return None
    return None if config.admin_password else password


def _checked_grants(grants: Iterable[Grant]) -> tuple[Grant, ...]:
    checked = tuple(sorted(set(grants)))
    for grant in checked:
        checked_role(grant.role)
        if grant.store != all_stores and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", grant.store):
            raise InvalidRequest(f"“{grant.store}” can't be the name of a store.", field="store")
    return checked


def _insert_grants(connection: sa.Connection, person_id: int, grants: Iterable[Grant]) -> None:
    rows = [{"person_id": person_id, "role": grant.role, "store": grant.store} for grant in grants]
    if rows:
        connection.execute(sa.insert(tables.grants), rows)


def _update(connection: sa.Connection, person_id: int, **values: Any) -> None:
    connection.execute(sa.update(tables.people).where(_people.id == person_id).values(**values))


def _check_another_admin(connection: sa.Connection, person_id: int) -> None:
    """Raises Conflict if that person is the only one who can look after people; locks the admins until commit."""
    admins = (
        sa.select(_people.id)
        .join(tables.grants, _grants.person_id == _people.id)
        .where(_grants.role == "admin", _grants.store == all_stores, ~_people.is_disabled)
        .order_by(_people.id)
        .limit(1000)
        .with_for_update()
    )
    ids = set(connection.execute(admins).scalars())
    if ids == {person_id}:
        raise Conflict("Nobody else is admin for all stores, and somebody has to be. Make another person admin first.")
