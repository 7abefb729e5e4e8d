"""given(aggregate class, events).when(decision).then(events), and what a failure shows."""

from __future__ import annotations

import datetime as dt
import uuid
import warnings
from dataclasses import dataclass
from typing import Any
from unittest.mock import ANY

import pytest

from webapp.errors import InvalidRequest, UnhandledEvent
from webapp.store import Aggregate, NewEvent, Serializer, aggregate, applies, metadata_context
from webapp.testing import ScenarioNotChecked, given

serializer = Serializer()


@serializer.event("account.opened")
@dataclass(frozen=True)
class Opened:
    owner: str


@serializer.event("account.deposited")
@dataclass(frozen=True)
class Deposited:
    amount: int


@serializer.event("account.withdrawn")
@dataclass(frozen=True)
class Withdrawn:
    amount: int


class Overdrawn(Exception):
    """A rule of the business."""


@aggregate("account", id="number", serializer=serializer)
@dataclass
class Account(Aggregate):
    number: str
    owner: str = ""
    balance: int = 0
    changed_at: dt.datetime | None = None

    def open(self, owner: str) -> Opened:
        return Opened(owner)

    def deposit(self, *amounts: int) -> list[Deposited]:
        return [Deposited(amount) for amount in amounts]

    def withdraw(self, amount: int) -> None:
        if amount > self.balance:
            raise Overdrawn(f"{self.balance} is less than {amount}")
        self.record(Withdrawn(amount))

    @applies(Opened)
    def _opened(self, event: Opened) -> None:
        self.owner = event.owner

    @applies(Deposited)
    def _deposited(self, event: Deposited, recorded: Any) -> None:
        self.balance += event.amount
        self.changed_at = recorded.recorded_at

    @applies(Withdrawn)
    def _withdrawn(self, event: Withdrawn) -> None:
        self.balance -= event.amount


PAST = (Opened("ann"), Deposited(10))


def test_events_given_make_the_aggregate_that_decides() -> None:
    given(Account, *PAST).when(lambda account: account.withdraw(5)).then(Withdrawn(5)).then_state({"balance": 5})
    given(Account, *PAST).when(Account.withdraw, amount=5).then(("account.withdrawn", {"amount": 5}))
    given(Account, *PAST).when(Account.deposit, 1, 2).then(Deposited(1), Deposited(2))
    given(Account).when(Account.open, "ann").then(Opened("ann")).then_state(Account("1", "ann"))


def test_steps_go_on_from_one_another() -> None:
    (
        given(Account)
        .when(Account.open, "ann")
        .then(Opened("ann"))
        .when(Account.deposit, 10)
        .then(Deposited(10))
        .when(Account.withdraw, 11)
        .then_raises(Overdrawn)
        .when(Account.withdraw, 10)
        .then(Withdrawn(10))
        .then_state(lambda account: account.owner == "ann" and account.balance == 0)
    )


def test_a_refusal_is_expected_by_its_kind_and_sentence() -> None:
    given(Account, *PAST).when(Account.withdraw, 11).then_raises(Overdrawn, match="10 is less than 11")
    given(Account, *PAST).when(Account.withdraw, 11).then_raises((KeyError, Overdrawn))


def test_nothing_is_a_result_too() -> None:
    given(Account, *PAST).when(Account.deposit).then_nothing().then_state({"balance": 10})


def test_the_time_is_under_control() -> None:
    moment = dt.datetime(2031, 5, 1, tzinfo=dt.UTC)
    scenario = given(Account, Opened("ann")).at(moment).when(Account.deposit, 1).then_state({"changed_at": moment})
    scenario.after(hours=2).when(Account.deposit, 1).then_state({"changed_at": moment + dt.timedelta(hours=2)})


def test_ids_of_any_shape_are_made_up_where_the_test_does_not_care() -> None:
    @aggregate("seat", id=("hall", "row", "ticket"))
    @dataclass
    class Seat:
        hall: str
        row: int
        ticket: uuid.UUID
        is_taken: bool = False

        def take(self) -> NewEvent:
            return NewEvent("seat.taken", {"ticket": self.ticket})

        @applies("seat.taken")
        def _taken(self) -> None:
            self.is_taken = True

    ticket = uuid.UUID(int=1)
    given(Seat).when(Seat.take).then(("seat.taken", {"ticket": ticket})).then_state(Seat("1", 1, ticket, True))
    given(Seat, id=("b", 7, ticket)).when(Seat.take).then_state({"hall": "b", "row": 7})


