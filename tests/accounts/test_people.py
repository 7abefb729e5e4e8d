"""People: names, passwords, roles, and what is recorded of changes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher

from tests.accounts.conftest import password
from webapp.accounts import people, tables
from webapp.accounts.home import Home
from webapp.accounts.passwords import verify_password
from webapp.accounts.people import (
    add_person,
    check_password,
    ensure_admin,
    find_person,
    list_people,
    set_disabled,
    set_grants,
    set_password,
    set_time_zone,
)
from webapp.accounts.roles import Grant
from webapp.accounts.sessions import find_session, start_session
from webapp.config import Config
from webapp.errors import Conflict, InvalidRequest, NotFound


def events_of(home: Home, username: str) -> list[tuple[str, str | None, object]]:
    return [(event.type, event.actor, event.data) for event in home.events.read_stream("person", username)]


def is_logged_in(home: Home, token: str) -> bool:
    with home.database.reading() as connection:
        return find_session(connection, token) is not None


def test_a_person_added_can_log_in_under_the_name_in_any_case(home: Home) -> None:
    added = add_person(
        home, " Ann.Lee@example.test ", password, [Grant("viewer"), Grant("operator", "shop")], actor="root"
    )
    assert added.username == "ann.lee@example.test"
    assert set(added.grants) == {Grant("viewer"), Grant("operator", "shop")}
    assert check_password(home, "ANN.LEE@example.test", password) == added
    assert check_password(home, "ann.lee@example.test", password + "!") is None
    assert events_of(home, added.username) == [("person.added", "root", {"roles": ["operator of shop", "viewer"]})]


def test_no_password_or_hash_is_ever_in_an_event(home: Home) -> None:
    add_person(home, "ann", password, [Grant("viewer")])
    set_password(home, "ann", "another good one", actor="root")
    with home.database.reading() as connection:
        hashes = connection.execute(sa.select(tables.people.c.password_hash)).scalars().all()
    texts = [f"{event.data_text} {event.metadata_text}" for event in home.events.read_log("main")]
    assert len(texts) == 2
    assert not any(secret in text for text in texts for secret in [password, "another good one", *hashes])


def test_a_name_can_be_taken_once_even_by_many_at_the_same_moment(home: Home) -> None:
    def add(_: int) -> bool:
        try:
            add_person(home, "ann", password, [Grant("viewer")])
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(add, range(4))) == [False, False, False, True]
    assert [person.username for person in list_people(home)] == ["ann"]
    assert len(events_of(home, "ann")) == 1
    with pytest.raises(Conflict, match="already"):
        add_person(home, "Ann", password, [])


@pytest.mark.parametrize("username", ["", " ", "-ann", "ann lee", "änn", "a/b", "a" * 65, "ann\x00", "<script>"])
def test_it_refuses_usernames_that_would_not_do(username: str) -> None:
    with pytest.raises(InvalidRequest, match="A username has 1 to 64"):
        people.checked_username(username)


def test_it_refuses_bad_passwords_and_roles_with_a_sentence(home: Home) -> None:
    with pytest.raises(InvalidRequest, match="has 9 characters; at least 10"):
        add_person(home, "ann", "too short", [])
    with pytest.raises(InvalidRequest, match="over 1000"):
        add_person(home, "ann", "x" * 1001, [])
    with pytest.raises(InvalidRequest, match="is the username"):
        add_person(home, "annannannann", "AnnAnnAnnAnn", [])
    with pytest.raises(InvalidRequest, match="aren't text"):
        add_person(home, "ann", "lone surrogate \ud800", [])
    with pytest.raises(InvalidRequest, match=r"no role “king”\. Roles are viewer, auditor, operator, admin"):
        add_person(home, "ann", password, [Grant("king")])
    with pytest.raises(InvalidRequest, match="name of a store"):
        add_person(home, "ann", password, [Grant("viewer", "a shop")])
    assert list_people(home) == []


def test_roles_are_replaced_and_the_change_is_recorded(home: Home) -> None:
    add_person(home, "root", password, [Grant("admin")])
    add_person(home, "ann", password, [Grant("viewer")])
    changed = set_grants(home, "ann", [Grant("auditor", "shop"), Grant("auditor", "shop")], actor="root")
    assert changed.grants == (Grant("auditor", "shop"),)
    assert events_of(home, "ann")[-1] == (
        "person.roles_changed",
        "root",
        {"from": ["viewer"], "to": ["auditor of shop"]},
    )
    with pytest.raises(NotFound, match="no person “bob”"):
        set_grants(home, "bob", [])


def test_the_last_admin_stays(home: Home) -> None:
    add_person(home, "root", password, [Grant("admin")])
    add_person(home, "other", password, [Grant("admin", "shop")])
    for act in (lambda: set_grants(home, "root", [Grant("viewer")]), lambda: set_disabled(home, "root", True)):
        with pytest.raises(Conflict, match="Nobody else is admin"):
            act()
    set_grants(home, "other", [Grant("admin")])
    set_disabled(home, "root", True)
    with pytest.raises(Conflict):
        set_disabled(home, "other", True)
    set_disabled(home, "root", False)
    assert find_person(home, "root").may("admin")


def test_two_admins_cannot_remove_each_other_at_the_same_moment(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        add_person(home, name, password, [Grant("admin")])
    real = people._check_another_admin

    def check_and_dawdle(connection: sa.Connection, person_id: int) -> None:
        real(connection, person_id)
        time.sleep(0.3)  # long enough for the other to come to the same point, if nothing holds it

    monkeypatch.setattr(people, "_check_another_admin", check_and_dawdle)

    def remove(name: str) -> bool:
        try:
            set_grants(home, name, [])
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(remove, ["one", "two"])) == [False, True]
    assert len([person for person in list_people(home) if person.may("admin")]) == 1


def test_a_new_password_ends_all_sessions_but_the_own(home: Home) -> None:
    ann = add_person(home, "ann", password, [])
    own, other = start_session(home, ann.id), start_session(home, ann.id)
    set_password(home, "ann", "another good one", actor="ann", keep_session=own)
    assert (is_logged_in(home, own), is_logged_in(home, other)) == (True, False)
    assert check_password(home, "ann", password) is None
    assert check_password(home, "ann", "another good one") == ann


def test_who_is_disabled_is_out_at_once_and_until_enabled(home: Home) -> None:
    ann = add_person(home, "ann", password, [Grant("viewer")])
    token = start_session(home, ann.id)
    set_disabled(home, "ann", True, actor="root")
    assert not is_logged_in(home, token)
    assert check_password(home, "ann", password) is None
    set_disabled(home, "ann", False, actor="root")
    assert check_password(home, "ann", password) == ann
    assert [event[0] for event in events_of(home, "ann")] == ["person.added", "person.disabled", "person.enabled"]


def test_people_come_in_pages_by_name(home: Home) -> None:
    for name in ("b", "a-1", "c", "a.2"):
        add_person(home, name, password, [Grant("viewer"), Grant("operator", name.replace(".", "-"))])
    first = list_people(home, limit=2)
    assert [person.username for person in first] == ["a-1", "a.2"]
    assert Grant("operator", "a-2") in first[1].grants
    assert [person.username for person in list_people(home, after="a.2", limit=2)] == ["b", "c"]


def test_a_hash_of_older_parameters_is_renewed_at_login(home: Home) -> None:
    ann = add_person(home, "ann", password, [])
    old = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(password)

    def stored() -> str:
        with home.database.reading() as connection:
            return str(connection.execute(sa.select(tables.people.c.password_hash)).scalar_one())

    statement = sa.update(tables.people).values(password_hash=old)
    home.database.retrying(lambda connection: connection.execute(statement))
    assert check_password(home, "ann", "wrong password") is None
    assert stored() == old
    assert check_password(home, "ann", password) == ann
    assert stored() != old
    assert verify_password(stored(), password)


def test_unknown_names_take_a_hash_too(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []
    real = PasswordHasher.verify
    monkeypatch.setattr(PasswordHasher, "verify", lambda self, *given: verified.append(1) or real(self, *given))
    assert check_password(home, "nobody", password) is None
    assert verified == [1]


def test_the_first_start_makes_an_admin_once(home: Home) -> None:
    config = Config()
    shown = ensure_admin(home, config)
    assert shown is not None
    assert len(shown) >= 16
    admin = check_password(home, "admin", shown)
    assert admin is not None
    assert admin.may("admin")
    assert ensure_admin(home, config) is None


def test_a_password_from_the_settings_is_used_and_not_shown(home: Home) -> None:
    config = Config(admin_password="from the settings")
    assert ensure_admin(home, config) is None
    assert check_password(home, "admin", "from the settings")


def test_workers_that_start_at_once_make_one_home_and_one_admin(settings: Config, tmp_path: Path) -> None:
    def start(_: int) -> str | None:
        home = Home.open(settings)
        try:
            return ensure_admin(home, settings)
        finally:
            home.close()

    with ThreadPoolExecutor(4) as pool:
        shown = [password for password in pool.map(start, range(4)) if password]
    assert len(shown) == 1
    home = Home.open(settings)
    assert check_password(home, "admin", shown[0])
    home.close()


def test_a_time_zone_is_kept(home: Home) -> None:
    add_person(home, "ann", password, [])
    set_time_zone(home, "ann", "Europe/Berlin")
    assert find_person(home, "ann").time_zone == "Europe/Berlin"
