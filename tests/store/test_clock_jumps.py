"""A clock that jumps back: no event is recorded before the log's last one, on any way in."""

from __future__ import annotations

import datetime as dt

import time_machine

from tests.store.helpers import execute, noted, reopen
from webapp.store import Append, EventStore, RecordedEvent

day = dt.timedelta(days=1)


def append_by_every_way(store: EventStore) -> list[RecordedEvent]:
    """Events that came in one by one, several at once, in a caller's transaction and in a group."""
    recorded = store.append("order", "1", noted(1))
    recorded += store.append("order", "1", noted(2, 3))
    recorded += store.append_many([Append("order", "2", noted(4)), Append("new", "3", noted(5))])
    with store.database.engine.begin() as connection:
        recorded += store.append_in(connection, [Append("order", "1", noted(6))])
    grouping = EventStore.open(store.database.url, group_commit=True)
    try:
        recorded += grouping.append("order", "1", noted(7))
        recorded += grouping.append("order", "1", noted(8, 9))
    finally:
        grouping.close()
    return recorded


def check(store: EventStore, last: dt.datetime) -> None:
    times = [event.recorded_at for event in store.read_log("main")]
    assert times == sorted(times)
    assert all(time >= last for time in times[1:])
    assert store.log("main").head == len(times)


def test_events_are_never_recorded_before_the_last_one(store: EventStore) -> None:
    store.append("order", "1", noted(0))
    # As if the clock had stood a day ahead at the last append, and was put right since.
    last = dt.datetime.now(dt.UTC).replace(microsecond=123456) + day
    value = store.database.dialect.encode_time(last)
    execute(store, f"UPDATE projectionist_logs SET recorded_at = {store.database.dialect.parameter}", (value,))
    recorded = append_by_every_way(store)
    assert {event.recorded_at for event in recorded} == {last}
    fresh = reopen(store)
    try:
        check(fresh, last)
    finally:
        fresh.close()


def test_the_clock_of_the_host_jumps_back(sqlite_store: EventStore) -> None:
    with time_machine.travel(dt.datetime(2026, 6, 1, tzinfo=dt.UTC), tick=False) as clock:
        (first,) = sqlite_store.append("order", "1", noted(0))
        clock.shift(-day)
        assert {event.recorded_at for event in append_by_every_way(sqlite_store)} == {first.recorded_at}
        clock.shift(2 * day)
        (after,) = sqlite_store.append("order", "1", noted(10))
        assert after.recorded_at == first.recorded_at + day
        check(sqlite_store, first.recorded_at)
