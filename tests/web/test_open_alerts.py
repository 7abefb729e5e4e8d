"""Open alerts on the overviews."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from tests.web.conftest import Browser
from tests.web.pages import text_of
from webapp.accounts.home import Home
from webapp.accounts.roles import Grant
from webapp.accounts.tables import alerts


@pytest.fixture
def opened(home: Home) -> None:
    """An alert of each kind of place, and one that has ended and is only to be told."""
    with home.database.writing() as connection:
        now = home.database.dialect.clock(connection)
        rows = [
            ("shop", "failed", "orders/<b>", "failed at main:4: <b>no</b>", None),
            ("shop", "dead_letters", "", "2 new dead letters", None),
            ("broken", "unreachable", "", "The server is gone", None),
            ("shop", "lag", "late", "This is over", now),
        ]
        names = ("store", "kind", "projection", "sentence", "ended_at")
        connection.execute(sa.insert(alerts), [dict(zip(names, row, strict=True), begun_at=now) for row in rows])


@pytest.mark.usefixtures("opened")
def test_the_overview_of_all_shows_open_alerts_with_a_way_to_go_on(admin: Browser) -> None:
    page = admin.read("/")
    assert "Open alerts" in page
    text = text_of(page)
    for shown in ("orders/<b>", "failed at main:4: <b>no</b>", "dead letters", "The server is gone"):
        assert shown in text
    assert "This is over" not in text
    assert "<b>no</b>" not in page
    assert re.search(r'href="/stores/shop/projections/orders[^"]*"', page)
    assert 'href="/stores/shop/dead-letters"' in page


@pytest.mark.usefixtures("opened")
def test_a_store_shows_its_own(admin: Browser) -> None:
    text = text_of(admin.read("/stores/shop"))
    assert "2 new dead letters" in text
    assert "The server is gone" not in text


@pytest.mark.usefixtures("opened")
def test_alerts_of_stores_that_one_may_not_see_are_not_shown(somebody: Callable[..., Browser]) -> None:
    text = text_of(somebody("ann", Grant("viewer", "broken")).read("/"))
    assert "The server is gone" in text
    assert "orders" not in text


def test_where_nothing_is_open_nothing_is_said(admin: Browser) -> None:
    assert "Open alerts" not in admin.read("/")
