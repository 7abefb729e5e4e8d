"""The two ways an append is carried out, in one round trip or in several, come to the same."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from tests.store.helpers import count, execute, fields, noted, on_servers, positions
from webapp.errors import Conflict, DuplicateKey, EventIdReused, StreamClosed, WrongExpectedVersion
from webapp.store import Append, EventStore, NewEvent
from webapp.store.appending import Appender
from webapp.store.tables import count_step


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A mark for each append that took the way of several round trips."""
    taken: list[Any] = []
    original = Appender.__init__

    def note(self: Appender, *arguments: Any) -> None:
        taken.append(self)
        original(self, *arguments)

    monkeypatch.setattr(Appender, "__init__", note)
    yield taken


def test_one_event_whose_names_are_known_goes_the_short_way(store: EventStore, transactions: list[Any]) -> None:
    store.append("order", "1", noted(1))
    assert len(transactions) == 1  # the log and the types are new
    transactions.clear()
    metadata = {"actor": "ann", "correlation_id": "c", "causation_id": "m", "more": "ünïcode 🎉 % ' \\"}
    recorded = [
        *store.append("order", "1", [NewEvent("noted", {"text": "100 % 'sure' \\ 🎉"}, metadata)], expected_version=1),
        *store.append("order", "2 %s'\\ ü", noted(3), expected_version=0),
        *store.append("order", "2 %s'\\ ü", noted(4)),
        *store.append("order", "3", [NewEvent("noted", '{"as":  "written"}', b'{"x": "\\u0000"}')]),
    ]
    assert transactions == []
    stored = list(store.read_log("main", after=1))
    assert [fields(event) for event in recorded] == [fields(event) for event in stored]
    assert [event.version for event in recorded] == [2, 1, 2, 1]
    assert positions(store) == [1, 2, 3, 4, 5]
    times = [event.recorded_at for event in store.read_log("main")]
    assert times == sorted(times)


