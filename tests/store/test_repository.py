"""A Repository loads aggregates from their events, saves what happened to them, and decides again when it has to."""

from __future__ import annotations

import datetime as dt
import gc
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from tests.store.helpers import in_memory_too, run_together
from webapp.errors import (
    Conflict,
    FoldingFailed,
    InvalidDefinition,
    InvalidEvent,
    InvalidRequest,
    NotFound,
    UnhandledEvent,
)
from webapp.store import EventStore, NewEvent, Renamed, Serializer, WrongExpectedVersion, tracking
from webapp.store.aggregates import aggregate, applies
from webapp.store.recording import Aggregate
from webapp.store.repository import Repository
from webapp.store.tracking import find_tracked


@dataclass(frozen=True)
class Opened:
    owner: str


@dataclass(frozen=True)
class Deposited:
    amount: int


@dataclass(frozen=True)
class Withdrawn:
    amount: int


serializer = Serializer()
serializer.add_event(Opened, "account.opened")
serializer.add_event(Deposited, "account.deposited")
serializer.add_event(Withdrawn, "account.withdrawn")


class Overdrawn(Exception):
    """A rule of the business."""


@aggregate("account", id="number", serializer=serializer)
@dataclass
class Account(Aggregate):
    number: str
    owner: str = ""
    balance: int = 0
    history: list[int] = field(default_factory=list)

    def open(self, owner: str) -> Opened:
        return Opened(owner)

    def deposit(self, amount: int) -> Deposited:
        return Deposited(amount)

    def withdraw(self, amount: int) -> None:
        if amount > self.balance:
            raise Overdrawn(f"{self.balance} is less than {amount}")
        self.record(Withdrawn(amount))

    @applies(Opened)
    def _opened(self, event: Opened) -> None:
        self.owner = event.owner

    @applies(Deposited)
    def _deposited(self, event: Deposited) -> None:
        self.balance += event.amount
        self.history.append(event.amount)

    @applies(Withdrawn)
    def _withdrawn(self, event: Withdrawn) -> None:
        self.balance -= event.amount
        self.history.append(-event.amount)


@pytest.fixture
def accounts(sqlite_store: EventStore) -> Repository[Account]:
    return Repository(sqlite_store, Account)


@in_memory_too
def test_an_aggregate_lives_through_its_repository(store: EventStore) -> None:
    accounts = Repository(store, Account)
    assert accounts.find("1") is None
    with pytest.raises(NotFound, match="There is no account “1” here"):
        accounts.load("1")
    saved = accounts.create("1", Account.open, "ann")
    assert [event.type for event in saved.events] == ["account.opened"] and saved.aggregate.owner == "ann"
    accounts.execute("1", Account.deposit, 100)
    accounts.execute("1", Account.withdraw, amount=30)
    account = accounts.load("1")
    assert account == Account("1", "ann", 70, [100, -30])
    account.withdraw(20)
    accounts.save(account, [account.deposit(5), account.deposit(6)])
    assert account == accounts.load("1") == Account("1", "ann", 61, [100, -30, -20, 5, 6])
    stored = [(event.version, event.type, event.data) for event in store.read_stream("account", "1")]
    assert stored[3:] == [(4, "account.withdrawn", {"amount": 20}), (5, "account.deposited", {"amount": 5}),
                          (6, "account.deposited", {"amount": 6})]  # fmt: skip


def test_a_decision_that_raises_stores_nothing(accounts: Repository[Account]) -> None:
    accounts.create("1", Account.open, "ann")
    with pytest.raises(Overdrawn, match="0 is less than 1"):
        accounts.execute("1", Account.withdraw, 1)
    assert accounts.load("1") == Account("1", "ann")


