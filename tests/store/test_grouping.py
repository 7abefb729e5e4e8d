"""Group commit: threads' appends go together in one transaction, and each succeeds or fails by itself."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests.store.helpers import fields, noted, positions, run_together
from webapp.errors import EventIdReused, StreamClosed, WrongExpectedVersion
from webapp.store import Append, EventStore, NewEvent, RecordedEvent
from webapp.store.appending import PreparedAppend
from webapp.store.grouping import Group, Outcome, most_events, most_members


@pytest.fixture
def grouping_store(database_url: str) -> Iterator[EventStore]:
    store = EventStore.open(database_url, group_commit=True)
    store.migrate()
    yield store
    store.close()


def test_what_threads_append_together_is_all_there_in_dense_order(grouping_store: EventStore) -> None:
    def append(number: int) -> list[RecordedEvent]:
        return [
            event
            for version in range(5)
            for event in grouping_store.append("order", str(number), noted(version), expected_version=version)
        ]

    outcomes = run_together(*[lambda n=n: append(n) for n in range(8)])
    assert [error for error in outcomes if isinstance(error, Exception)] == []
    assert positions(grouping_store) == list(range(1, 41))
    stored = {event.position: fields(event) for event in grouping_store.read_log("main", limit=None)}
    for number, recorded in enumerate(outcomes):
        assert [event.version for event in recorded] == [1, 2, 3, 4, 5]
        assert {event.aggregate_id for event in recorded} == {str(number)}
        assert [stored[event.position] for event in recorded] == [fields(event) for event in recorded]


def test_of_threads_that_expect_the_same_version_one_wins_and_the_others_are_told(grouping_store: EventStore) -> None:
    grouping_store.append("order", "1", noted(0))
    rivals = [lambda n=n: grouping_store.append("order", "1", noted(n), expected_version=1) for n in range(6)]
    others = [lambda n=n: grouping_store.append("other", str(n), noted(n), expected_version=0) for n in range(6)]
    outcomes = run_together(*rivals, *others)
    assert sum(isinstance(outcome, list) for outcome in outcomes[:6]) == 1
    errors = [outcome for outcome in outcomes[:6] if not isinstance(outcome, list)]
    assert {type(error) for error in errors} == {WrongExpectedVersion}
    assert {str(error) for error in errors} == {
        "order/1 is at version 2, not at version 1. Reload it and decide again."
    }
    assert all(isinstance(outcome, list) for outcome in outcomes[6:])
    assert positions(grouping_store) == list(range(1, 9))


def test_a_taken_event_id_fails_alone(grouping_store: EventStore) -> None:
    taken = uuid.uuid4()
    grouping_store.append("order", "1", [NewEvent("noted", {"n": 1}, id=taken)])

    def append_again() -> list[RecordedEvent]:
        return grouping_store.append("order", "1", [NewEvent("noted", {"n": 2}, id=taken)])

    others = [lambda n=n: grouping_store.append("other", str(n), noted(n)) for n in range(7)]
    first, *outcomes = run_together(append_again, *others)
    assert isinstance(first, EventIdReused)
    assert [error for error in outcomes if isinstance(error, Exception)] == []
    assert positions(grouping_store) == list(range(1, 9))


def test_an_append_that_comes_again_gets_what_was_recorded(grouping_store: EventStore) -> None:
    events = [NewEvent("noted", {"n": 1}, id=uuid.uuid4())]
    outcomes = run_together(
        *[lambda: grouping_store.append("order", "1", events, expected_version=0) for _ in range(6)]
    )
    assert [fields(event) for event in grouping_store.read_log("main")] == [fields(outcomes[0][0])]
    assert [[fields(event) for event in outcome] for outcome in outcomes] == [[fields(outcomes[0][0])]] * 6


def test_many_streams_of_one_append_stay_all_or_none_in_a_group(grouping_store: EventStore) -> None:
    grouping_store.append("order", "1", noted(0))

    def append(number: int, expected: int) -> list[RecordedEvent]:
        new = Append("order", f"new-{number}", noted(1), 0)
        return grouping_store.append_many([new, new.__class__("order", "1", noted(2), expected)])

    outcomes = run_together(*[lambda n=n: append(n, 7) for n in range(4)], lambda: append(9, 1))
    assert [type(outcome) for outcome in outcomes] == [WrongExpectedVersion] * 4 + [list]
    assert [event.stream for event in grouping_store.read_log("main")] == ["order/1", "order/new-9", "order/1"]


def test_appends_over_several_logs_go_by_themselves(grouping_store: EventStore) -> None:
    appends = [Append("order", "1", noted(1), 0, "one"), Append("order", "1", noted(2), 0, "two")]
    assert [event.log for event in grouping_store.append_many(appends)] == ["one", "two"]


# --- the group itself, with transactions under our control ------------------------------------------------------------


class Together:
    """Stands for the transactions of groups: holds the first one until it's told to go on, notes who went with whom."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()
        self.error: BaseException | None = None

    def __call__(self, log: str, members: Sequence[Sequence[PreparedAppend]]) -> Sequence[Outcome]:
        self.groups.append([member[0].aggregate_id for member in members])
        if len(self.groups) == 1:
            self.has_begun.set()
            assert self.may_go_on.wait(30)
            if self.error is not None:
                raise self.error
        return [
            StreamClosed(f"order/{member[0].aggregate_id}", "order/x") if member[0].aggregate_id == "closed" else []
            for member in members
        ]


