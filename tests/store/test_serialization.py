"""Objects become events and come back equal, whatever kind of class they are, and whatever happened to the class since."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store import shapes
from tests.store.shapes import (
    Ambiguous,
    AttrsPaid,
    AttrsPositive,
    Box,
    Card,
    Cash,
    Cents,
    Colour,
    Everything,
    HoldsModel,
    HoldsMoney,
    Level,
    Line,
    ModelAddress,
    ModelMoved,
    ModelRated,
    Money,
    Node,
    Oddities,
    PaidSomehow,
    Point,
    StructShipped,
    Transfer,
    Voucher,
)
from webapp.errors import InvalidDefinition, InvalidEvent, LoadingFailed, UnknownEvent, WrittenByNewerCode
from webapp.store import EventStore, NewEvent, RecordedEvent, Serializer
from webapp.store.events import prepare
from webapp.store.personal import Forgotten

at = dt.datetime(2026, 11, 24, 12, 30, 1, 250, tzinfo=dt.timezone(dt.timedelta(hours=2)))
everything = Everything(
    text="naïve \x00 🎉", number=2**70, real=0.1, flag=True, price=Decimal("10.00"), id=UUID(int=7), day=dt.date(2026, 2, 28),
    at=at, clock=dt.time(1, 2, 3), span=dt.timedelta(days=-1, microseconds=1), raw=b"\x00\xff", colour=Colour.blue,
    level=Level.high, tags=frozenset({"b", "a"}), levels={3, 1}, pair=(1, "x"), many=(Decimal("1E+3"),),
    lines=[Line("tea", Decimal("0.10"))], by_day={dt.date(2026, 1, 1): Decimal(1)}, by_number={5: [UUID(int=1)]}, kind="b",
    maybe=None, either="7", cents=Cents(3),
)  # fmt: skip


def recorded(event: NewEvent, position: int = 1) -> RecordedEvent:
    """The event as it would come back from a store."""
    ready = prepare(event)
    return RecordedEvent(
        "main", position, "thing", "1", position, ready.type, ready.id, at, ready.correlation_id, ready.causation_id, ready.actor,
        ready.data_text, ready.metadata_text,
    )  # fmt: skip


def stored(type_: str, data: Any, metadata: dict[str, Any] | None = None) -> RecordedEvent:
    return recorded(NewEvent(type_, data, metadata))


def knowing(cls: type, name: str = "thing", **options: Any) -> Serializer:
    serializer = Serializer(**options)
    serializer.add_event(cls, name)
    return serializer


def there_and_back(value: Any) -> Any:
    serializer = knowing(type(value))
    return serializer.load(recorded(serializer.new_event(value)))


moved = ModelMoved(
    address=ModelAddress(street="Elm", since=dt.date(2026, 1, 1)), fee=Decimal("1.50"), customerId=UUID(int=3),
    colours={Colour.red, Colour.blue}, at=at,
)  # fmt: skip
objects = [
    everything,
    Oddities(
        point=Point(1, 2), extra={"note": "n"}, box=Box(Decimal("1.0")), node=Node(1, [Node(2), Node(3, [Node(4)])]),
        anything=[1, {"a": None}], limited=0, some=[1, 2], mapping={"a": Line("a", Decimal(1))},
    ),
    AttrsPaid(Decimal("9.90"), at, [Line("a", Decimal("3.30"), 3)]),
    AttrsPositive(1),
    StructShipped(at, [Line("a", Decimal(1))]),
    moved,
    ModelRated(stars=4),
    HoldsModel(ModelAddress(street="Elm", since=dt.date(2026, 1, 1)), [ModelAddress(street="Oak", since=dt.date(2026, 1, 2))]),
    PaidSomehow(
        Card("42"), Cash(Decimal("0.50")), [Card("1"), Transfer("DE00", at)], {"x": (Cash(Decimal(1)), Voucher("v"))},
        (1, Voucher("w")), at,
    ),
    PaidSomehow(Transfer("DE00", at), None, [], {}, (2, Cash(Decimal(2)))),
]  # fmt: skip


@pytest.mark.parametrize("value", objects, ids=lambda value: type(value).__name__)
def test_an_object_comes_back_equal(value: Any) -> None:
    found = there_and_back(value)
    assert found == value
    assert type(found) is type(value)


def test_what_is_stored_is_plain_json_by_the_names_that_others_would_expect() -> None:
    data = json.loads(prepare(knowing(Everything).new_event(everything)).data_text)
    assert data == {
        "text": "naïve \x00 🎉", "number": 2**70, "real": 0.1, "flag": True, "price": "10.00",
        "id": "00000000-0000-0000-0000-000000000007", "day": "2026-02-28", "at": "2026-11-24T12:30:01.000250+02:00",
        "clock": "01:02:03", "span": "-PT86399.999999S", "raw": "AP8=", "colour": "blue", "level": 9, "tags": ["a", "b"],
        "levels": [1, 3], "pair": [1, "x"], "many": ["1E+3"], "lines": [{"sku": "tea", "price": "0.10", "quantity": 1}],
        "by_day": {"2026-01-01": "1"}, "by_number": {"5": ["00000000-0000-0000-0000-000000000001"]}, "kind": "b",
        "maybe": None, "either": "7", "cents": 3,
    }  # fmt: skip
    assert knowing(StructShipped).new_event(StructShipped(at, [])).data == {
        "shippedAt": "2026-11-24T12:30:01.000250+02:00", "lineItems": [], "carrier": "post",
    }  # fmt: skip


def test_a_models_computed_fields_are_not_stored_and_its_aliases_are_read() -> None:
    serializer = knowing(ModelMoved)
    data = serializer.new_event(moved).data
    assert data.keys() == {"address", "fee", "customer_id", "colours", "at"}
    aliased = {("customerId" if key == "customer_id" else key): value for key, value in data.items()}
    assert serializer.load(stored("thing", aliased)) == moved


def test_sets_are_written_in_the_same_order_by_every_process() -> None:
    script = "from tests.store.test_serialization import *; print(prepare(knowing(Everything).new_event(everything)).data_text)"
    texts = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(texts) == 1


# --- any value there is -----------------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=["Cs"]))
decimals = st.decimals(allow_nan=False)
zones = st.one_of(
    st.none(),
    st.timezones(),
    st.builds(dt.timezone, st.integers(-86399, 86399).map(lambda seconds: dt.timedelta(seconds=seconds))),
)
moments = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 12, 31), timezones=zones)
lines = st.builds(Line, texts, decimals, st.integers())
everythings = st.builds(
    Everything, text=texts, number=st.integers(), real=st.floats(allow_nan=False, allow_infinity=False), flag=st.booleans(),
    price=decimals, id=st.uuids(), day=st.dates(), at=moments, clock=st.times(), span=st.timedeltas(), raw=st.binary(),
    colour=st.sampled_from(Colour), level=st.sampled_from(Level), tags=st.frozensets(texts), levels=st.sets(st.integers()),
    pair=st.tuples(st.integers(), texts), many=st.lists(decimals).map(tuple), lines=st.lists(lines, max_size=3),
    by_day=st.dictionaries(st.dates(), decimals), by_number=st.dictionaries(st.integers(), st.lists(st.uuids())),
    kind=st.sampled_from(["a", "b"]), maybe=st.none() | moments, either=st.integers() | texts, cents=st.integers(),
)  # fmt: skip


def same_moment(one: dt.datetime | None, other: dt.datetime | None) -> bool:
    if one is None or other is None or one.utcoffset() is None:
        return one == other
    return other.utcoffset() is not None and one.astimezone(dt.UTC) == other.astimezone(dt.UTC)


@settings(max_examples=100, deadline=None)
@given(everythings)
def test_any_value_of_a_dataclass_comes_back(value: Everything) -> None:
    found = there_and_back(value)
    assert same_moment(value.at, found.at) and same_moment(value.maybe, found.maybe)
    assert attrs_of(found) == attrs_of(value)
    assert str(found.price) == str(value.price)


def attrs_of(value: Everything) -> dict[str, Any]:
    """All but the moments, which are compared as moments (in a zone's skipped hour, Python's == says no to itself)."""
    return {key: inner for key, inner in vars(value).items() if key not in ("at", "maybe")}


payments = st.builds(Card, texts) | st.builds(Transfer, texts, moments.filter(lambda moment: moment.tzinfo is None))
rests = st.builds(Cash, decimals) | st.builds(Voucher, texts)


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        PaidSomehow, payments, st.none() | rests, st.lists(payments),
        st.dictionaries(texts, st.lists(rests, max_size=2).map(tuple)), st.tuples(st.integers(), rests),
    )
)  # fmt: skip
def test_any_union_of_classes_comes_back(value: PaidSomehow) -> None:
    assert there_and_back(value) == value


@settings(max_examples=50, deadline=None)
@given(
    st.builds(AttrsPaid, decimals, moments.filter(lambda moment: moment.tzinfo is None), st.lists(lines, max_size=2))
    | st.builds(StructShipped, st.just(at), st.lists(lines, max_size=2), texts)
    | st.builds(
        ModelMoved, address=st.builds(ModelAddress, street=texts, since=st.dates()), fee=decimals.filter(Decimal.is_finite),
        customerId=st.uuids(), colours=st.sets(st.sampled_from(Colour)), at=st.just(at),
    )
)  # fmt: skip
def test_any_value_of_the_other_kinds_comes_back(value: Any) -> None:
    assert there_and_back(value) == value


# --- times ------------------------------------------------------------------------------------------------------------


@dataclass
class Timed:
    at: dt.datetime


def test_an_aware_time_stays_aware_with_its_offset_and_a_naive_one_naive() -> None:
    berlin = dt.datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    found = there_and_back(Timed(berlin))
    assert found.at == berlin and found.at.utcoffset() == dt.timedelta(hours=2)
    assert there_and_back(Timed(dt.datetime(2026, 7, 1, 12))).at.tzinfo is None


def test_an_offset_of_odd_seconds_is_kept_exact_by_writing_utc() -> None:
    amsterdam = dt.datetime(1900, 1, 1, tzinfo=dt.timezone(dt.timedelta(minutes=19, seconds=32)))
    event = knowing(Timed).new_event(Timed(amsterdam))
    assert event.data == {"at": "1899-12-31T23:40:28Z"}
    assert there_and_back(Timed(amsterdam)).at == amsterdam


# --- names ------------------------------------------------------------------------------------------------------------


def test_the_name_is_free_of_the_class_and_stands_in_the_store(sqlite_store: EventStore) -> None:
    serializer = Serializer()
    serializer.add_event(Line, "order.line_added")
    sqlite_store.append("order", "1", [serializer.new_event(Line("tea", Decimal(1)), metadata={"actor": "ann"})])
    later = Serializer()
    later.add_event(AttrsLine, "order.line_added")
    ((event, line),) = later.load_all(sqlite_store.read_stream("order", "1"))
    assert (event.type, event.actor, line) == ("order.line_added", "ann", AttrsLine("tea", Decimal(1)))


@attrs.define
class AttrsLine:
    sku: str
    price: Decimal


def test_two_classes_with_one_name_are_refused_and_one_class_with_two() -> None:
    serializer = knowing(Line, "line")
    with pytest.raises(InvalidDefinition, match=r"Two classes are named “line”: .*Line and .*AttrsLine"):
        serializer.add_event(AttrsLine, "line")
    with pytest.raises(
        InvalidDefinition, match=r"is the event “line” already.*serializer\.rename\('old.line', 'line'\)"
    ):
        serializer.add_event(Line, "old.line")
    assert serializer.class_of("line") is Line


@pytest.mark.parametrize("name", ["", "x" * 151, "a\x00b"])
def test_a_name_that_no_store_would_take_is_refused(name: str) -> None:
    with pytest.raises(InvalidDefinition, match="name of the event"):
        Serializer().add_event(Line, name)


def test_aggregates_have_a_name_and_a_log_by_decorator_or_attribute() -> None:
    serializer = Serializer()

    @serializer.aggregate("account", log="bank")
    class Account: ...

    class Savings(Account): ...

    class Order:
        aggregate_type = "order"
        log = "shop"

    class Nameless: ...

    assert [serializer.name_of(cls) for cls in (Account, Savings, Order)] == ["account", "account", "order"]
    assert [serializer.log_of(cls) for cls in (Account, Savings, Order, Nameless)] == ["bank", "bank", "shop", "main"]
    with pytest.raises(InvalidDefinition, match=r'Nameless has no name.*aggregate_type = "nameless"'):
        serializer.name_of(Nameless)
    with pytest.raises(InvalidDefinition, match="Two aggregates are named “account”"):
        serializer.aggregate("account")(Nameless)


def test_an_unknown_event_stays_raw() -> None:
    event = stored("something.else", {"a": 1})
    assert knowing(Line).load(event) is event
    with pytest.raises(UnknownEvent, match="Register its class"):
        knowing(Line).class_of("something.else")


def test_an_object_of_a_class_that_is_not_registered_is_refused() -> None:
    with pytest.raises(UnknownEvent, match=r"shapes\.Card is no event .*@serializer\.event"):
        knowing(Line).new_event(Card("1"))


# --- what changed since -----------------------------------------------------------------------------------------------


@dataclass
class Grown:
    name: str
    note: str = "none"
    tags: list[str] = field(default_factory=list)


@attrs.define
class AttrsGrown:
    name: str
    note: str = "none"
    tags: list[str] = attrs.Factory(list)


class StructGrown(msgspec.Struct):
    name: str
    note: str = "none"
    tags: list[str] = []


class ModelGrown(pydantic.BaseModel):
    name: str
    note: str = "none"
    tags: list[str] = []


@dataclass
class UnionGrown:
    name: str
    note: str = "none"
    tags: list[str] = field(default_factory=list)
    paid: Card | Transfer | None = None


kinds = pytest.mark.parametrize("cls", [Grown, AttrsGrown, StructGrown, ModelGrown, UnionGrown])


@kinds
def test_keys_that_the_class_lost_are_ignored_and_those_it_gained_take_defaults(cls: Any) -> None:
    event = stored("thing", {"name": "x", "gone": [{"deep": 1}]})
    assert knowing(cls).load(event) == cls(name="x")


@kinds
def test_a_strict_serializer_names_the_key_it_does_not_know(cls: Any) -> None:
    with pytest.raises(LoadingFailed, match="gone") as caught:
        knowing(cls, strict=True).load(stored("thing", {"name": "x", "gone": 1}))
    assert caught.value.key == "gone"
    assert knowing(cls, strict=True).load(stored("thing", {"name": "x", "tags": ["t"]})) == cls(name="x", tags=["t"])


def test_a_strict_serializer_looks_into_lists_dicts_and_nested_classes() -> None:
    serializer = knowing(AttrsPaid, strict=True)
    data = {
        "amount": "1",
        "at": "2026-01-01T00:00:00Z",
        "lines": [{"sku": "a", "price": "1"}, {"sku": "a", "price": "1", "q": 1}],
    }
    with pytest.raises(LoadingFailed, match=r"“lines\[1\]\.q” is unknown"):
        serializer.load(stored("thing", data))


@kinds
def test_a_missing_key_without_default_is_named_with_what_to_do(cls: Any) -> None:
    with pytest.raises(LoadingFailed) as caught:
        knowing(cls).load(stored("thing", {"note": "x"}))
    assert str(caught.value) == (
        f"thing at main:1 can't be loaded as {cls.__qualname__}: the key “name” is missing. "
        "Give the field a default, or add an upcaster from revision 1."
    )
    assert (caught.value.key, caught.value.position) == ("name", 1)


@dataclass
class Chosen:
    payment: Card | Transfer


@pytest.mark.parametrize(
    ("cls", "data", "words"),
    [
        (Line, {"sku": "a", "price": "cheap"}, "“price”"),
        (Line, {"sku": "a", "price": "1", "quantity": "2"}, "“quantity”: Expected `int`, got `str`"),
        (Line, [1], "Expected `object`, got `array`"),
        (AttrsPositive, {"amount": 0}, "must be > 0"),
        (ModelRated, {"stars": 9}, "“stars”: Input should be less than or equal to 5"),
        (Timed, {"at": "yesterday"}, "“at”: Invalid RFC3339"),
        (Chosen, {"payment": {"kind": "cheque"}}, "what stands at payment is neither Card nor Transfer"),
        (Chosen, {"payment": {"kind": "transfer", "iban": "x"}}, "the key “payment.at” is missing"),
        (Chosen, {"payment": {"kind": "transfer", "iban": "x", "at": "noon"}}, "“payment.at”: Invalid RFC3339"),
        (Chosen, {"payment": [1]}, "payment is no JSON object"),
    ],
)  # fmt: skip
def test_data_that_does_not_fit_is_a_sentence(cls: Any, data: Any, words: str) -> None:
    with pytest.raises(LoadingFailed) as caught:
        knowing(cls).load(stored("thing", data))
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"thing at main:1 can't be loaded as {cls.__qualname__}: ")


def test_text_that_is_not_json_or_was_not_read_is_a_sentence() -> None:
    broken, unread = stored("thing", {}), stored("thing", {})
    broken.data_text, unread.data_text = b"\xff", None
    with pytest.raises(LoadingFailed, match=r"can't be decoded .*\. Read the event raw\.$"):
        knowing(Line).load(broken)
    with pytest.raises(LoadingFailed, match=r"Line: its data was not read\. Read the event with its payload\.$"):
        knowing(Line).load(unread)


@pytest.mark.parametrize("more", ["1e400", '"\\ud800"', "[" * 5000 + "]" * 5000, "12345678901234567890123"])
def test_what_stands_in_keys_that_the_class_does_not_know_does_no_harm(more: str) -> None:
    event = stored("thing", f'{{"sku": "a", "odd": {more}, "price": "1"}}')
    if more.startswith("["):
        with pytest.raises(LoadingFailed, match="too deep"):
            knowing(Line).load(event)
    else:
        assert knowing(Line).load(event) == Line("a", Decimal(1))


def test_a_decimal_that_others_wrote_as_a_number_keeps_all_its_digits() -> None:
    event = stored("thing", '{"sku": "a", "price": 0.12345678901234567890123}')
    assert knowing(Line).load(event) == Line("a", Decimal("0.12345678901234567890123"))


# --- what can't be stored ---------------------------------------------------------------------------------------------


@dataclass
class Real:
    value: float


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Line("a", "cheap"), "Line can't be stored as thing: “price”"),  # type: ignore[arg-type]
        (Line("a", Decimal(1), None), "“quantity”"),  # type: ignore[arg-type]
        (ModelRated.__new__(ModelRated), "can't be stored as thing"),
        (Timed({1, 2}), "“at”"),  # type: ignore[arg-type]
        (Timed(object()), "of the type object has no form in JSON"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_an_object_that_could_not_be_read_back_is_refused_before_it_is_stored(value: Any, words: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        knowing(type(value)).new_event(value)
    assert words in str(caught.value)


@dataclass(frozen=True)
class LongLine(Line):
    note: str = ""


def test_what_the_annotation_would_not_read_back_is_refused_and_not_lost() -> None:
    value = AttrsPaid(Decimal(1), at, [Line("a", Decimal(1)), LongLine("b", Decimal(1), note="x")])
    with pytest.raises(InvalidEvent, match=r"the key “lines\[1\]\.note” is unknown"):
        knowing(AttrsPaid).new_event(value)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_has_no_word_for_is_refused(number: float) -> None:
    with pytest.raises(InvalidEvent, match="can't be written as JSON"):
        prepare(knowing(Real).new_event(Real(number)))


class Plain: ...


@attrs.define
class Hidden:
    _secret: int


class SecretModel(pydantic.BaseModel):
    password: list[pydantic.SecretStr]


@dataclass
class TwoTexts:
    value: dt.date | dt.datetime


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (Plain, "Plain is no dataclass, attrs class, Pydantic model or msgspec Struct"),
        (Ambiguous, "can't tell apart"),
        (HoldsMoney, "HoldsMoney.money is a Money, which has no form in JSON yet"),
        (Hidden, "_secret of Hidden is private"),
        (SecretModel, "SecretModel.password is a secret"),
        (TwoTexts, "TwoTexts can't be stored and read back"),
    ],
)
def test_a_class_that_could_not_be_stored_and_read_back_is_refused_when_it_is_registered(cls: type, words: str) -> None:
    with pytest.raises(InvalidDefinition) as caught:
        knowing(cls)
    assert words in str(caught.value)


def test_a_type_of_ones_own_is_stored_as_one_says() -> None:
    serializer = Serializer()
    serializer.add_value(Money, write=lambda money: f"{money.cents} ct", read=lambda text: Money(int(text.split()[0])))
    serializer.add_event(HoldsMoney, "paid")
    value = HoldsMoney(Money(5), [Money(6)])
    event = serializer.new_event(value)
    assert event.data == {"money": "5 ct", "more": ["6 ct"]}
    assert serializer.load(recorded(event)) == value
    with pytest.raises(LoadingFailed, match="“money”: invalid literal for int"):
        serializer.load(stored("paid", {"money": "five", "more": []}))


@dataclass
class Customer:
    email: str | Forgotten
    limit: Decimal | Forgotten
    card: Card | Forgotten
    born: dt.date | Forgotten | None = None


def test_a_field_may_say_that_it_was_forgotten() -> None:
    serializer, gone = knowing(Customer), {"forgotten": "2026-11-24T12:00:00Z"}
    forgotten = Forgotten(dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC))
    kept = Customer("ann@example.test", Decimal("1.50"), Card("1"), dt.date(2000, 1, 1))
    assert there_and_back(kept) == kept
    found = serializer.load(stored("thing", {"email": gone, "limit": gone, "card": gone, "born": gone}))
    assert found == Customer(forgotten, forgotten, forgotten, forgotten)


# --- revisions --------------------------------------------------------------------------------------------------------


def test_a_revision_stands_in_the_metadata_and_is_left_out_when_it_is_the_first() -> None:
    serializer = knowing(Line, "line")
    serializer.add_event(Card, "card", revision=3)
    assert serializer.new_event(Line("a", Decimal(1))).metadata is None
    assert serializer.new_event(Card("1")).metadata == {"revision": 3}
    assert serializer.new_event(Card("1"), metadata={"actor": "ann"}).metadata == {"actor": "ann", "revision": 3}
    text = serializer.new_event(Card("1"), metadata='{"actor":"ann"}').metadata
    assert text == '{"revision":3,"actor":"ann"}'


def test_ids_and_times_of_the_callers_go_along() -> None:
    event = knowing(Line).new_event(Line("a", Decimal(1)), id=UUID(int=9), occurred_at=at)
    assert (event.id, event.occurred_at) == (UUID(int=9), at)
    assert recorded(event).occurred_at == at


def test_an_event_of_newer_code_is_said_to_be_one() -> None:
    with pytest.raises(WrittenByNewerCode) as caught:
        knowing(Line).load(stored("thing", {"sku": "a", "price": "1"}, {"revision": 4}))
    assert str(caught.value) == (
        "thing at main:1 (revision 4) can't be upcast: it was written by newer code, and this code knows revisions up to 1. "
        "Bring this program up to date, or read the event raw."
    )


def test_annotations_may_name_what_is_defined_further_down() -> None:
    serializer = Serializer()
    serializer.add_event(Early, "early")
    late: Callable[[], Any] = lambda: Early(shapes.Line("a", Decimal(1)))  # noqa: E731
    with pytest.raises(
        InvalidDefinition, match=r"annotations of .*Early can't be read: name 'Undefined' is not defined"
    ):
        serializer.new_event(late())
    with pytest.raises(InvalidDefinition, match="Early"):
        serializer.check()


@dataclass
class Early:
    line: Undefined  # type: ignore[name-defined]  # noqa: F821
