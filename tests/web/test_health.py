"""`/healthz`, for those who look after processes."""

from __future__ import annotations

import pytest

from tests.web.conftest import Browser
from webapp.errors import StoreUnavailable


def test_it_says_ok_without_login_and_waits_for_no_store(browser: Browser) -> None:
    response = browser.get("/healthz")
    assert response.status_code == 200
    assert response.json == {
        "status": "ok",
        "home": "ok",
        "stores": {"shop": "not opened yet", "broken": "not opened yet"},
    }
    assert "Set-Cookie" not in response.headers


def test_a_broken_store_is_reported_and_does_not_matter(admin: Browser) -> None:
    admin.get("/stores/shop")
    admin.get("/stores/broken")
    response = admin.get("/healthz")
    assert response.status_code == 200
    assert response.json is not None
    assert response.json["stores"] == {"shop": "open", "broken": "StoreUnavailable"}


def test_home_out_of_reach_is_a_503(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise StoreUnavailable("no")

    monkeypatch.setattr("webapp.store.database.Database.reading", unreachable)
    response = browser.get("/healthz")
    assert response.status_code == 503
    assert response.json is not None
    assert response.json["home"] == "unavailable"
