"""Following live: each event once, by one worker at a time."""

from __future__ import annotations

import threading

import pytest

from tests.projections.helpers import (
    checkpoint_of,
    counted,
    counting,
    expected,
    expire_leases,
    fill,
    in_background,
    row_of,
    wait_for,
)
from webapp.errors import ProjectionFailed, ReplayConflict
from webapp.projections import (
    Context,
    Follower,
    delete_projection,
    init_projection,
    pause_projection,
    resume_projection,
    run_to_head,
)
from webapp.store import EventStore, RecordedEvent


def test_it_starts_a_new_projection_and_follows_what_comes(store: EventStore) -> None:
    follower = Follower(store, counting(batch_size=4))
    assert follower.step() == 0 and follower.is_working
    for first in (1, 11):
        fill(store, 10, first=first)
        assert [follower.step() for _ in range(4)] == [4, 4, 2, 0]
        assert counted(store) == expected(store)
    follower.release()
    assert checkpoint_of(store).owner is None and not follower.is_working


def test_of_two_rivals_one_works(store: EventStore) -> None:
    fill(store, 20)
    first, second = (Follower(store, counting(batch_size=5), owner) for owner in ("first", "second"))
    assert first.step() == 5
    assert second.step() == 0 and not second.is_working
    first.release()
    assert second.step() == 5
    assert first.step() == 0
    while second.step():
        pass
    second.release()
    assert counted(store) == expected(store)


def test_rivals_in_a_crowd_never_apply_an_event_twice(store: EventStore) -> None:
    init_projection(store, counting())
    followers = [Follower(store, counting(batch_size=7)) for _ in range(4)]
    numbers = iter(range(1, 10_000, 10))
    lock = threading.Lock()

    def write() -> None:
        with lock:
            first = next(numbers)
        fill(store, 10, first=first)

    def steal() -> None:
        expire_leases(store)

    with in_background(write, steal, *(lambda f=follower: f.step() for follower in followers)):  # type: ignore[misc]
        # Long enough for it to go from hand to hand.
        wait_for(lambda: checkpoint_of(store).done > 60 and checkpoint_of(store).epoch > 4)
    for follower in followers:
        follower.release()
    run_to_head(store, counting())
    assert counted(store) == expected(store)


def test_a_stalled_owner_loses_its_batch(store: EventStore) -> None:
    fill(store, 10)
    begun, go_on = threading.Event(), threading.Event()

    def stall(event: RecordedEvent, context: Context) -> None:
        begun.set()
        assert go_on.wait(20)

    stalled, outcome = Follower(store, counting(handler=stall)), list[int]()
    thread = threading.Thread(target=lambda: outcome.append(stalled.step()))
    thread.start()
    assert begun.wait(20)
    expire_leases(store)
    rival = Follower(store, counting(batch_size=6))
    assert rival.step() == 6
    go_on.set()
    thread.join(20)
    assert outcome == [0] and not stalled.is_working
    assert counted(store) == expected(store, up_to=6)
    assert stalled.step() == 0  # the rival's lease runs
    rival.step()
    rival.release()
    assert counted(store) == expected(store)


def test_it_stands_still_while_paused(store: EventStore) -> None:
    fill(store, 5)
    follower = Follower(store, counting())
    follower.step()
    pause_projection(store, "counts")
    fill(store, 5, first=6)
    assert follower.step() == 0 and not follower.is_working
    assert checkpoint_of(store).owner is None
    with pytest.raises(ReplayConflict, match=r"counts is paused\. Resume it first"):
        run_to_head(store, counting())
    resume_projection(store, "counts")
    assert follower.step() == 5
    follower.release()


def test_it_stands_still_after_a_failure_until_it_is_resumed(store: EventStore) -> None:
    fill(store, 5)
    broken = [3]

    def handler(event: RecordedEvent, context: Context) -> None:
        if event.position in broken:
            raise RuntimeError("broken")

    follower = Follower(store, counting(handler=handler))
    with pytest.raises(ProjectionFailed):
        follower.step()
    assert follower.step() == 0
    broken.clear()
    resume_projection(store, "counts")
    assert row_of(store).failure is None
    assert follower.step() == 3
    follower.release()
    assert counted(store) == expected(store)


def test_it_stops_when_the_projection_is_deleted(store: EventStore) -> None:
    fill(store, 5)
    follower = Follower(store, counting())
    assert follower.step() == 5
    delete_projection(store, "counts")
    fill(store, 5, first=6)
    assert follower.step() == 0 and not follower.is_working


def test_running_to_the_head_waits_for_another_workers_lease(store: EventStore) -> None:
    fill(store, 5)
    other = Follower(store, counting(batch_size=2))
    other.step()
    with pytest.raises(ReplayConflict, match="Another worker runs counts"):
        run_to_head(store, counting(), wait_seconds=0.1)
    timer = threading.Timer(0.3, other.release)
    timer.start()
    assert run_to_head(store, counting()) == 3
    timer.join()
