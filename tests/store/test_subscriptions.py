"""Subscriptions: what is there, then what comes, nothing left out, nothing twice, and no database kept busy."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.servers.pgbouncer import pooled
from tests.store.helpers import execute, noted, on_servers
from webapp.errors import InvalidRequest, NeedsMigration, ProjectionistError, StoreUnavailable
from webapp.store import (
    Append,
    EventFilter,
    EventStore,
    NewEvent,
    RecordedEvent,
    Subscription,
    notifying,
    subscriptions,
)

on_postgresql = pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
deadline_seconds = 30


@pytest.fixture
def other(store: EventStore) -> Iterator[EventStore]:
    """A second store object on the same database, as another process would have."""
    other = EventStore.open(store.database.url)
    yield other
    other.close()


@pytest.fixture
def never_looks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses so long that whatever arrives in time was not found by looking."""
    monkeypatch.setattr(notifying, "shortest_pause_seconds", 600.0)
    monkeypatch.setattr(notifying, "longest_pause_seconds", 600.0)


class Reader:
    """A thread that iterates over a subscription and keeps what it gets."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.events: list[RecordedEvent] = []
        self.error: Exception | None = None
        self._changed = threading.Condition()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        try:
            for event in self.subscription:
                with self._changed:
                    self.events.append(event)
                    self._changed.notify_all()
        except Exception as error:
            self.error = error

    def wait_for(self, number: int) -> list[RecordedEvent]:
        """The events as soon as there are so many."""
        with self._changed:
            is_there = self._changed.wait_for(lambda: len(self.events) >= number, deadline_seconds)
        assert is_there, f"{len(self.events)} of {number} events came; {self.error}"
        return list(self.events)

    def end(self) -> list[RecordedEvent]:
        """Everything it got; its thread has ended."""
        self.subscription.close()
        self.thread.join(deadline_seconds)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.events


@pytest.fixture
def read() -> Iterator[Callable[[Subscription], Reader]]:
    """Makes readers that are ended after the test."""
    readers: list[Reader] = []

    def start(subscription: Subscription) -> Reader:
        readers.append(Reader(subscription))
        return readers[-1]

    yield start
    for reader in readers:
        reader.subscription.close()
        reader.thread.join(deadline_seconds)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Returns when it is so, asked every 20 ms."""
    ends_at = time.monotonic() + deadline_seconds
    while not is_so():
        assert time.monotonic() < ends_at, "it never came to that"
        time.sleep(0.02)


Read = Callable[[Subscription], Reader]


# --- what comes, and in what order ----------------------------------------------------------------------------------


def test_it_catches_up_and_then_gives_each_event_as_it_comes(store: EventStore, other: EventStore, read: Read) -> None:
    store.append("order", "1", noted(*range(1, 301)))
    reader = read(store.subscribe("main"))
    reader.wait_for(300)
    other.append("order", "1", noted(301))
    store.append("order", "2", noted(302, 303))
    assert [event.data["n"] for event in reader.wait_for(303)] == list(range(1, 304))
    assert [event.position for event in reader.end()] == list(range(1, 304))


def test_it_goes_on_after_a_position(store: EventStore, read: Read) -> None:
    store.append("order", "1", noted(1, 2, 3, 4))
    reader = read(store.subscribe("main", after=2))
    assert [event.position for event in reader.wait_for(2)] == [3, 4]


def test_a_log_that_is_not_there_yet_is_waited_for(store: EventStore, other: EventStore, read: Read) -> None:
    reader = read(store.subscribe("later"))
    other.append("order", "1", noted(0), log="main")
    other.append("order", "1", noted(1), log="later")
    assert [(event.log, event.position) for event in reader.wait_for(1)] == [("later", 1)]


