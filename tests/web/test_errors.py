"""Every error is a page that says what is wrong and what to do."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable

import pytest
from flask import Flask

from tests.web.conftest import Browser
from webapp import errors
from webapp.web.errors import kind_of, kinds


def test_every_error_of_the_family_has_a_status() -> None:
    family = [
        each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, errors.ProjectionistError)
    ]
    assert len(family) > 10
    bare = kinds[errors.ProjectionistError]
    for each in family:
        kind = kind_of(each.__new__(each))
        assert each is errors.ProjectionistError or kind is not bare, f"{each.__name__} would be answered as a bug"


def test_an_unknown_address_is_a_404_page(admin: Browser) -> None:
    text = admin.read("/nowhere/at/all", 404)
    assert "There is no page at this address" in text
    assert "To the overview" in text


def test_a_wrong_method_is_a_405_page(admin: Browser) -> None:
    response = admin.get("/logout")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]
    assert "This address can’t be opened like that" in response.get_data(True)


def test_too_large_a_body_is_a_413_page(admin: Browser) -> None:
    response = admin.post("/account/look", {"time_zone": "x" * (1024 * 1024 + 1)})
    assert response.status_code == 413
    assert "larger than the dashboard accepts" in response.get_data(True)


def test_a_bug_shows_a_number_and_logs_the_traceback(
    make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app()

    def fail() -> str:
        raise RuntimeError("the secret detail")

    app.add_url_rule("/fail", "fail", fail)
    browser = Browser(app)
    browser.log_in()
    with caplog.at_level(logging.ERROR):
        response = browser.get("/fail")
    assert response.status_code == 500
    text = response.get_data(True)
    assert "Something went wrong" in text
    assert "secret detail" not in text
    assert "Traceback" not in text
    number = re.search(r"the number (\w{12})", text)
    assert number
    assert number[1] in caplog.text
    assert "RuntimeError: the secret detail" in caplog.text


def test_a_store_that_cannot_be_reached_is_a_503_and_others_work(admin: Browser) -> None:
    response = admin.get("/stores/broken")
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    text = response.get_data(True)
    assert "no such file" in text
    assert "Others work meanwhile" in text
    assert admin.get("/stores/shop").status_code == 200
    assert admin.get("/").status_code == 200


def test_a_store_that_comes_back_is_opened(
    admin: Browser, settings: object, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webapp.store import EventStore

    monkeypatch.setattr("webapp.web.sources._again_after_seconds", 0.0)
    assert admin.get("/stores/broken").status_code == 503
    store = EventStore.open(f"sqlite:///{tmp_path}/missing.db")
    store.migrate()
    store.close()
    assert admin.get("/stores/broken").status_code == 200


def test_a_password_in_an_address_is_not_shown(make_app: Callable[..., Flask]) -> None:
    browser = Browser(make_app(stores=(("far", "postgresql://ann:hidden-words@127.0.0.1:1/far"),)))
    browser.log_in()
    text = browser.read("/stores/far", 503)
    assert "hidden-words" not in text + browser.read("/") + browser.read("/healthz")


def test_hostile_text_in_an_address_is_shown_as_text(admin: Browser) -> None:
    response = admin.get("/stores/%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    assert "<script>alert" not in response.get_data(True)
    text = admin.read("/users/%3Cimg%20src=x%20onerror=alert(1)%3E", 404)
    assert "<img" not in text
    assert "&lt;img" in text


def test_home_out_of_reach_is_a_page_too(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    browser = Browser(app)
    browser.log_in()

    def unreachable(*_: object, **__: object) -> None:
        raise errors.StoreUnavailable("home can’t be reached. Start its server.")

    monkeypatch.setattr("webapp.store.database.Database.reading", unreachable)
    response = browser.get("/account")
    assert response.status_code == 503
    assert "home can’t be reached" in response.get_data(True)
