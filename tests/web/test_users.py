"""People, as admins see and change them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.web.conftest import Browser, password
from webapp.accounts.home import Home
from webapp.accounts.people import add_person, find_person
from webapp.accounts.roles import Grant


def test_somebody_is_added_and_can_log_in(app: Flask, admin: Browser, home: Home) -> None:
    form = {"username": "Ann", "password": password, "role": "operator", "store": "shop"}
    response = admin.post("/users", form, page="/users")
    assert (response.status_code, response.headers["Location"]) == (303, "/users/ann")
    assert "ann was added" in admin.read("/users/ann")
    assert "operator of shop" in admin.read("/users")
    assert Browser(app).log_in("ann").status_code == 303
    event = next(iter(home.events.read_stream("person", "ann")))
    assert (event.type, event.actor, event.data) == ("person.added", "admin", {"roles": ["operator of shop"]})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"username": "a b"}, "A username has 1 to 64"),
        ({"password": "short"}, "at least 10 are needed"),
        ({"role": "king"}, "There is no role “king”"),
        ({"role": ""}, "There is no role “”"),
        ({"store": "a/b"}, "There is no store “a/b” here"),
    ],
)
def test_what_cannot_be_used_is_said_beside_its_field(
    admin: Browser, home: Home, change: dict[str, str], sentence: str
) -> None:
    form = {"username": "ann", "password": password, "role": "viewer", "store": "*"} | change
    response = admin.post("/users", form, page="/users")
    assert response.status_code == 400
    text = response.get_data(True)
    assert f"{sentence}" in text
    assert 'class="error"' in text
    assert form["username"] in text, "what was typed stays"


def test_a_name_that_is_taken_is_a_conflict(admin: Browser) -> None:
    form = {"username": "admin", "password": password, "role": "viewer", "store": "*"}
    response = admin.post("/users", form, page="/users")
    assert response.status_code == 409
    assert "There is a person named “admin” already" in response.get_data(True)


def test_roles_are_ticked_per_store(admin: Browser, home: Home) -> None:
    add_person(home, "ann", password, [Grant("viewer")])
    form = {"grant": ["auditor@*", "operator@shop"]}
    assert admin.post("/users/ann/roles", form, page="/users/ann").status_code == 303
    assert set(find_person(home, "ann").grants) == {Grant("auditor"), Grant("operator", "shop")}
    text = admin.read("/users/ann")
    assert text.count(" checked") == 2
    assert 'value="operator@shop" aria-label="operator of shop" checked' in text


def test_roles_for_a_store_no_longer_configured_are_kept_on_the_form(admin: Browser, home: Home) -> None:
    add_person(home, "ann", password, [Grant("viewer", "former")])
    text = admin.read("/users/ann")
    assert "no longer configured" in text
    assert 'value="viewer@former" aria-label="viewer of former" checked' in text


def test_the_last_admin_cannot_be_removed(admin: Browser, home: Home) -> None:
    for path in ("/users/admin/roles", "/users/admin/disable"):
        response = admin.post(path, {}, page="/users/admin")
        assert response.status_code == 409
        assert "Nobody else is admin for all stores" in response.get_data(True)
    assert find_person(home, "admin").may("admin")


def test_a_reset_password_logs_out_and_lets_in(app: Flask, admin: Browser, somebody: Callable[..., Browser]) -> None:
    ann = somebody("ann", Grant("viewer"))
    form = {"password": "brand new words"}
    assert admin.post("/users/ann/password", form, page="/users/ann").status_code == 303
    assert ann.get("/account").status_code == 303
    assert ann.log_in("ann").status_code == 401
    assert ann.log_in("ann", "brand new words").status_code == 303
    response = admin.post("/users/ann/password", {"password": "short"}, page="/users/ann")
    assert response.status_code == 400
    assert "at least 10" in response.get_data(True)


def test_disabling_shuts_out_and_enabling_lets_in(admin: Browser, somebody: Callable[..., Browser]) -> None:
    ann = somebody("ann", Grant("viewer"))
    assert admin.post("/users/ann/disable", page="/users/ann").status_code == 303
    assert ann.get("/account").status_code == 303
    assert ann.log_in("ann").status_code == 401
    assert "disabled" in admin.read("/users")
    assert admin.post("/users/ann/enable", page="/users/ann").status_code == 303
    assert ann.log_in("ann").status_code == 303


def test_an_unknown_person_is_a_404(admin: Browser) -> None:
    assert "There is no person “bob” here." in admin.read("/users/bob", 404)
    for path in ("roles", "password", "disable", "enable"):
        assert admin.post(f"/users/bob/{path}", {"password": password}).status_code == 404


def test_many_people_come_in_pages(admin: Browser, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.web.users._page_rows", 2)
    for name in ("bob", "cem", "dan"):
        add_person(home, name, password, [])
    first, second = admin.read("/users"), admin.read("/users?after=bob")
    assert "bob" in first
    assert "/users/cem" not in first
    assert "/users?after=bob" in first
    assert "/users/cem" in second
    assert "/users/dan" in second
    assert 'rel="next"' not in second
