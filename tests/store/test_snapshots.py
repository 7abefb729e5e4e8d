"""Snapshots shorten loading and are never the truth: whatever is wrong with one, the events are folded."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.store.helpers import count, execute, in_memory_too
from webapp.errors import InvalidDefinition, InvalidRequest, NotFound
from webapp.store import EventStore, NewEvent, Serializer
from webapp.store.aggregates import aggregate, applies
from webapp.store.deciders import Decider, DeciderRepository
from webapp.store.recording import Aggregate
from webapp.store.repository import Repository
from webapp.store.snapshot_table import TableSnapshots
from webapp.store.snapshots import Snapshot, SnapshotPolicy

folded: list[int] = []
"""The versions that handlers were called with, in order."""


@aggregate("counter", id="key")
@dataclass
class Counter(Aggregate):
    key: str
    numbers: list[int] = field(default_factory=list)
    total: Decimal = Decimal(0)
    changed_at: dt.date | None = None

    def count(self, number: int) -> Any:
        return ("counted", {"n": number})

    @applies("counted")
    def _counted(self, event: Any) -> None:
        folded.append(event.version)
        self.numbers.append(event.data["n"])
        self.total += Decimal(event.data["n"]) / 10


@aggregate("counter", id="key")
@dataclass
class NewerCounter(Aggregate):
    """What Counter becomes with the next release."""

    key: str
    numbers: list[int] = field(default_factory=list)
    is_newer: bool = True

    @applies("counted")
    def _counted(self, event: Any) -> None:
        self.numbers.append(event.data["n"])


class Money:
    """A value of a kind that no library knows."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    def __hash__(self) -> int:
        return hash(self.cents)


