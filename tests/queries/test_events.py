"""The page object of the event list and of one event."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from tests.queries.seed import correlation, odd_id, odd_log, odd_type, placed_id
from webapp.errors import NotFound
from webapp.queries.events import EventPage, EventsPage
from webapp.store import EventStore, NewEvent


def open_page(store: EventStore, args: dict[str, Any] | None) -> EventsPage:
    return EventsPage.from_args(store, MultiDict(args or {}))


def walk(store: EventStore, args: dict[str, Any], forwards: bool = True) -> list[list[tuple[str, int]]]:
    pages = []
    following: dict[str, Any] | None = args
    while following is not None:
        page = open_page(store, following)
        assert not page.errors
        pages.append([(event.log, event.position) for event in page.rows.events])
        following = page.next if forwards else page.previous
    return pages


@pytest.mark.parametrize(
    "args",
    [{}, {"log": "main"}, {"type": "order.placed"}, {"order": "oldest"}, {"log": "main", "order": "oldest"}],
)
def test_pages_join_without_hole_or_repeat_both_ways(shop: EventStore, args: dict[str, Any]) -> None:
    pages = walk(shop, args)
    assert [len(page) for page in pages[:2]] == [50, 50]
    flat = [one for page in pages for one in page]
    assert len(flat) == len(set(flat))
    expected = [
        event
        for log in shop.logs()
        if args.get("log") in (None, log.name)
        for event in shop.read_log(log.name)
        if args.get("type") in (None, event.type)
    ]
    expected.sort(key=lambda event: (event.recorded_at, event.log, event.position), reverse="order" not in args)
    assert flat == [(event.log, event.position) for event in expected]
    last = open_page(shop, args)
    while last.next is not None:
        last = open_page(shop, last.next)
    back = walk(shop, last.previous, forwards=False) if last.previous else []
    assert [one for page in reversed(back) for one in page] == flat[: len(flat) - len(pages[-1])]


def test_lists_leave_payloads_out(shop: EventStore) -> None:
    page = open_page(shop, {"type": "ticket.blown_up"})
    assert [event.data_text for event in page.rows.events] == [None]


@pytest.mark.parametrize(
    ("args", "positions"),
    [
        ({"type": "order.paid"}, [3]),
        ({"type": ["order.paid", "order.cancelled"]}, [4, 3]),
        ({"aggregate_type": "order", "aggregate_id": "42"}, [4, 3, 2, 1]),
        ({"aggregate_type": odd_type, "aggregate_id": odd_id}, [9]),
        ({"correlation": correlation}, [3, 2, 1]),
        ({"actor": "payments"}, [3]),
        ({"contains": "THE-END"}, [6]),
        ({"log": odd_log, "aggregate_id": "w1"}, [1]),
        ({"until": "2020-01-01"}, []),
        ({"since": "-1h", "type": "order.paid"}, [3]),
    ],
)
def test_filters_find(shop: EventStore, args: dict[str, Any], positions: list[int]) -> None:
    page = open_page(shop, args)
    assert page.status == 200
    assert [event.position for event in page.rows.events] == positions


def test_each_filter_is_named_and_can_be_dropped_alone(shop: EventStore) -> None:
    page = open_page(shop, {"type": ["order.paid", "order.placed"], "actor": "ann", "order": "oldest"})
    assert [(one.label, one.value) for one in page.active] == [
        ("of type", "order.paid"), ("of type", "order.placed"), ("by", "ann"),
    ]  # fmt: skip
    assert page.active[0].without == {"type": ["order.placed"], "actor": "ann", "order": "oldest"}
    assert page.active[2].without == {"type": ["order.paid", "order.placed"], "order": "oldest"}


@pytest.mark.parametrize(
    ("args", "field", "sentence"),
    [
        ({"type": ["nope"]}, "type", "There is no event type “nope” in this store. Known: “Shop"),
        ({"log": "nope"}, "log", "Known: “main”, “side/log 1”."),
        ({"aggregate_type": "nope"}, "aggregate_type", "no aggregate type"),
        ({"since": "soon"}, "since", "Write a date such as"),
        ({"order": "random"}, "order", "newest or oldest"),
        ({"log": "main", "before": "x"}, "before", "whole numbers"),
        ({"log": "main", "after": "-1"}, "after", "whole numbers"),
        ({"log": "main", "before": "9" * 30}, "before", "whole numbers"),
        ({"before": "17"}, "cursor", "Start again from the first page"),
        ({"log": "main", "before": "5", "after": "2"}, "after", "not both"),
        ({"aggregate_id": "a\x00b"}, "aggregate_id", "NUL"),
    ],
)
def test_what_is_wrong_stands_at_its_field(shop: EventStore, args: dict[str, Any], field: str, sentence: str) -> None:
    page = open_page(shop, args)
    assert page.status == 400
    assert sentence in page.errors[field]
    assert not page.rows.events
    places = ("order", "before", "after")
    assert page.filters.args == {name: value for name, value in args.items() if name not in places}


def test_a_place_before_the_newest_event_leads_to_the_first_page(shop: EventStore) -> None:
    first = open_page(shop, {"log": "main"})
    assert [event.position for event in first.rows.events] == list(range(130, 80, -1))
    back = open_page(shop, {"log": "main", "after": "120"})
    assert [event.position for event in back.rows.events] == list(range(130, 80, -1))
    assert back.previous is None


def test_new_events_do_not_shift_older_pages(shop: EventStore) -> None:
    second = open_page(shop, {}).next
    before = [event.position for event in open_page(shop, second).rows.events]
    shop.append("order", "new", [NewEvent("order.placed", {}) for _ in range(60)])
    assert [event.position for event in open_page(shop, second).rows.events] == before


def test_retired_and_empty_stores_are_no_error(sqlite_store: EventStore) -> None:
    page = open_page(sqlite_store, {})
    assert page.status == 200
    assert not page.has_events


def test_one_event_knows_its_neighbours(shop: EventStore) -> None:
    shop.append("order", "42", [NewEvent("order.reopened", {})])
    page = EventPage.load(shop, "main", 4, MultiDict())
    assert page.previous is not None
    assert page.next is not None
    assert page.previous_in_stream is not None
    assert page.next_in_stream is not None
    assert (page.previous.position, page.next.position) == (3, 5)
    assert (page.previous_in_stream.position, page.next_in_stream.position) == (3, 131)
    first = EventPage.load(shop, "main", 1, MultiDict({"as": "stored"}))
    assert first.event.id == str(placed_id())
    assert first.previous is first.previous_in_stream is None
    assert first.as_stored
    assert first.event.recorded_at > dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("log", "position", "hint"),
    [("main", 999, "ends at position 130"), ("main", 10**30, "smaller"), ("nope", 1, "no log “nope”")],
)
def test_an_event_that_is_not_there_says_where_events_are(shop: EventStore, log: str, position: int, hint: str) -> None:
    with pytest.raises(NotFound, match=hint):
        EventPage.load(shop, log, position, MultiDict())


@pytest.mark.parametrize("args", [{"log": "main"}, {}])
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_a_search_out_of_time_says_how_far_it_came_and_goes_on(
    shop: EventStore, monkeypatch: pytest.MonkeyPatch, args: dict[str, str], order: str
) -> None:
    monkeypatch.setattr("webapp.store.reader._scan_rows", 10)
    monkeypatch.setattr("webapp.queries.cursors._search_seconds", 0.0 if args else 0.000_001)
    wanted = args | {"actor": "ann", "order": order}
    found, sentences = [], []
    page = open_page(shop, wanted)
    while True:
        found += [event.position for event in page.rows.events]
        if page.rows.stopped is not None:
            sentences.append(page.rows.stopped)
        following = page.go_on or page.next
        if following is None:
            break
        page = open_page(shop, following)
        assert len(sentences) < 60
    assert found == ([4, 2, 1] if order == "newest" else [1, 2, 4])
    assert len(sentences) > (5 if args else 0)
    if args:
        beginning = "Searched back to position " if order == "newest" else "Searched up to position "
        assert all(sentence.startswith(beginning) for sentence in sentences)