def test_execute_wants_one_that_exists_and_create_one_that_doesnt(accounts: Repository[Account]) -> None:
    with pytest.raises(NotFound):
        accounts.execute("1", Account.deposit, 1)
    assert accounts.execute_or_create("1", Account.deposit, 1).aggregate.balance == 1
    assert accounts.execute_or_create("1", Account.deposit, 1).aggregate.balance == 2
    with pytest.raises(WrongExpectedVersion, match="account/1 is at version 2, not new"):
        accounts.create("1", Account.open, "bob")
    assert accounts.load("1") == Account("1", "", 2, [1, 1])


def test_a_factory_may_return_an_aggregate_that_recorded_its_first_events(sqlite_store: EventStore) -> None:
    @aggregate("made", id="number", serializer=serializer)
    @dataclass
    class Made(Aggregate):
        number: str
        owner: str = ""

        @classmethod
        def open(cls, number: str, owner: str) -> Made:
            made = cls(number)
            made.record(Opened(owner))
            return made

        @applies(Opened)
        def _opened(self, event: Opened) -> None:
            self.owner = event.owner

    made = Repository(sqlite_store, Made)
    assert made.create("1", Made.open, "1", "ann").aggregate == made.load("1") == Made("1", "ann")


def test_nothing_happened_is_no_error_and_creates_nothing(accounts: Repository[Account]) -> None:
    assert accounts.execute_or_create("1", lambda account: None).events == []
    account = accounts.load_or_create("1")
    assert accounts.save(account).events == [] and accounts.find("1") is None


def test_a_save_on_an_older_version_is_refused_and_nothing_is_lost(accounts: Repository[Account]) -> None:
    accounts.create("1", Account.open, "ann")
    mine, yours = accounts.load("1"), accounts.load("1")
    accounts.save(yours, yours.deposit(50))
    with pytest.raises(WrongExpectedVersion, match=r"account/1 is at version 2, not at version 1. Reload it"):
        accounts.save(mine, mine.deposit(7))
    with pytest.raises(Conflict, match=r"account/1 holds events that were not stored. Load it and decide again."):
        accounts.save(mine, mine.deposit(7))
    assert accounts.load("1").balance == 50


def test_recorded_events_stay_recorded_when_a_save_fails(accounts: Repository[Account], monkeypatch: Any) -> None:
    accounts.execute_or_create("1", Account.deposit, 10)
    account = accounts.load("1")
    account.withdraw(4)

    def fail(*_: Any) -> Any:
        raise RuntimeError("the network is gone")

    with monkeypatch.context() as patch:
        patch.setattr(accounts.store, "append_many", fail)
        with pytest.raises(RuntimeError):
            accounts.save(account)
    assert account.pending_events == (Withdrawn(4),)
    assert accounts.save(account).aggregate == accounts.load("1") == Account("1", "", 6, [10, -4])


