"""The outbox: at least once, in order per stream, whatever fails or is killed."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.store.helpers import count, execute, noted, on_servers, run_together
from tests.store.publishing_process import publish_until_killed
from tests.store.test_subscriptions import kill_connections, wait_until
from webapp.errors import InvalidDefinition, InvalidEvent, InvalidRequest, NeedsMigration, NotFound, ProjectionistError
from webapp.store import Append, EventStore, NewEvent, Publisher, RecordedEvent, RetryPolicy, notifying, publishing
from webapp.store.source import Capability

at_once = RetryPolicy(attempts=3, first_seconds=0, factor=1, most_seconds=0)
never_again = RetryPolicy(attempts=1)
later = RetryPolicy(attempts=5, first_seconds=3600, most_seconds=3600)


@pytest.fixture
def other(store: EventStore) -> Iterator[EventStore]:
    """A second store object on the same database, as another process would have."""
    other = EventStore.open(store.database.url)
    yield other
    other.close()


class Broker:
    """Takes events, but for those it's told to refuse."""

    def __init__(self) -> None:
        self.got: list[tuple[str | None, Any]] = []
        self.tried: list[Any] = []
        self.refuses: set[Any] = set()

    def __call__(self, event: RecordedEvent) -> None:
        number = event.data["n"]
        self.tried.append(number)
        if number in self.refuses:
            raise ConnectionError(f"no way to send {number}")
        self.got.append((event.aggregate_id, number))

    @property
    def numbers(self) -> list[Any]:
        return [number for _, number in self.got]

    def of(self, aggregate_id: str) -> list[Any]:
        return [number for id_, number in self.got if id_ == aggregate_id]


@pytest.fixture
def broker() -> Broker:
    return Broker()


def run_to_head(publisher: Publisher) -> None:
    """Publishes until there is nothing to do."""
    while publisher.run_once():
        pass


# --- what is published, and in what order ---------------------------------------------------------------------------


def test_it_publishes_each_committed_event_in_order(store: EventStore, broker: Broker) -> None:
    store.append_many([Append("order", str(n % 3), noted(n)) for n in range(250)])
    publisher = Publisher(store, "mail", broker)
    run_to_head(publisher)
    assert broker.numbers == list(range(250))
    assert publisher.position == 250
    store.append("order", "1", noted(250))
    assert publisher.run_once() == 1
    assert publisher.run_once() == 0
    assert broker.numbers == list(range(251))
    assert count(store, "projectionist_deliveries") == 0


def test_it_publishes_nothing_that_was_rolled_back(store: EventStore, broker: Broker) -> None:
    publisher = Publisher(store, "mail", broker)
    assert publisher.run_once() == 0, "there isn't even a log"
    with pytest.raises(ZeroDivisionError), store.database.writing() as connection:
        store.append_in(connection, [Append("order", "1", noted(1))])
        raise ZeroDivisionError
    run_to_head(publisher)
    store.append("order", "1", noted(2))
    run_to_head(publisher)
    assert broker.numbers == [2]


