"""A store of parallel logs keeps the contract of an event source, with positions that stayed empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import backends, create_database
from tests.contract.event_source import EventSourceContract
from tests.store.test_contract import fill
from webapp.store import Append, EventStore, NewEvent

logs = ("main", "main ", "Main")


@pytest.fixture(scope="module", params=backends)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStore]:
    """A store whose logs are all parallel, where the database has such."""
    url, drop = create_database(request.param, tmp_path_factory.mktemp("parallel"))
    store = EventStore.open(url)
    store.migrate()
    for log in logs:
        store.create_log(log, "parallel")
    fill(store, roll_back)
    for log in logs:
        assert store.settled_head(log) == store.head(log)
    yield store
    store.close()
    drop()


def roll_back(store: EventStore, number: int) -> None:
    """Every seventh time an append that comes to nothing."""
    if number % 7 == 3:
        with store.database.engine.connect() as connection:
            store.append_in(connection, [Append("order", "01", [NewEvent("order.placed", number)] * 2)])
            connection.rollback()


class TestParallel(EventSourceContract):
    """With events of two types of aggregates that share ids, and names that differ in a byte only."""
