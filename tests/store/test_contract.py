"""Our own store keeps the contract of an event source, on all four databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import backends, create_database
from tests.contract.event_source import EventSourceContract
from webapp.store import Append, EventStore, NewEvent, Publisher, RecordedEvent, RetryPolicy

hostile_ids = ("42", "42 ", "Ab", "aB", "a/b c", "ž/お茶/💥", "'; --", "%_\\", "…" * 255)


@pytest.fixture(scope="module", params=backends)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStore]:
    """A store with a busy log, logs and ids that differ in a byte only, and an aggregate that is in two logs."""
    url, drop = create_database(request.param, tmp_path_factory.mktemp("contract"))
    store = EventStore.open(url)
    store.migrate()
    fill(store)
    publisher = Publisher(store, "mail", _refuse, types=["order.paid"], retry=RetryPolicy(1), blocks_stream=False)
    while publisher.run_once():
        pass
    publisher.release()
    yield store
    store.close()
    drop()


def fill(store: EventStore, between: Callable[[EventStore, int], None] = lambda *_: None) -> None:
    """Events of two types of aggregates that share ids, of people with any letters, and of one megabyte, in three logs."""
    for number in range(120):
        who = ("ann", "björn", "系統", None)[number % 4]
        metadata = {"correlation_id": f"c-{number // 3}", "causation_id": f"m-{number}"} | (
            {"actor": who} if who else {}
        )
        data = {"number": number, "text": f"item-{number:05} <b>“quoted”</b>", "none": None}
        event = NewEvent(("order.placed", "order.paid", "Order.Paid")[number % 3], data, metadata)
        store.append(("order", "wallet")[number % 3 == 0], f"{number % 17:02}", [event])
        between(store, number)
    seen = NewEvent("thing.seen", {"großes": "x" * 1_000_000}, {"actor": "ann", "correlation_id": "c"})
    store.append_many(
        [Append("Ding \\ ü", id_, [seen, NewEvent("thing.gone", "[]")], log="main ") for id_ in hostile_ids]
    )
    store.append("order", "01", [NewEvent("order.placed", [1, 2.0, 9007199254740993])], log="Main")


def _refuse(event: RecordedEvent) -> None:
    raise ConnectionError(f"{event.type} can't be sent")


class TestNative(EventSourceContract):
    """With events of two types of aggregates that share ids, and names that differ in a byte only."""