def test_an_aggregate_that_handlers_replace_is_never_spoiled(sqlite_store: EventStore) -> None:
    @aggregate("frozen", id="key")
    @dataclass(frozen=True)
    class Frozen:
        key: str
        number: int = 0

        @applies("noted")
        def noted(self, event: Any) -> Any:
            return Frozen(self.key, self.number + 1 // event.data)

    frozen = Repository(sqlite_store, Frozen)
    first = frozen.create("1", lambda one: ("noted", 1)).aggregate
    with pytest.raises(InvalidEvent):
        frozen.save(first, ["nonsense"])
    with pytest.raises(ZeroDivisionError):
        frozen.save(first, [("noted", 1), ("noted", 0)])
    second = frozen.save(first, ("noted", 1)).aggregate
    assert (first.number, second.number) == (1, 2)
    with pytest.raises(WrongExpectedVersion):
        frozen.save(first, ("noted", 1))
    assert frozen.save(second, ("noted", 1)).aggregate == frozen.load("1") == Frozen("1", 3)


def test_a_decision_is_made_again_on_what_is_there_by_then(sqlite_store: EventStore) -> None:
    waits: list[int] = []
    accounts = Repository(sqlite_store, Account, attempts=4, wait=waits.append)
    accounts.create("1", Account.open, "ann")
    seen: list[int] = []

    def withdraw_all(account: Account) -> Withdrawn:
        seen.append(account.balance)
        if len(seen) < 4:  # somebody else is quicker, three times
            sqlite_store.append("account", "1", [NewEvent("account.deposited", {"amount": 10})])
        return Withdrawn(account.balance)

    saved = accounts.execute("1", withdraw_all)
    assert seen == [0, 10, 20, 30] and waits == [1, 2, 3]
    assert saved.aggregate == accounts.load("1") and saved.aggregate.balance == 0


def test_attempts_are_bounded(sqlite_store: EventStore) -> None:
    waits: list[int] = []
    accounts = Repository(sqlite_store, Account, attempts=3, wait=waits.append)
    accounts.create("1", Account.open, "ann")
    tries: list[int] = []

    def decide(account: Account) -> Deposited:
        tries.append(1)
        sqlite_store.append("account", "1", [NewEvent("account.deposited", {"amount": 10})])
        return Deposited(1000)

    with pytest.raises(WrongExpectedVersion):
        accounts.execute("1", decide)
    assert len(tries) == 3 and waits == [1, 2]
    assert accounts.load("1").balance == 30
    for attempts in (0, -1, 1.5, True):
        with pytest.raises(InvalidRequest, match="at least one attempt"):
            Repository(sqlite_store, Account, attempts=attempts)  # type: ignore[arg-type]


@in_memory_too
def test_rivals_all_get_in_by_deciding_again(store: EventStore) -> None:
    accounts = Repository(store, Account, attempts=100)
    accounts.create("1", Account.open, "ann")

    def deposit_five_times() -> None:
        for _ in range(5):
            accounts.execute("1", Account.deposit, 1)

    assert run_together(*[deposit_five_times] * 4) == [None] * 4
    account = accounts.load("1")
    assert account.balance == 20 and account.history == [1] * 20
    assert [event.version for event in store.read_stream("account", "1")] == list(range(1, 22))


def test_events_with_ids_may_be_saved_again(accounts: Repository[Account]) -> None:
    same = serializer.new_event(Deposited(5), id="01890f3e-7d2c-7cc0-98c8-1c3f6a1f0a11")
    assert accounts.execute_or_create("1", lambda account: same).aggregate.balance == 5
    accounts.execute("1", Account.deposit, 1)
    repeated = accounts.execute("1", lambda account: same)
    assert [event.version for event in repeated.events] == [1]
    assert accounts.load("1").balance == 6
    with pytest.raises(Conflict, match=r"was saved by these very events before. Load it"):
        accounts.save(repeated.aggregate, Deposited(1))


def test_a_handler_that_raises_keeps_its_event_out_of_the_stream(accounts: Repository[Account]) -> None:
    account = accounts.create("1", Account.open, "ann").aggregate
    account.balance = None  # type: ignore[assignment]
    with pytest.raises(TypeError):
        accounts.save(account, Deposited(1))
    assert accounts.load("1") == Account("1", "ann")


def test_a_handler_that_raises_while_folding_names_event_and_position(sqlite_store: EventStore) -> None:
    @aggregate("fragile")
    class Fragile:
        @applies("noted")
        def noted(self, event: Any) -> None:
            1 / event.data["n"]

    fragile = Repository(sqlite_store, Fragile)
    sqlite_store.append("other", "x", [NewEvent("noted", {"n": 0})])
    sqlite_store.append("fragile", "a|b", [NewEvent("noted", {"n": 1}), NewEvent("noted", {"n": 0})])
    with pytest.raises(
        FoldingFailed,
        match=r"Fragile raised ZeroDivisionError at noted, version 2 of fragile/a\|b \(main:3\): division by zero. Mend",
    ) as caught:
        fragile.load(("a", "b"))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert isinstance(fragile.load_at(("a", "b"), 1), Fragile), "up to the event that fails all is well"


def test_a_broken_payload_names_event_and_position(sqlite_store: EventStore) -> None:
    @aggregate("fragile")
    class Fragile:
        @applies("noted")
        def noted(self, event: Any) -> None:
            assert event.data

    sqlite_store.append("fragile", "1", [NewEvent("noted", "[" * 20_000 + "]" * 20_000)])
    with pytest.raises(FoldingFailed, match=r"at noted, version 1 of fragile/1 \(main:1\): nested too deep"):
        Repository(sqlite_store, Fragile).load("1")


# --- times ----------------------------------------------------------------------------------------------------------


def test_time_travel_by_version(accounts: Repository[Account]) -> None:
    for amount in (1, 2, 3):
        accounts.execute_or_create("1", Account.deposit, amount)
    assert [accounts.load_at("1", version).history for version in (1, 2, 3)] == [[1], [1, 2], [1, 2, 3]]
    with pytest.raises(NotFound, match=r"There is no version “4 of account/1” here. It has versions up to 3."):
        accounts.load_at("1", 4)
    with pytest.raises(NotFound, match="Nothing has happened to it"):
        accounts.load_at("2", 1)
    for version in (0, -1, 1.5, "1", None):
        with pytest.raises(InvalidRequest, match="Versions are numbers from 1 on"):
            accounts.load_at("1", version)  # type: ignore[arg-type]


def test_an_older_state_can_be_looked_at_but_not_saved(accounts: Repository[Account]) -> None:
    for amount in (1, 2):
        accounts.execute_or_create("1", Account.deposit, amount)
    old = accounts.load_at("1", 1)
    with pytest.raises(WrongExpectedVersion, match="account/1 is at version 2, not at version 1"):
        accounts.save(old, Deposited(5))


@in_memory_too
def test_as_known_at_a_time(store: EventStore) -> None:
    accounts = Repository(store, Account)
    for amount in (1, 2, 3):
        accounts.execute_or_create("1", Account.deposit, amount)
    moments = [event.recorded_at for event in store.read_stream("account", "1")]
    for version, moment in enumerate(moments, 1):
        wanted = sum(other <= moment for other in moments)
        assert len(accounts.load_as_of("1", moment).history) == wanted >= version
        east = moment.astimezone(dt.timezone(dt.timedelta(hours=5)))
        assert len(accounts.load_as_of("1", east).history) == wanted
    with pytest.raises(NotFound, match=r"There is no account “1” here. Nothing was known of it at .*Z\."):
        accounts.load_as_of("1", moments[0] - dt.timedelta(microseconds=1))
    for time in (dt.datetime(2026, 1, 1), "2026-01-01", None):
        with pytest.raises(InvalidRequest, match="must be a datetime with its zone"):
            accounts.load_as_of("1", time)  # type: ignore[arg-type]


def day(number: int) -> dt.datetime:
    return dt.datetime(2026, 1, number, tzinfo=dt.UTC)


@in_memory_too
@aggregate("price", id="product")
@dataclass
class Price:
    product: str
    amount: int = 0

    @applies("priced")
    def priced(self, event: Any) -> None:
        self.amount = event.data


def test_as_true_at_a_time_goes_by_when_events_occurred(store: EventStore) -> None:
    prices = Repository(store, Price)
    for amount, number in ((100, 1), (120, 10), (110, 5)):  # that of the 5th was recorded late
        store.append("price", "pen", [NewEvent("priced", amount, occurred_at=day(number))])
    assert prices.load("pen").amount == 110, "the last that was recorded"
    assert [prices.load_true_at("pen", day(number)).amount for number in (1, 4, 5, 9, 10, 31)] == [
        100, 100, 110, 110, 120, 120,
    ]  # fmt: skip
    with pytest.raises(NotFound, match="Nothing had happened to it at 2025-12-31"):
        prices.load_true_at("pen", day(1) - dt.timedelta(days=1))
    with pytest.raises(NotFound):
        prices.load_true_at("ink", day(1))


def test_as_true_at_a_time_can_be_asked_as_it_was_known_then(store: EventStore) -> None:
    prices = Repository(store, Price)
    known = []
    for amount, number in ((100, 1), (120, 10), (110, 5)):
        store.append("price", "pen", [NewEvent("priced", amount, occurred_at=day(number))])
        (*_, last) = store.read_stream("price", "pen")
        known.append(last.recorded_at)
    for recorded_at in known:
        late = recorded_at >= known[2]  # two may bear the same microsecond
        assert prices.load_true_at("pen", day(9), known_at=recorded_at).amount == (110 if late else 100)


def test_an_event_without_time_of_its_own_occurred_when_it_was_recorded(sqlite_store: EventStore) -> None:
    prices = Repository(sqlite_store, Price)
    (event,) = sqlite_store.append("price", "pen", [NewEvent("priced", 5)])
    assert prices.load_true_at("pen", event.recorded_at).amount == 5
    with pytest.raises(NotFound):
        prices.load_true_at("pen", event.recorded_at - dt.timedelta(microseconds=1))


def test_what_is_true_at_a_time_is_for_reading_alone(sqlite_store: EventStore) -> None:
    prices = Repository(sqlite_store, Price)
    sqlite_store.append("price", "pen", [NewEvent("priced", 5, occurred_at=day(1))])
    price = prices.load_true_at("pen", day(2))
    with pytest.raises(Conflict, match=r"was loaded as true at 2026-01-02.*, which is for reading alone. Load it"):
        prices.save(price, ("priced", 6))


# --- what is known of an aggregate in memory ----------------------------------------------------------------------------


def test_nothing_is_remembered_of_aggregates_that_are_gone(accounts: Repository[Account]) -> None:
    gc.collect()
    before = len(tracking._tracked)
    accounts.create("1", Account.open, "ann")
    account = accounts.load("1")
    assert find_tracked(account) is not None and len(tracking._tracked) > before
    del account
    gc.collect()
    assert len(tracking._tracked) == before


def test_a_copy_is_another_aggregate(accounts: Repository[Account]) -> None:
    import copy

    accounts.create("1", Account.open, "ann")
    duplicate = copy.deepcopy(accounts.load("1"))
    with pytest.raises(WrongExpectedVersion, match="account/1 is at version 1, not new"):
        accounts.save(duplicate, Deposited(1))


def test_a_class_whose_objects_cant_be_referenced_weakly_works_by_execute(sqlite_store: EventStore) -> None:
    @aggregate("light", id="key")
    @dataclass(slots=True)
    class Light:
        key: str
        number: int = 0

        @applies("noted")
        def noted(self) -> None:
            self.number += 1

    lights = Repository(sqlite_store, Light)
    lights.create("1", lambda light: ("noted", 1))
    lights.execute("1", lambda light: ("noted", 1))
    light = lights.load("1")
    with pytest.raises(InvalidDefinition, match="weakref_slot=True"):
        lights.save(light, ("noted", 1))
    assert lights.save(light, ("noted", 1), version=2).aggregate.number == 3
    assert lights.load("1").number == 3


def test_an_aggregate_goes_to_another_log_as_a_new_one(sqlite_store: EventStore) -> None:
    accounts, others = Repository(sqlite_store, Account), Repository(sqlite_store, Account, log="other")
    account = accounts.execute_or_create("1", Account.deposit, 1).aggregate
    account.withdraw(1)
    with pytest.raises(NotFound):
        others.load("1")
    others.save(account)
    assert [event.type for event in sqlite_store.read_stream("account", "1", log="other")] == ["account.withdrawn"]
    assert accounts.load("1").balance == 1


def test_another_repository_of_the_same_place_knows_the_version(sqlite_store: EventStore) -> None:
    account = Repository(sqlite_store, Account).execute_or_create("1", Account.deposit, 1).aggregate
    assert Repository(sqlite_store, Account).save(account, Deposited(2)).events[0].version == 2


def test_it_keeps_only_its_own_class_and_wants_an_id(sqlite_store: EventStore) -> None:
    @aggregate("nobody")
    class Nobody:
        @applies("noted")
        def noted(self) -> None: ...

    nobodies = Repository(sqlite_store, Nobody)
    with pytest.raises(InvalidRequest, match=r"This Nobody has no id yet. Give save\(…, id=…\)"):
        nobodies.save(Nobody(), ("noted", 1))
    nobodies.save(Nobody(), ("noted", 1), id="1")
    with pytest.raises(InvalidRequest, match="Account is not Nobody, which this repository keeps"):
        nobodies.save(Account("1"), ("noted", 1))  # type: ignore[arg-type]


def test_a_name_that_no_stream_could_have_is_refused_or_not_found(accounts: Repository[Account]) -> None:
    with pytest.raises(NotFound):
        accounts.load("x" * 300)
    with pytest.raises(InvalidEvent, match="at most 255 fit"):
        accounts.execute_or_create("x" * 300, Account.deposit, 1)
    with pytest.raises(InvalidEvent, match="isn't empty"):
        accounts.execute_or_create("", Account.deposit, 1)


# --- with the rest of the store -------------------------------------------------------------------------------------


def test_a_save_goes_along_with_the_callers_transaction(store: EventStore) -> None:
    accounts = Repository(store, Account)
    accounts.create("1", Account.open, "ann")
    with pytest.raises(RuntimeError), store.database.writing() as connection:
        account = accounts.load("1")
        accounts.save(account, Deposited(5), connection=connection)
        raise RuntimeError("the caller thinks better of it")
    assert accounts.load("1").balance == 0
    with store.database.writing() as connection:
        accounts.save(accounts.load("1"), Deposited(5), connection=connection)
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    assert accounts.load("1").balance == 5


def test_it_folds_events_in_todays_form(sqlite_store: EventStore) -> None:
    changing = Serializer()
    changing.add_event(Deposited, "account.deposited", revision=2)
    changing.add_event(Opened, "account.opened")

    @changing.upcaster("account.deposited", from_revision=1)
    def split(data: Any) -> Any:
        return [{"amount": amount} for amount in data["amounts"]]

    @changing.upcaster("account.paid_in", from_revision=1)
    def rename(data: Any) -> Any:
        return Renamed("account.deposited", {"amount": data}, revision=2) if data else None

    @aggregate("account", id="number", serializer=changing)
    @dataclass
    class Changed:
        number: str
        history: list[int] = field(default_factory=list)

        @applies(Deposited)
        def _deposited(self, event: Deposited) -> None:
            self.history.append(event.amount)

        @applies("account.opened")
        def _opened(self, event: Opened) -> None: ...

    changed = Repository(sqlite_store, Changed)
    sqlite_store.append("account", "1", [
        NewEvent("account.deposited", {"amounts": [1, 2]}), NewEvent("account.paid_in", 3), NewEvent("account.paid_in", 0),
    ])  # fmt: skip
    account = changed.load("1")
    assert account.history == [1, 2, 3]
    assert changed.save(account, Deposited(4)).events[0].version == 4, "what was split or dropped counts as it's stored"
    assert changed.load("1").history == [1, 2, 3, 4]
    assert changed.load_at("1", 1).history == [1, 2]


def test_an_unknown_event_of_a_stream_stays_raw(sqlite_store: EventStore) -> None:
    accounts = Repository(sqlite_store, Account)
    sqlite_store.append("account", "1", [NewEvent("account.audited", {"by": "eve"})])
    with pytest.raises(UnhandledEvent, match=r"has no handler for account.audited"):
        accounts.load("1")
