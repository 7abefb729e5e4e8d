"""Alerts: told once when a problem begins and once when it ends, whatever happens to receiver and processes."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import logging
import multiprocessing
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.adapters.dumps import load_dump
from tests.conftest import create_database
from tests.projections.helpers import counting, fill, wait_for
from tests.replay import alert_process
from tests.replay.receiving import Receiver, receiving
from webapp.accounts.home import Home
from webapp.accounts.tables import alerts, watches
from webapp.adapters import open_source
from webapp.adapters.native import NativeSource
from webapp.alerts import telling
from webapp.alerts.looking import judge_letters
from webapp.alerts.rows import list_open
from webapp.alerts.rules import Rules
from webapp.alerts.watch import AlertWatch, Outlet
from webapp.config import Config
from webapp.domain import Domain
from webapp.errors import StoreUnavailable
from webapp.projections import Projection, checkpoints, run_to_head
from webapp.projections.tables import checkpoints as checkpoint_rows
from webapp.replay.worker import Worker
from webapp.store import EventStore
from webapp.store.source import DeadLetter, Failure, Health, ProjectionStatus

context = multiprocessing.get_context("forkserver")
no_limits = Rules()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.fixture
def sqlite_home(tmp_path: Path) -> Iterator[Home]:
    home = Home.open(Config(home_folder=tmp_path / "home"))
    yield home
    home.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[NativeSource]:
    """Our own store with ten events, and the projection `counts` at their head."""
    source = NativeSource.open(f"sqlite:///{tmp_path / 'shop.db'}")
    source.migrate()
    fill(source, 10)
    run_to_head(source, counting())
    yield source
    source.close()


def url_of(source: Any) -> str:
    return str(source.database.engine.url.render_as_string(hide_password=False))


def watching(home: Home, source: Any, receiver: Receiver, rules: Rules = no_limits, **options: Any) -> AlertWatch:
    """A process's watch over one store, in which a problem has ended as soon as it's gone."""
    outlet = Outlet(receiver.url, **options)
    return AlertWatch(home, ["shop"], lambda name: source, rules, outlet, settle_seconds=0)


def fail(source: EventStore, name: str = "counts", position: int = 4) -> None:
    failure = {"log": "main", "position": position, "message": "no such thing", "at": None, "traceback": None}
    with source.database.writing() as connection:
        checkpoints.change_projection(connection, source.database.dialect, name, status="failed", failure=failure)


def mend(source: EventStore, name: str = "counts") -> None:
    with source.database.writing() as connection:
        checkpoints.change_projection(connection, source.database.dialect, name, status="running", failure=None)


def make_older(home: Home, column: sa.Column[Any], seconds: float) -> None:
    """Moves a moment of every row into the past, as if that time had gone by."""
    with home.database.writing() as connection:
        (moment,) = set(connection.execute(sa.select(column)).scalars())
        connection.execute(sa.update(column.table).values({column: moment - dt.timedelta(seconds=seconds)}))


def break_lease(home: Home) -> None:
    """As if the process that watched had been killed long ago."""
    with home.database.writing() as connection:
        connection.execute(sa.update(watches).values(lease_expires_at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)))


# --- begin and end --------------------------------------------------------------------------------------------------


def test_a_failure_is_told_once_when_it_begins_and_once_when_it_ends(
    home: Home, store: EventStore, receiver: Receiver
) -> None:
    fill(store, 10)
    run_to_head(store, counting())
    source = NativeSource.open(url_of(store))
    watch = watching(home, source, receiver, public_url="https://dash.example/base")
    watch.step()
    assert receiver.requests == []
    fail(store)
    for _ in range(3):
        watch.step()
    (message,) = receiver.messages
    (told,) = message["alerts"]
    assert message["counts"] == {"began": 1, "lasts": 0, "ended": 0}
    assert (told["event"], told["kind"], told["store"], told["projection"]) == ("began", "failed", "shop", "counts")
    assert told["what"] == "failed at main:4: no such thing"
    assert "skip the event" in told["how_to_go_on"]
    assert told["link"] == "https://dash.example/base/stores/shop/projections/counts"
    assert dt.datetime.fromisoformat(told["since"]) <= dt.datetime.fromisoformat(message["sent_at"])
    assert "counts in shop: failed: failed at main:4" in message["text"]
    assert [one.projection for one in list_open(home, ["shop"])] == ["counts"]
    mend(store)
    for _ in range(3):
        watch.step()
    assert receiver.told() == [("began", "failed", "counts"), ("ended", "failed", "counts")]
    ended = receiver.messages[1]["alerts"][0]
    assert ended["id"] == told["id"]
    assert ended["ended_at"] > ended["since"] == told["since"]
    assert list_open(home, ["shop"]) == []
    source.close()


def test_another_event_that_fails_is_another_problem(shop: NativeSource, sqlite_home: Home, receiver: Receiver) -> None:
    watch = watching(sqlite_home, shop, receiver)
    for position in (4, 4, 5):
        fail(shop, position=position)
        watch.step()
    assert receiver.told() == [
        ("began", "failed", "counts"),
        ("ended", "failed", "counts"),
        ("began", "failed", "counts"),
    ]
    assert "main:5" in receiver.messages[1]["alerts"][1]["what"]


def test_what_comes_and_goes_is_told_once(shop: NativeSource, sqlite_home: Home, receiver: Receiver) -> None:
    watch = watching(sqlite_home, shop, receiver)
    watch.settle_seconds = 60
    for _ in range(3):
        fail(shop)
        watch.step()
        mend(shop)
        watch.step()
    assert receiver.told() == [("began", "failed", "counts")]
    make_older(sqlite_home, alerts.c.clear_at, 61)
    watch.step()
    assert receiver.told()[1:] == [("ended", "failed", "counts")]


def test_it_is_told_again_only_after_some_hours(shop: NativeSource, sqlite_home: Home, receiver: Receiver) -> None:
    watch = watching(sqlite_home, shop, receiver, again_hours=6)
    fail(shop)
    watch.step()
    make_older(sqlite_home, alerts.c.told_at, 5.9 * 3600)
    watch.step()
    assert len(receiver.requests) == 1
    make_older(sqlite_home, alerts.c.told_at, 0.2 * 3600)
    watch.step()
    watch.step()
    assert receiver.told() == [("began", "failed", "counts"), ("lasts", "failed", "counts")]
    silent = watching(sqlite_home, shop, receiver, again_hours=0)
    break_lease(sqlite_home)
    make_older(sqlite_home, alerts.c.told_at, 1e6)
    silent.step()
    assert len(receiver.requests) == 2


def test_open_alerts_are_remembered_over_a_restart(shop: NativeSource, sqlite_home: Home, receiver: Receiver) -> None:
    fail(shop)
    for _ in range(3):
        watching(sqlite_home, shop, receiver).step()
        break_lease(sqlite_home)
    mend(shop)
    watching(sqlite_home, shop, receiver).step()
    assert receiver.told() == [("began", "failed", "counts"), ("ended", "failed", "counts")]


def test_thousands_of_failing_projections_are_one_message(sqlite_home: Home, receiver: Receiver) -> None:
    class Source:
        health = Health.failed

        def projections(self) -> list[ProjectionStatus]:
            failure = Failure("main", 1, "no")
            return [ProjectionStatus(f"p{n:04}", self.health, "no", failure=failure) for n in range(1_900)]

        def dead_letters(self, **_: Any) -> list[DeadLetter]:
            return []

    source = Source()
    watch = watching(sqlite_home, source, receiver)
    watch.step()
    watch.step()
    (message,) = receiver.messages
    assert message["counts"]["began"] == 1_900
    assert {one["projection"] for one in message["alerts"]} == {f"p{n:04}" for n in range(1_900)}
    assert message["text"].endswith("and 1,895 more")
    source.health = Health.up_to_date
    watch.step()
    watch.step()
    assert [one["counts"]["ended"] for one in receiver.messages] == [0, 1_900]


# --- the rules ------------------------------------------------------------------------------------------------------


def test_a_lag_of_many_events_is_told(shop: NativeSource, sqlite_home: Home, receiver: Receiver) -> None:
    watch = watching(sqlite_home, shop, receiver, Rules(lag_events=20))
    fill(shop, 20, first=11)
    watch.step()
    assert receiver.requests == []
    fill(shop, 1, first=31)
    watch.step()
    assert receiver.messages[0]["alerts"][0]["what"] == "21 events behind, more than 20."
    run_to_head(shop, counting())
    watch.step()
    assert receiver.told() == [("began", "lag", "counts"), ("ended", "lag", "counts")]


def test_a_lag_of_many_seconds_is_told(shop: NativeSource, sqlite_home: Home, receiver: Receiver) -> None:
    watch = watching(sqlite_home, shop, receiver, Rules(lag_seconds=0.3))
    fill(shop, 1, first=11)
    time.sleep(0.4)
    watch.step()
    (told,) = receiver.messages[0]["alerts"]
    assert told["kind"] == "lag"
    assert told["what"].startswith("The oldest waits for ")
    run_to_head(shop, counting())
    watch.step()
    assert receiver.told()[1:] == [("ended", "lag", "counts")]


def idle_since(source: EventStore, seconds: float) -> None:
    make_older(source, checkpoint_rows.c.updated_at, seconds)  # type: ignore[arg-type]


def test_a_projection_that_stalls_is_told_and_one_that_was_idle_is_not(
    shop: NativeSource, sqlite_home: Home, receiver: Receiver
) -> None:
    idle_since(shop, 86_400)
    watch = watching(sqlite_home, shop, receiver, Rules(stalled_seconds=1))
    fill(shop, 1, first=11)
    watch.step()
    assert receiver.requests == []  # the event came just now, after a day without any
    time.sleep(1.1)
    watch.step()
    assert receiver.messages[0]["alerts"][0]["what"].startswith("1 event waits, and nothing was processed for ")
    with shop.database.writing() as connection:
        checkpoints.change_projection(connection, shop.database.dialect, "counts", status="paused")
    watch.step()
    assert receiver.told() == [("began", "stalled", "counts"), ("ended", "stalled", "counts")]


def test_a_stall_of_what_tells_no_times_is_seen_by_looking_and_remembered_over_a_restart(
    shop: NativeSource, sqlite_home: Home, receiver: Receiver
) -> None:
    class Silent:
        """Like Ecotone's: without the time of the last progress."""

        def projections(self) -> list[ProjectionStatus]:
            return [
                ProjectionStatus(one.name, Health.behind, "behind", progress=one.progress) for one in shop.projections()
            ]

        def __getattr__(self, name: str) -> Any:
            return getattr(shop, name)

    fill(shop, 1, first=11)
    time.sleep(1.1)
    rules = Rules(stalled_seconds=1)
    watch = watching(sqlite_home, Silent(), receiver, rules)
    watch.step()
    assert receiver.requests == []  # it has only now begun to look
    time.sleep(1.1)
    watch.step()
    break_lease(sqlite_home)
    watching(sqlite_home, Silent(), receiver, rules).step()
    assert receiver.told() == [("began", "stalled", "counts")]
    run_to_head(shop, counting())
    watch._looker._standing.clear()
    break_lease(sqlite_home)
    watching(sqlite_home, Silent(), receiver, rules).step()
    assert receiver.told()[1:] == [("ended", "stalled", "counts")]