class Shelf:
    """Snapshots in a dict: any object with these two methods does."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str, str], dict[int, Snapshot]] = {}

    def load(self, log: str, aggregate_type: str, aggregate_id: str, up_to: int | None) -> Snapshot | None:
        versions = self.kept.get((log, aggregate_type, aggregate_id), {})
        latest = max((version for version in versions if up_to is None or version <= up_to), default=None)
        return None if latest is None else versions[latest]

    def save(self, snapshot: Snapshot) -> None:
        key = (snapshot.log, snapshot.aggregate_type, snapshot.aggregate_id)
        self.kept.setdefault(key, {})[snapshot.version] = snapshot


@pytest.fixture(autouse=True)
def nothing_folded() -> None:
    folded.clear()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def counters(sqlite_store: EventStore, shelf: Shelf) -> Repository[Counter]:
    return Repository(sqlite_store, Counter, snapshots=SnapshotPolicy(every=5, store=shelf))


def count_to(counters: Repository[Counter], last: int, key: str = "1") -> None:
    for number in range(1, last + 1):
        counters.execute_or_create(key, Counter.count, number)


def versions_loaded(counters: Repository[Counter], load: Any = None) -> list[int]:
    folded.clear()
    (load or counters.load)("1")
    return list(folded)


def kept_in(store: EventStore) -> list[int]:
    return [row[0] for row in execute(store, "SELECT version FROM projectionist_snapshots ORDER BY version")]


def test_a_snapshot_is_taken_every_so_many_events_and_shortens_loading(store: EventStore) -> None:
    counters = Repository(store, Counter, snapshots=SnapshotPolicy(every=5))
    plain = Repository(store, Counter)
    count_to(counters, 4)
    assert kept_in(store) == []
    count_to(counters, 8)
    assert kept_in(store) == [5, 10]
    assert versions_loaded(counters) == [11, 12]
    assert versions_loaded(plain) == list(range(1, 13))
    assert counters.load("1") == plain.load("1")
    assert counters.load("1").total == Decimal("4.6")


def test_one_large_save_takes_one_snapshot_where_it_ends(store: EventStore) -> None:
    counters = Repository(store, Counter, snapshots=SnapshotPolicy(every=5))
    counters.save(Counter("1"), [("counted", {"n": number}) for number in range(12)])
    assert kept_in(store) == [12]
    assert versions_loaded(counters) == []
    assert len(counters.load("1").numbers) == 12


def test_the_table_keeps_the_last_three_of_each_aggregate(store: EventStore) -> None:
    counters = Repository(store, Counter, snapshots=SnapshotPolicy(every=2))
    count_to(counters, 4, "2")
    count_to(counters, 11, "1")
    assert kept_in(store) == [2, 4, 6, 8, 10]
    TableSnapshots(store.database).delete("main", "counter", "1")
    assert kept_in(store) == [2, 4]
    assert len(counters.load("1").numbers) == 11


def test_any_object_with_two_methods_keeps_them(counters: Repository[Counter], shelf: Shelf) -> None:
    count_to(counters, 12)
    assert list(shelf.kept["main", "counter", "1"]) == [5, 10]
    assert count(counters.store, "projectionist_snapshots") == 0
    assert versions_loaded(counters) == [11, 12]


@pytest.mark.parametrize("every", [0, -1, 1.5, True, None])
def test_every_is_a_number_from_one_on(every: Any) -> None:
    with pytest.raises(InvalidRequest, match="Snapshots are taken every 1, 2, … events"):
        SnapshotPolicy(every=every)


# --- time travel ----------------------------------------------------------------------------------------------------


@in_memory_too
def test_time_travel_starts_from_a_snapshot_within_and_never_a_newer_one(store: EventStore) -> None:
    counters = Repository(store, Counter, snapshots=SnapshotPolicy(every=5))
    count_to(counters, 17)
    moments = {event.version: event.recorded_at for event in store.read_stream("counter", "1")}
    for version in range(1, 18):
        start = version - version % 5
        assert versions_loaded(counters, lambda id, at=version: counters.load_at(id, at)) == list(
            range(start + 1, version + 1)
        )
        assert counters.load_at("1", version).numbers == list(range(1, version + 1))
        as_of = counters.load_as_of("1", moments[version])
        assert as_of.numbers == [number for number in range(1, 18) if moments[number] <= moments[version]]
    folded.clear()
    with pytest.raises(NotFound):
        counters.load_at("1", 18)
    with pytest.raises(NotFound):
        counters.load_as_of("1", moments[1] - dt.timedelta(seconds=1))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    every=st.integers(1, 6),
    saves=st.lists(st.integers(1, 7), min_size=1, max_size=6),
    broken=st.sets(st.integers(0, 5)),
    data=st.data(),
)
def test_with_snapshots_every_state_is_what_it_is_without(
    sqlite_store: EventStore, every: int, saves: list[int], broken: set[int], data: st.DataObject
) -> None:
    key, shelf = str(uuid.uuid4()), Shelf()
    counters = Repository(sqlite_store, Counter, snapshots=SnapshotPolicy(every=every, store=shelf))
    plain = Repository(sqlite_store, Counter)
    for number, size in enumerate(saves):
        counters.execute_or_create(key, lambda counter, n=size: [counter.count(one) for one in range(n)])
        kept = shelf.kept.get(("main", "counter", key), {})
        if number in broken and kept:
            latest = max(kept)
            kept[latest] = replace(kept[latest], state=kept[latest].state[:-1])
    assert counters.load(key) == plain.load(key)
    version = data.draw(st.integers(1, sum(saves)))
    assert counters.load_at(key, version) == plain.load_at(key, version)
    assert len(counters.load_at(key, version).numbers) == version
    moment = data.draw(st.sampled_from([event.recorded_at for event in sqlite_store.read_stream("counter", key)]))
    assert counters.load_as_of(key, moment) == plain.load_as_of(key, moment)
    assert counters.load_true_at(key, moment) == plain.load_true_at(key, moment)


def test_true_at_never_uses_a_snapshot(counters: Repository[Counter]) -> None:
    early = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    count_to(counters, 6)
    counters.store.append("counter", "1", [NewEvent("counted", {"n": 100}, occurred_at=early)])
    folded.clear()
    assert counters.load_true_at("1", early).numbers == [100]
    assert folded == [7]
    assert counters.load_true_at("1", dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).numbers == [100, 1, 2, 3, 4, 5, 6]


def test_a_store_of_snapshots_that_gives_a_newer_one_than_asked_isnt_believed(
    counters: Repository[Counter], shelf: Shelf, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    count_to(counters, 12)
    honest = shelf.load
    monkeypatch.setattr(shelf, "load", lambda log, type_, id, up_to: honest(log, type_, id, None))
    assert counters.load_at("1", 3).numbers == [1, 2, 3]
    assert "gave version 10 of counter/1 for up to 3" in caplog.text
    assert counters.load("1").numbers == list(range(1, 13))


def test_a_clock_that_jumps_back_changes_no_state(sqlite_store: EventStore, monkeypatch: Any) -> None:
    counters = Repository(sqlite_store, Counter, snapshots=SnapshotPolicy(every=2))
    dialect, past = sqlite_store.database.dialect, dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
    count_to(counters, 1)
    monkeypatch.setattr(type(dialect), "clock", lambda self, connection: past)
    count_to(counters, 4)
    assert kept_in(sqlite_store) == [2, 4], "taken in 2001, of events of today"
    moments = [event.recorded_at for event in sqlite_store.read_stream("counter", "1")]
    with pytest.raises(NotFound):
        counters.load_as_of("1", past + dt.timedelta(days=1))
    first = counters.load_as_of("1", moments[0])
    assert len(first.numbers) == sum(moment <= moments[0] for moment in moments)


# --- what's wrong with one --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        {"state": "not JSON"},
        {"state": "null"},
        {"state": "[]"},
        {"state": '{"key": "1", "numbers": "many"}'},
        {"state": '{"key": "1", "a_field_of_yore": 1}'},
        {"fingerprint": "0" * 64},
        {"event_id": "00000000-0000-0000-0000-000000000000"},
    ],
)
def test_a_broken_or_older_snapshot_is_passed_over_and_healed_by_the_next_save(
    counters: Repository[Counter], shelf: Shelf, damage: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    count_to(counters, 6)
    kept = shelf.kept["main", "counter", "1"]
    kept[5] = replace(kept[5], **damage)  # type: ignore[arg-type]
    fresh = Repository(counters.store, Counter, snapshots=SnapshotPolicy(every=5, store=shelf))
    for _ in range(3):
        assert versions_loaded(fresh) == [1, 2, 3, 4, 5, 6]
    assert len(caplog.records) == (0 if "event_id" in damage else 1), "it's said once"
    fresh.execute("1", Counter.count, 7)
    assert list(kept) == [5, 7]
    assert versions_loaded(fresh) == []
    assert fresh.load("1").numbers == list(range(1, 8))


def test_an_older_snapshot_is_tried_when_the_latest_is_broken(counters: Repository[Counter], shelf: Shelf) -> None:
    count_to(counters, 11)
    kept = shelf.kept["main", "counter", "1"]
    kept[10] = replace(kept[10], state="{")
    assert versions_loaded(counters) == [6, 7, 8, 9, 10, 11]


def test_newer_code_passes_over_snapshots_of_older_code_and_replaces_them(
    store: EventStore, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    count_to(Repository(store, Counter, snapshots=SnapshotPolicy(every=2)), 7)
    assert kept_in(store) == [2, 4, 6]
    later = EventStore.open(database_url)  # the next release runs in a process of its own
    try:
        counters = Repository(later, NewerCounter, snapshots=SnapshotPolicy(every=2))
        assert counters.load("1") == NewerCounter("1", [1, 2, 3, 4, 5, 6, 7])
        assert [record.message for record in caplog.records] == [
            "Snapshots of counter by other code are passed over; the next saves replace them."
        ]
        counters.execute("1", lambda counter: ("counted", {"n": 8}))
    finally:
        later.close()
    assert kept_in(store) == [8]


def test_a_snapshot_of_a_history_that_isnt_there_any_more_is_passed_over(
    counters: Repository[Counter], shelf: Shelf, tmp_path: Any
) -> None:
    count_to(counters, 6)
    restored = EventStore.open(
        f"sqlite:///{tmp_path}/restored.db"
    )  # an older backup, while snapshots are kept elsewhere
    restored.migrate()
    try:
        others = Repository(restored, Counter, snapshots=SnapshotPolicy(every=5, store=shelf))
        assert others.find("1") is None
        count_to(others, 3)
        assert others.load("1").numbers == [1, 2, 3]
        count_to(others, 3)
        assert others.load("1").numbers == [1, 2, 3, 1, 2, 3]
    finally:
        restored.close()


# --- what must never happen -------------------------------------------------------------------------------------------


class Failing(Shelf):
    """A shelf that can't be reached."""

    def load(self, *_: Any) -> Snapshot | None:
        raise OSError("no route to the shelf")

    def save(self, _: Snapshot) -> None:
        raise OSError("the shelf is full")