def test_an_aggregate_that_its_first_event_makes_begins_without_one() -> None:
    @aggregate("made", id="number", serializer=serializer)
    @dataclass
    class Made:
        number: str
        owner: str

        @classmethod
        def open(cls, owner: str) -> Opened:
            return Opened(owner)

        @applies(Opened)
        @classmethod
        def _opened(cls, event: Opened, recorded: Any) -> Made:
            return cls(recorded.aggregate_id, event.owner)

    given(Made).when(Made.open, "ann").then(Opened("ann")).then_state(Made("1", "ann"))
    given(Made).when(lambda: None).then_raises(Exception, match="Nothing happened")


def test_of_the_metadata_what_is_expected_is_compared() -> None:
    with metadata_context(actor="ann", tenant="acme"):
        scenario = given(Account, *PAST).when(Account.deposit, 1)
    scenario.then(Deposited(1))
    scenario.then(NewEvent("account.deposited", {"amount": 1}, {"actor": "ann"}))
    with pytest.raises(AssertionError, match=r'≠ +"actor": "bob" +│ +"actor": "ann"'):
        scenario.then(NewEvent("account.deposited", {"amount": 1}, {"actor": "bob"}))
    with pytest.raises(AssertionError, match=r'- *"metadata"'):
        scenario.then(NewEvent("account.deposited", {"amount": 1}, {"team": "x"}))


def test_what_can_not_be_known_is_written_as_any() -> None:
    scenario = given(Account, *PAST).when(Account.deposit, 1)
    scenario.then(("account.deposited", {"amount": ANY}))
    scenario.then(NewEvent("account.deposited", ANY))
    scenario.then(("account.deposited", {"amount": pytest.approx(1.0)}))
    with pytest.raises(AssertionError):
        scenario.then(("account.deposited", {"amount": ANY, "other": 1}))
    with pytest.raises(AssertionError):
        scenario.then(("account.deposited", {}))


# --- failures ----------------------------------------------------------------------------------------------------------


def failure(claim: Any, *arguments: Any) -> str:
    with pytest.raises(AssertionError) as raised:
        claim(*arguments)
    return str(raised.value)


def test_a_failure_shows_both_sides_as_json_and_marks_what_differs() -> None:
    scenario = given(Account, *PAST).when(Account.deposit, 1, 2)
    assert failure(scenario.then, Deposited(1), Withdrawn(2)) == (
        "Account recorded other events than expected.\n"
        "  expected (2 events)            │ recorded (2 events)\n"
        "  {                              │ {\n"
        '    "type": "account.deposited", │   "type": "account.deposited",\n'
        '    "data": {                    │   "data": {\n'
        '      "amount": 1                │     "amount": 1\n'
        "    }                            │   }\n"
        "  }                              │ }\n"
        "  {                              │ {\n"
        '≠   "type": "account.withdrawn", │   "type": "account.deposited",\n'
        '    "data": {                    │   "data": {\n'
        '      "amount": 2                │     "amount": 2\n'
        "    }                            │   }\n"
        "  }                              │ }"
    )


def test_a_failure_shows_events_that_are_missing_and_those_too_many() -> None:
    scenario = given(Account, *PAST).when(Account.deposit, 1, 2)
    shown = failure(scenario.then, Deposited(1))
    assert "expected (1 event)" in shown and "recorded (2 events)" in shown
    assert [line[0] for line in shown.splitlines()[2:]] == [" "] * 6 + ["+"] * 6
    shown = failure(scenario.then, Deposited(1), Deposited(2), Deposited(3))
    assert [line[0] for line in shown.splitlines()[2:]] == [" "] * 12 + ["-"] * 6
    shown = failure(scenario.then_nothing)
    assert shown.startswith("Account recorded events, where none was expected.\n{") and shown.count("deposited") == 2


