"""A store in memory: the time it records, what differs from a database, and that nothing else does."""

from __future__ import annotations

import datetime as dt
import itertools
import random
import threading
import uuid
from typing import Any

import pytest

from tests.contract.event_source import whole
from tests.store.helpers import noted, run_together
from webapp.errors import InvalidEvent, InvalidRequest, ProjectionistError, WrongExpectedVersion
from webapp.store import (
    Append,
    EventFilter,
    EventStore,
    NewEvent,
    RecordedEvent,
    caused_by,
    metadata_context,
)
from webapp.store.source import EventSource
from webapp.testing import Clock, MemoryStore

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def test_events_are_recorded_at_the_time_of_its_clock() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    assert [event.recorded_at for event in store.append("order", "1", noted(1, 2))] == [NOON, NOON]
    clock.advance(minutes=1)
    assert store.append("order", "1", noted(3))[0].recorded_at == NOON + dt.timedelta(minutes=1)
    assert store.log("main").first_at == NOON and store.log("main").last_at == clock.now
    assert isinstance(store, EventSource)


def test_recorded_at_never_goes_back_even_if_the_clock_does() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    store.append("order", "1", noted(1))
    clock.set(NOON - dt.timedelta(hours=1))
    assert store.append("order", "1", noted(2))[0].recorded_at == NOON
    assert store.append("order", "1", noted(2), log="other")[0].recorded_at == clock.now


def test_a_clock_that_tells_no_zone_is_refused_and_nothing_is_stored() -> None:
    store = MemoryStore(lambda: dt.datetime(2026, 1, 1))
    with pytest.raises(InvalidRequest, match="must be a datetime with its zone"):
        store.append("order", "1", noted(1))
    assert list(store.logs()) == []


def test_what_a_reader_does_to_an_event_changes_nothing_in_the_store() -> None:
    store = MemoryStore()
    (mine,) = store.append("order", "1", [NewEvent("noted", {"tags": []})])
    mine.data["tags"].append("mine")
    (read,) = store.read_stream("order", "1")
    read.data["tags"].append("read")
    assert next(iter(store.read_log("main"))).data == {"tags": []}


def test_metadata_flows_along() -> None:
    store = MemoryStore()
    with metadata_context(actor="ann", correlation_id="c"):
        (first,) = store.append("order", "1", noted(1))
    with caused_by(first):
        (second,) = store.append("order", "2", noted(2))
    assert (first.actor, first.correlation_id) == ("ann", "c")
    assert (second.actor, second.correlation_id, second.causation_id) == ("ann", "c", first.id)


def test_payloads_stay_as_they_were_written() -> None:
    store = MemoryStore()
    texts = [
        '{"a": 1,  "a": 2}', "[" * 20_000 + "]" * 20_000, "1e400", '"\\u0000\\ud800"', '{"x": "' + "é" * 5_000_000 + '"}',
        "9007199254740993", " [1.0] ",
    ]  # fmt: skip
    store.append("order", "1", [NewEvent("noted", text) for text in texts])
    assert [event.data_text for event in store.read_log("main")] == texts
    with pytest.raises(InvalidEvent, match="text that is not JSON"):
        store.append("order", "1", [NewEvent("noted", "NaN")])


def test_reading_goes_on_while_others_append() -> None:
    store = MemoryStore()
    store.append("order", "1", noted(1, 2, 3))
    reading = store.read_log("main", limit=None)
    assert next(reading).position == 1
    thread = threading.Thread(target=lambda: store.append("order", "1", noted(4)))
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "a reader holds nobody up"
    assert [event.position for event in reading] == [2, 3], "what came after the reader began isn't his"


def test_readers_never_see_half_an_append() -> None:
    store = MemoryStore()
    done = threading.Event()

    def write() -> None:
        for n in range(200):
            store.append_many([Append("order", "1", noted(n), log=log) for log in "ab"])
        done.set()

    def read() -> set[int]:
        seen = set()
        while not done.is_set():
            counts = {log.name: log.count.number for log in store.logs()}
            seen.add(counts.get("a", 0) - counts.get("b", 0))
            for one in store.aggregates("order"):
                assert one.version > 0
        return seen | {0}

    assert run_together(write, read, read) == [None, {0}, {0}]


def test_there_is_no_transaction_to_append_in(sqlite_store: EventStore) -> None:
    with sqlite_store.database.writing() as connection, pytest.raises(InvalidRequest, match="Leave the connection out"):
        MemoryStore().append_in(connection, [Append("order", "1", noted(1))])