def test_it_takes_the_types_it_is_for_and_begins_where_it_is_told(
    store: EventStore, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_positions_at_once", 10)
    mixed = [NewEvent("paid" if n % 40 == 0 else "noted", {"n": n}) for n in range(1, 201)]
    store.append("order", "1", mixed)
    publisher = Publisher(store, "mail", broker, types=["paid"], after=50)
    run_to_head(publisher)
    assert broker.numbers == [80, 120, 160, 200]
    assert publisher.position == 200


def test_publishers_know_nothing_of_each_other(store: EventStore, broker: Broker) -> None:
    store.append("order", "1", noted(1, 2, 3))
    other_broker = Broker()
    other_broker.refuses = {2}
    mail, search = Publisher(store, "mail", broker), Publisher(store, "search", other_broker, retry=later)
    run_to_head(search)
    run_to_head(mail)
    assert (broker.numbers, other_broker.numbers) == ([1, 2, 3], [1])


# --- what fails -----------------------------------------------------------------------------------------------------


def test_what_fails_holds_up_its_stream_and_no_other(store: EventStore, broker: Broker) -> None:
    for n in range(20):
        store.append("order", "ab"[n % 2], noted(n))
    broker.refuses = {4}
    publisher = Publisher(store, "mail", broker, retry=later, batch_size=3)
    run_to_head(publisher)
    assert broker.of("a") == [0, 2]
    assert broker.of("b") == list(range(1, 20, 2))
    assert publisher.position == 20
    assert execute(store, "SELECT position, attempts FROM projectionist_deliveries ORDER BY position")[:2] == [
        (5, 1),
        (7, 0),
    ]
    broker.refuses = set()
    make_due(store)
    run_to_head(publisher)
    assert broker.of("a") == list(range(0, 20, 2))
    assert count(store, "projectionist_deliveries") == 0


def make_due(store: EventStore) -> None:
    """Brings the time of every event that waits to be tried again to now."""
    clock = store.database.dialect.now()
    execute(store, f"UPDATE projectionist_deliveries SET retry_at = {clock} WHERE retry_at IS NOT NULL")


def test_it_is_tried_as_often_as_the_policy_says_and_then_it_is_a_dead_letter(
    store: EventStore, broker: Broker
) -> None:
    store.append("order", "1", noted(1, 2, 3))
    store.append("order", "2", noted(4))
    broker.refuses = {2}
    publisher = Publisher(store, "mail", broker, retry=at_once)
    run_to_head(publisher)
    assert broker.numbers == [1, 4]
    assert broker.tried.count(2) == 3
    (letter,) = publisher.dead_letters()
    assert (letter.position, letter.attempts, letter.error_class) == (2, 3, "ConnectionError")
    assert letter.error == "no way to send 2"
    assert letter.traceback is not None and "in __call__" in letter.traceback
    assert letter.dead_at is not None and letter.dead_at.tzinfo is not None
    store.append("order", "1", noted(5))
    run_to_head(publisher)
    assert broker.numbers == [1, 4], "the stream stays blocked, whatever comes"
    assert broker.tried.count(2) == 3


def test_a_dead_letter_is_retried_by_a_person_and_its_stream_follows(
    store: EventStore, other: EventStore, broker: Broker
) -> None:
    store.append("order", "1", noted(1, 2, 3, 4))
    broker.refuses = {2}
    publisher = Publisher(store, "mail", broker, retry=at_once)
    run_to_head(publisher)
    desk = Publisher(other, "mail", broker)  # as the dashboard's process would have it
    desk.retry(2)
    run_to_head(publisher)
    assert broker.tried.count(2) == 6, "as often as a new event"
    broker.refuses = set()
    desk.retry(2)
    run_to_head(publisher)
    assert broker.numbers == [1, 2, 3, 4]
    assert publisher.dead_letters() == []
    with pytest.raises(NotFound, match=r"no dead letter “mail:2” here\. It may have been retried or discarded"):
        desk.retry(2)


def test_a_dead_letter_is_discarded_for_a_reason_that_is_kept(store: EventStore, broker: Broker) -> None:
    store.append("order", "1", noted(1, 2, 3, 4))
    broker.refuses = {2, 4}
    publisher = Publisher(store, "mail", broker, retry=at_once)
    run_to_head(publisher)
    with pytest.raises(InvalidRequest, match="Say why the event at position 2 shall not be published"):
        publisher.discard(2, "  ")
    publisher.discard(2, "the customer is gone", by="ann")
    run_to_head(publisher)
    assert broker.numbers == [1, 3]
    assert [letter.position for letter in publisher.dead_letters()] == [4]
    (discarded,) = publisher.discarded()
    assert (discarded.position, discarded.reason, discarded.discarded_by) == (2, "the customer is gone", "ann")
    assert discarded.error == "no way to send 2"
    for act in (lambda: publisher.discard(2, "again"), lambda: publisher.retry(2), lambda: publisher.retry(1)):
        with pytest.raises(NotFound):
            act()


def test_a_stream_may_go_on_without_its_dead_letters(store: EventStore, broker: Broker) -> None:
    store.append("order", "1", noted(*range(1, 8)))
    broker.refuses = {2, 3, 6}
    publisher = Publisher(store, "mail", broker, retry=at_once, blocks_stream=False, batch_size=2)
    run_to_head(publisher)
    assert broker.numbers == [1, 4, 5, 7]
    assert [letter.position for letter in publisher.dead_letters()] == [2, 3, 6]
    assert [letter.position for letter in publisher.dead_letters(after=2, limit=1)] == [3]


def test_streams_that_were_blocked_go_on_once_they_need_not_be(store: EventStore, broker: Broker) -> None:
    store.append_many([Append("order", str(n % 4), noted(n)) for n in range(40)])
    broker.refuses = {0, 1}
    publisher = Publisher(store, "mail", broker, retry=never_again)
    run_to_head(publisher)
    assert len(broker.got) == 20
    publisher.release()
    run_to_head(Publisher(store, "mail", broker, retry=never_again, blocks_stream=False))
    assert [broker.of(str(stream)) for stream in range(4)] == [list(range(start, 40, 4)) for start in (4, 5, 2, 3)]


def test_a_backlog_behind_one_event_goes_out_in_pages_and_in_order(store: EventStore, broker: Broker) -> None:
    store.append("order", "1", noted(*range(600)))
    store.append("order", "2", noted(600))
    broker.refuses = {0, 350}
    publisher = Publisher(store, "mail", broker, retry=later, batch_size=100)
    run_to_head(publisher)
    assert broker.numbers == [600]
    assert count(store, "projectionist_deliveries") == 600
    broker.refuses = {350}
    make_due(store)
    assert publisher.run_once() == 100
    run_to_head(publisher)
    store.append("order", "1", noted(601))
    run_to_head(publisher)
    assert broker.of("1") == list(range(350))
    broker.refuses = set()
    make_due(store)
    run_to_head(publisher)
    assert broker.of("1") == [*range(600), 601]
    assert count(store, "projectionist_deliveries") == 0


def test_what_is_being_held_up_behind_a_letter_just_discarded_goes_out(
    store: EventStore, other: EventStore, broker: Broker
) -> None:
    broker.refuses = {1}
    desk = Publisher(other, "mail", broker)

    def publish(event: RecordedEvent) -> None:
        broker(event)
        if event.data["n"] == 3:  # event 2 was found to be held up, which isn't recorded yet
            desk.discard(1, "refused")

    store.append("order", "a", noted(1))
    publisher = Publisher(store, "mail", publish, retry=never_again)
    run_to_head(publisher)
    store.append_many([Append("order", "a", noted(2)), Append("order", "b", noted(3))])
    run_to_head(publisher)
    assert broker.numbers == [3, 2]
    assert [letter.position for letter in publisher.discarded()] == [1]


def test_discarding_beside_a_running_publisher_leaves_no_stream_stuck(
    store: EventStore, other: EventStore, broker: Broker
) -> None:
    # Whatever the moment: the publisher may just be recording, as held up, what follows the letter.
    publisher = Publisher(store, "mail", broker, retry=never_again, batch_size=3)
    desk = Publisher(other, "mail", broker)
    broker.refuses = set(range(0, 200, 10))
    stop = threading.Event()

    def append() -> None:
        for n in range(200):
            store.append("order", "1", noted(n))

    def discard() -> None:
        left = set(broker.refuses)
        while left:
            for letter in desk.dead_letters():
                desk.discard(letter.position, "refused")
                left.discard(letter.position - 1)
            time.sleep(0.001)
        wait_until(lambda: len(broker.got) == 180)
        stop.set()

    assert run_together(append, discard, lambda: publisher.run(stop)) == [None, None, None]
    assert broker.numbers == [n for n in range(200) if n % 10]


def test_any_error_can_be_kept(store: EventStore) -> None:
    messages = ["", "\x00", "\ud800", "ä" * 100_000, "“\\'"]

    def fail(event: RecordedEvent) -> None:
        raise RuntimeError(messages[event.position - 1])

    store.append_many([Append("order", str(n), noted(n)) for n in range(len(messages))])
    publisher = Publisher(store, "mail", fail, retry=never_again)
    run_to_head(publisher)
    assert [letter.error for letter in publisher.dead_letters()] == [message[:4000] for message in messages]


def test_an_interruption_keeps_what_was_published_before_it(store: EventStore) -> None:
    got: list[int] = []

    def publish(event: RecordedEvent) -> None:
        if event.data["n"] == 3 and 3 not in got:
            got.append(3)
            raise KeyboardInterrupt
        got.append(event.data["n"])

    store.append("order", "1", noted(1, 2, 3, 4))
    publisher = Publisher(store, "mail", publish)
    with pytest.raises(KeyboardInterrupt):
        publisher.run_once()
    assert publisher.position == 2
    run_to_head(publisher)
    assert got == [1, 2, 3, 3, 4]


# --- who publishes --------------------------------------------------------------------------------------------------


def test_one_publishes_while_others_stand_by(store: EventStore, other: EventStore, broker: Broker) -> None:
    store.append("order", "1", noted(*range(10)))
    first, second = Publisher(store, "mail", broker, batch_size=4), Publisher(other, "mail", broker)
    assert first.run_once() == 4
    assert second.run_once() == 0
    first.release()
    assert second.run_once() == 6
    assert first.run_once() == 0
    assert broker.numbers == list(range(10))


def test_who_was_stalled_past_its_lease_records_nothing_more(
    store: EventStore, other: EventStore, broker: Broker
) -> None:
    store.append("order", "1", noted(1, 2, 3))
    second = Publisher(other, "mail", broker)

    def stall(event: RecordedEvent) -> None:
        if event.position == 2:
            execute(other, "UPDATE projectionist_publishers SET lease_expires_at = '2020-01-01 00:00:00'")
            run_to_head(second)
        raise ConnectionError("so this one would set it aside")

    first = Publisher(store, "mail", stall, retry=never_again, blocks_stream=False)
    assert first.run_once() == 0
    assert broker.numbers == [1, 2, 3]
    assert first.dead_letters() == []
    assert first.position == 3


def test_a_lease_shorter_than_its_work_is_renewed_on_the_way(store: EventStore, broker: Broker) -> None:
    def slowly(event: RecordedEvent) -> None:
        time.sleep(0.02)
        broker(event)

    store.append("order", "1", noted(*range(12)))
    publisher = Publisher(store, "mail", slowly, lease_seconds=0.03)
    run_to_head(publisher)
    assert broker.numbers == list(range(12))


def test_a_process_that_is_killed_loses_nothing(store: EventStore, tmp_path: Path) -> None:
    path, streams, each = tmp_path / "published", 8, 80
    path.touch()
    context, chance, url = (
        multiprocessing.get_context("spawn"),
        random.Random(5),
        str(store.database.url.render_as_string(hide_password=False)),
    )
    kills = 0
    for version in range(each):
        store.append_many([Append("order", str(stream), noted(version)) for stream in range(streams)])

    def published() -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for line in path.read_text().splitlines():
            _, stream, version = line.split()
            found.setdefault(stream, []).append(int(version))
        return found

    def is_all() -> bool:
        found = published()
        return sum(len(set(versions)) for versions in found.values()) == streams * each

    while not is_all():
        # Two at a time: the one that stands by takes over when the lease of the killed one has ended.
        pair = [context.Process(target=publish_until_killed, args=(url, path)) for _ in range(2)]
        for process in pair:
            process.start()
        size = path.stat().st_size
        wait_until(lambda at=size: path.stat().st_size > at or is_all())  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.4))
        if kills >= 3:
            wait_until(is_all)
        for process in pair:
            os.kill(process.pid or 0, 9)
            process.join()
            process.close()
        kills += 1
    assert kills >= 2
    found = published()
    assert sorted(found) == [str(stream) for stream in range(streams)]
    for versions in found.values():
        assert set(versions) == set(range(1, each + 1))
        firsts = list(dict.fromkeys(versions))
        assert firsts == sorted(firsts), "in order"
        for before, after in itertools.pairwise(versions):
            assert after <= before + 1, "what is published again is published again in order"


