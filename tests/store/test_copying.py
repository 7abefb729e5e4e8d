"""Moving house: logs copied between databases, with everything kept, resumable, and compared."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.helpers import execute
from webapp.errors import CopyDiffers, NotFound
from webapp.store import EventFilter, EventStore, NewEvent, RecordedEvent
from webapp.store.copying import copy_store, loose_id


@pytest.fixture
def source(tmp_path: Path) -> Iterator[EventStore]:
    """Two logs of orders, one event with everything, on SQLite."""
    store = EventStore.open(f"sqlite:///{tmp_path / 'source.db'}")
    store.migrate()
    for number in range(30):
        store.append("order", str(number % 7), [NewEvent("order.changed", {"n": number})] * 1)
    whole = NewEvent(
        "order.paid", '{"b": 1,  "a": "\\u0000", "b": 2}', {"actor": "änn", "correlation_id": "c", "causation_id": "x"}
    )
    store.append("order", "0", [whole, NewEvent("order.closed", None)])
    store.append("wallet", "ann", [NewEvent("wallet.opened", [])], log="wallets")
    yield store
    store.close()


def lines(store: EventStore, log: str) -> list[str]:
    return [event.to_json() for event in store.read_log(log, limit=None)]


def test_a_copy_holds_the_same_events(source: EventStore, store: EventStore) -> None:
    copies = copy_store(source, store)
    assert [(one.log, one.copied, one.head, one.renumbered) for one in copies] == [
        ("main", 32, 32, 0),
        ("wallets", 1, 1, 0),
    ]
    for log in ("main", "wallets"):
        assert lines(store, log) == lines(source, log)
    assert [one.name for one in store.event_types()] == [one.name for one in source.event_types()]
    assert store.log("main").strategy == "dense"
    assert store.append("order", "0", [NewEvent("order.reopened", 1)], expected_version=7)[0].position == 33


def test_a_copy_goes_on_where_it_stood(source: EventStore, store: EventStore) -> None:
    first = copy_store(source, store)
    assert [one.copied for one in copy_store(source, store)] == [0, 0]
    source.append("order", "1", [NewEvent("order.changed", {"n": 99})])
    second = copy_store(source, store, logs=["main"])
    assert [(one.log, one.copied, one.head) for one in second] == [("main", 1, 33)]
    assert second[0].sha256 != first[0].sha256
    assert lines(store, "main") == lines(source, "main")


def test_a_copy_that_was_stopped_in_the_middle_is_resumed(source: EventStore, store: EventStore) -> None:
    source.append("order", "many", [NewEvent("order.changed", n) for n in range(2_500)])

    class _StoppedError(Exception):
        pass

    def stop(what: str, _log: str, position: int, _end: int) -> None:
        assert what == "copying"
        if position > 1_500:
            raise _StoppedError

    with pytest.raises(_StoppedError):
        copy_store(source, store, on_progress=stop)
    assert 1_500 < store.head("main") < source.head("main")
    copy_store(source, store)
    assert lines(store, "main") == lines(source, "main")


class _Layout:
    """A source of another layout: positions with holes, times that run back, events of no aggregate."""

    def __init__(self, store: EventStore) -> None:
        self.inner = store
        base = dt.datetime(2026, 5, 1, 12, 0, tzinfo=dt.UTC)
        self.events = [
            RecordedEvent("main", position, *stream, "noted", str(uuid.UUID(int=position)), base + dt.timedelta(seconds=at),
                          data_text=f'{{"at": {at}}}', metadata_text=None)
            for position, stream, at in [
                (3, ("note", "1", 1), 10), (4, ("note", "1", 3), 5), (9, (None, None, None), 7), (12, ("note", "2", 1), 30),
            ]
        ]  # fmt: skip

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    def read_log(self, log: str, *, after: int = 0, before: int | None = None, limit: int | None = None) -> object:
        return itertools.islice((e for e in self.events if after < e.position < (before or 99)), limit)

    def logs(self) -> object:
        import dataclasses

        return [dataclasses.replace(self.inner.log("main"), head=12, settled_head=12)]

    def event(self, log: str, position: int) -> RecordedEvent:
        for event in self.events:
            if event.position == position:
                return event
        raise NotFound("event", f"{log}:{position}")


def test_positions_with_holes_and_times_that_run_back_are_kept(source: EventStore, store: EventStore) -> None:
    other = _Layout(source)
    (copied,) = copy_store(other, store, logs=["main"])  # type: ignore[arg-type]
    assert (copied.copied, copied.head, copied.renumbered) == (4, 12, 1)
    found = list(store.read_log("main"))
    assert [event.position for event in found] == [3, 4, 9, 12]
    assert [event.recorded_at for event in found] == [event.recorded_at for event in other.events]
    assert [event.version for event in store.read_stream("note", "1")] == [1, 2]
    assert [event.position for event in store.read_stream("main", loose_id)] == [9]
    log = store.log("main")
    assert (log.head, log.count.number, log.strategy) == (12, 4, "copied")
    since = EventFilter(since=dt.datetime(2026, 5, 1, 12, 0, 6, tzinfo=dt.UTC))
    assert [event.position for event in store.read_log("main", where=since)] == [3, 9, 12]
    until = EventFilter(until=dt.datetime(2026, 5, 1, 12, 0, 8, tzinfo=dt.UTC))
    assert [event.position for event in store.read_log("main", where=until, newest_first=True)] == [9, 4]
    later = store.append("note", "1", [NewEvent("noted", 1)])[0]
    assert (later.position, later.version) == (13, 3)


def test_a_target_that_holds_something_else_is_refused(source: EventStore, store: EventStore) -> None:
    store.append("note", "1", [NewEvent("noted", 1)])
    with pytest.raises(CopyDiffers, match="main differs at position 1: the source has"):
        copy_store(source, store)
    assert [one.copied for one in copy_store(source, store, logs=["wallets"])] == [1]
    with pytest.raises(NotFound, match="There are main, wallets"):
        copy_store(source, store, logs=["mian"])


def test_a_copy_that_was_changed_behind_our_back_is_told(source: EventStore, sqlite_store: EventStore) -> None:
    copy_store(source, sqlite_store)
    execute(sqlite_store, "DROP TRIGGER projectionist_events_no_update")
    execute(sqlite_store, "UPDATE projectionist_events SET data = '7' WHERE position = 5")
    with pytest.raises(CopyDiffers, match="main differs at position 5: its fields are not the same"):
        copy_store(source, sqlite_store)
