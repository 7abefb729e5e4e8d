"""Events that come again under the same ids."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.store.helpers import count_events, fields, in_memory_too, noted, positions, reopen, run_together
from webapp.errors import InvalidEvent
from webapp.store import Append, EventIdReused, EventStore, NewEvent, WrongExpectedVersion


def identified(*numbers: int) -> list[NewEvent]:
    """Events with ids of their own, which say the number too."""
    return [NewEvent("noted", {"n": n}, {"actor": "ann"}, uuid.UUID(int=n)) for n in numbers]


@pytest.fixture
def other(store: EventStore) -> Iterator[EventStore]:
    """A second store object on the same database, as another process would have."""
    other = reopen(store)
    yield other
    other.close()


@in_memory_too
@pytest.mark.parametrize("expected", [None, 0, 1, 2, 99])
def test_the_same_events_again_come_back_as_recorded_whatever_version_is_expected(
    store: EventStore, other: EventStore, expected: int | None
) -> None:
    first = store.append("order", "1", identified(1, 2), expected_version=0)
    store.append("order", "1", noted(3))
    for each in (store, other):
        again = each.append("order", "1", identified(1, 2), expected_version=expected)
        assert [fields(event) for event in again] == [fields(event) for event in first]
    assert positions(store) == [1, 2, 3]


@in_memory_too
def test_they_come_back_in_the_order_given(store: EventStore) -> None:
    store.append("order", "1", identified(1, 2, 3))
    again = store.append("order", "1", identified(3, 1, 2))
    assert [event.data["n"] for event in again] == [3, 1, 2]


@in_memory_too
def test_many_streams_and_logs_come_back_too(store: EventStore) -> None:
    appends = [
        Append("order", "1", identified(1), log="b", expected_version=0),
        Append("order", "2", identified(2, 3), log="a", expected_version=0),
    ]
    first = store.append_many(appends)
    again = store.append_many(appends)
    assert [event.to_json() for event in again] == [event.to_json() for event in first]
    assert count_events(store) == 3


@in_memory_too
def test_more_ids_than_one_lookup_takes_come_back(store: EventStore) -> None:
    first = store.append("order", "1", identified(*range(1, 1201)))
    again = store.append("order", "1", identified(*range(1, 1201)), expected_version=0)
    assert [event.position for event in again] == [event.position for event in first] == list(range(1, 1201))


@in_memory_too
@pytest.mark.parametrize("numbers", [(1, 2), (2, 1), (0, 1, 2)])
def test_some_new_among_known_ids_are_refused(store: EventStore, numbers: tuple[int, ...]) -> None:
    store.append("order", "1", identified(1))
    with pytest.raises(
        EventIdReused, match=r"is in the store already, but not .* of the same append\. Give new events"
    ):
        store.append("order", "1", identified(*numbers))
    assert positions(store) == [1]


@in_memory_too
def test_new_events_without_ids_beside_known_ones_are_refused(store: EventStore) -> None:
    store.append("order", "1", identified(1))
    with pytest.raises(EventIdReused):
        store.append("order", "1", [*identified(1), *noted(2)])
    assert positions(store) == [1]


@in_memory_too
def test_the_same_id_with_other_content_is_refused(store: EventStore) -> None:
    (event,) = identified(1)
    store.append("order", "1", [event])
    changed = [
        Append("order", "2", [event]),
        Append("orders", "1", [event]),
        Append("order", "1", [event], log="other"),
        Append("order", "1", [NewEvent("Noted", event.data, event.metadata, event.id)]),
        Append("order", "1", [NewEvent("noted", {"n": 2}, event.metadata, event.id)]),
        Append("order", "1", [NewEvent("noted", '{"n": 1}', event.metadata, event.id)]),
        Append("order", "1", [NewEvent("noted", event.data, None, event.id)]),
    ]
    for append in changed:
        for expected in (None, 0, 1):
            again = Append(append.aggregate_type, append.aggregate_id, append.events, expected, append.log)
            with pytest.raises(EventIdReused) as raised:
                store.append_many([again])
            assert f"{event.id} is in the store already, as noted of order/1 with" in str(raised.value)
            assert raised.value.event_id == str(event.id)
    assert count_events(store) == 1


@in_memory_too
def test_a_wrong_version_is_still_wrong_for_new_events_with_ids(store: EventStore) -> None:
    store.append("order", "1", identified(1))
    with pytest.raises(WrongExpectedVersion, match="order/1 is at version 1, not new"):
        store.append("order", "1", identified(2), expected_version=0)
    assert positions(store) == [1]


@in_memory_too
def test_one_id_twice_in_one_append_is_refused(store: EventStore) -> None:
    with pytest.raises(InvalidEvent, match="stands twice in one append"):
        store.append("order", "1", identified(1, 1))
    with pytest.raises(InvalidEvent, match="stands twice in one append"):
        store.append_many([Append("order", "1", identified(1)), Append("order", "2", identified(1), log="b")])


@in_memory_too
@pytest.mark.parametrize("text", ["0000-000000000000000000000000000A", "{0000000000000000000000000000000a}"])
def test_an_id_is_the_same_however_it_is_written(store: EventStore, text: str) -> None:
    first = store.append("order", "1", [NewEvent("noted", 1, id="0000000000000000000000000000000a")])
    again = store.append("order", "1", [NewEvent("noted", 1, id=text)])
    assert [event.id for event in again] == [event.id for event in first] == ["00000000-0000-0000-0000-00000000000a"]


@in_memory_too
def test_two_who_bring_the_same_ids_at_once_get_the_same_events(store: EventStore, other: EventStore) -> None:
    for n in range(1, 9):
        outcomes = run_together(
            lambda n=n: store.append("order", "1", identified(n * 10, n * 10 + 1)),
            lambda n=n: other.append("order", "1", identified(n * 10, n * 10 + 1)),
            lambda n=n: other.append("order", "1", identified(n * 10, n * 10 + 1), expected_version=n * 2 - 2),
        )
        assert all(isinstance(outcome, list) for outcome in outcomes), outcomes
        assert len({tuple(event.to_json() for event in outcome) for outcome in outcomes}) == 1
    assert positions(store) == list(range(1, 17))


@in_memory_too
def test_of_two_who_bring_the_same_id_to_other_logs_one_wins(store: EventStore, other: EventStore) -> None:
    store.append_many([Append("order", "1", noted(0), log=log) for log in ("a", "b")])
    for n in range(1, 6):
        outcomes = run_together(
            lambda n=n: store.append("order", "1", identified(n), log="a"),
            lambda n=n: other.append("order", "1", identified(n), log="b"),
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["EventIdReused", "list"], outcomes
    assert store.head("a") + store.head("b") == 7
    assert positions(store, "a") == list(range(1, store.head("a") + 1))