# --- following live -------------------------------------------------------------------------------------------------


@pytest.fixture
def running() -> Iterator[Callable[[Publisher], threading.Event]]:
    """Runs publishers in threads until the test ends; gives each one's stop event."""
    begun: list[tuple[threading.Thread, threading.Event]] = []

    def run(publisher: Publisher) -> threading.Event:
        stop = threading.Event()
        thread = threading.Thread(target=publisher.run, args=(stop,))
        begun.append((thread, stop))
        thread.start()
        return stop

    yield run
    for thread, stop in begun:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


Running = Callable[[Publisher], threading.Event]


def test_running_it_publishes_what_comes_and_tries_again_in_time(
    store: EventStore, other: EventStore, broker: Broker, running: Running
) -> None:
    broker.refuses = {2}
    running(Publisher(store, "mail", broker, retry=RetryPolicy(attempts=100, first_seconds=0.02, factor=1)))
    other.append("order", "1", noted(1, 2, 3))
    wait_until(lambda: broker.tried.count(2) > 3)
    store.append("order", "2", noted(4))
    wait_until(lambda: 4 in broker.numbers)
    broker.refuses = set()
    wait_until(lambda: len(broker.got) == 4)
    assert broker.of("1") == [1, 2, 3]


def test_an_append_through_the_same_store_is_published_at_once(
    store: EventStore, broker: Broker, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifying, "shortest_pause_seconds", 600.0)
    monkeypatch.setattr("webapp.store.outbox.longest_pause_seconds", 600.0)
    store.append("order", "1", noted(0))
    running(Publisher(store, "mail", broker))
    for n in range(1, 6):
        wait_until(lambda at=n: len(broker.got) == at)  # type: ignore[misc]
        store.append("order", "1", noted(n))
    wait_until(lambda: broker.numbers == list(range(6)))


