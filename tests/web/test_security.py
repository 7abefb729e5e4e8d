"""Headers, form tokens, roles, cookies, and living behind proxies."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.web.conftest import Browser, password
from webapp.accounts import tables
from webapp.accounts.home import Home
from webapp.accounts.roles import Grant
from webapp.web.security import session_cookie


@pytest.mark.parametrize("path", ["/login", "/account", "/nowhere", "/healthz", "/static/app.css", "/stores/broken"])
def test_every_answer_carries_the_headers(admin: Browser, path: str) -> None:
    headers = admin.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for directive in (
        "script-src 'self'",
        "style-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    ):
        assert directive in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "Strict-Transport-Security" not in headers


def test_pages_are_not_kept_and_static_files_are(admin: Browser) -> None:
    page = admin.get("/account")
    assert page.headers["Cache-Control"] == "no-store"
    address = re.search(r'href="(/static/app\.css\?v=\w+)"', page.get_data(True))
    assert address
    assert admin.get(address[1]).headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert admin.get("/static/app.css").headers["Cache-Control"] == "no-cache"


def test_pages_hold_no_inline_code_or_style(admin: Browser) -> None:
    for path in ("/account", "/users", "/users/admin", "/nowhere", "/stores/broken"):
        text = admin.get(path).get_data(True)
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", text), path


def test_cookies_are_secure_only_over_https(app: Flask) -> None:
    plain = Browser(app).log_in()
    secure = Browser(app, **{"wsgi.url_scheme": "https"}).log_in()
    for response, is_secure in ((plain, False), (secure, True)):
        assert response.status_code == 303
        cookies = response.headers.getlist("Set-Cookie")
        assert any(cookie.startswith(session_cookie) for cookie in cookies)
        for cookie in cookies:
            assert "HttpOnly" in cookie
            assert "SameSite=Lax" in cookie
            assert ("Secure" in cookie) is is_secure
        assert ("Strict-Transport-Security" in response.headers) is is_secure


def test_proxy_headers_count_only_when_proxies_are_trusted(make_app: Callable[..., Flask]) -> None:
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Prefix": "/admin"}
    direct, behind = Browser(make_app()), Browser(make_app(trusted_proxies=1))
    assert "Strict-Transport-Security" not in direct.get("/login", headers=headers).headers
    response = behind.get("/account", headers=headers)
    assert "Strict-Transport-Security" in response.headers
    assert response.headers["Location"] == "/admin/login?next=%2Fadmin%2Faccount"


def test_it_works_below_a_sub_path(app: Flask) -> None:
    browser = Browser(app, SCRIPT_NAME="/ops/events")
    response = browser.get("/account")
    assert response.headers["Location"] == "/ops/events/login?next=%2Fops%2Fevents%2Faccount"
    response = browser.log_in(target="/ops/events/account?a=b")
    assert response.headers["Location"] == "/ops/events/account?a=b"
    assert all("Path=/ops/events" in cookie for cookie in response.headers.getlist("Set-Cookie"))
    assert Browser(app, SCRIPT_NAME="/ops/events").log_in(target="/other").headers["Location"] == "/ops/events/"
    cookie = next(c for c in response.headers.getlist("Set-Cookie") if c.startswith(session_cookie))
    token = cookie.split("=", 1)[1].split(";")[0]
    page = app.test_client(use_cookies=False).get(
        "/account", headers={"Cookie": f"{session_cookie}={token}"}, environ_overrides={"SCRIPT_NAME": "/ops/events"}
    )
    links = re.findall(r'(?:href|src|action)="(/[^"]*)"', page.get_data(True))
    assert len(links) > 5
    assert all(link.startswith("/ops/events/") for link in links), links


# --- forms ----------------------------------------------------------------------------------------------------------

posts = ["/logout", "/account/password", "/account/look", "/users", "/users/admin/roles", "/users/admin/disable"]


@pytest.mark.parametrize("path", posts)
@pytest.mark.parametrize("token", [None, "", "x", "x-y", "é-ü"])
def test_a_form_without_its_token_is_refused_with_a_page(admin: Browser, path: str, token: str | None) -> None:
    response = admin.client.post(path, data={} if token is None else {"csrf_token": token})
    assert response.status_code == 400
    text = response.get_data(True)
    assert "This form can’t be accepted" in text
    assert "reload the page" in text
    assert admin.get("/account").status_code == 200


def test_a_form_sent_after_the_session_ended_leads_to_the_login(browser: Browser) -> None:
    response = browser.client.post("/account/look", data={"time_zone": ""})
    assert (response.status_code, response.headers["Location"]) == (303, "/login?next=%2F")


def test_the_login_form_needs_its_token_too(app: Flask, browser: Browser) -> None:
    form = {"username": "admin", "password": password}
    assert browser.client.post("/login", data=form).status_code == 400
    token = browser.token("/login")
    assert Browser(app).client.post("/login", data=form | {"csrf_token": token}).status_code == 400
    assert browser.client.post("/login", data=form | {"csrf_token": token}).status_code == 303


def test_a_token_is_good_for_its_own_session_only(app: Flask, admin: Browser, somebody: Callable[..., Browser]) -> None:
    other = somebody("ann", Grant("admin"))
    assert other.client.post("/logout", data={"csrf_token": admin.token()}).status_code == 400
    early = Browser(app)
    before_login = early.token("/login")
    early.log_in()
    assert early.client.post("/logout", data={"csrf_token": before_login}).status_code == 400


def test_a_token_in_the_header_does_for_scripts(admin: Browser) -> None:
    response = admin.client.post("/account/look", headers={"X-CSRF-Token": admin.token()}, data={"time_zone": ""})
    assert response.status_code == 303


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 400),
        ({"Origin": "null"}, 400),
        ({"Origin": "http://localhost.evil.example"}, 400),
        ({"Referer": "https://evil.example/page"}, 400),
        ({"Sec-Fetch-Site": "cross-site"}, 400),
        ({"Origin": "http://localhost"}, 303),
        ({"Referer": "http://localhost/account"}, 303),
    ],
)
def test_forms_from_other_sites_are_refused(admin: Browser, headers: dict[str, str], status: int) -> None:
    assert admin.post("/account/look", {"time_zone": ""}, headers=headers).status_code == status


# --- roles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grant", "expected"),
    [
        (Grant("viewer"), {"/users": 403, "/stores/shop": 200, "/stores/home": 404}),
        (Grant("operator"), {"/users": 403, "/stores/shop": 200, "/stores/home": 404}),
        (Grant("auditor"), {"/users": 403, "/stores/shop": 200, "/stores/home": 200}),
        (Grant("admin"), {"/users": 200, "/stores/shop": 200, "/stores/home": 200}),
        (Grant("viewer", "shop"), {"/users": 403, "/stores/shop": 200, "/stores/broken": 404, "/stores/home": 404}),
        (Grant("admin", "shop"), {"/users": 403, "/stores/shop": 200, "/stores/broken": 404, "/stores/home": 404}),
        (Grant("viewer", "broken"), {"/stores/shop": 404, "/stores/shop/events": 404, "/stores/broken": 503}),
    ],
    ids=str,
)
def test_each_role_reaches_its_pages(somebody: Callable[..., Browser], grant: Grant, expected: dict[str, int]) -> None:
    browser = somebody("ann", grant)
    assert {path: browser.get(path).status_code for path in expected} == expected


def test_a_store_one_may_not_see_looks_like_one_that_is_not_there(somebody: Callable[..., Browser]) -> None:
    browser = somebody("ann", Grant("viewer", "shop"))
    hidden = browser.read("/stores/broken", 404)
    absent = browser.read("/stores/nowhere", 404)
    assert "There is no store “broken” here. Stores you may see: shop." in hidden
    assert hidden.replace("broken", "nowhere").split("<main")[1] == absent.split("<main")[1]
    assert "broken" not in browser.read("/account")


def test_a_role_taken_away_counts_at_once(admin: Browser, somebody: Callable[..., Browser]) -> None:
    browser = somebody("ann", Grant("viewer", "shop"))
    assert browser.get("/stores/shop").status_code == 200
    assert admin.post("/users/ann/roles", {}, page="/users/ann").status_code == 303
    assert browser.get("/stores/shop").status_code == 404
    assert "none yet; ask an admin" in browser.read("/account")


def test_nobody_but_admins_changes_people(somebody: Callable[..., Browser]) -> None:
    browser = somebody("ann", Grant("operator"), Grant("auditor"))
    form = {"username": "eve", "password": password, "role": "admin", "store": "*", "grant": "admin@*"}
    for path in ("/users", "/users/ann/roles", "/users/admin/password", "/users/admin/disable", "/users/admin/enable"):
        response = browser.post(path, form)
        assert response.status_code == 403, path
        assert "This needs the role admin for all stores; you have auditor and operator." in response.get_data(True)


# --- getting --------------------------------------------------------------------------------------------------------


def snapshot(home: Home) -> list[object]:
    with home.database.reading() as connection:
        rows = [
            [tuple(row) for row in connection.execute(sa.select(table))]
            for table in (tables.people, tables.grants, tables.sessions, tables.login_attempts, tables.replays)
        ]
    return [*rows, home.events.head("main")]


def test_getting_pages_changes_nothing(app: Flask, admin: Browser, home: Home) -> None:
    before = snapshot(home)
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()) and set(rule.arguments) <= {"store", "username"}:
            path = rule.rule.replace("<store>", "shop").replace("<username>", "admin")
            assert admin.get(path).status_code < 500, path
    for path in posts:
        assert admin.get(path).status_code in (405, 200)
    assert snapshot(home) == before
