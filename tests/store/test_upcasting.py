"""Old events are read in today's form, what is stored stays as it is, and mistakes in upcasters are said clearly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.test_serialization import stored
from webapp.errors import InvalidDefinition, LoadingFailed, UpcastingFailed, WrittenByNewerCode
from webapp.store import Append, EventStore, NewEvent, RecordedEvent, Renamed, Serializer, UpcastEvent


@dataclass(frozen=True)
class Placed:
    cents: int
    currency: str


@dataclass(frozen=True)
class AddressSet:
    street: str
    city: str


def placing() -> Serializer:
    """Knows order.placed at revision 3, with a chain from 1."""
    serializer = Serializer()
    serializer.add_event(Placed, "order.placed", revision=3)

    @serializer.upcaster("order.placed", from_revision=1)
    def to_cents(data: Any) -> Any:
        data["cents"] = data.pop("euros") * 100
        return data

    @serializer.upcaster("order.placed", from_revision=2)
    def with_currency(data: Any) -> Any:
        return data | {"currency": "EUR"}

    return serializer


def at(position: int, type_: str, data: Any, *, stream: str = "1", revision: int = 1) -> RecordedEvent:
    event = stored(type_, data, {} if revision == 1 else {"revision": revision})
    event.position = event.version = position
    event.aggregate_id = stream
    return event


def seen(events: Iterable[RecordedEvent]) -> list[tuple[int, str, Any]]:
    return [(event.position, event.type, event.data) for event in events]


# --- chains -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("revision", "data"), [(1, {"euros": 5}), (2, {"cents": 500}), (3, {"cents": 500, "currency": "EUR"})]
)
def test_a_chain_runs_from_the_stored_revision_to_the_newest(revision: int, data: Any) -> None:
    assert placing().load(at(7, "order.placed", data, revision=revision)) == Placed(500, "EUR")


def test_both_forms_can_be_seen_and_the_stored_one_never_changes() -> None:
    event = at(7, "order.placed", '{ "euros": 5 }')
    before = event.data  # decoded already: the upcaster changes its own copy only
    (today,) = placing().upcast(event)
    assert isinstance(today, UpcastEvent)
    assert (today.data, today.data_text) == ({"cents": 500, "currency": "EUR"}, '{"cents":500,"currency":"EUR"}')
    assert (today.revision, today.metadata, today.metadata_text) == (3, {"revision": 3}, '{"revision":3}')
    assert today.stored is event
    assert (event.data, event.data_text, event.metadata) == ({"euros": 5}, '{ "euros": 5 }', {})
    assert before == {"euros": 5}
    same = (
        "log",
        "position",
        "version",
        "aggregate_type",
        "aggregate_id",
        "id",
        "recorded_at",
        "actor",
        "stream",
        "occurred_at",
    )
    assert [getattr(today, name) for name in same] == [getattr(event, name) for name in same]
    assert '"data":{"cents":500,"currency":"EUR"}' in today.to_json()
    assert placing().upcast(today) == [today]
    assert placing().load(today) == Placed(500, "EUR")


def test_an_upcaster_may_look_at_the_stored_event_and_jump_over_revisions() -> None:
    serializer = Serializer()

    @serializer.upcaster("noted", from_revision=1, to_revision=4)
    def note(data: Any, event: RecordedEvent) -> Any:
        return data | {"by": event.actor, "where": event.position}

    event = at(9, "noted", {"n": 1})
    event.actor = "ann"
    (today,) = serializer.upcast(event)
    assert isinstance(today, UpcastEvent)
    assert (today.data, today.revision) == ({"n": 1, "by": "ann", "where": 9}, 4)


def test_an_event_is_renamed_at_any_revision_and_goes_on_in_its_new_name() -> None:
    serializer = placing()
    serializer.rename("OrderWasPlaced", "order.placed")
    serializer.rename("Shop.OrderWasPlaced", "OrderWasPlaced")
    assert serializer.load(at(1, "Shop.OrderWasPlaced", {"euros": 5})) == Placed(500, "EUR")
    assert serializer.load(at(1, "OrderWasPlaced", {"cents": 5}, revision=2)) == Placed(5, "EUR")


def test_an_upcaster_may_rename_what_it_converts() -> None:
    serializer = placing()

    @serializer.upcaster("basket.paid", from_revision=1)
    def to_order(data: Any) -> Any:
        return Renamed("order.placed", {"cents": data["amount"]}, revision=2)

    assert seen(serializer.upcast(at(3, "basket.paid", {"amount": 7}))) == [
        (3, "order.placed", {"cents": 7, "currency": "EUR"})
    ]


@pytest.mark.parametrize("lazily", [True, False])
def test_an_event_is_split_into_several_of_any_types_each_going_its_own_way(lazily: bool) -> None:
    serializer = placing()

    @serializer.upcaster("order.made", from_revision=1)
    def split(data: Any) -> Any:
        parts = [Renamed("order.placed", {"euros": data["euros"]}), {"note": data["note"]}]
        return iter(parts) if lazily else parts

    event = at(3, "order.made", {"euros": 2, "note": "x"})
    assert seen(serializer.upcast(event)) == [
        (3, "order.placed", {"cents": 200, "currency": "EUR"}),
        (3, "order.made", {"note": "x"}),
    ]
    assert next(thing for _, thing in serializer.load_all([event])) == Placed(200, "EUR")
    with pytest.raises(UpcastingFailed, match="split into 2; use load_all"):
        serializer.load(event)


def test_an_event_is_dropped_for_readers_of_today_only() -> None:
    serializer = Serializer()
    serializer.upcaster("noise", from_revision=1)(lambda data: None)
    events = [at(1, "noise", {}), at(2, "order.paid", {}), at(3, "noise", {})]
    assert seen(serializer.upcast_all(events)) == [(2, "order.paid", {})]
    with pytest.raises(UpcastingFailed, match="dropped; use load_all"):
        serializer.load(events[0])


def test_data_that_is_itself_a_list_is_returned_within_one() -> None:
    serializer = Serializer()
    serializer.upcaster("listed", from_revision=1)(lambda data: [[*data, 3]])
    assert seen(serializer.upcast(at(1, "listed", [1, 2]))) == [(1, "listed", [1, 2, 3])]


# --- what costs nothing -----------------------------------------------------------------------------------------------


class Untouchable(RecordedEvent):
    """An event whose payload and metadata must not be looked at."""

    @property
    def data(self) -> Any:
        raise AssertionError("decoded")

    metadata = data


def test_events_of_types_without_upcasters_pass_as_they_are_undecoded() -> None:
    events = [Untouchable("main", number, "order", "1", number, "order.paid", "", 0) for number in (1, 2)]
    assert list(placing().upcast_all(events)) == events
    assert list(Serializer().upcast_all(events)) == events
    assert all(one is other for one, other in zip(placing().upcast_stream(events), events, strict=True))


def test_metadata_is_decoded_only_where_it_may_say_a_revision() -> None:
    event = Untouchable(
        "main", 1, "order", "1", 1, "order.placed", "", 0, None, None, None, '{"euros":1}', '{"actor":"ann"}'
    )
    (today,) = placing().upcast(event)
    assert today.data == {"cents": 100, "currency": "EUR"}
    escaped = at(1, "order.placed", {"cents": 1})
    escaped.metadata_text = '{"\\u0072evision":2}'
    assert placing().load(escaped) == Placed(1, "EUR")


# --- merging ----------------------------------------------------------------------------------------------------------


def merging(**options: Any) -> Serializer:
    """Makes an address of a street and a city, whichever comes last, and then one of its revision 2."""
    serializer = Serializer()
    serializer.add_event(AddressSet, "address.set", revision=2)
    serializer.rename("town.set", "city.set")

    @serializer.merger("street.set", "city.set", into="address.set", **options)
    def merge(parts: list[RecordedEvent]) -> Any:
        found = {part.type: part.data["name"] for part in parts}
        return found if len(found) == 2 else None

    @serializer.upcaster("address.set", from_revision=1)
    def named(data: Any) -> Any:
        return {"street": data["street.set"], "city": data["city.set"]}

    return serializer


def street(position: int, name: str, stream: str = "1") -> RecordedEvent:
    return at(position, "street.set", {"name": name}, stream=stream)


def city(position: int, name: str, stream: str = "1", type_: str = "city.set") -> RecordedEvent:
    return at(position, type_, {"name": name}, stream=stream)


def test_several_events_become_one_that_stands_where_the_last_of_them_stood() -> None:
    events = [at(1, "a", {}), street(2, "Elm"), at(3, "b", {}), city(4, "York", type_="town.set"), at(5, "c", {})]
    loaded = list(merging().load_all(events))
    assert [(event.position, thing) for event, thing in loaded if isinstance(thing, AddressSet)] == [
        (4, AddressSet("Elm", "York"))
    ]
    assert [event.position for event, _ in loaded] == [1, 3, 4, 5]
    merged = loaded[2][0]
    assert isinstance(merged, UpcastEvent)
    assert (merged.stored, merged.parts) == (events[3], (events[1], events[3]))


def test_streams_are_merged_apart_and_every_pair_anew() -> None:
    events = [
        street(1, "Elm", "1"), city(2, "Bath", "2"), street(3, "Oak", "2"), city(4, "York", "1"), city(5, "Hull", "1"),
        street(6, "Ash", "1"),
    ]  # fmt: skip
    found = [(event.position, event.aggregate_id, thing) for event, thing in merging().load_all(events)]
    assert found == [
        (3, "2", AddressSet("Oak", "Bath")), (4, "1", AddressSet("Elm", "York")), (6, "1", AddressSet("Ash", "Hull")),
    ]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["street.set", "city.set", "other"]), st.sampled_from("12"))), st.integers(1, 9)
)
def test_whatever_the_parts_and_the_window_order_is_kept_and_nothing_lost(
    kinds: list[tuple[str, str]], window: int
) -> None:
    events = [at(number, type_, {"name": "x"}, stream=stream) for number, (type_, stream) in enumerate(kinds, 1)]
    found = list(merging(window=window).upcast_stream(events))
    assert [event.position for event in found] == sorted({event.position for event in found})
    sources = [part for event in found for part in (event.parts if isinstance(event, UpcastEvent) else (event,))]
    assert sorted(event.position for event in sources) == [event.position for event in events]
    for event in found:
        if isinstance(event, UpcastEvent):
            assert {part.type for part in event.parts} == {"street.set", "city.set"}
            assert {part.aggregate_id for part in event.parts} == {event.aggregate_id}


def test_parts_that_stay_alone_come_out_in_their_places_at_the_end() -> None:
    events = [at(1, "a", {}), street(2, "Elm"), at(3, "b", {}), street(4, "Oak"), at(5, "c", {})]
    assert seen(merging().upcast_stream(events)) == seen(events)


def test_what_follows_a_part_is_held_back_for_a_window_only() -> None:
    serializer = merging(window=3)
    given: list[int] = []

    def events() -> Iterator[RecordedEvent]:
        for position in range(1, 9):
            given.append(position)
            yield street(1, "Elm") if position == 1 else city(8, "York") if position == 8 else at(position, "a", {})

    stream = serializer.upcast_stream(events())
    assert (next(stream).position, given[-1]) == (1, 4)
    assert [event.position for event in stream] == [2, 3, 4, 5, 6, 7, 8]


def test_readers_of_logs_get_the_parts() -> None:
    events = [street(1, "Elm"), city(2, "York", type_="town.set")]
    assert seen(merging().upcast_all(events)) == [(1, "street.set", {"name": "Elm"}), (2, "city.set", {"name": "York"})]


def test_a_merged_event_may_be_dropped_or_split_by_its_upcasters() -> None:
    serializer = Serializer()
    serializer.merger("x", "y", into="z")(lambda parts: {"n": len(parts)} if len(parts) == 2 else None)
    serializer.upcaster("z", from_revision=1)(lambda data: [{"half": 1}, {"half": 2}])
    events = [at(1, "x", {}), at(2, "y", {})]
    found = list(serializer.upcast_stream(events))
    assert seen(found) == [(2, "z", {"half": 1}), (2, "z", {"half": 2})]
    assert [event.parts for event in found if isinstance(event, UpcastEvent)] == [tuple(events)] * 2


def test_a_merger_that_raises_names_the_event() -> None:
    serializer = Serializer()
    serializer.merger("x", into="z")(lambda parts: parts[5])
    with pytest.raises(UpcastingFailed, match="x at main:4 can't be upcast: IndexError: list index out of range"):
        list(serializer.upcast_stream([at(4, "x", {})]))


@pytest.mark.parametrize(
    ("names", "into", "words"),
    [
        (("street.set", "x"), "y", "street.set is a part of two mergers"),
        (("x",), "x", "round in a circle"),
        (("x",), "street.set", "round in a circle"),
        (("address.set",), "y", "round in a circle"),
        ((), "y", "needs the types"),
    ],
)
def test_mergers_that_contradict_each_other_are_refused(names: tuple[str, ...], into: str, words: str) -> None:
    with pytest.raises(InvalidDefinition, match=words):
        merging().merger(*names, into=into)(lambda parts: None)


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_an_upcaster_that_raises_is_named_with_event_revision_and_cause_and_spares_raw_readers(
    store: EventStore,
) -> None:
    serializer = placing()
    store.append("order", "1", [NewEvent("order.placed", {"euros": 5}), NewEvent("order.placed", {"pounds": 5})])
    with pytest.raises(UpcastingFailed) as caught:
        list(serializer.load_all(store.read_stream("order", "1")))
    error = caught.value
    assert str(error) == (
        "order.placed at main:2 (revision 1) can't be upcast: KeyError: 'euros'. Mend its upcaster; the stored event is unchanged."
    )
    assert (error.type, error.log, error.position, error.revision) == ("order.placed", "main", 2, 1)
    assert isinstance(error.__cause__, KeyError)
    assert [event.data_text for event in store.read_log("main")] == ['{"euros":5}', '{"pounds":5}']


@pytest.mark.parametrize("result", [{1, 2}, object(), ({},), [{}, {1}]])
def test_an_upcaster_that_returns_no_json_is_said_to_be_the_cause(result: Any) -> None:
    serializer = Serializer()
    serializer.upcaster("a", from_revision=1)(lambda data: result)
    with pytest.raises(UpcastingFailed, match=r"it returned a (set|object|tuple); return JSON values"):
        serializer.upcast(at(1, "a", {}))


def test_stored_text_that_is_not_json_is_a_failure_of_that_event() -> None:
    event = at(1, "order.placed", {})
    event.data_text = b"\xff"
    with pytest.raises(UpcastingFailed, match=r"order.placed at main:1"):
        placing().upcast(event)


@pytest.mark.parametrize("revision", ["two", 0, 1.5, True, None])
def test_a_revision_that_is_no_number_is_a_failure_of_that_event(revision: Any) -> None:
    event = stored("order.placed", {}, {"revision": revision})
    with pytest.raises(UpcastingFailed, match="which is no number from 1 on"):
        placing().upcast(event)


def test_an_event_of_newer_code_is_refused_by_its_chain() -> None:
    with pytest.raises(WrittenByNewerCode, match=r"\(revision 9\).*knows revisions up to 3"):
        list(placing().upcast_all([at(1, "order.placed", {}, revision=9)]))


def test_loops_of_names_are_refused_when_they_are_made() -> None:
    serializer = Serializer()
    serializer.rename("a", "b")
    serializer.rename("b", "c")
    with pytest.raises(InvalidDefinition, match="c → a → b → c is a loop"):
        serializer.rename("c", "a")
    with pytest.raises(InvalidDefinition, match="d → d is a loop"):
        serializer.rename("d", "d")


def test_loops_of_upcasters_are_refused_at_first_use() -> None:
    serializer = Serializer()
    serializer.upcaster("a", from_revision=1)(lambda data: Renamed("b", data))
    serializer.upcaster("b", from_revision=1)(lambda data: Renamed("a", data))
    with pytest.raises(InvalidDefinition, match=r"a \(1\) → b \(1\) → a \(1\)"):
        serializer.upcast(at(1, "a", {}))


def test_a_split_that_makes_its_own_kind_again_ends_because_revisions_rise() -> None:
    serializer = Serializer()
    serializer.upcaster("a", from_revision=1)(lambda data: [data, data])
    serializer.upcaster("a", from_revision=2)(lambda data: [data, data])
    assert len(serializer.upcast(at(1, "a", {}))) == 4


@pytest.mark.parametrize(("first", "last"), [(0, 1), (2, 2), (3, 1), (-1, 0)])
def test_an_upcaster_that_does_not_rise_is_refused(first: int, last: int) -> None:
    with pytest.raises(InvalidDefinition, match="revisions begin at 1 and only rise"):
        Serializer().upcaster("a", from_revision=first, to_revision=last)(lambda data: data)


def test_two_upcasters_from_one_revision_are_refused_and_a_rename_beside_them() -> None:
    serializer = placing()
    with pytest.raises(InvalidDefinition, match="two upcasters from revision 1"):
        serializer.upcaster("order.placed", from_revision=1)(lambda data: data)
    with pytest.raises(InvalidDefinition, match=r"order.placed is renamed"):
        serializer.rename("order.placed", "other")
    serializer.rename("old", "order.placed")
    with pytest.raises(InvalidDefinition, match="old is renamed"):
        serializer.upcaster("old", from_revision=1)(lambda data: data)


def gap_in_the_middle(serializer: Serializer) -> None:
    serializer.upcaster("a", from_revision=1)(lambda data: data)
    serializer.upcaster("a", from_revision=3)(lambda data: data)


def gap_at_the_end(serializer: Serializer) -> None:
    serializer.add_event(Placed, "a", revision=3)
    serializer.upcaster("a", from_revision=1)(lambda data: data)


def past_the_class(serializer: Serializer) -> None:
    serializer.add_event(Placed, "a", revision=1)
    serializer.upcaster("a", from_revision=1)(lambda data: data)


@pytest.mark.parametrize(
    ("define", "words"),
    [
        (
            gap_in_the_middle,
            r"Nothing leads from revision 2 of a to revision 4. Add @serializer.upcaster\(.a., from_revision=2\)",
        ),
        (gap_at_the_end, "Nothing leads from revision 2 of a to revision 3"),
        (past_the_class, "lead to revision 2, but its class stands at 1"),
    ],
)
def test_a_chain_with_a_gap_is_refused_at_first_use_and_by_check(define: Any, words: str) -> None:
    serializer = Serializer()
    define(serializer)
    with pytest.raises(InvalidDefinition, match=words):
        serializer.check()
    with pytest.raises(InvalidDefinition, match=words):
        serializer.load(at(1, "a", {}))


def test_a_revision_that_no_upcaster_leads_on_from_is_said_at_the_event() -> None:
    serializer = Serializer()
    serializer.add_event(Placed, "order.placed", revision=2)
    with pytest.raises(InvalidDefinition, match=r"Nothing leads from revision 1 of order.placed to revision 2"):
        serializer.load(at(1, "order.placed", {"cents": 1, "currency": "EUR"}))


def test_upcast_data_that_does_not_fit_the_class_names_key_and_event() -> None:
    serializer = Serializer()
    serializer.add_event(Placed, "order.placed", revision=2)
    serializer.upcaster("order.placed", from_revision=1)(lambda data: {"cents": 1})
    with pytest.raises(LoadingFailed, match="the key “currency” is missing") as caught:
        serializer.load(at(6, "order.placed", {}))
    assert caught.value.position == 6


# --- with a store -----------------------------------------------------------------------------------------------------


def test_old_and_new_events_of_a_stored_stream_load_as_one_kind(store: EventStore) -> None:
    serializer = placing()
    store.append_many(
        [
            Append("order", "1", [NewEvent("order.placed", {"euros": 1})]),
            Append("order", "1", [NewEvent("order.placed", {"cents": 200}, {"revision": 2, "actor": "ann"})]),
            Append("order", "1", [serializer.new_event(Placed(300, "USD")), NewEvent("order.noted", {"n": 1})]),
        ]
    )
    loaded = list(serializer.load_all(store.read_stream("order", "1")))
    assert [thing for _, thing in loaded[:3]] == [Placed(100, "EUR"), Placed(200, "EUR"), Placed(300, "USD")]
    assert loaded[3][0] is loaded[3][1]
    assert [event.version for event, _ in loaded] == [1, 2, 3, 4]
    assert loaded[1][0].metadata == {"revision": 3, "actor": "ann"}