def test_what_is_recorded_the_short_way_can_be_followed_by_the_other(store: EventStore) -> None:
    store.append("order", "1", noted(1))
    for number in range(2, 8):
        events = noted(*range(number % 3 + 1))
        store.append("order", str(number // 2), events, expected_version=None)
    store.append_many([Append("order", str(number), noted(0)) for number in range(9)])
    assert positions(store) == list(range(1, store.head("main") + 1))
    for number in range(9):
        versions = [event.version for event in store.read_stream("order", str(number))]
        assert versions == list(range(1, len(versions) + 1))


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_a_wrong_version_is_refused_the_short_way_too(store: EventStore, expected: int) -> None:
    store.append("order", "1", noted(1, 2))
    with pytest.raises(WrongExpectedVersion) as caught:
        store.append("order", "1", noted(3), expected_version=expected)
    assert (caught.value.expected, caught.value.actual) == (expected, 2)
    with pytest.raises(WrongExpectedVersion):
        store.append("order", "new", noted(3), expected_version=1)
    store.append("order", "1", noted(3), expected_version=2)
    assert positions(store) == [1, 2, 3]


def test_a_repeated_event_comes_back_the_short_way_too(store: EventStore) -> None:
    store.append("order", "1", noted(1))
    event = NewEvent("noted", {"n": 2}, id=uuid.uuid4())
    (first,) = store.append("order", "1", [event], expected_version=1)
    (second,) = store.append("order", "1", [event], expected_version=1)
    (third,) = store.append("order", "1", [event])
    assert fields(first) == fields(second) == fields(third)
    with pytest.raises(EventIdReused):
        store.append("order", "1", [NewEvent("noted", {"n": 3}, id=event.id)])
    assert positions(store) == [1, 2]


def test_a_retired_log_is_refused_the_short_way_too(store: EventStore) -> None:
    store.append("order", "1", noted(1))
    execute(store, "UPDATE projectionist_logs SET retired_at = recorded_at")
    with pytest.raises(Conflict, match="The log main is retired"):
        store.append("order", "1", noted(2))


def close_stream(store: EventStore, closed: str, continued_by: str) -> None:
    """Marks a stream as continued by another one, which triggers otherwise refuse."""
    numbers = dict(execute(store, "SELECT aggregate_id, id FROM projectionist_streams"))
    with store.database.writing() as connection:
        triggers = set(connection.exec_driver_sql(store.database.dialect.triggers).scalars())
        name = "projectionist_streams_no_update"
        if name in triggers:
            on = " ON projectionist_streams" if store.dialect == "PostgreSQL" else ""
            connection.exec_driver_sql(f"DROP TRIGGER {name}{on}")
        connection.execute(
            sa.text("UPDATE projectionist_streams SET continued_by = :by WHERE id = :id"),
            {"by": numbers[continued_by], "id": numbers[closed]},
        )


def test_a_closed_stream_is_refused_and_named_with_the_one_that_continues_it(store: EventStore) -> None:
    store.append("order", "1", noted(1))
    store.append("order", "2", noted(1))
    close_stream(store, "1", "2")
    for events in (noted(2), noted(2, 3)):
        with pytest.raises(StreamClosed, match=r"^order/1 is closed and goes on as order/2\. Append there\.$"):
            store.append("order", "1", events)
    with pytest.raises(StreamClosed):
        store.append_many([Append("order", "1", noted(2)), Append("order", "2", noted(2))])
    with pytest.raises(StreamClosed), store.database.writing() as connection:
        store.append_in(connection, [Append("order", "1", noted(2))])
    store.append("order", "2", noted(2), expected_version=1)
    assert positions(store) == [1, 2, 3]


def test_a_repeated_append_to_a_stream_closed_since_comes_back(store: EventStore) -> None:
    event = NewEvent("noted", {"n": 2}, id=uuid.uuid4())
    (first,) = store.append("order", "1", [event])
    store.append("order", "2", noted(1))
    close_stream(store, "1", "2")
    (again,) = store.append("order", "1", [event])
    assert fields(again) == fields(first)


@on_servers
def test_a_server_without_the_routine_takes_the_other_way(store: EventStore, transactions: list[Any]) -> None:
    store.append("order", "1", noted(1))
    kind = "FUNCTION" if store.dialect == "PostgreSQL" else "PROCEDURE"
    execute(store, f"DROP {kind} projectionist_append")
    transactions.clear()
    for number in range(2, 5):
        store.append("order", "1", noted(number), expected_version=number - 1)
    assert len(transactions) == 3
    assert positions(store) == [1, 2, 3, 4]


def test_an_order_of_events_other_than_dense_is_left_to_the_other_way(
    store: EventStore, transactions: list[Any]
) -> None:
    store.append("order", "1", noted(1))
    execute(store, "UPDATE projectionist_logs SET ordering = 'copied'")
    transactions.clear()
    store.append("order", "1", noted(2))
    assert len(transactions) == 1


def test_a_refused_event_leaves_the_connection_as_it_was(store: EventStore) -> None:
    store.append("order", "1", noted(1))
    for _ in range(3):
        with pytest.raises(DuplicateKey):
            with store.database.borrowed() as connection:
                values = ("main", "order", "1", None, "noted", uuid.UUID(int=7).bytes, None, None, None, "{}", "{}")
                store.database.dialect.append_one(connection, values)
                store.database.dialect.append_one(connection, values)
        execute(store, "UPDATE projectionist_logs SET retired_at = NULL")  # nothing is locked, nothing left open
    assert count(store, "projectionist_events") == 2


# --- counting ---------------------------------------------------------------------------------------------------------


def totals(store: EventStore) -> dict[str, int]:
    """The numbers that pages show, by name of the type."""
    return {one.name: one.count.number for one in (*store.event_types(), *store.aggregate_types())}


def test_types_are_counted_at_any_moment(store: EventStore) -> None:
    expected = {"noted": 0, "other": 0, "order": 0, "customer": 0}

    def append(aggregate_type: str, number: int, event_type: str) -> None:
        for at in range(0, number, 400):
            size = min(400, number - at)
            events = [NewEvent(event_type, {"n": n}) for n in range(size)]
            store.append(aggregate_type, uuid.uuid4().hex, events)
            expected[event_type] += size
            expected[aggregate_type] += 1
            assert totals(store) == {name: number for name, number in expected.items() if number}

    append("order", 1, "noted")
    append("order", count_step - 3, "noted")
    append("customer", 1, "other")
    append("order", 1, "noted")  # brings the totals up to date
    assert execute(store, "SELECT counted FROM projectionist_logs") == [(count_step,)]
    append("customer", 2, "other")
    append("order", 2 * count_step, "noted")
    for one in store.event_types():
        (last,) = [event for event in store.read_log("main", after=store.head("main") - 500) if event.type == one.name][
            -1:
        ] or [None]
        assert last is None or one.last_at == last.recorded_at


def test_each_log_counts_its_own(store: EventStore) -> None:
    for log in ("one", "two"):
        store.append("order", "1", noted(1), log=log)
    store.append("order", "2", noted(*range(count_step)), log="two")
    assert [(one.log, one.count.number) for one in store.event_types()] == [("one", 1), ("two", count_step + 1)]
    assert [(one.log, one.count.number) for one in store.aggregate_types()] == [("one", 1), ("two", 2)]
    assert [log.count.number for log in store.logs()] == [1, count_step + 1]
