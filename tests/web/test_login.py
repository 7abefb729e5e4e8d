"""Logging in and out."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from tests.web.conftest import Browser, password
from webapp.accounts import throttle
from webapp.accounts.home import Home
from webapp.accounts.people import add_person, set_disabled, set_password
from webapp.accounts.roles import Grant
from webapp.web.security import session_cookie


def acts(home: Home, username: str) -> list[str]:
    return [event.type for event in home.events.read_stream("person", username)]


@pytest.mark.parametrize(
    "path", ["/", "/stores/shop", "/stores/shop/events?type=a%26b", "/users", "/account", "/nowhere"]
)
def test_without_a_session_pages_lead_to_the_login_and_back(browser: Browser, path: str) -> None:
    response = browser.get(path)
    assert response.status_code == 303
    address = urlsplit(response.headers["Location"])
    assert address.path == "/login"
    assert parse_qs(address.query)["next"] == [path]
    response = browser.log_in(target=parse_qs(address.query)["next"][0])
    assert (response.status_code, response.headers["Location"]) == (303, path)


def test_login_goes_to_the_start_without_next(browser: Browser, home: Home) -> None:
    response = browser.log_in("Admin ")
    assert (response.status_code, response.headers["Location"]) == (303, "/")
    assert "Your account" in browser.read("/account")
    assert acts(home, "admin") == ["person.added", "person.logged_in"]


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "evil",
        "",
        "/%0d%0aSet-Cookie: a=b\r\nX: y",
        "///evil.example",
        "http:///evil.example",
        "/\tevil",
    ],
)
def test_next_never_leads_to_another_site(browser: Browser, target: str) -> None:
    response = browser.log_in(target=target)
    assert response.status_code == 303
    assert response.headers["Location"] == "/"
    assert browser.get("/login", query_string={"next": target}).headers["Location"] == "/"


def test_a_wrong_password_and_an_unknown_name_are_told_alike(browser: Browser, home: Home) -> None:
    wrong = browser.log_in("admin", "wrong password")
    unknown = browser.log_in("nobody", "wrong password")
    assert wrong.status_code == unknown.status_code == 401
    for response in (wrong, unknown):
        assert "Username and password don’t go together" in response.get_data(True)
        assert session_cookie not in str(response.headers.getlist("Set-Cookie"))
    assert acts(home, "admin") == ["person.added", "person.login_failed"]
    assert acts(home, "nobody") == []
    assert acts(home, "unknown") == ["person.login_failed"]


def test_who_is_disabled_is_not_let_in(browser: Browser, home: Home) -> None:
    add_person(home, "ann", password, [Grant("viewer")])
    set_disabled(home, "ann", True)
    assert browser.log_in("ann").status_code == 401


def test_failures_are_counted_over_two_workers(make_app: Callable[..., Flask]) -> None:
    workers = [Browser(make_app()), Browser(make_app())]
    for number in range(throttle.username_limit):
        assert workers[number % 2].log_in("admin", "wrong password").status_code == 401
    for worker in workers:
        response = worker.log_in()
        assert response.status_code == 429
        assert 1 <= int(response.headers["Retry-After"]) <= 15 * 60 + 1
        text = response.get_data(True)
        assert "Too many failed logins. Try again in 15 minutes" in text
        assert worker.get("/account").status_code == 303


def test_success_does_not_count_as_failure(app: Flask) -> None:
    for _ in range(throttle.username_limit + 2):
        assert Browser(app).log_in().status_code == 303


def test_login_takes_a_new_session_whatever_the_browser_had(app: Flask, browser: Browser) -> None:
    browser.client.set_cookie(session_cookie, "chosen-by-somebody-else")
    assert browser.log_in().status_code == 303
    first = browser.client.get_cookie(session_cookie)
    assert first is not None
    assert first.value != "chosen-by-somebody-else"
    thief = Browser(app)
    thief.client.set_cookie(session_cookie, "chosen-by-somebody-else")
    assert thief.get("/account").status_code == 303
    # Logging in again from the same browser ends the session before.
    browser.client.delete_cookie(session_cookie)
    form = {"csrf_token": browser.token("/login"), "username": "admin", "password": password}
    browser.client.set_cookie(session_cookie, first.value)
    assert browser.client.post("/login", data=form).status_code == 303
    thief.client.set_cookie(session_cookie, first.value)
    assert thief.get("/account").status_code == 303
    assert browser.get("/account").status_code == 200


def test_logout_ends_the_session_in_the_database_too(app: Flask, admin: Browser, home: Home) -> None:
    cookie = admin.client.get_cookie(session_cookie)
    assert cookie is not None
    response = admin.post("/logout")
    assert (response.status_code, response.headers["Location"]) == (303, "/login")
    assert admin.client.get_cookie(session_cookie) is None
    again = Browser(app)
    again.client.set_cookie(session_cookie, cookie.value)
    assert again.get("/account").status_code == 303
    assert acts(home, "admin")[-1] == "person.logged_out"


def test_a_new_password_ends_other_sessions_at_once(app: Flask, admin: Browser, home: Home) -> None:
    other = Browser(app)
    other.log_in()
    form = {"current": password, "password": "another good one", "again": "another good one"}
    assert admin.post("/account/password", form).status_code == 303
    assert "Your password was changed" in admin.read("/account")
    assert other.get("/account").status_code == 303
    assert other.log_in().status_code == 401
    assert other.log_in(given="another good one").status_code == 303
    set_password(home, "admin", "set by an admin", actor="root")
    assert admin.get("/account").status_code == other.get("/account").status_code == 303


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        (
            {"current": "wrong password", "password": "another good one", "again": "another good one"},
            "not your present",
        ),
        ({"current": password, "password": "another good one", "again": "something else"}, "are not the same"),
        ({"current": password, "password": "short", "again": "short"}, "at least 10"),
    ],
)
def test_a_password_that_cannot_be_changed_says_why(admin: Browser, form: dict[str, str], sentence: str) -> None:
    response = admin.post("/account/password", form)
    assert response.status_code == 400
    assert sentence in response.get_data(True)
    assert "another good one" not in response.get_data(True)


def test_sessions_are_listed_and_can_be_ended(app: Flask, admin: Browser) -> None:
    other = Browser(app)
    other.log_in()
    text = admin.read("/account")
    assert text.count("this one") == 1
    action = text.split('action="/account/sessions/')[1].split('"')[0]
    assert admin.post(f"/account/sessions/{action}").status_code == 303
    assert other.get("/account").status_code == 303
    assert admin.get("/account").status_code == 200


def test_time_zone_and_theme_are_chosen(admin: Browser) -> None:
    assert admin.post("/account/look", {"time_zone": "Asia/Tokyo", "theme": "dark"}).status_code == 303
    text = admin.read("/account")
    assert 'data-theme="dark"' in text
    assert "JST" in text
    assert "Asia/Tokyo" in text
    response = admin.post("/account/look", {"time_zone": "Mars/Olympus", "theme": ""})
    assert response.status_code == 400
    assert "“Mars/Olympus” is not a time zone" in response.get_data(True)
    assert admin.post("/account/look", {"time_zone": "", "theme": ""}).status_code == 303
    assert "data-theme=" not in admin.read("/account")