def test_events_of_another_store_are_imported_with_their_own_times() -> None:
    clock = Clock()
    elsewhere, store = MemoryStore(clock), MemoryStore(clock)
    for n in range(3):
        elsewhere.append("order", str(n % 2), [NewEvent("noted", n, {"actor": "ann"})])
        clock.advance(days=1)
    events = list(elsewhere.read_log("main"))
    assert whole(store.import_events(events)) == whole(events) == whole(list(store.read_log("main")))
    assert whole(store.import_events(events)) == whole(events), "again: they come back as they are"
    with pytest.raises(WrongExpectedVersion):
        MemoryStore(clock).import_events(events[1:])
    with pytest.raises(InvalidEvent, match="can't come after"):
        late = MemoryStore(clock)
        late.append("order", "9", noted(9))
        late.import_events(events)
    with pytest.raises(InvalidEvent, match="clock says"):
        MemoryStore(Clock()).import_events(events)


# --- against a database --------------------------------------------------------------------------------------------------


def outcome(store: Any, appends: list[Append]) -> Any:
    """What an append came to, but for the time; ids are the test's own, so they compare."""
    try:
        return [(*facts[:7], *facts[8:]) for facts in whole(store.append_many(appends))]
    except ProjectionistError as error:
        return type(error), str(error)


def answers(store: Any) -> list[Any]:
    """Everything a store tells, but times."""

    def timeless(events: Any) -> list[Any]:
        return [(*facts[:7], *facts[8:]) for facts in whole(list(events))]

    logs = [log.name for log in store.logs()]
    aggregates = [[(one.log, one.id, one.version) for one in store.aggregates(type_, after_id=after, prefix=prefix)]
                  for type_ in ("order", "Order") for after in (None, "a") for prefix in ("", "a")]  # fmt: skip
    filters = [EventFilter(types=("paid",)), EventFilter(aggregate_id="a "), EventFilter(actor="ann"),
               EventFilter(contains='"n":1')]  # fmt: skip
    return [
        [(log.name, log.head, log.settled_head, log.count, log.strategy, log.missing, log.details) for log in store.logs()],
        [timeless(store.read_log(log, limit=None)) for log in logs],
        [timeless(store.read_log(log, where=where, newest_first=True, limit=5)) for log in logs for where in filters],
        [(one.log, one.name, one.count) for one in [*store.event_types(), *store.aggregate_types()]],
        aggregates,
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_appended_it_comes_to_the_same_as_in_a_database(sqlite_store: EventStore, seed: int) -> None:
    memory, chance, ids = MemoryStore(), random.Random(seed), itertools.count(1)
    used: list[list[Append]] = []

    def some(*good: Any, bad: Any) -> Any:
        return bad if chance.random() < 0.01 else chance.choice(good)

    def an_append() -> Append:
        events = [
            NewEvent(
                some("placed", "paid", "Paid", "x" * 150, bad="x" * 151),
                some({"n": 1}, {"n": 2}, None, "[]", bad="{"),
                some(None, {"actor": "ann"}, {"actor": "a" * 255}, bad={"actor": "a" * 256}),
                uuid.UUID(int=next(ids)),
            )
            for _ in range(chance.choice([0, 1, 1, 1, 2, 3]))
        ]
        stream = (chance.choice(["order", "Order"]), some("a", "A", "a ", "b", bad=""))
        return Append(*stream, events, some(None, None, 0, 1, 2, bad=-1), chance.choice(["main", "main ", "other"]))

    kinds = set()
    for _ in range(150):
        appends = [an_append() for _ in range(chance.choice([1, 1, 2, 3]))]
        if used and chance.random() < 0.2:  # again, whole or in part, or beside something new
            again = chance.choice(used)
            appends = chance.choice([again, again[:1], [*again, *appends], [*appends[:1], *again]])
        used.append(appends)
        ours, theirs = outcome(memory, appends), outcome(sqlite_store, appends)
        assert ours == theirs
        kinds.add(ours[0] if isinstance(ours, tuple) else list)
    assert {kind.__name__ for kind in kinds} == {"list", "InvalidEvent", "WrongExpectedVersion", "EventIdReused"}
    assert answers(memory) == answers(sqlite_store)


def test_fifty_thousand_events_are_read_from_any_place() -> None:
    store = MemoryStore()
    for start in range(0, 50_000, 5_000):
        store.append("order", "1", noted(*range(start, start + 5_000)))
    (event,) = store.read_log("main", after=49_999)
    assert isinstance(event, RecordedEvent) and event.data == {"n": 49_999}
    assert [event.version for event in store.read_stream("order", "1", after=49_998)] == [49_999, 50_000]
