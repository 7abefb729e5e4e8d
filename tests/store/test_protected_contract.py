"""A store with a vault keeps the contract of an event source, on all four databases."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.conftest import backends, create_database
from tests.contract.event_source import Events, EventSourceContract
from tests.store.vaults import make_vault, registered
from webapp.store import Append, EventStore, NewEvent


@pytest.fixture(scope="module", params=backends)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStore]:
    """A store with personal data of thirty customers in two logs, one of them forgotten, and much that isn't personal."""
    url, drop = create_database(request.param, tmp_path_factory.mktemp("contract"))
    store = EventStore.open(url)
    store.migrate()
    vault = make_vault(store)
    protected = vault.protected()
    for number in range(60):
        customer = f"{number % 30:02}"
        metadata = {"correlation_id": f"c-{number // 3}", "actor": ("ann", "björn", "系統")[number % 3]}
        noted = NewEvent("customer.noted", {"number": number, "text": f"item-{number:05}"}, metadata)
        protected.append("customer", customer, [registered(customer), noted])
    protected.append_many(
        [Append("order", str(n), [NewEvent("order.placed", {"n": n})], log="other") for n in range(9)]
    )
    vault.forget("07", by="ann")
    yield protected
    store.close()
    drop()


class TestProtected(EventSourceContract):
    """What is stored is ciphertext, and every question about it gets the same answers as without a vault."""

    def test_events_are_told_as_json(self, events: Events) -> None:
        """They are told as they are stored, while their data reads in clear."""
        stored = [getattr(event, "stored", event) for event in events]
        super().test_events_are_told_as_json(stored)
        assert [event.to_json() for event in events] == [event.to_json() for event in stored]
        assert [event.type for event in events if event.data != json.loads(str(event.data_text))] == [
            event.type for event in events if event.type == "customer.registered"
        ]
