"""The dashboard for web tests: a real app on a home and a store in SQLite files, asked by HTTP like a browser would."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from webapp.accounts.home import Home
from webapp.accounts.people import add_person
from webapp.accounts.roles import Grant
from webapp.app import create_app
from webapp.config import Config
from webapp.store import EventStore, NewEvent
from webapp.web.context import Dashboard

password = "correct horse battery"


class Browser:
    """A person at the dashboard: keeps cookies, and sends each form with the token of the page it is on."""

    def __init__(self, app: Flask, **environ: Any) -> None:
        self.client: FlaskClient = app.test_client()
        self.environ = environ

    def get(self, path: str, **options: Any) -> TestResponse:
        """The page at a path; a redirection is not followed."""
        return self.client.get(path, buffered=True, **{"environ_overrides": self.environ} | options)

    def read(self, path: str, status: int = 200) -> str:
        """The text of a page, which must have that status."""
        response = self.get(path)
        assert response.status_code == status, response.get_data(True)
        return response.get_data(True)

    def token(self, path: str = "/account") -> str:
        """The form token on a page."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.get(path).get_data(True))
        assert found, f"no form on {path}"
        return html.unescape(found[1])

    def post(
        self, path: str, data: dict[str, Any] | None = None, *, page: str = "/account", **options: Any
    ) -> TestResponse:
        """What a form with these fields is answered, sent from a page."""
        form = {"csrf_token": self.token(page)} | (data or {})
        return self.client.post(path, data=form, **{"environ_overrides": self.environ} | options)

    def log_in(self, username: str = "admin", given: str = password, target: str | None = None) -> TestResponse:
        """What the login form is answered."""
        form = {"username": username, "password": given} | ({} if target is None else {"next": target})
        return self.post("/login", form, page="/login")


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    """A home in a folder, and one store that can be opened and one that can't."""
    store = EventStore.open(f"sqlite:///{tmp_path / 'shop.db'}")
    store.migrate()
    store.append("order", "42", [NewEvent("order.placed", {"total": 100}, {"actor": "ann"})])
    store.close()
    return Config(
        home_folder=tmp_path / "home",
        admin_password=password,
        stores=(("shop", f"sqlite:///{tmp_path / 'shop.db'}"), ("broken", f"sqlite:///{tmp_path / 'missing.db'}")),
    )


@pytest.fixture
def make_app(settings: Config) -> Iterator[Callable[..., Flask]]:
    """Starts another worker of the dashboard; changes to the settings may be given."""
    made: list[Flask] = []

    def make(**changes: Any) -> Flask:
        app = create_app(dataclasses.replace(settings, **changes))
        app.testing = False
        made.append(app)
        return app

    yield make
    for app in made:
        dashboard: Dashboard = app.extensions["projectionist"]
        dashboard.close()


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """The dashboard."""
    return make_app()


@pytest.fixture
def home(app: Flask) -> Home:
    """The dashboard's own database."""
    parts: Dashboard = app.extensions["projectionist"]
    return parts.home


@pytest.fixture
def browser(app: Flask) -> Browser:
    """Somebody who hasn't logged in."""
    return Browser(app)


@pytest.fixture
def admin(app: Flask) -> Browser:
    """The first admin, logged in."""
    browser = Browser(app)
    assert browser.log_in().status_code == 303
    return browser


@pytest.fixture
def somebody(app: Flask, home: Home) -> Callable[..., Browser]:
    """Adds a person with these roles and logs them in."""

    def make(username: str, *grants: Grant) -> Browser:
        add_person(home, username, password, grants)
        browser = Browser(app)
        assert browser.log_in(username).status_code == 303
        return browser

    return make