def test_stopping_it_ends_it_between_two_events_and_gives_its_lease_back(
    store: EventStore, other: EventStore, broker: Broker, running: Running
) -> None:
    store.append("order", "1", noted(*range(10)))
    stops: list[threading.Event] = []

    def publish(event: RecordedEvent) -> None:
        broker(event)
        if event.position == 4:
            wait_until(lambda: bool(stops))
            stops[0].set()

    stops.append(running(Publisher(store, "mail", publish)))
    second = Publisher(other, "mail", broker)
    wait_until(lambda: bool(broker.got))
    wait_until(lambda: second.run_once() == 6)
    assert broker.numbers == list(range(10))


@on_servers
def test_it_goes_on_after_its_connections_were_killed(
    store: EventStore, other: EventStore, broker: Broker, running: Running
) -> None:
    store.append("order", "1", noted(0))
    running(Publisher(store, "mail", broker, lease_seconds=2))
    for n in range(1, 6):
        wait_until(lambda at=n: at - 1 in broker.numbers)  # type: ignore[misc]
        kill_connections(other)
        other.append("order", "1", noted(n))
    wait_until(lambda: 5 in broker.numbers)
    assert list(dict.fromkeys(broker.numbers)) == list(range(6))


# --- as dead letters of the store -----------------------------------------------------------------------------------


