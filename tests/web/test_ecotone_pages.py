"""The browsing pages over databases that the real Ecotone wrote."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from tests.adapters.dumps import load_dump, read_facts
from tests.conftest import create_database
from tests.web.conftest import Browser
from tests.web.pages import links, text_of

wallet = "11111111-1111-4111-8111-111111111111"


@pytest.fixture(scope="module", params=["postgresql", "mysql", "mariadb"])
def server(request: pytest.FixtureRequest) -> str:
    """Each server that Ecotone writes to."""
    return str(request.param)


@pytest.fixture(scope="module")
def ecotone_url(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with Ecotone's shop."""
    url, drop = create_database(server, tmp_path_factory.mktemp("ecotone"))
    load_dump(url, server)
    yield url
    drop()


@pytest.fixture
def browser(ecotone_url: str, make_app: Callable[..., Flask]) -> Browser:
    """Somebody logged in at a dashboard over it."""
    browser = Browser(make_app(stores=(("shop", ecotone_url),)))
    assert browser.log_in().status_code == 303
    return browser


@pytest.fixture
def streams(server: str) -> dict[str, Any]:
    """What was counted in the dump by other means, by stream."""
    found: dict[str, Any] = read_facts(server)["streams"]
    return found


def test_the_overview_counts_everything(browser: Browser, streams: dict[str, Any]) -> None:
    text = text_of(browser.read("/stores/shop"))
    assert "5,020 events" in text
    assert f"{len(streams)} logs" in text
    assert "3 types of aggregates" in text
    assert "13 dead letters" in text
    assert re.search(r"crashed_report\s+crashed", text)


def test_the_overview_tells_what_else_is_in_the_database(browser: Browser, server: str) -> None:
    tables = read_facts(server)["tables"]
    text = text_of(browser.read("/stores/shop")).partition("Also in this database")[2]
    for label, table in (
        ("Messages waiting in queue mail", "enqueue"),
        ("Messages remembered as handled", "ecotone_deduplication"),
        ("Snapshots", "ecotone_document_store"),
        ("Rows in rm_order_list", "rm_order_list"),
    ):
        assert f"{label} {tables[table]:,} " in text


def test_the_rows_of_a_projection_are_not_said_to_be_its_own(browser: Browser) -> None:
    words = "Nothing records which tables this projection fills."
    assert words in text_of(browser.read("/stores/shop/projections/order_list"))
    assert words in text_of(browser.read("/stores/shop/projections/order_details?table=rm_order_list"))
    assert words not in text_of(browser.read("/stores/shop/projections/order_details")), "its own state is its own"


def test_all_events_of_all_streams_are_reached_by_paging(browser: Browser) -> None:
    path, seen = "/stores/shop/events", set()
    while path:
        source = browser.read(path)
        rows = re.findall(r'<td class="num mono position"><a href="([^"]+)"', source)
        assert rows
        assert not seen & set(rows)
        seen |= set(rows)
        path = next(iter(links(source, "Older")), "")
    assert len(seen) == 5020


def test_logs_are_grouped_and_gaps_are_explained(browser: Browser) -> None:
    text = text_of(browser.read("/stores/shop/logs"))
    assert "wallet 4 logs of this category 353" in text
    assert "emitted by projection order_totals" in text
    orders = text_of(browser.read("/stores/shop/logs/orders"))
    assert "No event stands at 2,386–2,387, 2,389–2,390." in orders
    assert "2,391 head" in orders
    assert browser.read("/stores/shop/logs?category=wallet").count("<tr>") == 5


def test_types_have_the_counts_of_the_streams(browser: Browser, streams: dict[str, Any]) -> None:
    text = text_of(browser.read("/stores/shop/types"))
    for name, count in streams["orders"]["event_types"].items():
        assert f"{name} {count:,} orders" in text
    source = browser.read("/stores/shop/types")
    (address,) = links(source, "Shop\\Support\\TicketWasOpened")
    assert "175" in text_of(browser.read(address))


def test_an_event_names_its_command_without_a_link(browser: Browser) -> None:
    source = browser.read("/stores/shop/events/orders/4")
    text = text_of(source)
    assert "Command" in text
    assert "Caused by" not in text
    assert "find?q=" not in source.partition('<main id="content"')[2].partition("<dl")[2]
    assert "All events of this correlation" in text
    assert "v4" in text


def test_an_aggregate_shows_its_history_and_the_fields_as_last_written(browser: Browser) -> None:
    (address,) = links(browser.read("/stores/shop/aggregates/wallet"), wallet)
    text = text_of(browser.read(address))
    assert "v93 of 93 shown" in text
    assert "fields as last written" in text
    assert "wallet.debited" in text
    ticket = text_of(browser.read("/stores/shop/aggregates/Shop%5CSupport%5CTicket/T-00001"))
    assert "Shop\\Support\\TicketWasOpened" in ticket


def test_hostile_text_in_payloads_stays_text(browser: Browser) -> None:
    source = browser.read("/stores/shop/events?contains=%3Cscript%3E")
    event = re.search(r'<td class="num mono position"><a href="([^"]+)"', source)
    assert event
    shown = browser.read(event[1])
    assert '<script>alert("x")</script>' not in shown
    assert "&lt;script&gt;alert(" in shown


def test_dead_letters_are_listed_and_shown_whole(browser: Browser) -> None:
    source = browser.read("/stores/shop/dead-letters")
    assert source.count("<tr>") == 14
    text = text_of(browser.read(links(source, "OrderWasCancelled")[0]))
    for words in ("SMTP 421 service not available", "polledChannelName", "Traceback", "All events of this correlation"):
        assert words in text


def test_find_knows_ids_of_events_aggregates_and_correlations(browser: Browser) -> None:
    event = browser.read("/stores/shop/events/orders/4")
    event_id = re.search(r'<dt>Event id</dt><dd class="mono">([0-9a-f-]{36})', event)
    correlation = re.search(r"correlation=([0-9a-f-]{36})", event)
    assert event_id
    assert correlation
    for text, address in (
        (event_id[1], "/stores/shop/events/orders/4"),
        ("orders:4", "/stores/shop/events/orders/4"),
        ("T-00001", "/stores/shop/aggregates/Shop~5CSupport~5CTicket/T-00001"),
        (correlation[1], f"/stores/shop/events?correlation={correlation[1]}"),
    ):
        response = browser.get(f"/stores/shop/find?q={text}")
        assert (response.status_code, response.headers["Location"]) == (303, address)
