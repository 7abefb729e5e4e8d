"""The page objects of aggregates, and the states folded for them."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.datastructures import MultiDict

from tests.queries.seed import break_payload, odd_id, odd_log, odd_type
from webapp.domain import AggregateDefinition
from webapp.errors import NotFound
from webapp.queries import states
from webapp.queries.aggregates import AggregatePage, AggregatesPage, AggregateTypesPage
from webapp.store import EventStore, NewEvent
from webapp.store.events import RecordedEvent


def evolve(state: dict[str, Any], event: RecordedEvent) -> dict[str, Any]:
    if event.type == "order.cancelled":
        raise KeyError("reason")
    state["seen"] = state.get("seen", 0) + 1  # a fold may change its state in place
    state.setdefault("types", []).append(event.type)
    return state


orders = {"order": AggregateDefinition("order", dict, evolve, "shop.Order")}


def open_page(store: EventStore, type_: str, id_: str, definitions: Any = None, **args: Any) -> AggregatePage:
    return AggregatePage.from_args(store, type_, id_, MultiDict(args), definitions=definitions or {})


def changes(page: AggregatePage) -> list[tuple[str, str, str, int | None]]:
    assert page.state is not None
    return [(row.kind, row.path, row.text, row.by and row.by.version) for row in page.state.changes]


def test_types_are_counted_over_all_logs(shop: EventStore) -> None:
    found = {one.name: (one.count.number, one.logs) for one in AggregateTypesPage.load(shop).types}
    assert found == {
        "order": (121, ("main",)), "ticket": (1, ("main",)), odd_type: (1, ("main",)), "wallet": (3, ("main", odd_log)),
    }  # fmt: skip


def test_aggregates_come_in_pages_by_id_and_by_prefix(shop: EventStore) -> None:
    ids, args = [], {}
    while True:
        page = AggregatesPage.from_args(shop, "order", MultiDict(args))
        ids += [one.id for one in page.aggregates]
        if page.next is None:
            break
        args = page.next
    assert ids == ["42", *(f"q{number:04}" for number in range(120))]
    page = AggregatesPage.from_args(shop, "order", MultiDict({"prefix": "q011"}))
    assert [one.id for one in page.aggregates] == [f"q011{number}" for number in range(10)]


def test_an_id_in_several_logs_is_never_torn_apart_by_a_page(sqlite_store: EventStore) -> None:
    for log in ("a", "b", "c"):
        for number in range(20):
            sqlite_store.append("thing", f"t{number:02}", [NewEvent("made", {})], log=log)
    seen, args = [], {}
    while True:
        page = AggregatesPage.from_args(sqlite_store, "thing", MultiDict(args))
        seen += [(one.id, one.log) for one in page.aggregates]
        if page.next is None:
            break
        args = page.next
    assert seen == [(f"t{number:02}", log) for number in range(20) for log in ("a", "b", "c")]


def test_fields_as_last_written_stand_in_where_there_is_no_code(shop: EventStore) -> None:
    page = open_page(shop, "order", "42", version="3")
    assert page.folding is None
    assert changes(page) == [
        ("same", "customer", '"anna"', 1),
        ("same", "total", "105", 2),
        ("removed", "status", '"open"', 1),
        ("added", "status", '"paid"', 3),
        ("same", "lines[0].sku", '"pen"', 2),
        ("same", "lines[0].price", "5", 2),
        ("added", "paid_at", '"2026-10-01T10:15:31Z"', 3),
    ]


def test_the_state_is_computed_by_the_aggregates_code(shop: EventStore) -> None:
    page = open_page(shop, "order", "42", orders, version="2")
    assert page.state is not None
    assert page.state.value == {"seen": 2, "types": ["order.placed", "order.item_added"]}
    assert page.state.events == 2
    assert ("removed", "seen", "1", 1) in changes(page)
    assert ("added", "seen", "2", 2) in changes(page)


def test_code_that_raises_is_shown_in_its_place(shop: EventStore) -> None:
    page = open_page(shop, "order", "42", orders)
    assert page.status == 200
    assert page.state is not None
    assert page.state.failure == "The aggregate code raised at version 4 (order.cancelled): KeyError: 'reason'"
    assert page.state.failed_at is not None
    assert page.state.failed_at.position == 4
    assert "in evolve" in (page.state.traceback or "")
    assert page.state.value == {"seen": 3, "types": ["order.placed", "order.item_added", "order.paid"]}


def test_code_that_cannot_even_begin_is_shown_too(shop: EventStore) -> None:
    broken = {"order": AggregateDefinition("order", lambda: 1 / 0, evolve, "Broken")}
    page = open_page(shop, "order", "42", broken)
    assert page.state is not None
    assert "when it made the first state: ZeroDivisionError" in (page.state.failure or "")


def test_a_broken_payload_adds_nothing_and_is_named(shop: EventStore) -> None:
    break_payload(shop, "main", 2, '{"total": ')
    page = open_page(shop, "order", "42")
    assert page.state is not None
    assert page.state.passed_over == [2]
    assert page.state.value == {"customer": "anna", "total": 100, "status": "cancelled", "paid_at": None}


def test_long_folds_end_with_a_sentence(shop: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "most_events", 2)
    page = open_page(shop, "order", "42")
    assert page.state is not None
    assert "Only the first 2 events were folded, up to version 2" in (page.state.stopped or "")


def test_a_long_history_comes_in_pages_around_the_chosen_version(sqlite_store: EventStore) -> None:
    sqlite_store.append("counter", "c", [NewEvent("up", {"n": number}) for number in range(1, 1_001)])
    page = open_page(sqlite_store, "counter", "c", version="777")
    versions = [event.version for event in page.history]
    assert versions == list(range(751, 801))
    assert page.previous == {"version": 777, "after": 700}
    assert page.next == {"version": 777, "after": 800}
    assert (page.version, page.last_version) == (777, 1_000)
    assert [event.data_text for event in page.history] == [None] * 50
    assert [event.version for event in open_page(sqlite_store, "counter", "c").history] == list(range(951, 1_001))


def test_a_moment_chooses_the_version_that_stood_then(shop: EventStore) -> None:
    events = list(shop.read_stream("order", "42"))
    for event in events:
        page = open_page(shop, "order", "42", at=event.recorded_at.isoformat())
        last = max(one.version or 0 for one in events if one.recorded_at <= event.recorded_at)
        assert page.version == last
    early = open_page(shop, "order", "42", at="2020-01-01")
    assert early.status == 400
    assert early.errors["at"] == "It did not exist at that time: its first event came later."


@pytest.mark.parametrize(
    "args", [{"version": "0"}, {"version": "5"}, {"version": "x"}, {"at": "soon"}, {"tab": "x"}, {"after": "x"}]
)
def test_bad_arguments_are_answered_beside_the_history(shop: EventStore, args: dict[str, str]) -> None:
    page = open_page(shop, "order", "42", **args)
    assert page.status == 400
    assert list(page.errors) == list(args)
    assert len(page.history) == 4


def test_one_id_in_several_logs_asks_which(shop: EventStore) -> None:
    page = open_page(shop, "wallet", "w1", version="1")
    assert page.status == 300
    assert page.choices == ["main", odd_log]
    assert page.choice(odd_log) == {"log": odd_log, "version": "1"}
    chosen = open_page(shop, "wallet", "w1", **page.choice(odd_log))
    assert chosen.state is not None
    assert chosen.state.value == {"balance": 7}


def test_odd_names_are_found_and_missing_ones_are_not(shop: EventStore) -> None:
    assert open_page(shop, odd_type, odd_id).last_version == 1
    for type_, id_ in (("order", "4"), ("order", "420"), ("Order", "42"), ("order", "42 ")):
        with pytest.raises(NotFound):
            open_page(shop, type_, id_)
