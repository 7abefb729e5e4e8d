"""Derived events: recorded with the rows, once, in a log that outlives its projection."""

from __future__ import annotations

import pytest

from tests.projections.helpers import checkpoint_of, counted, counting, expected, expire_leases, fill, row_of
from webapp.errors import Conflict, ProjectionFailed
from webapp.projections import (
    Context,
    Follower,
    Projection,
    delete_projection,
    pause_projection,
    resume_projection,
    run_to_head,
)
from webapp.replay import rebuild
from webapp.store import EventStore, NewEvent, RecordedEvent, command

log = "derived-counts"
failing: set[int] = set()


@pytest.fixture(autouse=True)
def nothing_fails() -> None:
    failing.clear()


def handler(event: RecordedEvent, context: Context) -> None:
    if event.position % 2 == 0:
        context.emit("pair", event.aggregate_id or "", NewEvent("paired", {"of": event.position}))
    if event.position in failing:
        raise RuntimeError("after it emitted")


def emitting(batch_size: int = 10) -> Projection:
    return counting(handler=handler, emits=True, batch_size=batch_size)


def emitted(store: EventStore, name: str = log) -> list[int]:
    return [event.data["of"] for event in store.read_log(name, limit=None)]


def pairs(up_to: int) -> list[int]:
    return list(range(2, up_to + 1, 2))


def test_they_are_recorded_in_a_log_of_the_projection(store: EventStore) -> None:
    fill(store, 25)
    run_to_head(store, emitting())
    assert emitted(store) == pairs(25)
    found = store.log(log)
    assert (found.derived_from, found.is_retired) == ("counts", False)
    assert row_of(store).derived_log == log
    assert [event.data["of"] for event in store.read_stream("pair", "n4")] == [4, 14, 24]


def test_a_batch_that_fails_records_none_and_a_second_try_none_twice(store: EventStore) -> None:
    fill(store, 10)
    failing.add(8)
    for _ in range(2):
        with pytest.raises(ProjectionFailed):
            run_to_head(store, emitting())
        assert emitted(store) == [2, 4, 6]
        failing.add(9)
        resume_projection(store, "counts")
    failing.clear()
    run_to_head(store, emitting())
    assert emitted(store) == pairs(10)
    assert counted(store) == expected(store)


def test_a_stalled_owner_records_none(store: EventStore) -> None:
    fill(store, 10)
    stalled = Follower(store, emitting(5))
    stalled.step()
    expire_leases(store)
    rival = Follower(store, emitting())
    rival.step()
    assert stalled.step() == 0
    rival.release()
    assert emitted(store) == pairs(10)


def test_a_rebuild_records_none_and_comes_to_where_the_serving_generation_stands(store: EventStore) -> None:
    fill(store, 20)
    follower = Follower(store, emitting(6))
    follower.step()
    follower.release()
    rebuild(store, emitting())
    assert (emitted(store), checkpoint_of(store).positions) == (pairs(6), {"main": 6})
    assert counted(store) == expected(store, up_to=6)
    run_to_head(store, emitting())
    assert (emitted(store), counted(store)) == (pairs(20), expected(store))
    pause_projection(store, "counts")
    fill(store, 4, first=21)
    rebuild(store, emitting())
    assert (emitted(store), row_of(store).status) == (pairs(20), "paused")


def test_deleting_the_projection_retires_the_log_and_a_new_one_begins_another(store: EventStore) -> None:
    fill(store, 10)
    names = [log, f"{log}-2", f"{log}-3"]
    for name in names:
        run_to_head(store, emitting())
        assert row_of(store).derived_log == name
        assert emitted(store, name) == pairs(10)
        delete_projection(store, "counts")
        assert store.log(name).is_retired
        with pytest.raises(Conflict, match="is retired"):
            store.append("pair", "n1", [NewEvent("paired", {"of": 0})], log=name)
    assert [emitted(store, name) for name in names] == [pairs(10)] * 3  # all stay readable


def test_a_log_of_that_name_that_is_somebody_elses_is_left_alone(store: EventStore) -> None:
    fill(store, 3, log=log)
    fill(store, 4)
    run_to_head(store, emitting())
    assert row_of(store).derived_log == f"{log}-2"
    assert store.head(log) == 3 and emitted(store, f"{log}-2") == [2, 4]


def test_another_projection_may_follow_them(store: EventStore) -> None:
    fill(store, 10)
    second = Projection("seconds", logs=[log])
    seen: list[int] = []
    second.on("paired")(lambda event, context: seen.append(event.data["of"]))
    run_to_head(store, second)  # before the log is there
    run_to_head(store, emitting())
    run_to_head(store, second)
    assert seen == pairs(10)


def test_they_are_recorded_as_caused_by_the_event_that_was_handled(store: EventStore) -> None:
    def handle(event: RecordedEvent, context: Context) -> None:
        own = {"actor": "robot"} if event.position == 2 else None
        context.emit("pair", "1", NewEvent("paired", {"of": event.position}, own))

    store.append("note", "n1", [NewEvent("noted", {"n": 1})])
    with command(actor="ann", tenant="acme"):
        store.append("note", "n1", [NewEvent("noted", {"n": 2}), NewEvent("noted", {"n": 3})])
    run_to_head(store, counting(handler=handle, emits=True))
    first, second, third = store.read_log("main")
    without, own, inherited = store.read_log(log)
    assert without.metadata == {"correlation_id": first.id, "causation_id": first.id}
    assert (own.correlation_id, own.causation_id, own.actor) == (second.correlation_id, second.id, "robot")
    assert inherited.metadata == third.metadata | {"causation_id": third.id}
    assert inherited.metadata["tenant"] == "acme"
