"""Aggregates by HTTP: lists, one history, states and what changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.queries.seed import odd_id, odd_log, odd_type
from tests.web.pages import Pages, encoded, links, open_pages
from webapp.domain import Domain
from webapp.store import NewEvent
from webapp.store.events import RecordedEvent


@pytest.fixture
def pages(make_app: Callable[..., Flask], tmp_path: Path) -> Iterator[Pages]:
    """The dashboard over the small shop."""
    pages = open_pages(make_app, tmp_path)
    yield pages
    pages.store.close()


def give_code(app: Flask) -> None:
    domain = Domain("shop")

    @domain.aggregate("order")
    def order(state: dict[str, Any], event: RecordedEvent) -> dict[str, Any]:
        if event.type == "order.cancelled":
            raise ValueError("<b>no reason given</b>")
        return {**state, "step": event.type, "count": state.get("count", 0) + 1}

    parts = app.extensions["projectionist"]
    app.extensions["projectionist"] = dataclasses.replace(parts, domain=domain)


def test_types_lead_to_their_aggregates(pages: Pages) -> None:
    source = pages.source("aggregates")
    assert "121" in pages.text("aggregates")
    assert links(source, odd_type) == ["/stores/bazaar/aggregates/Shop~5CSales~2FOrder"]
    assert links(pages.source(links(source, odd_type)[0]), "a/b//")
    assert "No aggregate yet" in pages.text("/stores/empty/aggregates")


def test_a_list_is_searched_by_prefix_and_paged(pages: Pages) -> None:
    source = pages.source("aggregates/order")
    assert source.count('<td class="id">') == 50
    (following,) = links(source, "Next page")
    assert following == "/stores/bazaar/aggregates/order?after=q0048"
    assert links(pages.source(following), "First page") == ["/stores/bazaar/aggregates/order"]
    assert pages.source("aggregates/order?prefix=q011").count('<td class="id">') == 10
    assert "No id begins like that" in pages.text("aggregates/order?prefix=zzz")
    assert "no aggregate type “nope”" in pages.text("aggregates/nope", 404)
    assert "No aggregate of this type is in a log “nope”" in pages.text("aggregates/order?log=nope", 400)


def test_a_history_shows_every_version_and_what_the_last_changed(pages: Pages) -> None:
    text = pages.text("aggregates/order/42")
    for word in ("v1 order.placed", "v4 order.cancelled", "v4 of 4 shown", "Change at v4", "removed", "added"):
        assert word in text
    assert "No aggregate code is given for order , so its state isn’t known" in text
    assert "Computed by" not in text


def test_versions_are_chosen_by_plain_links_and_a_form(pages: Pages) -> None:
    source = pages.source("aggregates/order/42?version=2&tab=state")
    assert links(source, "◀") == ["/stores/bazaar/aggregates/order/42?tab=state&version=1"]
    assert links(source, "▶") == ["/stores/bazaar/aggregates/order/42?tab=state&version=3"]
    assert '<input type="range" name="version" min="1" max="4" value="2"' in source
    assert '<input type="hidden" name="tab" value="state">' in source
    text = pages.text("aggregates/order/42?version=2&tab=state")
    assert '"total": 105' in text
    assert '"status": "open"' in text


def test_the_state_is_computed_by_the_code_that_is_given(pages: Pages) -> None:
    give_code(pages.app)
    text = pages.text("aggregates/order/42?version=3&tab=state")
    assert '"count": 3' in text
    assert "order from 3 events." in text
    assert "fields as last written" not in text
    failed = pages.source("aggregates/order/42")
    assert "The aggregate code raised at version 4 (order.cancelled): ValueError: &lt;b&gt;no reason given" in failed
    assert links(failed, "See the event") == ["/stores/bazaar/events/main/4"]
    assert "order.placed" in failed


def test_the_payload_tab_shows_the_chosen_versions_payload(pages: Pages) -> None:
    text = pages.text("aggregates/order/42?version=2&tab=payload")
    assert '"sku": "pen"' in text
    assert "Only the first 64 KiB" in pages.text("aggregates/ticket/T-1?version=2&tab=payload")
    for tab in ("change", "state"):
        assert "Ticket" in pages.text(f"aggregates/ticket/T-1?tab={tab}").title()


def test_a_moment_that_is_too_early_is_said_beside_the_field(pages: Pages) -> None:
    source = pages.source("aggregates/order/42?at=2020-01-01", 400)
    assert 'id="at-error" role="alert">It did not exist at that time' in source
    assert 'value="2020-01-01"' in source
    assert "v4 of 4 shown" in pages.text("aggregates/order/42?at=now")
    assert "“9” is not a version of it. It has versions 1 to 4." in pages.text("aggregates/order/42?version=9", 400)


def test_one_id_in_several_logs_asks_which(pages: Pages) -> None:
    source = pages.source("aggregates/wallet/w1?version=1", 300)
    (address,) = links(source, odd_log)
    assert '"balance": 7' in pages.text(address + "&tab=state")
    assert "no log" not in pages.text(address)


@pytest.mark.parametrize(
    "id_",
    [
        odd_id, "a//b", "/lead", "trail/", ".", "..", "~", "~41", "%2F", "a%b", "x\ty", "ü 日本", "a+b", "a;b", "1/2",
    ],
)  # fmt: skip
def test_any_id_has_a_page(pages: Pages, id_: str) -> None:
    pages.store.append("odd", id_, [NewEvent("odd.made", {"id": id_})])
    source = pages.source("aggregates/odd")
    (address,) = [one for one in links(source, id_[:1] if id_[:1] > " " else "x") if "/aggregates/odd/" in one]
    assert "odd.made" in pages.text(address)
    assert "%2F" not in address
    if id_ not in (".", "..", "~41", odd_id):  # browsers resolve dots, and ~41 is our way to write A
        assert "odd.made" in pages.text(f"aggregates/odd/{encoded(id_)}")


def test_an_aggregate_that_is_not_there_is_a_404(pages: Pages) -> None:
    assert "There is no aggregate “order/4” here" in pages.text("aggregates/order/4", 404)


def test_a_long_history_is_paged_by_version(pages: Pages) -> None:
    pages.store.append("counter", "c", [NewEvent("counter.up", {"n": number}) for number in range(1, 201)])
    source = pages.source("aggregates/counter/c?version=120")
    assert source.count('<span class="v">') == 50
    assert links(source, "Earlier") == ["/stores/bazaar/aggregates/counter/c?version=120&after=50"]
    assert links(source, "Later") == ["/stores/bazaar/aggregates/counter/c?version=120&after=150"]


def test_a_closed_aggregate_leads_to_the_one_that_continues_it_and_back(pages: Pages) -> None:
    pages.store.append("book", "<2026>", [NewEvent("book.opened", {})])
    pages.store.close_stream(
        "book", "<2026>", [NewEvent("book.closed", {})], into="2027/1", opening_events=[NewEvent("book.opened", {})]
    )
    before = pages.source(f"aggregates/book/{encoded('<2026>')}")
    (following,) = links(before, "2027/1")
    assert "continued by" in before
    assert "continues" not in before
    after = pages.source(following)
    assert links(after, "<2026>") == [f"/stores/bazaar/aggregates/book/{encoded('<2026>')}"]
    assert "continues" in after
    assert "continued by" not in after
