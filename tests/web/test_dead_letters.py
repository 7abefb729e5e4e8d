"""Dead letters by HTTP: what publishers of the store's outbox gave up on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.web.pages import Pages, open_pages
from webapp.store import Publisher, RecordedEvent, RetryPolicy


@pytest.fixture
def pages(make_app: Callable[..., Flask], tmp_path: Path) -> Iterator[Pages]:
    """The dashboard over the small shop."""
    pages = open_pages(make_app, tmp_path)
    yield pages
    pages.store.close()


def _refuse(event: RecordedEvent) -> None:
    raise ConnectionError(f"no <way> to send {event.position}")


def test_a_store_where_nothing_was_given_up_on_says_so(pages: Pages) -> None:
    assert "No dead letter" in pages.text("dead-letters")
    assert "There is no dead letter “x/y” here" in pages.text("dead-letters/x%2Fy", 404)


def test_what_a_publisher_gave_up_on_is_listed_and_shown_whole(pages: Pages) -> None:
    Publisher(pages.store, "mail", _refuse, retry=RetryPolicy(attempts=1), batch_size=3).run_once()
    event = pages.store.event("main", 1)
    assert "mail:1" in pages.text("dead-letters")
    assert "no <way> to send 1" in pages.text("dead-letters")
    letter = pages.text("dead-letters/mail:1")
    assert event.type in letter
    assert "ConnectionError" in letter
    assert "outbox mail" in letter
    assert "in _refuse" in letter
