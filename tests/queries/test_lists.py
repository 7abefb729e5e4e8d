"""The page objects of logs, types, the find box, and the overviews."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from tests.queries.seed import correlation, odd_id, odd_log, odd_type, placed_id
from webapp.errors import NotFound, StoreUnavailable
from webapp.queries.find import FindPage
from webapp.queries.logs import LogPage, LogRow, LogsPage, as_ranges, group_logs
from webapp.queries.stores import StoreOverview, load_stores
from webapp.queries.types import TypePage, TypesPage
from webapp.store import EventStore
from webapp.store.source import Count, Log


def test_logs_are_listed_with_their_heads(shop: EventStore) -> None:
    rows = LogsPage.from_args(shop, MultiDict()).rows
    assert [(row.name, row.logs[0].head) for row in rows] == [("main", 130), (odd_log, 4)]
    page = LogPage.load(shop, odd_log)
    assert {kind.name for kind in page.types} == {"wallet.opened", "wallet.credited"}
    with pytest.raises(NotFound):
        LogPage.load(shop, "nope")


def test_logs_of_one_category_are_one_line_until_it_is_opened() -> None:
    logs = [Log(f"wallet-{number}", 3, 3, Count(3), category="wallet") for number in range(3)]
    logs += [Log("orders", 9, 9, Count(9)), Log("lone-1", 1, 1, Count(1), category="lone")]
    rows = group_logs(logs, opened=False)
    assert [(row.name, row.is_group, row.count.number) for row in rows] == [
        ("lone-1", False, 1), ("orders", False, 9), ("wallet", True, 9),
    ]  # fmt: skip
    assert len(group_logs(logs, opened=True)) == 5
    assert LogRow("x", [], is_group=True).last_at is None


def test_missing_numbers_are_joined_to_ranges() -> None:
    assert as_ranges((2386, 2387, 2389, 2390, 5)) == ["5", "2,386–2,387", "2,389–2,390"]
    assert as_ranges(()) == []


def test_types_have_counts_and_times_and_fields(shop: EventStore) -> None:
    rows = {row.name: row for row in TypesPage.from_args(shop, MultiDict()).types}
    assert rows["order.placed"].count == Count(121)
    assert rows["wallet.opened"].logs == ["main", odd_log]
    assert rows["order.placed"].first_at is not None
    page = TypePage.load(shop, "order.placed")
    assert [event.position for event in page.latest] == list(range(130, 120, -1))
    assert [(one.name, one.seen, one.kinds) for one in page.fields] == [("total", 10, "number")]
    nested = TypePage.load(shop, "ticket.nested")
    assert (nested.fields, nested.broken) == ([], 1)
    blown = TypePage.load(shop, "ticket.blown_up")
    assert blown.fields == []  # a megabyte is not decoded for a list of fields
    with pytest.raises(NotFound, match="nope"):
        TypePage.load(shop, "nope")


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("main:3", "event", {"log": "main", "position": 3}),
        (f"{odd_log}:2", "event", {"log": odd_log, "position": 2}),
        (str(placed_id()), "event", {"log": "main", "position": 1}),
        (str(placed_id()).upper(), "event", {"log": "main", "position": 1}),
        ("order.paid", "event type", {"type": "order.paid"}),
        ("order/42", "aggregate", {"type": "order", "id": "42"}),
        (odd_id, "aggregate", {"type": odd_type, "id": odd_id}),
        ("q0017", "aggregate", {"type": "order", "id": "q0017"}),
        (correlation, "correlation", {"correlation": correlation}),
        ("130", "event", {"log": "main", "position": 130}),
        ("T-", "aggregate", {"type": "ticket", "id": "T-1"}),
    ],
)
def test_find_goes_to_the_one_thing_that_is_meant(
    shop: EventStore, text: str, kind: str, values: dict[str, Any]
) -> None:
    only = FindPage.from_text(shop, text).only
    assert only is not None
    assert (only.kind, only.values) == (kind, values)


def test_find_lists_what_a_text_may_mean(shop: EventStore) -> None:
    page = FindPage.from_text(shop, "wallet")
    assert {(one.kind, one.label) for one in page.found} == {
        ("aggregate type", "wallet"), ("event type", "wallet.opened"), ("event type", "wallet.credited"),
    }  # fmt: skip
    assert page.only is not None  # the exact name wins over names that hold it
    both = FindPage.from_text(shop, "w1")
    assert both.only is None
    assert [one.values["log"] for one in both.found] == ["main", odd_log]
    assert FindPage.from_text(shop, "no such thing anywhere").found == []
    assert FindPage.from_text(shop, "\x00").found == []


def test_the_overview_tells_what_there_is(shop: EventStore) -> None:
    page = StoreOverview.load(shop)
    assert page.events == Count(134)
    assert (len(page.logs), page.event_types, len(page.aggregate_types)) == (2, 11, 4)
    assert [event.position for event in page.last_events[:4]] == [4, 3, 2, 130]
    assert page.failures == {}
    assert page.last_at == page.last_events[0].recorded_at


def test_stores_that_cannot_be_reached_come_first_and_the_rest_is_there(shop: EventStore) -> None:
    threads = set()

    def open_source(name: str) -> EventStore:
        threads.add(threading.get_ident())
        if name == "gone":
            raise StoreUnavailable("Nobody answers at gone.")
        return shop

    lines = load_stores(["one", "gone", "two"], open_source, lambda name: f"the {name} store")
    assert [line.name for line in lines] == ["gone", "one", "two"]
    assert lines[0].failure == "Nobody answers at gone."
    assert lines[1].overview is not None
    assert lines[1].overview.events.number == 134
    assert threading.get_ident() not in threads