def test_it_gives_what_its_filter_lets_pass(store: EventStore, read: Read) -> None:
    by_type = read(store.subscribe("main", types=["paid"]))
    by_filter = read(store.subscribe("main", where=EventFilter(actor="ann"), types=["paid"]))
    of_stream = read(store.subscribe("main", aggregate_type="order", aggregate_id="2"))
    of_kind = read(store.subscribe(aggregate_type="order"))
    for number, (kind, id_, type_, actor, log) in enumerate(
        [
            ("order", "1", "placed", "ann", "main"), ("order", "2", "paid", "bob", "main"),
            ("bill", "2", "paid", "ann", "main"), ("order", "2", "placed", "ann", "other"),
            ("order", "2", "closed", "ann", "main"),
        ]
    ):  # fmt: skip
        store.append(kind, id_, [NewEvent(type_, number, {"actor": actor})], log=log)
    assert [event.data for event in by_type.wait_for(2)] == [1, 2]
    assert [event.data for event in by_filter.wait_for(1)] == [2]
    assert [event.data for event in of_stream.wait_for(2)] == [1, 4]
    assert sorted(event.data for event in of_kind.wait_for(4)) == [0, 1, 3, 4]
    for reader, number in ((by_type, 2), (by_filter, 1), (of_stream, 2), (of_kind, 4)):
        assert len(reader.end()) == number


def test_several_logs_are_merged_by_time_and_go_on_from_a_cursor(store: EventStore) -> None:
    for number in range(60):
        store.append("order", str(number % 5), noted(number), log=("a", "b", "c")[number % 3])
    with store.subscribe() as first:
        head = [next(first) for _ in range(25)]
        cursor = first.cursor
    assert [event.data["n"] for event in head] == list(range(25))
    store.append("order", "late", noted(60), log="d")
    with store.subscribe(after=cursor) as second:
        tail = [next(second) for _ in range(36)]
    assert sorted(event.data["n"] for event in tail) == list(range(25, 61))
    for log in "abc":
        positions = [event.position for event in [*head, *tail] if event.log == log]
        assert positions == list(range(1, 21))


def test_a_cursor_counts_what_was_passed_over(sqlite_store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "_positions_at_once", 10)
    sqlite_store.append("order", "1", [*noted(*range(95)), NewEvent("rare", 1), *noted(1, 2)])
    stop = threading.Event()
    subscription = sqlite_store.subscribe("main", types=("rare",), stop=stop)
    assert next(subscription).position == 96
    assert subscription.cursor == '{"main":96}'
    threading.Timer(0.5, stop.set).start()
    assert list(subscription) == []
    assert subscription.cursor == '{"main":98}'


def test_writers_who_commit_late_or_never_cost_no_event(store: EventStore, read: Read) -> None:
    one, all_ = read(store.subscribe("a")), read(store.subscribe())
    committed: list[str] = []

    class RolledBack(Exception):
        pass

    def write(number: int) -> None:
        chance = random.Random(number)
        for turn in range(25):
            logs = ["a", "b"] if chance.random() < 0.3 else ["a"]
            appends = [Append("note", f"{number}", noted(turn) * chance.randint(1, 3), log=log) for log in logs]
            try:
                with store.database.writing() as connection:
                    recorded = store.append_in(connection, appends)
                    time.sleep(chance.uniform(0, 0.01))
                    if chance.random() < 0.2:
                        raise RolledBack
            except RolledBack:
                continue
            committed.extend(event.id for event in recorded)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(committed) > 100
    all_.wait_for(len(committed))
    one.wait_for(store.head("a"))
    assert sorted(event.id for event in all_.end()) == sorted(committed)
    assert [event.position for event in one.end()] == list(range(1, store.head("a") + 1))


def test_many_follow_at_once(store: EventStore, other: EventStore, read: Read) -> None:
    readers = [read(store.subscribe(("main", None)[number % 2])) for number in range(10)]
    for number in range(20):
        (store, other)[number % 2].append("order", "1", noted(number))
    for reader in readers:
        assert [event.position for event in reader.wait_for(20)] == list(range(1, 21))


# --- how it waits ---------------------------------------------------------------------------------------------------


def test_it_looks_seldom_where_nothing_happens(store: EventStore) -> None:
    store.append("order", "1", noted(1))
    statements: list[float] = []

    def note(*_: object) -> None:
        statements.append(time.monotonic())

    sa.event.listen(store.database.engine, "before_cursor_execute", note)
    stop = threading.Event()
    with store.subscribe("main", stop=stop) as subscription:
        next(subscription)
        began_at = time.monotonic()
        threading.Timer(2.5, stop.set).start()
        assert list(subscription) == []
        looks = [at for at in statements if at > began_at]
    # Pauses of 10 ms to 640 ms make seven looks, then one a second; a look is a handful of statements.
    assert 1 <= len(looks) <= 10 * 5
    last = [at for at in looks if at > began_at + 1.5]
    assert len(last) <= 2 * 5, "no more than one look a second once it's quiet"