def test_a_store_out_of_reach_is_told_and_its_other_problems_stay(
    shop: NativeSource, sqlite_home: Home, receiver: Receiver
) -> None:
    fail(shop)
    watch = watching(sqlite_home, shop, receiver)
    watch.step()

    def unreachable(name: str) -> Any:
        raise StoreUnavailable("The server is gone.")

    watch._looker.open_source = unreachable
    watch.step()
    watch.step()
    watch._looker.open_source = lambda name: shop
    watch.step()
    assert receiver.told() == [
        ("began", "failed", "counts"), ("began", "unreachable", None), ("ended", "unreachable", None),
    ]  # fmt: skip


def letter(id: str, minute: int) -> DeadLetter:
    return DeadLetter(id, dt.datetime(2026, 1, 1, 0, minute, tzinfo=dt.UTC), "T", "c", f"error {id}")


def test_dead_letters_alarm_when_they_grow_until_the_new_ones_are_gone() -> None:
    old = [letter("b", 2), letter("a", 1)]
    memory, found = judge_letters(old, None, None)
    assert found is None  # they lay there before anybody watched
    memory, found = judge_letters([letter("c", 3), *old], memory, None)
    assert found is not None
    assert found.sentence == "1 new dead letter: error c"
    memory, still = judge_letters([letter("c", 3), *old], memory, found.mark)
    assert still == found
    memory, more = judge_letters([letter("d", 4), letter("c", 3), *old], memory, still.mark if still else None)
    assert more is not None
    assert more.sentence == "2 new dead letters, the newest: error d"
    memory, rest = judge_letters([letter("d", 4), *old], memory, more.mark)
    assert rest is not None
    assert json.loads(rest.mark or "") == ["d"]
    memory, none = judge_letters(old, memory, rest.mark)
    assert none is None
    _, none = judge_letters([letter("a", 1), letter("older", 0)], memory, None)
    assert none is None  # older ones that came into sight are no news


