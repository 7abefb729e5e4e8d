"""Logs by HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.queries.seed import odd_log
from tests.web.pages import Pages, encoded, links, open_pages
from webapp.store import NewEvent


@pytest.fixture
def pages(make_app: Callable[..., Flask], tmp_path: Path) -> Iterator[Pages]:
    """The dashboard over the small shop."""
    pages = open_pages(make_app, tmp_path)
    yield pages
    pages.store.close()


def test_logs_are_listed_with_heads(pages: Pages) -> None:
    source = pages.source("logs")
    assert links(source, odd_log) == ["/stores/bazaar/logs/side~2Flog%201"]
    assert "main 130 130 130" in pages.text("logs")
    assert "No log yet" in pages.text("/stores/empty/logs")


def test_one_log_tells_about_itself(pages: Pages) -> None:
    text = pages.text("logs/main")
    for words in ("130 settled head", "0 missing numbers", "No number is missing", "order.placed"):
        assert words in text
    assert "wallet.credited" in pages.text(f"logs/{encoded(odd_log)}")
    assert "no log “nope”" in pages.text("logs/nope", 404)


def test_many_logs_come_in_pages_and_by_prefix(pages: Pages) -> None:
    for number in range(110):
        pages.store.append("thing", str(number), [NewEvent("made", {})], log=f"many-{number:03}")
    source = pages.source("logs")
    (following,) = links(source, "Next page")
    assert "many-099" in pages.source(following)
    assert pages.source("logs?prefix=many-10").count("<tr>") == 11
    assert "No log begins like that" in pages.text("logs?prefix=zzz")


def test_a_retired_log_says_so_and_is_left_out_of_lists(pages: Pages) -> None:
    with pages.store.database.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE projectionist_logs SET derived_from = 'totals', retired_at = '2026-10-01 00:00:00' WHERE name = ?",
            (odd_log,),
        )
    assert "retired" in pages.text("logs")
    assert "emitted by projection totals" in pages.text("logs")
    assert "Its projection was deleted" in pages.text(f"logs/{encoded(odd_log)}")
    assert "wallet.credited" not in pages.text("events")
    assert "wallet.credited" in pages.text(f"events?log={encoded(odd_log)}")
