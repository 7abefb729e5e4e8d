"""Appending: numbers, all or none, limits, times, and what comes back."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest

from tests.store.helpers import count_events, execute, fields, in_memory_too, noted, positions, reopen
from webapp.errors import InvalidEvent
from webapp.store import Append, EventStore, NewEvent, WrongExpectedVersion


@in_memory_too
def test_versions_count_from_one_in_each_stream(store: EventStore) -> None:
    store.append("order", "1", noted(1, 2))
    store.append("order", "2", noted(3))
    recorded = store.append("order", "1", noted(4))
    assert [event.version for event in recorded] == [3]
    assert [event.version for event in store.read_stream("order", "1")] == [1, 2, 3]
    assert [event.version for event in store.read_stream("order", "2")] == [1]


@in_memory_too
def test_positions_count_from_one_without_a_hole_in_each_log(store: EventStore) -> None:
    store.append_many(
        [
            Append("order", "1", noted(1, 2), log="a"),
            Append("order", "1", noted(1), log="b"),
            Append("order", "2", noted(3), log="a"),
        ]
    )
    store.append("order", "1", noted(4), log="a")
    assert positions(store, "a") == [1, 2, 3, 4]
    assert positions(store, "b") == [1]
    assert store.head("a") == store.settled_head("a") == 4


@in_memory_too
def test_a_refused_append_leaves_no_hole(store: EventStore) -> None:
    store.append("order", "1", noted(1))
    with pytest.raises(WrongExpectedVersion):
        store.append("order", "1", noted(2, 3), expected_version=0)
    store.append("order", "1", noted(4))
    assert positions(store) == [1, 2]


def test_a_transaction_rolled_back_by_its_caller_leaves_no_hole_and_no_names(store: EventStore) -> None:
    with pytest.raises(ZeroDivisionError), store.database.writing() as connection:
        recorded = store.append_in(connection, [Append("order", "1", noted(1, 2)), Append("new", "1", noted(3))])
        assert [event.position for event in recorded] == [1, 2, 3]
        raise ZeroDivisionError
    store.append("order", "1", noted(4), expected_version=0)
    store.append("new", "1", noted(4), expected_version=0)
    assert positions(store) == [1, 2]
    assert [event.version for event in store.read_stream("new", "1")] == [1]


@in_memory_too
def test_all_or_none_are_stored_across_streams_and_logs(store: EventStore) -> None:
    store.append("order", "2", noted(1), log="b")
    with pytest.raises(WrongExpectedVersion):
        store.append_many(
            [
                Append("order", "1", noted(1), log="a"),
                Append("order", "2", noted(2), log="b", expected_version=0),
                Append("order", "3", noted(3), log="c"),
            ]
        )
    assert count_events(store) == 1
    assert [log.name for log in store.logs()] == ["b"]


@in_memory_too
def test_one_stream_may_stand_in_an_append_several_times(store: EventStore) -> None:
    recorded = store.append_many(
        [
            Append("order", "1", noted(1), expected_version=0),
            Append("order", "2", noted(2), expected_version=0),
            Append("order", "1", noted(3, 4), expected_version=1),
        ]
    )
    assert [(event.aggregate_id, event.version, event.position) for event in recorded] == [
        ("1", 1, 1), ("2", 1, 2), ("1", 2, 3), ("1", 3, 4),
    ]  # fmt: skip


@in_memory_too
def test_what_is_recorded_comes_in_the_order_given_whatever_the_logs(store: EventStore) -> None:
    recorded = store.append_many([Append("order", str(n), noted(n), log="ba"[n % 2]) for n in range(6)])
    assert [event.data["n"] for event in recorded] == list(range(6))
    assert [(event.log, event.position) for event in recorded] == [
        ("b", 1), ("a", 1), ("b", 2), ("a", 2), ("b", 3), ("a", 3),
    ]  # fmt: skip


@in_memory_too
@pytest.mark.parametrize(("expected", "passes"), [(None, True), (2, True), (0, False), (1, False), (3, False)])
def test_an_expected_version_must_be_the_streams(store: EventStore, expected: int | None, passes: bool) -> None:
    store.append("order", "1", noted(1, 2))
    if passes:
        store.append("order", "1", noted(3), expected_version=expected)
        return
    with pytest.raises(WrongExpectedVersion) as raised:
        store.append("order", "1", noted(3), expected_version=expected)
    wanted = f"at version {expected}" if expected else "new"
    assert str(raised.value) == f"order/1 is at version 2, not {wanted}. Reload it and decide again."
    assert (raised.value.stream, raised.value.expected, raised.value.actual) == ("order/1", expected, 2)


@in_memory_too
def test_a_stream_that_is_not_there_is_at_version_zero(store: EventStore) -> None:
    store.append("order", "1", noted(1), expected_version=0)
    with pytest.raises(WrongExpectedVersion, match="order/2 is new, not at version 1"):
        store.append("order", "2", noted(1), expected_version=1)


@in_memory_too
def test_an_expected_version_is_checked_even_if_there_is_nothing_to_store(store: EventStore) -> None:
    assert store.append("order", "1", [], expected_version=0) == []
    assert store.append_many([]) == []
    with pytest.raises(WrongExpectedVersion):
        store.append("order", "1", [], expected_version=1)


@pytest.mark.parametrize("version", [-1, 1.0, "1", True])
def test_an_expected_version_that_is_none_is_refused(sqlite_store: EventStore, version: object) -> None:
    with pytest.raises(InvalidEvent, match="expected_version"):
        sqlite_store.append("order", "1", noted(1), expected_version=version)  # type: ignore[arg-type]


@in_memory_too
def test_what_append_returns_equals_what_is_read(store: EventStore) -> None:
    metadata = {"correlation_id": "c-1", "causation_id": "c-0", "actor": "änn", "tenant": 7}
    events = [
        NewEvent("order.placed", {"total": 100, "note": "😀"}, metadata=metadata),
        NewEvent("order.paid", None),
        NewEvent("order.paid", '{"b": 1,  "a": 2}', metadata='{"actor": 5}', id=uuid.uuid4()),
    ]
    recorded = store.append("order", "4/2 ü", events, log="sales")
    other = reopen(store)  # one that remembers no names
    try:
        for read in (list(other.read_log("sales")), list(other.read_stream("order", "4/2 ü"))):
            assert [fields(event) for event in read] == [fields(event) for event in recorded]
            assert [event.to_json() for event in read] == [event.to_json() for event in recorded]
        assert fields(other.event("sales", 2)) == fields(recorded[1])
    finally:
        other.close()
    assert recorded[2].actor == "5"
    assert recorded[0].actor == "änn"
    assert recorded[1].metadata == {}
    assert recorded[2].id == str(events[2].id)


@in_memory_too
def test_names_compare_byte_by_byte(store: EventStore) -> None:
    alike = ["Ab", "aB", "42", "42 ", "é", "e\u0301", "ß", "ss", "ı", "i", " ", "  ", "a\t", "a", "😀", "😁"]
    for name in alike:
        store.append("type", name, noted(1), expected_version=0)
        store.append(name, "id", noted(2), expected_version=0)
        store.append("type", "id", [NewEvent(name, 3)], log=name, expected_version=0)
    fresh = reopen(store)
    try:
        for name in alike:
            assert [event.aggregate_id for event in fresh.read_stream("type", name)] == [name]
            assert [event.aggregate_type for event in fresh.read_stream(name, "id")] == [name]
            assert [(event.log, event.type) for event in fresh.read_log(name)] == [(name, name)]
    finally:
        fresh.close()


@in_memory_too
def test_names_of_the_longest_kind_fit_in_characters_not_bytes(store: EventStore) -> None:
    log, type_, id_ = "😀" * 64, "😀" * 150, "😀" * 255
    metadata = {"correlation_id": id_, "causation_id": id_, "actor": id_}
    (recorded,) = store.append(type_, id_, [NewEvent(type_, 1, metadata=metadata)], log=log)
    (read,) = store.read_stream(type_, id_, log=log)
    assert fields(read) == fields(recorded)
    assert read.actor == read.aggregate_id == id_


@pytest.mark.parametrize(
    ("append", "sentence"),
    [
        (Append("t", "i", noted(1), log="l" * 65), "The log “l{40}…” has 65 characters; at most 64 fit."),
        (Append("t" * 151, "i", noted(1)), "The aggregate type “t{40}…” has 151 characters; at most 150 fit."),
        (Append("t", "i" * 256, noted(1)), "The aggregate id “i{40}…” has 256 characters; at most 255 fit."),
        (Append("t", "i", [NewEvent("e" * 151, 1)]), "The event type “e{40}…” has 151 characters; at most 150 fit."),
        (Append("", "i", noted(1)), "The aggregate type must be text that isn't empty"),
        (Append("t", "", noted(1)), "The aggregate id must be text that isn't empty"),
        (Append("t", 42, noted(1)), "The aggregate id must be text"),  # type: ignore[arg-type]
        (Append("t", "a\x00b", noted(1)), "holds a character that databases refuse"),
        (Append("t", "a\ud800", noted(1)), "holds a character that databases refuse"),
        (Append("t", "i", [NewEvent("e", 1, metadata={"actor": "a" * 256})]), "“actor”.* 256 characters"),
        (Append("t", "i", [NewEvent("e", 1, metadata={"correlation_id": "\x00"})]), "“correlation_id”"),
        (Append("t", "i", [NewEvent("e", 1, metadata=[1])]), "must be a JSON object"),  # type: ignore[arg-type]
        (Append("t", "i", [NewEvent("e", 1, metadata=0)]), "must be a JSON object"),  # type: ignore[arg-type]
        (Append("t", "i", [NewEvent("e", 1, metadata="")]), "is text that is not JSON"),
        (Append("t", "i", [NewEvent("e", 1, metadata="[]")]), "must be a JSON object"),
        (Append("t", "i", [NewEvent("e", 1, id="42")]), "The event id '42' is not a UUID"),
        (Append("t", "i", [NewEvent("e", 1, id=42)]), "The event id 42 is not a UUID"),  # type: ignore[arg-type]
    ],
)
def test_what_can_not_be_stored_is_refused_with_a_sentence(
    sqlite_store: EventStore, append: Append, sentence: str
) -> None:
    with pytest.raises(InvalidEvent, match=sentence):
        sqlite_store.append_many([Append("t", "before", noted(0)), append])
    assert count_events(sqlite_store) == 0


def test_what_is_no_event_is_refused_with_a_sentence(sqlite_store: EventStore) -> None:
    with pytest.raises(InvalidEvent, match="NewEvent"):
        sqlite_store.append("t", "i", [{"type": "noted"}])  # type: ignore[list-item]
    with pytest.raises(InvalidEvent, match="list of NewEvent"):
        sqlite_store.append("t", "i", NewEvent("noted", 1))  # type: ignore[arg-type]


@in_memory_too
def test_recorded_at_is_now_in_utc_with_microseconds(store: EventStore) -> None:
    before = dt.datetime.now(dt.UTC)
    times = [store.append("order", "1", noted(n))[0].recorded_at for n in range(30)]
    after = dt.datetime.now(dt.UTC)
    assert all(time.utcoffset() == dt.timedelta(0) for time in times)
    assert before - dt.timedelta(seconds=1) <= times[0] <= times[-1] <= after + dt.timedelta(seconds=1)
    assert times == sorted(times)
    assert any(time.microsecond % 1000 for time in times), "a clock that stops at milliseconds"
    assert times == [event.recorded_at for event in store.read_log("main")]
    assert times[-1] == store.log("main").last_at


def test_recorded_at_never_goes_back_even_if_the_clock_does(store: EventStore) -> None:
    store.append("order", "1", noted(1))
    # As if the last event had been recorded before the clock was set back by an hour.
    execute(store, "UPDATE projectionist_logs SET recorded_at = '2096-01-02 03:04:05.678901'")
    recorded = store.append("order", "1", noted(2, 3))
    ahead = dt.datetime(2096, 1, 2, 3, 4, 5, 678901, dt.UTC)
    assert [event.recorded_at for event in recorded] == [ahead, ahead]
    assert [event.recorded_at for event in store.read_log("main", after=1)] == [ahead, ahead]


def test_recorded_at_is_utc_whatever_the_time_zone_of_the_session(store: EventStore) -> None:
    zones = {
        "PostgreSQL": "SET TIME ZONE 'Asia/Kathmandu'",
        "MariaDB": "SET time_zone = '+05:45'",
        "MySQL": "SET time_zone = '+05:45'",
    }
    zone = zones.get(store.dialect)
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
    with store.database.writing() as connection:
        if zone:
            connection.exec_driver_sql(zone)
        (recorded,) = store.append_in(connection, [Append("order", "1", noted(1))])
        time = recorded.recorded_at
    assert time.utcoffset() == dt.timedelta(0)
    assert before <= time <= dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1)
    assert recorded.to_json() == next(iter(store.read_log("main"))).to_json()


@in_memory_too
def test_events_are_counted_by_type_as_they_come(store: EventStore) -> None:
    store.append("order", "1", [NewEvent("placed", 1), NewEvent("paid", 2), NewEvent("paid", 3)])
    store.append("order", "2", [NewEvent("placed", 4)])
    assert [(type_.name, type_.count.number) for type_ in store.event_types()] == [("paid", 2), ("placed", 2)]
    assert [(type_.name, type_.count.number) for type_ in store.aggregate_types()] == [("order", 2)]
    first, last = [event.recorded_at for event in store.read_log("main")][::3]
    placed = store.event_types()[1]
    assert (placed.first_at, placed.last_at) == (first, last)


@in_memory_too
@pytest.mark.parametrize("number", [1, 19, 20, 501, 2500])
def test_any_number_of_events_and_streams_fits_into_one_append(store: EventStore, number: int) -> None:
    store.append_many([Append("order", str(n), noted(n)) for n in range(0, number, 2)])
    recorded = store.append_many([Append("order", str(n), noted(n)) for n in range(number)])
    assert [event.version for event in recorded] == [1 + (n + 1) % 2 for n in range(number)]
    assert positions(store) == list(range(1, number + (number + 1) // 2 + 1))