def test_long_values_are_wrapped_and_never_cut() -> None:
    owner = "-".join(f"part{number}" for number in range(40))
    shown = failure(given(Account).when(Account.open, owner).then, Opened(owner.upper()))
    left, right = ("".join(line[at].strip() for line in map(_columns, shown.splitlines()[2:])) for at in (0, 1))
    assert owner.upper() in left and owner in right
    assert max(map(len, shown.splitlines())) < 120


def _columns(line: str) -> list[str]:
    return [line[2 : line.index("│")], line[line.index("│") + 1 :]]


def test_numbers_true_and_text_are_told_apart() -> None:
    scenario = given(Account, *PAST).when(Account.deposit, 1)
    for other in (1.0, True, "1", None, [1]):
        assert "≠" in failure(scenario.then, ("account.deposited", {"amount": other}))


def test_a_failure_shows_what_was_raised_instead() -> None:
    scenario = given(Account, *PAST).when(Account.withdraw, 11)
    shown = failure(scenario.then, Withdrawn(11))
    assert shown.startswith("Account raised Overdrawn: 10 is less than 11.\n") and '"account.withdrawn"' in shown
    assert failure(scenario.then_nothing).endswith("where nothing was expected.")
    assert failure(scenario.then_state, {"balance": 10}) == "Account raised Overdrawn: 10 is less than 11."
    assert failure(scenario.then_raises, KeyError) == (
        "Account raised Overdrawn: 10 is less than 11, where KeyError was expected."
    )
    assert "'twelve' is not found in its sentence" in failure(scenario.then_raises, Overdrawn, "twelve")
    scenario = given(Account, *PAST).when(Account.withdraw, 1)
    assert "raised no Overdrawn; this is what it recorded.\n{" in failure(scenario.then_raises, Overdrawn)


def test_a_failure_shows_the_state_beside_the_expected_one() -> None:
    scenario = given(Account, *PAST).when(Account.withdraw, 4)
    shown = failure(scenario.then_state, {"owner": "ann", "balance": 5, "colour": "red"})
    assert shown == (
        "Account is not in the state expected.\n"
        "  expected      │ actual\n"
        "  owner: 'ann'  │ owner: 'ann'\n"
        "≠ balance: 5    │ balance: 6\n"
        "- colour: 'red' │"
    )

    def is_rich(account: Account) -> bool:
        return account.balance > 100

    assert "is_rich returned False, which isn't true, for.\n  Account(number='1'" in failure(
        scenario.then_state, is_rich
    )
    assert "returned None" in failure(scenario.then_state, lambda account: None)
    assert "balance=7" in failure(scenario.then_state, Account("1", "ann", 7))


# --- tests that prove nothing -------------------------------------------------------------------------------------------


def test_a_scenario_that_nobody_looks_at_is_warned_of() -> None:
    with pytest.warns(ScenarioNotChecked, match=r"A step of Account was never looked at\. End the scenario with then"):
        given(Account, *PAST).when(Account.withdraw, 5)
    with pytest.warns(ScenarioNotChecked, match="raised Overdrawn: 10 is less than 11"):
        given(Account, *PAST).when(Account.withdraw, 11)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given(Account, *PAST)
        given(Account, *PAST).when(Account.withdraw, 5).then(Withdrawn(5))


def test_an_error_that_nobody_expected_is_raised_at_the_next_step() -> None:
    with pytest.raises(Overdrawn):
        given(Account, *PAST).when(Account.withdraw, 11).when(Account.withdraw, 1)


def test_claims_need_a_step_and_something_to_claim() -> None:
    with pytest.raises(InvalidRequest, match=r"Nothing has happened yet\. Say when"):
        given(Account, *PAST).then(Withdrawn(1))
    with pytest.raises(InvalidRequest, match="say then_nothing"):
        given(Account, *PAST).when(Account.deposit).then()


def test_events_given_that_do_not_fold_are_the_tests_own_mistake() -> None:
    with pytest.raises(UnhandledEvent, match=r"Account has no handler for account\.closed"):
        given(Account, ("account.closed", {})).when(Account.deposit, 1)


def test_what_is_none_of_the_things_to_test_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="takes a class marked @aggregate or @saga, a Decider or a Projection"):
        given(Account("1"))  # type: ignore[call-overload]