def test_an_append_through_the_same_store_wakes_it(store: EventStore, read: Read, never_looks_by_itself: None) -> None:
    store.append("order", "1", noted(1))
    reader = read(store.subscribe("main"))
    for number in range(2, 8):
        reader.wait_for(number - 1)
        store.append("order", "1", noted(number))
    assert len(reader.wait_for(7)) == 7


def test_closing_ends_it_while_it_waits(store: EventStore, read: Read, never_looks_by_itself: None) -> None:
    store.append("order", "1", noted(1))
    reader = read(store.subscribe("main"))
    reader.wait_for(1)
    assert len(reader.end()) == 1
    reader.subscription.close()
    assert list(reader.subscription) == []


def test_a_stop_event_ends_it_while_it_waits(store: EventStore, read: Read, never_looks_by_itself: None) -> None:
    stop = threading.Event()
    readers = [read(store.subscribe(log, stop=stop)) for log in ("main", None)]
    stop.set()
    for reader in readers:
        reader.thread.join(deadline_seconds)
        assert not reader.thread.is_alive()


def test_closing_the_store_ends_it(
    store: EventStore, other: EventStore, read: Read, never_looks_by_itself: None
) -> None:
    other.append("order", "1", noted(1))
    reader = read(other.subscribe("main"))
    reader.wait_for(1)
    # It isn't to be closed in the middle of a look: the one after the event, or the one when listening begins.
    wait_until(lambda: other.notifier.is_listening or store.dialect != "PostgreSQL")
    time.sleep(0.3)
    wait_until(lambda: other.database.engine.pool.checkedout() == 0)  # type: ignore[attr-defined]
    other.close()
    reader.thread.join(deadline_seconds)
    assert not reader.thread.is_alive()
    assert reader.error is None


def test_one_that_is_thrown_away_is_forgotten(store: EventStore) -> None:
    store.append("order", "1", noted(1))
    for event in store.subscribe("main"):
        assert event.position == 1
        break
    assert store.notifier._waiters == set()


# --- notifications --------------------------------------------------------------------------------------------------