def prepared(aggregate_id: str, events: int = 1) -> list[PreparedAppend]:
    return [PreparedAppend("main", "order", aggregate_id, [None] * events, None)]  # type: ignore[list-item]


class Appending(threading.Thread):
    """A thread that appends to a group, and what it got."""

    def __init__(self, group: Group, aggregate_id: str, events: int = 1) -> None:
        super().__init__()
        self.group, self.appends = group, prepared(aggregate_id, events)
        self.outcome: Any = "nothing yet"
        self.start()

    def run(self) -> None:
        try:
            self.outcome = self.group.append(self.appends)
        except BaseException as error:
            self.outcome = error


def wait_until_waiting(group: Group, number: int) -> None:
    for _ in range(3000):
        if len(group._waiting) == number:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"{len(group._waiting)} wait, not {number}")


def finish(*threads: Appending) -> list[Any]:
    for thread in threads:
        thread.join(30)
    assert not [thread for thread in threads if thread.is_alive()]
    return [thread.outcome for thread in threads]


@pytest.fixture
def together() -> Together:
    return Together()


def test_who_comes_while_a_group_is_under_way_goes_with_the_next_one(together: Together) -> None:
    group = Group("main", together)
    first = Appending(group, "first")
    assert together.has_begun.wait(30)
    others = []
    for number in range(5):
        others.append(Appending(group, str(number)))
        wait_until_waiting(group, number + 1)
    together.may_go_on.set()
    assert finish(first, *others) == [[]] * 6
    assert together.groups == [["first"], ["0", "1", "2", "3", "4"]]


def test_a_refused_member_hinders_no_other(together: Together) -> None:
    group = Group("main", together)
    first = Appending(group, "first")
    assert together.has_begun.wait(30)
    closed, other = Appending(group, "closed"), Appending(group, "other")
    wait_until_waiting(group, 2)
    together.may_go_on.set()
    _, refused, recorded = finish(first, closed, other)
    assert str(refused) == "order/closed is closed and goes on as order/x. Append there."
    assert recorded == []


def test_a_group_has_bounds(together: Together) -> None:
    group = Group("main", together)
    first = Appending(group, "first")
    assert together.has_begun.wait(30)
    threads = [first, Appending(group, "large", most_events - 1)]
    wait_until_waiting(group, 1)
    for number in range(most_members + 1):
        threads.append(Appending(group, str(number)))
        wait_until_waiting(group, number + 2)
    together.may_go_on.set()
    finish(*threads)
    assert [len(members) for members in together.groups] == [1, 2, most_members]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), SystemExit()])
def test_a_leader_that_fails_leaves_nobody_waiting(together: Together, error: BaseException) -> None:
    group = Group("main", together)
    together.error = error
    first = Appending(group, "first")
    assert together.has_begun.wait(30)
    others = [Appending(group, "1"), Appending(group, "2")]
    wait_until_waiting(group, 2)
    together.may_go_on.set()
    outcome, *rest = finish(first, *others)
    # An ordinary error is each member's own to meet, alone; an interrupt is the leader's.
    assert outcome is (None if isinstance(error, Exception) else error)
    assert rest == [[], []]
    assert group._leader is None


def test_members_taken_by_a_leader_that_is_interrupted_go_alone(together: Together) -> None:
    group = Group("main", together)
    first = Appending(group, "first")
    assert together.has_begun.wait(30)
    leader, follower = Appending(group, "leader"), Appending(group, "follower")
    wait_until_waiting(group, 2)
    interrupt = KeyboardInterrupt()

    def interrupted(log: str, members: Sequence[Sequence[PreparedAppend]]) -> Sequence[Outcome]:
        assert len(members) == 2
        raise interrupt

    group._together = interrupted
    together.may_go_on.set()
    outcomes = finish(first, leader, follower)
    assert outcomes[0] == []
    assert sorted(map(repr, outcomes[1:])) == sorted(map(repr, [interrupt, None]))