@pytest.mark.parametrize("server", ["postgresql", "mysql", "mariadb"])
def test_attached_ecotone_stores_are_watched_too(
    server: str, tmp_path: Path, sqlite_home: Home, receiver: Receiver
) -> None:
    url, drop = create_database(server, tmp_path)
    load_dump(url, server)
    source = open_source(url)
    engine = sa.create_engine(source.database.url)  # type: ignore[attr-defined]
    try:
        watch = watching(sqlite_home, source, receiver, Rules(lag_events=1_000))
        watch.step()
        assert ("began", "crashed", "crashed_report") in receiver.told()
        assert not [one for one in receiver.told() if one[1] == "dead_letters"]
        count = len(receiver.requests)
        with engine.begin() as connection:
            table = sa.Table("ecotone_error_messages", sa.MetaData(), autoload_with=connection)
            newest = connection.execute(sa.select(table).order_by(table.c.failed_at.desc()).limit(1)).one()
            connection.execute(sa.insert(table).values({**newest._mapping, "message_id": "a-new-one"}))
        watch.step()
        watch.step()
        assert receiver.told()[-1] == ("began", "dead_letters", None)
        assert len(receiver.requests) == count + 1
        with engine.begin() as connection:
            connection.execute(sa.delete(table).where(table.c.message_id == "a-new-one"))
        watch.step()
        assert receiver.told()[-1] == ("ended", "dead_letters", None)
    finally:
        engine.dispose()
        source.close()
        drop()