def test_the_store_lists_the_letters_of_all_its_publishers(store: EventStore, broker: Broker) -> None:
    assert Capability.dead_letters in store.capabilities
    store.append("order", "1", [NewEvent("order.paid", {"n": 1}, {"correlation_id": "c-1"})])
    store.append("order", "2", noted(2), log="other")
    store.append("order", "3", noted(3))
    broker.refuses = {1, 2, 3}
    run_to_head(Publisher(store, "mail", broker, retry=never_again))
    run_to_head(Publisher(store, "a:b", broker, "other", retry=never_again))
    assert [letter.id for letter in store.dead_letters()] == ["a:b:1", "mail:2", "mail:1"]
    oldest = store.dead_letters(before="mail:2")[0]
    assert (oldest.type, oldest.channel, oldest.correlation_id) == ("order.paid", "outbox mail", "c-1")
    assert (oldest.error_class, oldest.error, oldest.traceback) == ("ConnectionError", "no way to send 1", None)
    whole = store.dead_letter("mail:1")
    assert whole.payload_text == '{"n":1}'
    assert whole.headers_text == '{"correlation_id":"c-1"}'
    assert whole.traceback is not None and "no way to send 1" in whole.traceback
    Publisher(store, "mail", broker).discard(1, "no longer wanted")
    assert [letter.id for letter in store.dead_letters()] == ["a:b:1", "mail:2"]
    for id_ in ("mail:1", "mail:3", "mail", "", ":1", "mail:99999999999999999999", "mail:\x00:1", "mail:02"):
        with pytest.raises(NotFound):
            store.dead_letter(id_)
    with pytest.raises(NotFound, match="start from the newest"):
        store.dead_letters(before="mail:1")


