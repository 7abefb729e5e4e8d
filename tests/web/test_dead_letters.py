"""Dead letters by HTTP, where the store keeps none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.web.pages import Pages, open_pages


@pytest.fixture
def pages(make_app: Callable[..., Flask], tmp_path: Path) -> Iterator[Pages]:
    """The dashboard over the small shop."""
    pages = open_pages(make_app, tmp_path)
    yield pages
    pages.store.close()


def test_a_store_that_keeps_none_says_where_failures_are_shown(pages: Pages) -> None:
    assert "This store keeps no dead letters" in pages.text("dead-letters")
    assert "There is no dead letter “x/y” here" in pages.text("dead-letters/x%2Fy", 404)
