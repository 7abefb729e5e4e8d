"""Filters give exactly the events that pass them, by index or by scanning, in both directions, within their time."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import backends, create_database
from tests.store.test_migrate import opened
from webapp.errors import TimedOut
from webapp.store import EventFilter, EventStore, NewEvent, RecordedEvent
from webapp.store import reader as reader_module

NUMBER = 420
TYPES = ("placed", "paid", "Paid", "rare")


@pytest.fixture(scope="module", params=backends)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStore]:
    """A store whose main log has events of all kinds, several of them at the same time."""
    url, drop = create_database(request.param, tmp_path_factory.mktemp("filters"))
    chance = random.Random(1)
    with opened(url) as store:
        store.migrate()
        left = NUMBER
        while left:
            number = min(left, chance.randint(1, 6))
            events = [event_by(chance) for _ in range(number)]
            store.append(chance.choice(("order", "wallet", "Order")), str(chance.randint(1, 9)), events)
            store.append("order", "1", events[:1], log="other")
            left -= number
        yield store
    drop()


def event_by(chance: random.Random) -> NewEvent:
    metadata = {
        "actor": chance.choice(("ann", "Ann", "björn", None)),
        "correlation_id": chance.choice((None, *(f"c-{n}" for n in range(20)))),
    }
    type_ = chance.choices(TYPES, (10, 10, 5, 1))[0]
    text = chance.choice(("Tea", "tea", "20% off", "a_b", "back\\slash", "☕", "“quoted”", "x" * 300))
    return NewEvent(type_, {"n": chance.randint(0, 50), "text": text}, metadata)


@pytest.fixture
def everything(store: EventStore) -> list[RecordedEvent]:
    """The reference that filters are held against."""
    return list(store.read_log("main", limit=None))


def some_filter(chance: random.Random, everything: list[RecordedEvent]) -> EventFilter:
    """A filter of one to three parts, most of which some event passes."""
    event = chance.choice(everything)
    other = chance.choice(everything)
    first, last = sorted((event.recorded_at, other.recorded_at))
    tick = dt.timedelta(microseconds=chance.choice((-1, 0, 1)))
    parts: dict[str, Any] = {
        "types": chance.choice(((event.type,), (event.type, other.type), ("none",), TYPES)),
        "aggregate_type": chance.choice((event.aggregate_type, "none", "ORDER")),
        "aggregate_id": chance.choice((event.aggregate_id, "none")),
        "correlation_id": event.correlation_id or "none",
        "actor": event.actor or "none",
        "since": first + tick,
        "until": last + tick,
        "contains": chance.choice(
            ("tea", "Tea", "%", "_", "\\", "☕", "“", '"n":7', "none", "x" * 300, "'", "{p}", ":n")
        ),
        "event_id": chance.choice((event.id, event.id.upper(), "not a uuid", "0" * 32)),
    }
    names = chance.sample(sorted(parts), chance.randint(1, 3))
    return EventFilter(**{name: parts[name] for name in names})


def passes(event: RecordedEvent, where: EventFilter) -> bool:
    """EventFilter.matches, with ids that may be written differently."""
    if where.event_id is not None and where.event_id.lower() != event.id:
        return False
    rest = EventFilter(
        where.types, where.aggregate_type, where.aggregate_id, where.correlation_id, where.actor, where.since,
        where.until, where.contains,
    )  # fmt: skip
    return rest.matches(event)


@pytest.mark.parametrize("window", [7, 20_000])
def test_a_filter_gives_exactly_what_passes_it(
    store: EventStore, everything: list[RecordedEvent], window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_scan_rows", window)
    chance = random.Random(2)
    found_some = 0
    for _ in range(60):
        where = some_filter(chance, everything)
        after, before = chance.choice((0, 10, 100)), chance.choice((None, 300, 421))
        limit = chance.choice((None, 1, 5, 1000))
        wanted = [
            event.position for event in everything
            if passes(event, where) and event.position > after and (before is None or event.position < before)
        ]  # fmt: skip
        for newest_first in (False, True):
            found = store.read_log(
                "main", after=after, before=before, limit=limit, newest_first=newest_first, where=where,
                with_payload=chance.choice((True, False)),
            )  # fmt: skip
            ordered = wanted[::-1] if newest_first else wanted
            assert [event.position for event in found] == ordered[:limit], where
        found_some += bool(wanted)
    assert found_some > 20, "too few filters that anything passes"


def test_a_filter_of_nothing_passes_everything(store: EventStore, everything: list[RecordedEvent]) -> None:
    found = list(store.read_log("main", limit=None, where=EventFilter()))
    assert [event.to_json() for event in found] == [event.to_json() for event in everything]
    assert len(found) == NUMBER


def test_since_takes_its_moment_in_and_until_leaves_it_out(store: EventStore, everything: list[RecordedEvent]) -> None:
    moment = everything[200].recorded_at
    since = list(store.read_log("main", limit=None, where=EventFilter(since=moment)))
    until = list(store.read_log("main", limit=None, where=EventFilter(until=moment)))
    assert since[0].recorded_at == moment
    assert until[-1].recorded_at < moment
    assert len(since) + len(until) == NUMBER


def test_moments_of_any_zone_and_far_away_are_understood(store: EventStore, everything: list[RecordedEvent]) -> None:
    moment = everything[200].recorded_at
    elsewhere = moment.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=45)))
    wanted = [event.position for event in store.read_log("main", limit=None, where=EventFilter(since=moment))]
    found = [event.position for event in store.read_log("main", limit=None, where=EventFilter(since=elsewhere))]
    assert found == wanted
    first, last = dt.datetime(1, 1, 1, tzinfo=dt.UTC), dt.datetime(9999, 12, 31, 23, 59, 59, 999999, dt.UTC)
    assert len(list(store.read_log("main", limit=None, where=EventFilter(since=first, until=last)))) == NUMBER
    assert list(store.read_log("main", where=EventFilter(since=last))) == []
    assert list(store.read_log("main", where=EventFilter(until=first))) == []


def test_hostile_values_find_nothing_and_break_nothing(store: EventStore) -> None:
    for value in ("' OR '1'='1", "%", "\x00", "\ud800", "x" * 70_000, "💥", "{p}", "%s"):
        for where in (
            EventFilter(types=(value,)),
            EventFilter(aggregate_type=value),
            EventFilter(aggregate_id=value),
            EventFilter(aggregate_type="order", aggregate_id=value),
            EventFilter(correlation_id=value),
            EventFilter(actor=value),
            EventFilter(event_id=value),
        ):
            assert list(store.read_log("main", where=where)) == [], (value, where)
        assert list(store.read_stream("order", value)) == []
        assert list(store.read_stream(value, "1")) == []


def test_a_search_without_an_index_stops_when_its_time_is_up(
    store: EventStore, everything: list[RecordedEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_scan_rows", 100)
    for newest_first, reached in ((False, 100), (True, NUMBER - 99)):
        search = {"where": EventFilter(contains="none"), "newest_first": newest_first, "seconds": 0}
        with pytest.raises(TimedOut, match=f"reached position {reached} before its time was up") as raised:
            list(store.read_log("main", **search))  # type: ignore[arg-type]
        assert raised.value.reached == reached


@pytest.mark.parametrize(
    "where",
    [
        EventFilter(types=("placed",), contains="none"),
        EventFilter(types=("placed", "paid"), actor="nobody"),
        EventFilter(aggregate_type="order", contains="none"),
    ],
)
def test_a_search_that_an_index_answers_in_part_stops_too(
    store: EventStore, where: EventFilter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_scan_rows", 100)
    with pytest.raises(TimedOut) as raised:
        list(store.read_log("main", where=where, seconds=0))
    assert raised.value.reached == 100


def test_a_search_that_an_index_answers_is_one_statement(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "_scan_rows", 1)
    for where in (EventFilter(types=("none",)), EventFilter(correlation_id="none"), EventFilter(types=("rare",))):
        list(store.read_log("main", where=where, seconds=0, limit=3))


def test_a_search_that_was_stopped_goes_on_from_there(
    store: EventStore, everything: list[RecordedEvent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_scan_rows", 100)
    where = EventFilter(actor="björn")
    for newest_first in (False, True):
        found: list[int] = []
        after, before = 0, None
        for _ in range(200):
            try:
                for event in store.read_log(
                    "main", after=after, before=before, limit=None, where=where, newest_first=newest_first, seconds=0
                ):
                    found.append(event.position)
            except TimedOut as error:
                assert error.reached is not None
                after, before = (after, error.reached) if newest_first else (error.reached, before)
            else:
                break
        wanted = [event.position for event in everything if event.actor == "björn"]
        assert found == (wanted[::-1] if newest_first else wanted)


def test_a_search_that_finds_enough_in_time_is_not_stopped(store: EventStore, everything: list[RecordedEvent]) -> None:
    assert len(list(store.read_log("main", where=EventFilter(actor="ann"), limit=3, seconds=0))) == 3


def test_a_search_that_takes_its_time_ends(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "_scan_rows", 10)
    assert list(store.read_log("main", where=EventFilter(contains="none"), limit=None, seconds=None)) == []