# --- what makes no sense --------------------------------------------------------------------------------------------


async def publish_later(event: RecordedEvent) -> None:
    """What can't be published with."""


@pytest.mark.parametrize(
    ("make", "kind", "sentence"),
    [
        (lambda store: Publisher(store, "", print), InvalidEvent, "name of a publisher must be text that isn't empty"),
        (lambda store: Publisher(store, "x" * 65, print), InvalidEvent, "has 65 characters; at most 64 fit"),
        (
            lambda store: Publisher(store, "mail", 5),
            InvalidDefinition,
            "needs a plain function that takes an event, not 5",
        ),
        (lambda store: Publisher(store, "mail", publish_later), InvalidDefinition, "needs a plain function"),
        (lambda store: Publisher(store, "mail", print, types="paid"), InvalidDefinition, "must be a list of names"),
        (lambda store: Publisher(store, "mail", print, batch_size=0), InvalidDefinition, "batch_size of at least 1"),
        (lambda store: Publisher(store, "mail", print, lease_seconds=0), InvalidDefinition, "lease of more than 0"),
        (lambda store: Publisher(store, "mail", print, after=-1), InvalidDefinition, "from 0 on to begin after"),
        (lambda store: RetryPolicy(attempts=0), InvalidDefinition, "at least 1 attempt"),
        (lambda store: RetryPolicy(factor=0.5), InvalidDefinition, "a factor of at least 1"),
        (
            lambda store: Publisher(store, "nobody", print).position,
            NotFound,
            "no publisher “nobody” here. It is made when",
        ),
    ],
)
def test_what_makes_no_sense_is_said_in_a_sentence(
    sqlite_store: EventStore,
    make: Callable[[EventStore], object],
    kind: type[ProjectionistError],
    sentence: str,
) -> None:
    with pytest.raises(kind, match=sentence):
        make(sqlite_store)


def test_one_name_publishes_one_log(store: EventStore, broker: Broker) -> None:
    store.append("order", "1", noted(1), log="other")
    Publisher(store, "mail", broker).run_once()
    with pytest.raises(InvalidDefinition, match=r"publishes the log main, not other\. Give the one for another log"):
        Publisher(store, "mail", broker, "other").run_once()


def test_a_store_without_tables_says_what_to_run(tmp_path: Path) -> None:
    store = EventStore.open(f"sqlite:///{tmp_path / 'empty.db'}")
    with pytest.raises(NeedsMigration, match="projectionist migrate"):
        Publisher(store, "mail", print).run()
    store.close()


def test_pauses_grow_up_to_the_longest() -> None:
    policy = RetryPolicy(attempts=400, first_seconds=1, factor=2, most_seconds=300)
    assert [policy.pause_seconds(n) for n in (1, 2, 3, 8, 9, 10, 399)] == [1, 2, 4, 128, 256, 300, 300]
    assert policy.pause_seconds(400) is None