def listeners(store: EventStore) -> int:
    """How many connections listen in this database."""
    rows = execute(
        store,
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = 20261 AND granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    return int(rows[0][0])


@on_postgresql
def test_postgresql_says_when_another_process_has_appended(
    store: EventStore, other: EventStore, read: Read, never_looks_by_itself: None
) -> None:
    readers = [read(store.subscribe(log)) for log in ("main", "main", "b", None)]
    wait_until(lambda: store.notifier.is_listening)
    other.append("order", "1", noted(1))
    other.append("order", "1", noted(*range(50)))  # by COPY
    with other.database.writing() as connection:
        other.append_in(connection, [Append("order", "1", noted(1), log="b")])
    assert [len(reader.wait_for(number)) for reader, number in zip(readers, (51, 51, 1, 52), strict=True)]


@on_postgresql
def test_one_connection_listens_for_all_and_goes_with_the_last(
    store: EventStore, other: EventStore, read: Read
) -> None:
    readers = [read(store.subscribe("main")) for _ in range(5)]
    wait_until(lambda: listeners(other) == 1)
    for reader in readers[:4]:
        reader.end()
    assert listeners(other) == 1
    readers[4].end()
    wait_until(lambda: listeners(other) == 0)
    read(store.subscribe("main"))
    wait_until(lambda: listeners(other) == 1)


@on_postgresql
def test_nothing_is_sent_while_nobody_listens(store: EventStore, other: EventStore, read: Read) -> None:
    import psycopg

    url = store.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as witness:
        witness.execute("LISTEN projectionist")
        other.append("order", "1", noted(1))
        other.append("order", "1", noted(2), log="b")
        assert [notice.payload for notice in witness.notifies(timeout=0.3)] == []
        reader = read(store.subscribe("main"))
        wait_until(lambda: store.notifier.is_listening)
        other.append("order", "1", noted(3))
        assert [notice.payload for notice in witness.notifies(timeout=10, stop_after=1)] == ["main"]
        reader.wait_for(2)
        reader.end()


@on_postgresql
def test_a_listener_whose_connection_is_lost_listens_again(
    store: EventStore, other: EventStore, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = read(store.subscribe("main"))
    wait_until(lambda: store.notifier.is_listening)
    for number in range(1, 4):
        execute(
            other,
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 20261 "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        wait_until(lambda: listeners(other) == 1)
        other.append("order", "1", noted(number))
        reader.wait_for(number)
    wait_until(lambda: store.notifier.is_listening)
    assert reader.error is None


@on_postgresql
def test_through_a_transaction_pooler_it_looks_instead_of_listening(store: EventStore, read: Read) -> None:
    with pooled(store.database.url) as url:
        through = EventStore.open(url)
        reader = read(through.subscribe("main"))
        for number in range(1, 6):
            store.append("order", "1", noted(number))
            reader.wait_for(number)
        assert [event.position for event in reader.end()] == [1, 2, 3, 4, 5]
        assert not through.notifier.is_listening
        assert listeners(store) == 0, "a lock that stays with the pooler's session would have everybody notify for ever"
        through.close()


# --- when the database goes away ------------------------------------------------------------------------------------


def kill_connections(store: EventStore) -> int:
    """Ends every other connection to the store's database; how many there were."""
    with store.database.engine.connect() as connection:
        if store.dialect == "PostgreSQL":
            found = connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).all()
            return len(found)
        ids = connection.exec_driver_sql(
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        ).scalars()
        killed = 0
        for number in ids.all():
            try:
                connection.exec_driver_sql(f"KILL {number}")
                killed += 1
            except sa.exc.DBAPIError:
                pass  # gone by itself
        return killed


@on_servers
def test_it_goes_on_after_its_connections_were_killed(store: EventStore, other: EventStore, read: Read) -> None:
    store.append("order", "1", noted(*range(3000)))
    readers = [read(store.subscribe("main")), read(store.subscribe())]
    killed = 0
    for number in range(3000, 3006):
        readers[0].wait_for(100)
        killed += kill_connections(other)
        other.append("order", "1", noted(number))
        time.sleep(0.05)
    assert killed > 0
    for reader in readers:
        reader.wait_for(3006)
        assert [event.position for event in reader.end()] == list(range(1, 3007))


def test_a_database_that_is_not_there_at_the_start_is_said_at_once(tmp_path: Path) -> None:
    store = EventStore.open(f"sqlite:///{tmp_path / 'no' / 'such.db'}")
    with pytest.raises(StoreUnavailable, match="can't be opened"):
        next(store.subscribe("main"))
    store.close()
    empty = EventStore.open(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(NeedsMigration, match="projectionist migrate"):
        next(empty.subscribe("main"))
    empty.close()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"after": 5}, "The position 5 doesn't say of which log. Name the log, or give the `cursor`"),
        ({"log": "main", "after": -1}, "can't begin after -1. Give a position from 0 on"),
        ({"log": "main", "after": True}, "can't begin after True"),
        ({"log": "main", "after": "{"}, "can't begin after '{'"),
        ({"log": "main", "after": '{"main": -3}'}, "can't begin after"),
        ({"log": "main", "after": '["main"]'}, "can't begin after"),
        ({"log": ""}, "The log must be text that isn't empty"),
        ({"log": "x" * 65}, "has 65 characters; at most 64 fit"),
        ({"types": "order.placed"}, r"must be a list of names, such as \[\"order.placed\"\]"),
        ({"types": [1]}, "must be a list of names"),
        ({"aggregate_id": "42"}, "Say of which aggregate_type 42 is"),
        ({"stop": 5}, "must be a threading.Event, not 5"),
    ],
)
def test_what_cannot_be_followed_is_said_in_a_sentence(
    sqlite_store: EventStore, arguments: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        sqlite_store.subscribe(**arguments)  # type: ignore[arg-type]
    assert issubclass(InvalidRequest, ProjectionistError)
    assert sqlite_store.notifier._waiters == set()