# --- delivery -------------------------------------------------------------------------------------------------------


def test_a_receiver_that_refuses_gets_the_same_message_again_after_a_while(
    shop: NativeSource, sqlite_home: Home, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    watch = watching(sqlite_home, shop, receiver)
    receiver.answers = [500, 302, 404]
    fail(shop)
    waits = []
    for _ in range(3):
        waits.append(watch.step())
        refused = len(receiver.requests)
        assert 0 < watch.step() <= waits[-1]  # not before its time
        assert len(receiver.requests) == refused
        make_older(sqlite_home, watches.c.retry_at, waits[-1] + 1)
    assert waits == [5, 10, 20]
    watch.step()
    watch.step()
    assert len({message["id"] for message in receiver.messages}) == 1
    assert receiver.told() == [("began", "failed", "counts")] * 4
    with sqlite_home.database.reading() as connection:
        assert connection.execute(sa.select(watches.c.attempts, watches.c.retry_at)).one() == (0, None)
    assert "it answered 500. The next try is in 5 s" in caplog.text


def test_nothing_is_lost_while_the_receiver_is_down(shop: NativeSource, sqlite_home: Home) -> None:
    with receiving() as receiver:
        watch = watching(sqlite_home, shop, receiver)
    fail(shop)
    watch.step()
    mend(shop)
    watch.step()  # it began and ended meanwhile
    run_to_head(shop, counting("other"))
    fail(shop, "other")
    watch.step()
    with receiving(receiver.port) as back:
        make_older(sqlite_home, watches.c.retry_at, 60)
        watch.step()
        (message,) = back.messages
        assert back.told() == [
            ("began", "failed", "counts"),
            ("ended", "failed", "counts"),
            ("began", "failed", "other"),
        ]
        assert message["counts"] == {"began": 2, "lasts": 0, "ended": 1}


def test_waiting_grows_to_a_limit(sqlite_home: Home, shop: NativeSource, receiver: Receiver) -> None:
    watch = watching(sqlite_home, shop, receiver)
    fail(shop)
    receiver.answers = [500] * 12
    for _ in range(12):
        wait = watch.step()
        make_older(sqlite_home, watches.c.retry_at, wait + 1)
    assert wait == telling.most_wait_seconds


def test_messages_are_signed_and_secrets_are_never_logged(
    shop: NativeSource, sqlite_home: Home, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "the-secret-of-signatures"
    receiver.answers = [500]
    fail(shop)
    with caplog.at_level(logging.DEBUG):
        watch = watching(sqlite_home, shop, receiver, secret=secret)
        watch.step()
        make_older(sqlite_home, watches.c.retry_at, 60)
        watch.step()
        watch.outlet = Outlet("http://127.0.0.1:9/very-secret-path?key=very-secret-key")  # nobody listens there
        mend(shop)
        watch.step()
    for headers, body in receiver.requests:
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        assert headers["Projectionist-Signature"] == f"sha256={signature}"
        assert headers["Projectionist-Message"] == json.loads(body)["id"]
    assert "Connection refused" in caplog.text
    for hidden in ("very-secret", secret):
        assert hidden not in caplog.text


def test_without_a_webhook_alerts_are_only_kept_while_open(shop: NativeSource, sqlite_home: Home) -> None:
    watch = AlertWatch(sqlite_home, ["shop"], lambda name: shop, Rules(), Outlet(), settle_seconds=0)
    fail(shop)
    watch.step()
    assert [one.kind for one in list_open(sqlite_home, ["shop"])] == ["failed"]
    mend(shop)
    watch.step()
    with sqlite_home.database.reading() as connection:
        assert connection.execute(sa.select(alerts)).all() == []


def test_a_slow_receiver_holds_up_neither_worker_nor_stopping(
    shop: NativeSource, sqlite_home: Home, receiver: Receiver
) -> None:
    go_on = threading.Event()
    receiver.before_answer = lambda: go_on.wait(30)
    fail(shop)
    other: Projection = counting("other")
    domain = Domain("tests")
    domain.add(other)
    watch = watching(sqlite_home, shop, receiver)
    worker = Worker(sqlite_home, domain, lambda name: shop, follow=("shop",), watch=watch.run)
    worker.start()
    try:
        wait_for(lambda: receiver.requests)
        wait_for(lambda: [one for one in shop.projections() if one.name == "other" and one.health is Health.up_to_date])
    finally:
        go_on.set()
        assert worker.stop() is True
    assert receiver.told() == [("began", "failed", "counts")]
    with sqlite_home.database.reading() as connection:
        assert connection.execute(sa.select(watches.c.owner)).scalar_one() is None  # nobody has to wait for its end


# --- processes ------------------------------------------------------------------------------------------------------


@pytest.fixture
def start() -> Iterator[Any]:
    """Starts a process that runs a function, and gives it with what it reports; all are gone at the end."""
    started = []

    def begin(target: Any, *arguments: Any) -> Any:
        ours, theirs = context.Pipe()
        child = context.Process(target=target, args=(*arguments, theirs), daemon=True)
        child.start()
        started.append((child, ours))
        return child, ours

    yield begin
    for child, ours in started:
        child.kill()
        child.join(10)
        child.close()
        ours.close()


def test_of_two_processes_one_tells_and_the_other_takes_over(
    home: Home, store: EventStore, receiver: Receiver, start: Any, tmp_path: Path
) -> None:
    fill(store, 10)
    run_to_head(store, counting())
    fail(store)
    arguments = (url_of(store), url_of(home), tmp_path / "home", receiver.url)
    children = [start(alert_process.keep_watching, *arguments) for _ in range(2)]
    for _, reports in children:
        assert reports.poll(60)
    wait_for(lambda: [one for one in list_open(home, ["shop"]) if one.told_at])  # else the kill may have it sent again
    with home.database.reading() as connection:
        owner = connection.execute(sa.select(watches.c.owner)).scalar_one()
    (telling_one,) = [child for child, _ in children if f":{child.pid}:" in owner]
    telling_one.kill()
    run_to_head(store, counting("other"))
    fail(store, "other")
    wait_for(lambda: len(receiver.told()) >= 2)
    assert receiver.told() == [("began", "failed", "counts"), ("began", "failed", "other")]


@pytest.mark.parametrize(("what", "times"), [("post", 1), ("mark_told", 2)])
def test_a_process_killed_between_has_the_same_message_sent_by_another(
    what: str, times: int, home: Home, store: EventStore, receiver: Receiver, start: Any, tmp_path: Path
) -> None:
    fill(store, 10)
    run_to_head(store, counting())
    fail(store)
    arguments = (url_of(store), url_of(home), tmp_path / "home", receiver.url)
    child, reports = start(alert_process.stop_before, what, *arguments)
    assert reports.poll(60)
    child.kill()
    _, reports = start(alert_process.keep_watching, *arguments)
    assert reports.poll(60)
    wait_for(lambda: len(receiver.requests) == times)
    assert receiver.told() == [("began", "failed", "counts")] * times
    assert len({message["id"] for message in receiver.messages}) == 1
