"""Plain classes as aggregates: how handlers are found, ids of several parts, and definitions that contradict themselves."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NewType

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from webapp.errors import InvalidDefinition, InvalidEvent, InvalidRequest, UnhandledEvent
from webapp.store import EventStore, NewEvent, RecordedEvent, Serializer
from webapp.store.aggregates import aggregate, applies, definition_of
from webapp.store.fingerprints import fingerprint_class
from webapp.store.identifiers import join_id, split_id
from webapp.store.recording import Aggregate, list_events
from webapp.store.repository import Repository

Region = NewType("Region", str)


@dataclass(frozen=True)
class Deposited:
    amount: int


@dataclass(frozen=True)
class DepositedTwice(Deposited):
    note: str = ""


def make_serializer() -> Serializer:
    serializer = Serializer()
    serializer.add_event(Deposited, "account.deposited")
    serializer.add_event(DepositedTwice, "account.deposited_twice")
    return serializer


@aggregate("data", id="key")
@dataclass
class DataAccount:
    key: str
    balance: int = 0

    def deposit(self, amount: int) -> Any:
        return ("account.deposited", {"amount": amount})

    @applies("account.deposited")
    def _deposited(self, event: RecordedEvent) -> None:
        self.balance += event.data["amount"]


@aggregate("slots", id="key")
@dataclass(slots=True, weakref_slot=True)
class SlotsAccount:
    key: str
    balance: int = 0

    deposit = DataAccount.deposit

    @applies("account.deposited")
    def _deposited(self, event: RecordedEvent) -> None:
        self.balance += event.data["amount"]


@aggregate("frozen", id="key")
@dataclass(frozen=True)
class FrozenAccount:
    key: str
    balance: int = 0

    deposit = DataAccount.deposit

    @applies("account.deposited")
    def _deposited(self, event: RecordedEvent) -> FrozenAccount:
        return FrozenAccount(self.key, self.balance + event.data["amount"])


@aggregate("attrs", id="key")
@attrs.define
class AttrsAccount:
    key: str
    balance: int = 0

    deposit = DataAccount.deposit

    @applies("account.deposited")
    def _deposited(self, event: RecordedEvent) -> None:
        self.balance += event.data["amount"]


@aggregate("model", id="key")
class ModelAccount(BaseModel):
    key: str
    balance: int = 0

    def deposit(self, amount: int) -> Any:
        return ("account.deposited", {"amount": amount})

    @applies("account.deposited")
    def _deposited(self, event: RecordedEvent) -> None:
        self.balance += event.data["amount"]


@aggregate("struct", id="key")
class StructAccount(msgspec.Struct, weakref=True):
    key: str
    balance: int = 0

    def deposit(self, amount: int) -> Any:
        return ("account.deposited", {"amount": amount})

    @applies("account.deposited")
    def _deposited(self, event: RecordedEvent) -> None:
        self.balance += event.data["amount"]


@aggregate("plain", id="key")
class PlainAccount:
    def __init__(self, key: str) -> None:
        self.key = key
        self.balance = 0

    deposit = DataAccount.deposit

    @applies("account.deposited")
    def _deposited(self, event: RecordedEvent) -> None:
        self.balance += event.data["amount"]


@pytest.mark.parametrize(
    "cls", [DataAccount, SlotsAccount, FrozenAccount, AttrsAccount, ModelAccount, StructAccount, PlainAccount]
)
def test_every_kind_of_class_is_loaded_and_saved(sqlite_store: EventStore, cls: Any) -> None:
    accounts: Repository[Any] = Repository(sqlite_store, cls)
    first = cls(key="1")
    assert accounts.save(first, first.deposit(5)).aggregate.balance == 5
    loaded = accounts.load("1")
    assert (loaded.key, loaded.balance) == ("1", 5)
    saved = accounts.save(loaded, [loaded.deposit(1), loaded.deposit(2)])
    again = accounts.save(saved.aggregate, loaded.deposit(10)).aggregate
    assert again.balance == accounts.load("1").balance == 18
    assert [event.version for event in sqlite_store.read_stream(accounts.definition.aggregate_type, "1")] == [
        1,
        2,
        3,
        4,
    ]


@aggregate("recording", id="key")
@dataclass
class RecordingAccount(Aggregate):
    key: str
    balance: int = 0

    def deposit(self, amount: int) -> None:
        self.record(Deposited(amount))

    @applies(Deposited)
    def _deposited(self, event: Deposited) -> None:
        self.balance += event.amount


@aggregate("recording_model", id="key")
class RecordingModel(Aggregate, BaseModel):
    key: str
    balance: int = 0

    def deposit(self, amount: int) -> None:
        self.record(("account.deposited", {"amount": amount}))

    @applies("account.deposited")
    def _deposited(self, event: Any) -> None:
        self.balance += event.amount if isinstance(event, Deposited) else event.data["amount"]


@aggregate("recording_slots", id="key")
@dataclass(slots=True)
class RecordingSlots(Aggregate):
    key: str
    balance: int = 0

    def deposit(self, amount: int) -> None:
        self.record(Deposited(amount))

    @applies(Deposited)
    def _deposited(self, event: Deposited) -> None:
        self.balance += event.amount


@pytest.mark.parametrize("cls", [RecordingAccount, RecordingModel, RecordingSlots])
def test_recorded_events_change_the_aggregate_at_once_and_are_kept_for_saving(
    sqlite_store: EventStore, cls: Any
) -> None:
    accounts: Repository[Any] = Repository(sqlite_store, cls, serializer=make_serializer())
    account = cls(key="1")
    account.deposit(5)
    account.deposit(6)
    assert account.balance == 11 and len(account.pending_events) == 2
    assert len(accounts.save(account).events) == 2
    assert account.pending_events == () and accounts.load("1") == account
    account.deposit(1)
    accounts.save(account)
    assert accounts.load("1").balance == 12
    assert accounts.save(account).events == []


def test_what_is_known_of_an_aggregate_leaves_no_trace_in_it(sqlite_store: EventStore) -> None:
    accounts = Repository(sqlite_store, RecordingModel)
    account = RecordingModel(key="1")
    account.deposit(5)
    accounts.save(account)
    assert account.model_dump() == {"key": "1", "balance": 5}
    assert vars(account) == {"key": "1", "balance": 5} and account == RecordingModel(key="1", balance=5)


def test_an_aggregate_that_returns_new_ones_cant_record() -> None:
    @aggregate("both")
    @dataclass(frozen=True)
    class Both(Aggregate):
        number: int = 0

        @applies("noted")
        def noted(self) -> Any:
            return Both(self.number + 1)

    with pytest.raises(InvalidDefinition, match="have to return events, not record them"):
        Both().record(("noted", None))


def test_handlers_are_found_by_type_then_by_class_then_by_base_class(sqlite_store: EventStore) -> None:
    seen: list[Any] = []

    @aggregate("mixed")
    class Mixed:
        @applies("by.name")
        def by_name(self, event: Any, recorded: RecordedEvent) -> None:
            seen.append(("name", event.data, recorded.version))

        @applies(Deposited)
        def by_class(self, event: Deposited) -> None:
            seen.append(("class", type(event).__name__, event.amount))

        @applies("without.arguments", "and.another")
        def without(self) -> None:
            seen.append("without")

    mixed = Repository(sqlite_store, Mixed, serializer=make_serializer())
    events = [("by.name", 1), Deposited(2), DepositedTwice(3), ("without.arguments", None), NewEvent("and.another", 4)]
    mixed.save(mixed.load_or_create("1"), events)
    decided, seen[:] = list(seen), []
    mixed.load("1")
    assert seen == decided == [
        ("name", 1, 1), ("class", "Deposited", 2), ("class", "DepositedTwice", 3), "without", "without",
    ]  # fmt: skip


def test_a_subclass_takes_over_handlers_and_may_replace_them(sqlite_store: EventStore) -> None:
    @aggregate("child", id="key")
    @dataclass
    class Child(DataAccount):
        def _deposited(self, event: RecordedEvent) -> None:
            self.balance += 2 * event.data["amount"]

        @applies("more")
        def more(self) -> None:
            self.balance += 1

    children = Repository(sqlite_store, Child)
    assert children.execute_or_create("1", lambda child: [child.deposit(5), ("more", 0)]).aggregate.balance == 11
    assert set(definition_of(DataAccount).handlers) == {"account.deposited"}


def test_a_classmethod_makes_the_aggregate_from_its_first_event(sqlite_store: EventStore) -> None:
    @aggregate("made", id="key")
    @dataclass
    class Made:
        key: str
        owner: str

        @staticmethod
        def open(owner: str) -> Any:
            return ("opened", {"owner": owner})

        @applies("opened")
        @classmethod
        def opened(cls, event: RecordedEvent) -> Made:
            return cls(event.aggregate_id or "", event.data["owner"])

        @applies("moved")
        def moved(self, event: RecordedEvent) -> None:
            self.owner = event.data["owner"]

    made = Repository(sqlite_store, Made)
    assert made.create("1", Made.open, "ann").aggregate == Made("1", "ann")
    made.execute("1", lambda one: ("moved", {"owner": "bob"}))
    assert made.load("1") == Made("1", "bob")
    sqlite_store.append("made", "2", [NewEvent("moved", {"owner": "eve"})])
    with pytest.raises(InvalidDefinition, match=r"Made can't be made from only key.*owner.*classmethod"):
        made.load("2")


def test_an_event_without_handler_is_an_error_unless_the_class_says_otherwise(sqlite_store: EventStore) -> None:
    @aggregate("lenient", ignores_unknown=True)
    class Lenient:
        pass

    accounts = Repository(sqlite_store, DataAccount)
    with pytest.raises(UnhandledEvent, match=r"DataAccount has no handler for account.closed \(version 1 of data/1\)"):
        accounts.save(DataAccount("1"), ("account.closed", {}))
    assert accounts.find("1") is None, "what can't be folded must not be stored"
    sqlite_store.append("data", "1", [NewEvent("account.closed", {})])
    with pytest.raises(UnhandledEvent, match="ignores_unknown=True"):
        accounts.load("1")
    lenient = Repository(sqlite_store, Lenient)
    lenient.save(lenient.load_or_create("1"), ("anything", 1))
    assert isinstance(lenient.load("1"), Lenient)


def generated() -> Iterator[NewEvent]:
    yield NewEvent("a", 1)
    yield NewEvent("b", 2)


def test_a_decision_may_return_events_in_any_form() -> None:
    one = NewEvent("a", 1)
    assert list_events(None) == list_events([]) == []
    assert list_events(one) == list_events((one,)) == [one]
    assert list_events(("a", 1)) == [("a", 1)]
    assert list_events([("a", 1), one]) == [("a", 1), one]
    assert list_events(generated()) == [NewEvent("a", 1), NewEvent("b", 2)]
    model = ModelAccount(key="1")  # iterable by itself, and still one event
    assert list_events(model) == [model]


@pytest.mark.parametrize("event", ["text", {"type": "a"}, 5, object(), ("a", 1, 2)])
def test_what_is_no_event_is_refused_with_a_sentence(sqlite_store: EventStore, event: Any) -> None:
    accounts = Repository(sqlite_store, DataAccount)
    with pytest.raises(InvalidEvent, match="is no event"):
        accounts.save(DataAccount("1"), event)
    assert accounts.find("1") is None


# --- ids ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(), min_size=2, max_size=5))
def test_an_id_of_several_parts_comes_back_as_it_was(parts: list[str]) -> None:
    assert split_id(join_id(tuple(parts))) == tuple(parts)


@given(
    st.lists(st.text("|\\a", max_size=4), min_size=2, max_size=3),
    st.lists(st.text("|\\a", max_size=4), min_size=2, max_size=3),
)
def test_no_two_ids_of_several_parts_share_a_text(one: list[str], other: list[str]) -> None:
    assert (join_id(tuple(one)) == join_id(tuple(other))) == (one == other)


def test_ids_are_joined_as_documented() -> None:
    assert join_id("eu|42") == "eu|42"
    assert join_id(("eu", "42")) == join_id(("eu", 42)) == "eu|42"
    assert join_id(("e|u", "4\\2")) == "e\\|u|4\\\\2"
    with pytest.raises(InvalidRequest, match="may only stand before"):
        split_id("a\\b|c")


@aggregate("desk", id=("region", "number"))
@dataclass
class Desk:
    region: Region
    number: int
    opened: int = 0

    @applies("opened")
    def _opened(self) -> None:
        self.opened += 1


def test_an_id_of_several_parts_finds_its_stream_and_comes_back_in_its_types(store: EventStore) -> None:
    desks = Repository(store, Desk)
    for id in [("eu", 42), ("e|u", 42), ("e\\", -1), ("", 0)]:
        desks.save(Desk(*id), ("opened", None))
        assert desks.load(id) == Desk(*id, opened=1)
    assert {one.id for one in store.aggregates("desk")} == {"eu|42", "e\\|u|42", "e\\\\|-1", "|0"}


def test_a_uuid_is_an_id(sqlite_store: EventStore) -> None:
    @aggregate("by_uuid", id="key")
    @dataclass
    class ByUuid:
        key: uuid.UUID

        @applies("noted")
        def noted(self) -> None: ...

    by_uuid, key = Repository(sqlite_store, ByUuid), uuid.uuid4()
    by_uuid.execute_or_create(key, lambda one: ("noted", 1))
    assert by_uuid.load(key).key == key
    with pytest.raises(InvalidRequest, match=f"'{key}' is no id of by_uuid. It is made of one part, key: UUID."):
        by_uuid.load(str(key))


@pytest.mark.parametrize("id", ["eu|42", ("eu",), ("eu", "42"), ("eu", 42, 1), ("eu", True), 42, None, (b"eu", 42)])
def test_an_id_of_the_wrong_type_is_refused_with_a_sentence(sqlite_store: EventStore, id: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"is no id of desk. It is a tuple of \(region: str, number: int\)"):
        Repository(sqlite_store, Desk).load(id)


@pytest.mark.parametrize("id", [None, 1.5, b"1", True, ("a",), ("a", None), ["a", "b"]])
def test_an_undeclared_id_is_text_a_number_or_a_uuid(sqlite_store: EventStore, id: Any) -> None:
    @aggregate("undeclared")
    class Undeclared:
        pass

    with pytest.raises(InvalidRequest, match=r"can't be an id|is a tuple of 1"):
        Repository(sqlite_store, Undeclared).load(id)


# --- definitions that contradict themselves ---------------------------------------------------------------------------


def test_a_class_has_to_say_its_type(sqlite_store: EventStore) -> None:
    class Nameless:
        pass

    with pytest.raises(InvalidDefinition, match="Nameless says no type of aggregates"):
        Repository(sqlite_store, Nameless)
    assert Repository(sqlite_store, Nameless, aggregate_type="named").definition.aggregate_type == "named"
    with pytest.raises(InvalidDefinition, match="DataAccount is the aggregate type data, so it can't be other"):
        Repository(sqlite_store, DataAccount, aggregate_type="other")


def test_a_class_may_have_its_type_and_log_from_the_serializer_or_an_attribute(sqlite_store: EventStore) -> None:
    serializer = Serializer()

    @serializer.aggregate("registered", log="other")
    class Registered:
        pass

    class WithAttribute:
        aggregate_type = "attribute"

    repository = Repository(sqlite_store, Registered, serializer=serializer)
    assert (repository.definition.aggregate_type, repository.log) == ("registered", "other")
    assert Repository(sqlite_store, WithAttribute).definition.aggregate_type == "attribute"


def test_two_handlers_of_one_event_are_refused() -> None:
    with pytest.raises(InvalidDefinition, match="has two handlers of a: one and two"):

        @aggregate("twice")
        class Twice:
            @applies("a")
            def one(self) -> None: ...

            @applies("a")
            def two(self) -> None: ...


def test_a_handler_by_name_and_one_by_class_of_the_same_event_are_refused(sqlite_store: EventStore) -> None:
    @aggregate("both_ways")
    class BothWays:
        @applies("account.deposited")
        def one(self) -> None: ...

        @applies(Deposited)
        def two(self) -> None: ...

    with pytest.raises(InvalidDefinition, match=r"handles account.deposited twice, by name and as Deposited"):
        Repository(sqlite_store, BothWays, serializer=make_serializer())


def test_a_handler_for_a_class_that_nobody_registered_is_refused(sqlite_store: EventStore) -> None:
    with pytest.raises(InvalidDefinition, match="handler of Deposited, which the serializer doesn't know"):
        Repository(sqlite_store, RecordingAccount, serializer=Serializer())


def test_a_handler_takes_at_most_two_arguments() -> None:
    with pytest.raises(InvalidDefinition, match="wrong takes 3 parameters"):

        @aggregate("wrong")
        class Wrong:
            @applies("a")
            def wrong(self, event: Any, recorded: Any, more: Any) -> None: ...


@pytest.mark.parametrize("events", [(), ("",), (5,)])
def test_applies_needs_types_of_events(events: Any) -> None:
    with pytest.raises(InvalidDefinition, match="@applies needs types of events"):
        applies(*events)


def test_two_classes_for_one_type_are_refused(sqlite_store: EventStore) -> None:
    class Second:
        pass

    Repository(sqlite_store, DataAccount)
    Repository(sqlite_store, DataAccount)
    Repository(sqlite_store, Second, aggregate_type="data", log="elsewhere")
    with pytest.raises(
        InvalidDefinition, match=r"aggregate type data in the log main belongs to .*DataAccount.*Second can't"
    ):
        Repository(sqlite_store, Second, aggregate_type="data")


def test_a_part_of_an_id_has_a_type_that_can_be_stored() -> None:
    with pytest.raises(InvalidDefinition, match=r"Parts of ids are str, int or uuid.UUID"):

        @aggregate("floating", id="key")
        @dataclass
        class Floating:
            key: float


# --- fingerprints ---------------------------------------------------------------------------------------------------


def test_a_fingerprint_changes_with_code_and_fields_alone() -> None:
    def make(increment: int, default: int, comment: bool) -> type:
        source = f"""
@dataclass
class Counter:
    number: int = {default}
    def count(self, event):{"  # said" if comment else ""}
        self.number += {increment}
"""
        namespace: dict[str, Any] = {"dataclass": dataclass, "__name__": __name__}
        exec(source, namespace)
        return namespace["Counter"]  # type: ignore[no-any-return]

    first = fingerprint_class(make(1, 0, False))
    assert first == fingerprint_class(make(1, 0, True))
    assert len({first, fingerprint_class(make(2, 0, False)), fingerprint_class(make(1, 1, False))}) == 3
    assert first != fingerprint_class(make(1, 0, False), 2)
    assert len(first) == 64


def test_a_fingerprint_is_the_same_in_every_process() -> None:
    classes = [DataAccount, SlotsAccount, AttrsAccount, ModelAccount, StructAccount, RecordingModel]
    names = ", ".join(f"m.{cls.__name__}" for cls in classes)
    script = f"import {__name__} as m; print([m.definition_of(cls).fingerprint() for cls in ({names})])"
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        )
        assert done.stdout.strip() == str([definition_of(cls).fingerprint() for cls in classes])
