"""Several writers at once: threads of one store, stores of one database, logs in different orders."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator

import pytest

from tests.store.helpers import execute, in_memory_too, noted, on_servers, positions, reopen, run_together
from webapp.errors import StoreUnavailable
from webapp.store import Append, EventStore, RecordedEvent, WrongExpectedVersion


@pytest.fixture
def other(store: EventStore) -> Iterator[EventStore]:
    """A second store object on the same database, as another process would have."""
    other = reopen(store)
    yield other
    other.close()


@in_memory_too
def test_of_two_who_expect_the_same_version_exactly_one_wins(store: EventStore, other: EventStore) -> None:
    for version in range(10):
        outcomes = run_together(
            lambda at=version: store.append("order", "1", noted(at), expected_version=at),
            lambda at=version: other.append("order", "1", noted(at), expected_version=at),
        )
        losers = [outcome for outcome in outcomes if isinstance(outcome, WrongExpectedVersion)]
        winners = [outcome for outcome in outcomes if isinstance(outcome, list)]
        assert len(losers) == len(winners) == 1, outcomes
        assert (losers[0].expected, losers[0].actual) == (version, version + 1)
    assert positions(store) == list(range(1, 11))


@in_memory_too
def test_many_who_make_the_same_new_log_all_get_in(store: EventStore) -> None:
    stores = [reopen(store) for _ in range(6)]
    try:
        outcomes = run_together(
            *[functools.partial(each.append, "order", str(n), noted(n), log="new") for n, each in enumerate(stores)]
        )
    finally:
        for each in stores:
            each.close()
    assert all(isinstance(outcome, list) for outcome in outcomes), outcomes
    assert positions(store, "new") == [1, 2, 3, 4, 5, 6]


@in_memory_too
def test_one_store_serves_eight_threads(store: EventStore) -> None:
    def write(thread: int) -> list[RecordedEvent]:
        recorded = []
        for n in range(25):
            recorded += store.append_many(
                [
                    Append("order", f"{thread}-{n % 3}", noted(n), log=f"log {thread % 2}"),
                    Append("shared", "all", noted(n), log=f"log {thread % 2}"),
                ]
            )
        return recorded

    outcomes = run_together(*[functools.partial(write, thread) for thread in range(8)])
    assert all(isinstance(outcome, list) for outcome in outcomes), outcomes
    for log in ("log 0", "log 1"):
        stored = list(store.read_log(log, limit=None))
        assert [event.position for event in stored] == list(range(1, 201))
        returned = sorted(
            (event for outcome in outcomes for event in outcome if event.log == log), key=lambda event: event.position
        )
        assert [event.to_json() for event in returned] == [event.to_json() for event in stored]
        assert [event.version for event in store.read_stream("shared", "all", log=log)] == list(range(1, 101))
        times = [event.recorded_at for event in stored]
        assert times == sorted(times), "time order is position order"


@in_memory_too
def test_appends_that_name_logs_in_other_orders_all_get_in(store: EventStore, other: EventStore) -> None:
    logs = ["a", "b", "c", "d"]

    def write(each: EventStore, names: list[str]) -> int:
        for n in range(15):
            each.append_many([Append("order", "1", noted(n), log=name) for name in names])
        return 15

    outcomes = run_together(
        functools.partial(write, store, logs),
        functools.partial(write, other, logs[::-1]),
        functools.partial(write, store, logs[2:] + logs[:2]),
        functools.partial(write, other, ["d", "a"]),
    )
    assert outcomes == [15, 15, 15, 15]
    assert [store.head(log) for log in logs] == [60, 45, 45, 60]


@on_servers
def test_a_deadlock_with_somebody_elses_transaction_is_retried(store: EventStore) -> None:
    store.append_many([Append("order", "1", noted(0), log=log) for log in ("a", "b")])
    holds_b, goes_on = threading.Event(), threading.Event()

    def meddle() -> None:
        # Locks b, then a, while an append locks a, then b: one of the two has to be given up by the database.
        try:
            with store.database.writing() as connection:
                lock = "SELECT id FROM projectionist_logs WHERE name = '{}' FOR UPDATE"
                connection.exec_driver_sql(lock.format("b"))
                holds_b.set()
                goes_on.wait(10)
                connection.exec_driver_sql(lock.format("a"))
        except StoreUnavailable:
            pass  # then the append was spared

    def append() -> int:
        holds_b.wait(10)
        threading.Timer(0.3, goes_on.set).start()
        return len(store.append_many([Append("order", "1", noted(n), log=log) for n, log in enumerate("ab")]))

    assert run_together(meddle, append) == [None, 2]
    assert positions(store, "a") == positions(store, "b") == [1, 2]


@on_servers
def test_logs_do_not_wait_for_each_other(store: EventStore, other: EventStore) -> None:
    store.append_many([Append("order", "1", noted(1), log="slow"), Append("order", "1", noted(1), log="quick")])
    with store.database.writing() as connection:
        store.append_in(connection, [Append("order", "1", noted(2), log="slow")])
        began = time.monotonic()
        other.append("order", "1", noted(2), log="quick")
        assert time.monotonic() - began < 2
        assert store.head("slow") == 1, "what isn't committed isn't seen"
    assert store.head("slow") == 2


def test_an_append_waits_for_the_one_before_it(store: EventStore, other: EventStore) -> None:
    store.append("order", "1", noted(1))
    done = threading.Event()

    def append() -> None:
        other.append("order", "1", noted(3), expected_version=2)
        done.set()

    with store.database.writing() as connection:
        store.append_in(connection, [Append("order", "1", noted(2), expected_version=1)])
        thread = threading.Thread(target=append)
        thread.start()
        assert not done.wait(0.3)
    thread.join(20)
    assert done.is_set()
    assert positions(store) == [1, 2, 3]


def test_names_learned_in_a_transaction_that_failed_are_forgotten(store: EventStore, other: EventStore) -> None:
    store.append("order", "1", noted(1))
    with pytest.raises(WrongExpectedVersion):
        store.append_many([Append("new", "1", noted(1)), Append("order", "1", noted(1), expected_version=5)])
    # Another process now gets the numbers that the failed transaction would have used.
    other.append("other", "2", noted(2))
    store.append("new", "1", noted(3), expected_version=0)
    assert [event.stream for event in store.read_log("main")] == ["order/1", "other/2", "new/1"]
    assert execute(store, "SELECT count(*) FROM projectionist_streams") == [(3,)]
