"""Deciders: three values and functions make an aggregate, in memory and over a store."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.store.helpers import in_memory_too, run_together
from webapp.errors import AlreadyEnded, InvalidDefinition, InvalidEvent, NotFound
from webapp.store import EventStore, NewEvent, Serializer, WrongExpectedVersion
from webapp.store.deciders import Decided, Decider, DeciderRepository, run


@dataclass(frozen=True)
class Lit:
    pass


@dataclass(frozen=True)
class Fitted:
    watts: int


@dataclass(frozen=True)
class Broke:
    pass


@dataclass(frozen=True)
class Bulb:
    watts: int = 0
    uses_left: int = 0
    is_broken: bool = False


def decide(command: tuple[str, Any], bulb: Bulb) -> Iterator[Any]:
    match command:
        case ("fit", watts):
            yield Fitted(watts)
        case ("light", _) if bulb.uses_left:
            yield Lit()
        case ("light", _):
            yield Broke()
        case _:
            raise ValueError(f"no such command: {command}")


def evolve(bulb: Bulb, event: Any) -> Bulb:
    match event:
        case Fitted(watts):
            return Bulb(watts, 2)
        case Lit():
            return replace(bulb, uses_left=bulb.uses_left - 1)
        case Broke():
            return replace(bulb, is_broken=True)
    raise AssertionError(f"unknown: {event}")


bulb = Decider(Bulb(), decide, evolve, lambda state: state.is_broken)
serializer = Serializer()
for kind, name in ((Lit, "bulb.lit"), (Fitted, "bulb.fitted"), (Broke, "bulb.broke")):
    serializer.add_event(kind, name)
FIT, LIGHT = ("fit", 60), ("light", None)


def test_a_decider_runs_in_memory() -> None:
    assert run(bulb, [FIT, LIGHT]) == (Bulb(60, 1), [Fitted(60), Lit()])
    assert run(bulb, [LIGHT], history=[Fitted(60), Lit(), Lit()]) == (Bulb(60, 0, True), [Broke()])
    with pytest.raises(AlreadyEnded):
        run(bulb, [LIGHT, LIGHT])


@in_memory_too
def test_a_decider_runs_over_a_store(store: EventStore) -> None:
    bulbs = DeciderRepository(store, bulb, "bulb", serializer=serializer)
    assert bulbs.load("1") == Decided(Bulb(), 0)
    decided = bulbs.handle("1", FIT, LIGHT)
    assert decided.state == Bulb(60, 1) and decided.version == 2
    assert [event.type for event in decided.events] == ["bulb.fitted", "bulb.lit"]
    assert bulbs.handle(("hall", 3), FIT).state == Bulb(60, 2)
    bulbs.handle("1", LIGHT, LIGHT)
    assert bulbs.load("1") == Decided(Bulb(60, 0, True), 4)
    with pytest.raises(AlreadyEnded, match="bulb/1 has ended, so nothing can be decided about it any more"):
        bulbs.handle("1", LIGHT)
    assert [event.type for event in store.read_stream("bulb", "hall|3")] == ["bulb.fitted"]
    assert [bulbs.load_at("1", version).state.uses_left for version in (1, 2, 3)] == [2, 1, 0]


def test_commands_go_together_or_not_at_all(sqlite_store: EventStore) -> None:
    bulbs = DeciderRepository(sqlite_store, bulb, "bulb", serializer=serializer)
    with pytest.raises(ValueError, match="no such command"):
        bulbs.handle("1", FIT, ("smash", None))
    with pytest.raises(AlreadyEnded):
        bulbs.handle("1", FIT, LIGHT, LIGHT, LIGHT, LIGHT)
    assert bulbs.load("1").version == 0


def test_deciders_without_serializer_get_recorded_events(sqlite_store: EventStore) -> None:
    counter: Decider[int, int] = Decider(
        0, lambda by, _: ("counted", {"by": by}), lambda n, event: n + event.data["by"]
    )
    counters = DeciderRepository(sqlite_store, counter, "counter")
    assert [counters.handle("a", by).state for by in (5, 6)] == [5, 11]
    with pytest.raises(InvalidEvent, match="is no event by itself"):
        DeciderRepository(sqlite_store, bulb, "bulb").handle("1", FIT)


def test_a_first_state_that_changes_is_nobody_elses(sqlite_store: EventStore) -> None:
    def add(seen: list[Any], event: Any) -> list[Any]:
        seen.append(event.data)
        return seen

    for initial in ([], list):
        lists: Decider[int, Any] = Decider(initial, lambda n, _: ("listed", n), add)
        repository = DeciderRepository(sqlite_store, lists, f"list_{callable(initial)}")
        assert repository.handle("a", 1).state == [1] and repository.handle("b", 2).state == [2]
        assert repository.load("c").state == []


def test_none_may_be_a_state(sqlite_store: EventStore) -> None:
    last: Decider[int, Any] = Decider(None, lambda n, _: ("noted", n), lambda _, event: event.data or None)
    repository = DeciderRepository(sqlite_store, last, "last")
    assert [repository.handle("a", n).state for n in (1, 0, 2)] == [1, None, 2]


@in_memory_too
def test_decisions_of_rivals_are_made_again(store: EventStore) -> None:
    counter: Decider[int, int] = Decider(
        0, lambda by, n: ("counted", {"to": n + by}), lambda n, event: event.data["to"]
    )
    counters = DeciderRepository(store, counter, "counter", attempts=100)

    def count_five() -> None:
        for _ in range(5):
            counters.handle("a", 1)

    assert run_together(*[count_five] * 4) == [None] * 4
    assert counters.load("a") == Decided(20, 20)


def test_attempts_are_bounded(sqlite_store: EventStore) -> None:
    def decide(_: int, n: int) -> Any:
        sqlite_store.append("counter", "a", [NewEvent("counted", {"to": n + 10})])
        return ("counted", {"to": -1})

    counter: Decider[int, int] = Decider(0, decide, lambda n, event: event.data["to"])
    waits: list[int] = []
    with pytest.raises(WrongExpectedVersion):
        DeciderRepository(sqlite_store, counter, "counter", attempts=3, wait=waits.append).handle("a", 1)
    assert waits == [1, 2]


def test_an_event_that_cant_be_folded_isnt_stored(sqlite_store: EventStore) -> None:
    broken: Decider[int, int] = Decider(
        0, lambda by, _: ("counted", {"by": by}), lambda n, event: n + event.data["typo"]
    )
    repository = DeciderRepository(sqlite_store, broken, "broken")
    with pytest.raises(KeyError):
        repository.handle("a", 1)
    assert list(sqlite_store.read_stream("broken", "a")) == []


def test_time_travel(sqlite_store: EventStore) -> None:
    counter: Decider[int, int] = Decider(
        0, lambda by, _: ("counted", {"by": by}), lambda n, event: n + event.data["by"]
    )
    counters = DeciderRepository(sqlite_store, counter, "counter")
    early = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    first = counters.handle("a", 1).events[0].recorded_at
    sqlite_store.append("counter", "a", [NewEvent("counted", {"by": 10}, occurred_at=early)])
    assert counters.load_true_at("a", early).state == 10
    assert counters.load_as_of("a", first).state in (1, 11)
    with pytest.raises(NotFound):
        counters.load_as_of("a", early)
    with pytest.raises(NotFound):
        counters.load_at("a", 3)


def test_its_parts_are_functions() -> None:
    with pytest.raises(InvalidDefinition, match="The evolve of a Decider must be a function; 5 is not"):
        Decider(0, lambda command, state: None, 5)  # type: ignore[arg-type]
