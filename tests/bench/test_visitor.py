"""The far pages that the benchmark measures are those that a person comes to by clicking."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from bench.visitor import Visitor
from webapp.demo import make_demo


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a demo store of some 60 pages."""
    path = tmp_path_factory.mktemp("far") / "shop.db"
    make_demo(path, events=3_000)
    return f"sqlite:///{path}"


@pytest.fixture
def visitor(shop: str, tmp_path: Path) -> Iterator[Visitor]:
    """Somebody logged in."""
    visitor = Visitor(shop, tmp_path)
    yield visitor
    visitor.close()


def follow_links(visitor: Visitor, path: str) -> list[str]:
    """The addresses that clicking “Older” leads to, until the last page."""
    found = []
    while True:
        try:
            path = visitor.next_path(path)
        except AssertionError:
            return found
        found.append(path)


@pytest.mark.parametrize("filters", [{}, {"type": ["order.placed"]}, {"type": ["ticket.answered"]}])
def test_a_far_page_is_the_one_that_all_the_clicks_lead_to(visitor: Visitor, filters: dict[str, list[str]]) -> None:
    query = f"?{urlencode(filters, doseq=True)}" if filters else ""
    clicked = follow_links(visitor, f"/stores/shop/events{query}")
    assert len(clicked) >= (2 if filters else 50)
    for number in range(1, len(clicked) + 1):
        assert visitor.path_after(number, **filters) == clicked[number - 1], number


def test_behind_the_last_page_there_is_none(visitor: Visitor) -> None:
    clicked = follow_links(visitor, "/stores/shop/events?type=order.placed")
    with pytest.raises(AssertionError, match="no next page"):
        visitor.path_after(len(clicked) + 1, type=["order.placed"])
