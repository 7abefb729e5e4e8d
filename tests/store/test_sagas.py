"""Sagas react to each event once however often it's fed, remember by events, and know what is due."""

from __future__ import annotations

import datetime as dt
import threading
import time
from dataclasses import dataclass
from typing import Any

import pytest

from tests.store.helpers import in_memory_too, run_together
from webapp.errors import InvalidDefinition, InvalidEvent, InvalidRequest, SagaFailed
from webapp.store import EventStore, NewEvent, RecordedEvent, Serializer
from webapp.store.aggregates import applies
from webapp.store.recording import Aggregate
from webapp.store.saga_runner import SagaRunner
from webapp.store.sagas import Cancel, Complete, Due, Send, reacts, saga, starts, times_out

DAYS = dt.timedelta(days=1)


class Clock:
    """Time under control."""

    def __init__(self) -> None:
        self.now = dt.datetime.now(dt.UTC)

    def __call__(self) -> dt.datetime:
        return self.now


@saga("fulfilment", key=lambda event: event.data["order"], id="order")
@dataclass
class Fulfilment:
    order: str
    paid: int = 0

    @starts("order.placed")
    def placed(self, event: RecordedEvent) -> Any:
        yield Send("billing.charge", {"order": self.order, "total": event.data["total"]})
        yield Due("payment", after=3 * DAYS, data={"total": event.data["total"]})
        yield Due("reminder", after=DAYS)

    @reacts("order.paid")
    def paid_in(self, event: RecordedEvent) -> Any:
        yield NewEvent("fulfilment.paid", {"amount": event.data["amount"]})
        if self.paid + event.data["amount"] >= 100:
            yield from (
                Cancel("payment"),
                Cancel("reminder"),
                Send("warehouse.ship", {"order": self.order}),
                Complete(),
            )

    @times_out("reminder")
    def remind(self) -> Any:
        return Send("mail.remind", {"paid": self.paid})

    @times_out("payment")
    def not_paid(self, timeout: Any) -> Any:
        return [Send("order.cancel", {"order": self.order, "of": timeout.data["total"]}), Complete()]

    @applies("fulfilment.paid")
    def _paid(self, event: RecordedEvent) -> None:
        self.paid += event.data["amount"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def runner_of(store: EventStore, clock: Clock) -> SagaRunner[Fulfilment]:
    return SagaRunner(store, Fulfilment, clock=clock)


def place(store: EventStore, order: str, total: int = 100) -> RecordedEvent:
    return store.append("order", order, [NewEvent("order.placed", {"order": order, "total": total})])[0]


def pay(store: EventStore, order: str, amount: int) -> RecordedEvent:
    return store.append("order", order, [NewEvent("order.paid", {"order": order, "amount": amount})])[0]


def types(store: EventStore, order: str) -> list[str]:
    return [event.type for event in store.read_stream("fulfilment", order)]


PLACED = ["saga.reacted", "billing.charge", "saga.due", "saga.due"]


@in_memory_too
def test_a_saga_runs_from_its_first_event_to_its_end(store: EventStore, clock: Clock) -> None:
    runner = runner_of(store, clock)
    place(store, "1")
    assert runner.catch_up() == 4
    assert types(store, "1") == PLACED
    pay(store, "1", 60)
    pay(store, "1", 40)
    assert runner.catch_up() == 2 + 6
    process = runner.find("1")
    assert process is not None and process.is_completed and process.timeouts == {}
    assert process.state == Fulfilment("1", 100)
    assert types(store, "1")[4:] == [
        "saga.reacted", "fulfilment.paid", "saga.reacted", "fulfilment.paid", "saga.cancelled", "saga.cancelled",
        "warehouse.ship", "saga.completed",
    ]  # fmt: skip
    pay(store, "1", 1)
    place(store, "1")
    assert runner.step() == 0, "what has ended reacts to nothing"
    assert runner.find("2") is None


def test_what_it_records_says_what_caused_it(sqlite_store: EventStore, clock: Clock) -> None:
    (event,) = sqlite_store.append(
        "order", "1",
        [NewEvent("order.placed", {"order": "1", "total": 5}, {"correlation_id": "flow", "actor": "ann", "tenant": "acme"})],
    )  # fmt: skip
    recorded = runner_of(sqlite_store, clock).handle(event)
    assert {(one.correlation_id, one.causation_id, one.actor) for one in recorded} == {("flow", event.id, "ann")}
    assert [one.metadata.get("is_command") for one in recorded] == [None, True, None, None]
    assert {one.metadata["tenant"] for one in recorded} == {"acme"}


@in_memory_too
def test_an_event_fed_again_changes_nothing(store: EventStore, clock: Clock) -> None:
    first, second = place(store, "1"), pay(store, "1", 60)
    for _ in range(3):
        runner_of(store, clock).run([first, second])
    # Fed again when its state would decide otherwise: 60 and 60 would be enough.
    assert runner_of(store, clock).handle(second) == []
    assert types(store, "1") == [*PLACED, "saga.reacted", "fulfilment.paid"]


@in_memory_too
def test_runners_that_race_record_each_reaction_once(store: EventStore, clock: Clock) -> None:
    events = []
    for number in range(6):
        events += [place(store, str(number)), pay(store, str(number), 60), pay(store, str(number), 40)]
    outcomes = run_together(*[lambda: runner_of(store, clock).run(events)] * 4)
    assert all(isinstance(outcome, int) for outcome in outcomes), outcomes
    for number in range(6):
        found = types(store, str(number))
        assert len(found) == 12 and found.count("warehouse.ship") == found.count("billing.charge") == 1


def test_a_reaction_that_another_runner_recorded_meanwhile_stands(sqlite_store: EventStore) -> None:
    """Even where the two would record something else, such as the time."""
    outcomes: list[int] = []

    @saga("racing", key=lambda event: event.data)
    class Racing:
        @starts("begun")
        def begun(self, event: RecordedEvent) -> Any:
            outcomes.append(number := len(outcomes))
            if number == 0:
                SagaRunner(sqlite_store, Racing).handle(event)
            return Send("told", {"outcome": number})

    (event,) = sqlite_store.append("x", "1", [NewEvent("begun", 1)])
    assert SagaRunner(sqlite_store, Racing).handle(event) == []
    assert [one.data for one in sqlite_store.read_stream("racing", "1")][1:] == [{"outcome": 1}]


def test_a_runner_goes_on_where_the_last_one_stopped(sqlite_store: EventStore, clock: Clock) -> None:
    place(sqlite_store, "1")
    runner_of(sqlite_store, clock).catch_up()
    place(sqlite_store, "2")
    sqlite_store.append("other", "1", [NewEvent("unrelated", None)])
    read: list[int] = []
    runner = runner_of(sqlite_store, clock)
    handle = runner.handle

    def noting(event: RecordedEvent) -> list[RecordedEvent]:
        read.append(event.position)
        return handle(event)

    runner.handle = noting  # type: ignore[method-assign]
    assert runner.catch_up() == 4
    assert read[0] == 2, "what comes after the last event that a saga reacted to"
    assert runner.catch_up() == 0 and types(sqlite_store, "2") == PLACED


def test_sagas_may_stand_in_a_log_of_their_own(sqlite_store: EventStore, clock: Clock) -> None:
    runner = SagaRunner(sqlite_store, Fulfilment, into="processes", clock=clock)
    assert runner.step() == 0
    place(sqlite_store, "1")
    assert runner.catch_up() == 4
    assert SagaRunner(sqlite_store, Fulfilment, into="processes", clock=clock).catch_up() == 0
    assert sqlite_store.head("main") == 1 and sqlite_store.head("processes") == 4


def test_an_event_for_a_saga_that_never_began_passes_by(sqlite_store: EventStore, clock: Clock) -> None:
    pay(sqlite_store, "1", 100)
    assert runner_of(sqlite_store, clock).catch_up() == 0 and types(sqlite_store, "1") == []


# --- time -----------------------------------------------------------------------------------------------------------


@in_memory_too
def test_what_is_due_fires_once_when_its_time_has_come(store: EventStore, clock: Clock) -> None:
    runner, placed = runner_of(store, clock), place(store, "1")
    runner.catch_up()
    assert runner.next_due_at() == placed.recorded_at + DAYS
    clock.now = placed.recorded_at + DAYS - dt.timedelta(microseconds=1)
    assert runner.fire_due() == 0
    clock.now = placed.recorded_at + DAYS
    assert runner.fire_due() == 1
    assert runner.fire_due() == 0 and runner_of(store, clock).fire_due() == 0
    assert types(store, "1") == [*PLACED, "saga.fired", "mail.remind"]
    clock.now += 2 * DAYS
    assert runner_of(store, clock).fire_due() == 1
    assert types(store, "1")[6:] == ["saga.fired", "order.cancel", "saga.completed"]
    cancel = list(store.read_stream("fulfilment", "1"))[7]
    assert cancel.data == {"order": "1", "of": 100}
    assert runner.fire_due() == 0 and runner.next_due_at() is None


def test_a_clock_that_jumps_back_fires_nothing_again(sqlite_store: EventStore, clock: Clock) -> None:
    runner, placed = runner_of(sqlite_store, clock), place(sqlite_store, "1")
    runner.catch_up()
    clock.now = placed.recorded_at + DAYS
    assert runner.fire_due() == 1
    clock.now = placed.recorded_at - 365 * DAYS
    assert runner.fire_due() == 0 and runner_of(sqlite_store, clock).fire_due() == 0
    clock.now = placed.recorded_at + DAYS
    assert runner.fire_due() == 0 and runner_of(sqlite_store, clock).fire_due() == 0
    assert types(sqlite_store, "1").count("mail.remind") == 1


@in_memory_too
def test_runners_that_race_fire_each_timeout_once(store: EventStore, clock: Clock) -> None:
    for number in range(5):
        place(store, str(number))
    runner_of(store, clock).catch_up()
    clock.now += 2 * DAYS
    run_together(*[lambda: runner_of(store, clock).fire_due()] * 4)
    assert all(types(store, str(number)) == [*PLACED, "saga.fired", "mail.remind"] for number in range(5))


def test_a_payment_takes_back_what_was_due(sqlite_store: EventStore, clock: Clock) -> None:
    runner = runner_of(sqlite_store, clock)
    place(sqlite_store, "1")
    runner.catch_up()
    runner.next_due_at()
    pay(sqlite_store, "1", 100)
    runner.catch_up()
    clock.now += 10 * DAYS
    assert runner.fire_due() == 0 and runner.next_due_at() is None


def test_asking_again_moves_the_moment(sqlite_store: EventStore, clock: Clock) -> None:
    @saga("session", key=lambda event: event.data)
    class Session:
        @starts("seen")
        def seen(self) -> Any:
            return Due("idle", after=DAYS)

        @times_out("idle")
        def idle(self) -> Any:
            return [Send("sign.out"), Complete()]

    runner = SagaRunner(sqlite_store, Session, clock=clock)
    runner.handle(sqlite_store.append("user", "1", [NewEvent("seen", 1)])[0])
    second = sqlite_store.append("user", "1", [NewEvent("seen", 1)])[0]
    runner.handle(second)
    assert runner.next_due_at() == second.recorded_at + DAYS
    clock.now = second.recorded_at + DAYS
    assert runner.fire_due() == 1
    assert [event.type for event in sqlite_store.read_stream("session", "1")].count("saga.fired") == 1


def test_a_moment_that_another_runner_moved_meanwhile_isnt_fired_too_early(
    sqlite_store: EventStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    @saga("session", key=lambda event: event.data["user"])
    class Session:
        @starts("seen")
        def seen(self, event: RecordedEvent) -> Any:
            return Due("idle", after=event.data["days"] * DAYS)

        @times_out("idle")
        def idle(self) -> Any: ...

    runner = SagaRunner(sqlite_store, Session, clock=clock)
    first, second = sqlite_store.append(
        "user", "1", [NewEvent("seen", {"user": 1, "days": days}) for days in (1, 9)]
    )  # fmt: skip
    runner.handle(first)
    assert runner.next_due_at() == first.recorded_at + DAYS
    monkeypatch.setattr(runner, "_learn_timers", lambda: None)  # it has looked just before the other one moves it
    SagaRunner(sqlite_store, Session, clock=clock).handle(second)
    clock.now = first.recorded_at + 2 * DAYS
    assert runner.fire_due() == 0
    monkeypatch.undo()
    clock.now = second.recorded_at + 9 * DAYS
    assert runner.fire_due() == 1


def test_a_timeout_may_set_the_next_one_counted_from_its_own_moment(sqlite_store: EventStore, clock: Clock) -> None:
    @saga("ticking", key=lambda event: event.data)
    class Ticking:
        @starts("begun")
        def begun(self) -> Any:
            return Due("tick", after=DAYS)

        @times_out("tick")
        def tick(self) -> Any:
            return Due("tick", after=DAYS)

    runner = SagaRunner(sqlite_store, Ticking, clock=clock)
    begun = sqlite_store.append("clock", "1", [NewEvent("begun", 1)])[0]
    runner.handle(begun)
    clock.now = begun.recorded_at + 3.5 * DAYS
    assert [runner.fire_due() for _ in range(4)] == [1, 1, 1, 0]
    assert runner.next_due_at() == begun.recorded_at + 4 * DAYS


def test_a_timeout_that_fails_holds_up_no_other_and_is_tried_again(sqlite_store: EventStore, clock: Clock) -> None:
    mended: list[bool] = []

    @saga("careful", key=lambda event: event.data)
    class Careful:
        @starts("begun")
        def begun(self, event: RecordedEvent) -> Any:
            return Due("fail" if event.data == 1 else "work", after=DAYS)

        @times_out("fail")
        def fail(self) -> Any:
            if not mended:
                raise RuntimeError("not yet")

        @times_out("work")
        def work(self) -> Any: ...

    runner = SagaRunner(sqlite_store, Careful, clock=clock)
    runner.run(sqlite_store.append("x", "1", [NewEvent("begun", 1), NewEvent("begun", 2)]))
    clock.now += 2 * DAYS
    with pytest.raises(
        SagaFailed, match=r"careful/1 raised RuntimeError when it reacted to saga.due \(main:4\): not yet"
    ):
        runner.fire_due()
    assert [event.type for event in sqlite_store.read_stream("careful", "2")] == [
        "saga.reacted",
        "saga.due",
        "saga.fired",
    ]
    mended.append(True)
    assert runner.fire_due() == 1


def test_a_clock_without_zone_is_refused(sqlite_store: EventStore) -> None:
    with pytest.raises(InvalidRequest, match="The clock's time must be a datetime with its zone"):
        SagaRunner(sqlite_store, Fulfilment, clock=lambda: dt.datetime(2026, 1, 1)).fire_due()


def test_follow_steps_until_it_is_stopped(sqlite_store: EventStore, clock: Clock) -> None:
    stop = threading.Event()
    thread = threading.Thread(
        target=runner_of(sqlite_store, clock).follow, args=(stop,), kwargs={"pause_seconds": 0.02}
    )
    thread.start()
    try:
        place(sqlite_store, "1")
        ends_at = time.monotonic() + 20
        while types(sqlite_store, "1") != PLACED and time.monotonic() < ends_at:
            time.sleep(0.02)
    finally:
        stop.set()
        thread.join(10)
    assert types(sqlite_store, "1") == PLACED and not thread.is_alive()


# --- objects, recording, failures ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Begun:
    name: str


@dataclass(frozen=True)
class Noted:
    text: str


def test_sagas_work_with_objects_and_record(sqlite_store: EventStore) -> None:
    serializer = Serializer()
    serializer.add_event(Begun, "begun")
    serializer.add_event(Noted, "noted")

    @saga("noting", key=lambda event: (event.name, 1), id=("name", "number"), serializer=serializer)
    @dataclass
    class Noting(Aggregate):
        name: str
        number: int
        text: str = ""

        @starts(Begun)
        def begun(self, event: Begun, recorded: RecordedEvent) -> Any:
            self.record(Noted(f"{event.name} at {recorded.position}"))
            return Send("told", {"text": self.text})

        @applies(Noted)
        def _noted(self, event: Noted) -> None:
            self.text = event.text

    runner = SagaRunner(sqlite_store, Noting)
    (event,) = sqlite_store.append("x", "1", [serializer.new_event(Begun("ann"))])
    assert [one.type for one in runner.handle(event)] == ["saga.reacted", "noted", "told"]
    process = runner.find(("ann", 1))
    assert process is not None and process.state == Noting("ann", 1, "ann at 1")
    assert list(sqlite_store.read_stream("noting", "ann|1"))[-1].data == {"text": "ann at 1"}
    assert runner.handle(event) == []


def test_parts_of_a_split_event_are_handled_one_by_one(sqlite_store: EventStore) -> None:
    serializer = Serializer()

    @serializer.upcaster("begun.all", from_revision=1)
    def split(data: Any) -> Any:
        return [{"name": name} for name in data]

    @saga("each", key=lambda event: event.data["name"])
    class Each:
        @starts("begun.all")
        def begun(self) -> Any: ...

    runner = SagaRunner(sqlite_store, Each, serializer=serializer)
    (event,) = sqlite_store.append("x", "1", [NewEvent("begun.all", ["ann", "bob", "ann"])])
    for _ in range(2):
        runner.handle(event)
    assert [len(list(sqlite_store.read_stream("each", name))) for name in ("ann", "bob")] == [2, 1]


def test_a_reaction_that_fails_records_nothing_and_may_be_fed_again(sqlite_store: EventStore, clock: Clock) -> None:
    runner = runner_of(sqlite_store, clock)
    sqlite_store.append("order", "1", [NewEvent("order.placed", {"order": "1"})])
    with pytest.raises(
        SagaFailed, match=r"fulfilment/1 raised KeyError when it reacted to order.placed \(main:1\): 'total'"
    ):
        runner.catch_up()
    assert types(sqlite_store, "1") == []
    place(sqlite_store, "2")
    with pytest.raises(SagaFailed):
        runner.catch_up()
    assert types(sqlite_store, "2") == [], "it stands before the event that fails"


def test_a_key_that_fails_names_the_event(sqlite_store: EventStore, clock: Clock) -> None:
    sqlite_store.append("order", "1", [NewEvent("order.placed", {})])
    with pytest.raises(
        SagaFailed, match=r"fulfilment raised KeyError when it reacted to order.placed \(main:1\): 'order'"
    ):
        runner_of(sqlite_store, clock).catch_up()


def test_a_key_of_none_is_for_no_saga(sqlite_store: EventStore) -> None:
    @saga("picky", key=lambda event: event.data)
    class Picky:
        @starts("begun")
        def begun(self) -> Any: ...

    (event,) = sqlite_store.append("x", "1", [NewEvent("begun", None)])
    assert SagaRunner(sqlite_store, Picky).handle(event) == []


def test_what_it_returns_has_to_be_storable_and_foldable(sqlite_store: EventStore) -> None:
    outcome: list[Any] = []

    @saga("odd", key=lambda event: event.data)
    class Odd:
        @starts("begun")
        def begun(self) -> Any:
            return outcome

        @times_out("known")
        def known(self) -> Any: ...

        @applies("bad")
        def bad(self, event: RecordedEvent) -> None:
            raise ValueError("can't be folded")

    (event,) = sqlite_store.append("x", "1", [NewEvent("begun", 1)])
    runner = SagaRunner(sqlite_store, Odd)
    for step, error, sentence in (
        ("text", InvalidEvent, "is no event"),
        (Due("unknown", after=DAYS), InvalidDefinition, "Odd has no handler of the timeout 'unknown' .it has known."),
        (Cancel("unknown"), InvalidDefinition, "no handler of the timeout"),
        (Due("known"), InvalidEvent, "needs either at=, a moment, or after=, a time span"),
        (Due("known", at=dt.datetime(2026, 1, 1)), InvalidRequest, "must be a datetime with its zone"),
        (Due("known", after=3), InvalidEvent, "must be a timedelta; 3 is not"),  # type: ignore[arg-type]
        (("bad", 1), SagaFailed, "odd/1 raised ValueError when it reacted to begun"),
    ):
        outcome[:] = [step]
        with pytest.raises(error, match=sentence):
            runner.handle(event)
    assert runner.find("1") is None


# --- definitions ----------------------------------------------------------------------------------------------------


def test_a_saga_that_contradicts_itself_is_refused(sqlite_store: EventStore) -> None:
    with pytest.raises(InvalidDefinition, match=r"No event begins .*Endless"):

        @saga("endless", key=str)
        class Endless:
            @reacts("a")
            def a(self) -> Any: ...

    with pytest.raises(InvalidDefinition, match="reacts to a twice: one and two"):

        @saga("twice", key=str)
        class Twice:
            @starts("a")
            def one(self) -> Any: ...

            @reacts("a")
            def two(self) -> Any: ...

    with pytest.raises(InvalidDefinition, match="has two handlers of the timeout t"):

        @saga("double", key=str)
        class Double:
            @starts("a")
            def a(self) -> Any: ...

            @times_out("t")
            def one(self) -> Any: ...

            @times_out("t")
            def two(self) -> Any: ...

    with pytest.raises(InvalidDefinition, match="a doesn't say which saga an event is for"):

        @saga("keyless")
        class Keyless:
            @starts("a")
            def a(self) -> Any: ...

    class NoSaga:
        pass

    with pytest.raises(InvalidDefinition, match="NoSaga is no saga"):
        SagaRunner(sqlite_store, NoSaga)
    with pytest.raises(InvalidDefinition, match="need types of events"):
        starts()


def test_an_id_of_the_wrong_type_is_refused(sqlite_store: EventStore) -> None:
    @saga("numbered", key=lambda event: event.data, id="number")
    @dataclass
    class Numbered:
        number: int

        @starts("begun")
        def begun(self) -> Any: ...

    runner = SagaRunner(sqlite_store, Numbered)
    first, second = sqlite_store.append("x", "1", [NewEvent("begun", 1), NewEvent("begun", [])])
    assert len(runner.handle(first)) == 1
    with pytest.raises(InvalidRequest, match=r"\[\] is no id of numbered"):
        runner.handle(second)


def test_a_reaction_to_a_class_that_nobody_registered_is_refused(sqlite_store: EventStore) -> None:
    @saga("lonely", key=lambda event: event.name)
    class Lonely:
        @starts(Begun)
        def begun(self) -> Any: ...

    with pytest.raises(InvalidDefinition, match="handler of Begun, which the serializer doesn't know"):
        SagaRunner(sqlite_store, Lonely, serializer=Serializer())
