"""Events that another store recorded keep their times, ids and content, and time order stays position order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.helpers import FIELDS, count, fields, positions
from webapp.errors import AppendOnly, EventIdReused, InvalidEvent, WrongExpectedVersion
from webapp.store import Append, EventStore, NewEvent, RecordedEvent
from webapp.store.events import uuid7

start = dt.datetime(2025, 3, 1, 12, 0, 0, 123456, dt.UTC)


@pytest.fixture
def old(tmp_path: Path) -> Iterator[EventStore]:
    """A store whose events wait for the move."""
    store = EventStore.open(f"sqlite:///{tmp_path / 'old.db'}")
    store.migrate()
    for number in range(40):
        metadata = {"actor": "ann", "correlation_id": f"c-{number // 4}", "causation_id": f"m-{number}"}
        event = NewEvent(("placed", "paid")[number % 2], f'{{"n": {number},  "text": "お茶 {number}"}}', metadata)
        store.append(("order", "wallet")[number % 3 == 0], str(number % 5), [event], log=("main", "other")[number > 30])
    yield store
    store.close()


def recorded(seconds: float, id_: str = "1", log: str = "main", type_: str = "noted") -> RecordedEvent:
    time = start + dt.timedelta(seconds=seconds)
    return RecordedEvent(log, 0, "order", id_, None, type_, uuid7(), time, data_text='{"n": 1}')


def everything(store: EventStore) -> list[dict[str, object]]:
    return [fields(event) for log in store.logs() for event in store.read_log(log.name, limit=None)]


def test_a_store_moves_house_and_nothing_changes(store: EventStore, old: EventStore) -> None:
    for log in old.logs():
        events = list(old.read_log(log.name, limit=None))
        for at in range(0, len(events), 7):
            store.import_events(events[at : at + 7])
    assert everything(store) == everything(old)
    assert store.event_types() == old.event_types()
    assert store.aggregate_types() == old.aggregate_types()
    assert [(log.name, log.head, log.first_at, log.last_at) for log in store.logs()] == [
        (log.name, log.head, log.first_at, log.last_at) for log in old.logs()
    ]


def test_what_was_imported_already_comes_back_as_it_is(store: EventStore, old: EventStore) -> None:
    events = list(old.read_log("main"))
    first = store.import_events(events)
    again = store.import_events(events)
    assert [fields(event) for event in again] == [fields(event) for event in first]
    assert count(store, "projectionist_events") == len(events)
    with pytest.raises(EventIdReused):
        store.import_events([events[-1], recorded(10**8)])


def test_every_event_keeps_its_own_time(store: EventStore) -> None:
    times = [0, 0.000001, 0.5, 0.5, 3600, 86_400 * 90]
    back = store.import_events([recorded(seconds, str(seconds)) for seconds in times])
    expected = [start + dt.timedelta(seconds=seconds) for seconds in times]
    assert [event.recorded_at for event in back] == expected
    assert [event.recorded_at for event in store.read_log("main")] == expected
    assert positions(store) == [1, 2, 3, 4, 5, 6]
    (noted,) = store.event_types()
    assert (noted.first_at, noted.last_at, noted.count.number) == (expected[0], expected[-1], 6)
    (order,) = store.aggregate_types()
    assert (order.last_at, order.count.number) == (expected[-1], 5)
    appended = store.append("order", "x", [NewEvent("noted", 1)])[0]
    assert appended.recorded_at > dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)


@pytest.mark.parametrize("seconds", [-0.000001, -86_400])
def test_a_time_below_the_logs_last_is_refused(store: EventStore, seconds: float) -> None:
    store.import_events([recorded(0)])
    with pytest.raises(InvalidEvent, match="time order is position order"):
        store.import_events([recorded(1), recorded(seconds)])
    with pytest.raises(InvalidEvent, match=r"2025-03-01T12:00:01\.123456Z"):
        store.import_events([recorded(1), recorded(0.9)])
    assert positions(store) == [1]
    store.import_events([recorded(seconds, log="another")])  # each log has its own order


def test_nothing_old_goes_into_a_log_that_lives(store: EventStore) -> None:
    store.append("order", "1", [NewEvent("noted", 1)])
    with pytest.raises(InvalidEvent, match="log of its own"):
        store.import_events([recorded(0)])


def test_the_future_is_refused(store: EventStore) -> None:
    ahead = (dt.datetime.now(dt.UTC) - start + dt.timedelta(hours=1)).total_seconds()
    with pytest.raises(InvalidEvent, match="clock says"):
        store.import_events([recorded(0), recorded(ahead)])
    assert count(store, "projectionist_events") == 0


def test_a_version_that_does_not_follow_is_refused(store: EventStore, old: EventStore) -> None:
    events = list(old.read_log("main"))
    with pytest.raises(WrongExpectedVersion):
        store.import_events([event for event in events if event.version != 2])
    assert count(store, "projectionist_events") == 0


def test_what_cannot_be_imported_is_refused_with_a_sentence(sqlite_store: EventStore, old: EventStore) -> None:
    with pytest.raises(InvalidEvent, match="without its payload"):
        sqlite_store.import_events(list(old.read_log("main", with_payload=False)))
    lonely = RecordedEvent("main", 7, None, None, None, "noted", uuid7(), start, data_text="{}")
    with pytest.raises(InvalidEvent, match="main:7 belongs to no aggregate"):
        sqlite_store.import_events([lonely])
    event = recorded(0)
    with pytest.raises(InvalidEvent, match="stands twice"):
        sqlite_store.import_events([event, event])


def test_what_was_imported_is_append_only_like_all_else(store: EventStore) -> None:
    store.import_events([recorded(0)])
    with pytest.raises(AppendOnly), store.database.writing() as connection:
        connection.exec_driver_sql("UPDATE projectionist_events SET version = 9")


def test_imports_and_appends_mix_in_one_log_in_order(store: EventStore) -> None:
    store.import_events([recorded(0)])
    store.append_many([Append("order", "1", [NewEvent("noted", 2)])])
    assert [event.version for event in store.read_stream("order", "1")] == [1, 2]
    times = [event.recorded_at for event in store.read_log("main")]
    assert times == sorted(times)
    assert set(FIELDS) <= set(fields(next(iter(store.read_log("main")))))
