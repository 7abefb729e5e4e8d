"""Types of events by HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.web.pages import Pages, encoded, links, open_pages
from webapp.store import NewEvent


@pytest.fixture
def pages(make_app: Callable[..., Flask], tmp_path: Path) -> Iterator[Pages]:
    """The dashboard over the small shop."""
    pages = open_pages(make_app, tmp_path)
    yield pages
    pages.store.close()


def test_types_are_listed_with_their_counts(pages: Pages) -> None:
    source = pages.source("types")
    assert links(source, "121") == ["/stores/bazaar/events?type=order.placed"]
    assert links(source, "Was Opened") == ["/stores/bazaar/types/Shop~5COrder~2FWas%20Opened"]
    assert "No type yet" in pages.text("/stores/empty/types")


def test_one_type_shows_numbers_latest_events_and_fields(pages: Pages) -> None:
    text = pages.text("types/order.paid")
    for words in ("events 1 ", "paid_at text 2026-10-01T10:15:31Z 1 of 1", "order 42"):
        assert words in text
    assert "By log" in pages.text("types/wallet.opened")
    assert "1 payload of the latest is not JSON" not in text
    assert "Was Opened" in pages.text("types/" + encoded("Shop\\Order/Was Opened"))
    assert "There is no event type “nope” here" in pages.text("types/nope", 404)


def test_many_types_come_in_pages_and_by_prefix(pages: Pages) -> None:
    pages.store.append("thing", "1", [NewEvent(f"many.{number:03}", {}) for number in range(120)])
    (following,) = links(pages.source("types"), "Next page")
    assert "many.119" in pages.source(following)
    assert pages.source("types?prefix=many.10").count("<tr>") == 11