def test_a_failing_store_of_snapshots_fails_no_load_and_no_save(
    sqlite_store: EventStore, caplog: pytest.LogCaptureFixture
) -> None:
    counters = Repository(sqlite_store, Counter, snapshots=SnapshotPolicy(every=1, store=Failing()))
    count_to(counters, 3)
    assert counters.load("1").numbers == [1, 2, 3]
    assert "no route to the shelf" in caplog.text


def test_a_state_that_cant_be_written_fails_no_save(sqlite_store: EventStore, caplog: pytest.LogCaptureFixture) -> None:
    @aggregate("loose", id="key")
    @dataclass
    class Loose:
        key: str
        anything: Any = None

        @applies("set")
        def _set(self) -> None:
            self.anything = {1: object()}

    loose = Repository(sqlite_store, Loose, snapshots=SnapshotPolicy(every=1))
    loose.create("1", lambda one: ("set", None))
    loose.execute("1", lambda one: ("set", None))
    assert loose.load("1").anything is not None and count(sqlite_store, "projectionist_snapshots") == 0
    assert len([record for record in caplog.records if "A snapshot of loose/1 can't be" in record.message]) == 1


def test_a_snapshot_holds_nothing_that_isnt_stored(counters: Repository[Counter], shelf: Shelf) -> None:
    count_to(counters, 4)
    counter = counters.load("1")
    counter.numbers.append(999)  # changed by no event
    counters.save(counter, counter.count(5))
    counter.record(("counted", {"n": 6}))  # not saved
    assert '"numbers":[1,2,3,4,5]' in shelf.kept["main", "counter", "1"][5].state
    assert counters.load("1").numbers == [1, 2, 3, 4, 5]


