"""given(saga, events).when(event).then(what it does), and time that passes."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import pytest

from tests.store.test_sagas import DAYS, Fulfilment
from webapp.errors import InvalidRequest, NotFound
from webapp.store import Cancel, Complete, Due, NewEvent, Send, reacts, saga, starts, times_out
from webapp.testing import Clock, given, stream

PLACED = ("order.placed", {"order": "7", "total": 100})


def paid(amount: int) -> tuple[str, Any]:
    return ("order.paid", {"order": "7", "amount": amount})


def test_a_reaction_is_claimed_in_the_words_it_returns() -> None:
    (
        given(Fulfilment)
        .when(PLACED)
        .then(
            Send("billing.charge", {"order": "7", "total": 100}),
            Due("payment", after=3 * DAYS, data={"total": 100}),
            Due("reminder", after=DAYS),
        )
        .then_state(Fulfilment("7"))
    )


def test_events_given_have_been_reacted_to() -> None:
    (
        given(Fulfilment, PLACED, paid(60))
        .when(paid(40))
        .then(
            ("fulfilment.paid", {"amount": 40}), Cancel("payment"), Cancel("reminder"),
            Send("warehouse.ship", {"order": "7"}), Complete(),
        )
        .then_completed()
        .then_state({"paid": 100})
        .when(paid(1))
        .then_nothing()
    )  # fmt: skip


def test_time_passes_and_what_is_due_fires() -> None:
    clock = Clock()
    scenario = given(Fulfilment, PLACED, clock=clock)
    scenario.after(hours=23).then_nothing().after(hours=1).then(Send("mail.remind", {"paid": 0}))
    scenario.at(clock.now + 2 * DAYS).then(Send("order.cancel", {"order": "7", "of": 100}), Complete())
    scenario.then_completed().after(days=9).then_nothing()


def test_spans_of_time_count_from_the_moment_that_was_due_not_from_when_it_fired() -> None:
    @saga("nagging", key=lambda event: event.data["id"])
    @dataclass
    class Nagging:
        count: int = 0

        @starts("began")
        def begin(self) -> Any:
            return Due("nag", after=DAYS)

        @times_out("nag")
        def nag(self) -> Any:
            return [Send("nag"), Due("nag", after=DAYS)]

    scenario = given(Nagging, ("began", {"id": "a"})).after(days=1, hours=5).then(Send("nag"), Due("nag", after=DAYS))
    scenario.then(Send("nag"), Due("nag", at=dt.datetime(2026, 1, 3, 12, tzinfo=dt.UTC)))
    with pytest.raises(AssertionError, match="≠"):
        scenario.then(Send("nag"), Due("nag", after=2 * DAYS))


def test_a_command_and_an_event_of_one_type_are_told_apart() -> None:
    scenario = given(Fulfilment, PLACED).after(days=1)
    with pytest.raises(AssertionError, match=r'\+ +│ +"is_command": true'):
        scenario.then(NewEvent("mail.remind", {"paid": 0}))


def test_events_of_several_sagas_go_to_each() -> None:
    placed = [stream("order", key, ("order.placed", {"order": key, "total": 5})) for key in ("a", "b")]
    scenario = given(Fulfilment, *placed).when(("order.paid", {"order": "a", "amount": 5}))
    scenario.then(("fulfilment.paid", {"amount": 5}))
    scenario.then_state({"paid": 5}).then_state({"paid": 0}, id="b").then_state({"order": "a"}, id="a")
    with pytest.raises(NotFound, match="No event began it"):
        scenario.then_state({}, id="c")
    with pytest.raises(
        AssertionError, match=r"has not ended, and waits for payment at 2026-01-04T12:00:00\+00:00, rem"
    ):
        scenario.then_completed("b")


def test_what_a_reaction_raises_is_expected_by_its_own_kind() -> None:
    class Declined(Exception):
        """A rule of the business."""

    @saga("strict", key=lambda event: event.data["id"])
    @dataclass
    class Strict:
        count: int = 0

        @starts("began")
        def begin(self) -> Any:
            return None

        @reacts("asked")
        def refuse(self) -> Any:
            raise Declined("not today")

    given(Strict, ("began", {"id": "a"})).when(("asked", {"id": "a"})).then_raises(Declined, match="not today")
    with pytest.raises(AssertionError, match="raised SagaFailed: strict/a raised Declined when it reacted to asked"):
        given(Strict, ("began", {"id": "a"})).when(("asked", {"id": "a"})).then(Send("answer"))
    with pytest.raises(InvalidRequest, match="No event began any Strict"):
        given(Strict).when(("asked", {"id": "a"})).then_nothing().then_state({})
