"""The overviews by HTTP, and the find box."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.queries.seed import odd_log, placed_id
from tests.web.conftest import Browser
from tests.web.pages import Pages, links, open_pages, text_of
from webapp.accounts.roles import Grant
from webapp.errors import TimedOut


@pytest.fixture
def pages(make_app: Callable[..., Flask], tmp_path: Path) -> Iterator[Pages]:
    """The dashboard over the small shop."""
    pages = open_pages(make_app, tmp_path)
    yield pages
    pages.store.close()


def test_all_stores_are_shown_those_that_fail_first(pages: Pages) -> None:
    text = pages.text("/")
    assert text.index("broken") < text.index("bazaar") < text.index("empty") < text.index("home")
    assert "there is no such file" in text
    assert "134 events" in text
    assert "No event yet" in text


def test_a_store_shows_its_figures_and_last_events(pages: Pages) -> None:
    source = pages.source("/stores/bazaar")
    text = text_of(source)
    for words in ("134 events", "2 logs", "11 types of events", "4 types of aggregates", "our own"):
        assert words in text
    assert links(source, "wallet.credited")
    assert "No event yet" in pages.text("/stores/empty")


def test_a_store_that_cannot_be_reached_says_why(pages: Pages) -> None:
    assert "there is no such file" in pages.text("/stores/broken", 503)
    assert "There is no store “nope” here" in pages.text("/stores/nope", 404)


def test_the_time_limit_of_pages_is_a_setting(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    pages = open_pages(lambda **changes: make_app(**changes | {"page_seconds": 0.2}), tmp_path)
    source = pages.app.extensions["projectionist"].sources.open("bazaar")
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) SELECT count(*) FROM n"
    )
    with pytest.raises(TimedOut), source.database.reading() as connection:
        connection.exec_driver_sql(endless)
    pages.store.close()


def test_a_person_sees_only_their_stores(pages: Pages, make_app: Callable[..., Flask]) -> None:
    from webapp.accounts.people import add_person

    home = pages.app.extensions["projectionist"].home
    add_person(home, "vera", "correct horse battery", [Grant("viewer", "empty")])
    vera = Browser(pages.app)
    assert vera.log_in("vera").status_code == 303
    text = vera.read("/")
    assert "bazaar" not in text
    assert 'href="/stores/empty"' in text
    paths = ("", "/events", "/events/main/1", "/logs", "/types", "/aggregates/order/42", "/dead-letters", "/find?q=42")
    for path in paths:
        assert vera.get(f"/stores/bazaar{path}").status_code == 404
        assert vera.get(f"/stores/home{path}").status_code == 404
    assert vera.get("/stores/empty/events").status_code == 200


def test_find_goes_straight_to_what_is_meant(pages: Pages) -> None:
    for text, address in (
        ("order/42", "/stores/bazaar/aggregates/order/42"),
        (str(placed_id()), "/stores/bazaar/events/main/1"),
        ("main:7", "/stores/bazaar/events/main/7"),
        ("order.paid", "/stores/bazaar/types/order.paid"),
        ("corr-1", "/stores/bazaar/events?correlation=corr-1"),
        (odd_log, "/stores/bazaar/logs/side~2Flog%201"),
    ):
        response = pages.browser.client.get("/stores/bazaar/find", query_string={"q": text})
        assert (response.status_code, response.headers["Location"]) == (303, address)


def test_find_lists_what_it_may_be_or_says_that_it_found_nothing(pages: Pages) -> None:
    source = pages.source("find?q=42")
    assert links(source, "main:42") == ["/stores/bazaar/events/main/42"]
    assert links(source, "order/42") == ["/stores/bazaar/aggregates/order/42"]
    assert "Nothing found" in pages.text("find?q=%3Cscript%3Enothing%00")
    assert "What are you looking for?" in pages.text("find")


def test_pages_hold_no_inline_style_or_script(pages: Pages) -> None:
    paths = [
        "/", "/stores/bazaar", "events", "events?since=x", "events/main/5", "logs", "logs/main", "types",
        "types/order.placed", "aggregates", "aggregates/order", "aggregates/order/42",
        "aggregates/order/42?tab=state", "dead-letters", "find?q=42",
    ]  # fmt: skip
    for path in paths:
        source = pages.get(path).get_data(True)
        assert " style=" not in source
        assert " onclick=" not in source
        assert "<script>" not in source