def test_no_snapshot_is_taken_in_a_transaction_that_may_still_fail(store: EventStore, shelf: Shelf) -> None:
    count_to(Repository(store, Counter), 1)
    counters = Repository(store, Counter, snapshots=SnapshotPolicy(every=1, store=shelf))
    with pytest.raises(RuntimeError), store.database.writing() as connection:
        counters.save(counters.load("1"), ("counted", {"n": 2}), connection=connection)
        raise RuntimeError
    assert shelf.kept == {} and counters.load("1").numbers == [1]


# --- states of all kinds ----------------------------------------------------------------------------------------------


def test_a_class_without_known_fields_says_how_it_is_kept(sqlite_store: EventStore) -> None:
    class Plain:
        def __init__(self) -> None:
            self.total = 0

        @applies("counted")
        def _counted(self, event: Any) -> None:
            self.total += event.data["n"]

    class WithHooks(Plain):
        def to_snapshot(self) -> Any:
            return self.total

        @classmethod
        def from_snapshot(cls, value: Any) -> WithHooks:
            found = cls()
            found.total = value
            return found

    with pytest.raises(InvalidDefinition, match=r"Snapshots of .*Plain can't be taken.*to_snapshot\(\)"):
        Repository(sqlite_store, Plain, aggregate_type="plain", snapshots=SnapshotPolicy(every=2))
    hooked = Repository(sqlite_store, WithHooks, aggregate_type="hooked", snapshots=SnapshotPolicy(every=2))
    for number in range(1, 6):
        hooked.execute_or_create("1", lambda one, n=number: ("counted", {"n": n}))
    assert kept_in(sqlite_store) == [2, 4] and hooked.load("1").total == 15


def test_values_that_the_serializer_was_told_of_are_kept(sqlite_store: EventStore) -> None:
    serializer = Serializer()
    serializer.add_value(Money, write=lambda money: money.cents, read=Money)

    @aggregate("purse", id="key", serializer=serializer)
    @dataclass
    class Purse:
        key: str
        money: Money = field(default_factory=lambda: Money(0))

        @applies("counted")
        def _counted(self, event: Any) -> None:
            self.money = Money(self.money.cents + event.data["n"])

    purses = Repository(sqlite_store, Purse, snapshots=SnapshotPolicy(every=2))
    for _ in range(5):
        purses.execute_or_create("1", lambda purse: ("counted", {"n": 3}))
    assert kept_in(sqlite_store) == [2, 4] and purses.load("1").money.cents == 15


def test_states_of_deciders_are_kept_too(sqlite_store: EventStore, caplog: pytest.LogCaptureFixture) -> None:
    decider: Decider[int, Any] = Decider({"n": 0}, lambda by, state: ("counted", {"n": by}), _add)
    counters = DeciderRepository(sqlite_store, decider, "counter", snapshots=SnapshotPolicy(every=3))
    for number in range(1, 8):
        counters.handle("1", number)
    assert kept_in(sqlite_store) == [3, 6]
    folded.clear()
    assert counters.load("1").state == {"n": 28} and folded == [7]
    assert not caplog.records


def _add(state: Any, event: Any) -> Any:
    folded.append(event.version)
    return {"n": state["n"] + event.data["n"]}


def test_a_state_that_json_would_change_is_not_kept(sqlite_store: EventStore, caplog: pytest.LogCaptureFixture) -> None:
    decider: Decider[int, Any] = Decider((0,), lambda by, state: ("counted", {"n": by}), lambda state, _: (*state, 1))
    counters = DeciderRepository(sqlite_store, decider, "counter", snapshots=SnapshotPolicy(every=1))
    counters.handle("1", 1)
    assert counters.handle("1", 1).state == counters.load("1").state == (0, 1, 1)
    assert "the state is more than JSON holds" in caplog.text


def test_a_store_without_a_table_needs_a_place_for_them() -> None:
    class Reader:
        """An event source of another kind."""

    with pytest.raises(InvalidDefinition, match=r"Snapshots of counter need a place.*SnapshotPolicy\(store=…\)"):
        Repository(Reader(), Counter, snapshots=SnapshotPolicy(every=1))  # type: ignore[arg-type]


def test_table_and_dict_say_the_same(store: EventStore) -> None:
    store.append("counter", "1", [NewEvent("counted", {"n": 1})])
    table = TableSnapshots(store.database)
    one = Snapshot("main", "counter", "1", 5, "an-id", "f" * 64, '{"text": "ünï \\u0000 😀"}')
    for each in (table, Shelf()):
        assert each.load("main", "counter", "1", None) is None
        for version in (5, 7, 9):
            each.save(replace(one, version=version))
        assert each.load("main", "counter", "1", None) == replace(one, version=9)
        assert each.load("main", "counter", "1", 8) == replace(one, version=7)
        assert each.load("main", "counter", "1", 4) is None
        assert each.load("main", "counter", "2", None) is None
        each.save(replace(one, version=9, state='"other"'))
        assert each.load("main", "counter", "1", 9) == replace(one, version=9, state='"other"')
    table.save(replace(one, aggregate_id="nothing there"))
    assert table.load("main", "counter", "nothing there", None) is None
