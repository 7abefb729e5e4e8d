"""The background of a process: takes replays, follows live, outlives what goes wrong, and stops when asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.projections.helpers import checkpoint_of, counted, counting, expected, fill, row_of, wait_for
from webapp.accounts.home import Home
from webapp.config import Config
from webapp.domain import Domain
from webapp.errors import StoreUnavailable, UnknownLayout
from webapp.projections import Context, init_projection
from webapp.replay import jobs, worker
from webapp.replay.worker import Worker
from webapp.store import EventStore, RecordedEvent


@pytest.fixture(autouse=True)
def little_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {
        "_poll_seconds": 0.05,
        "_follow_seconds": 0.02,
        "_idle_seconds": 0.05,
        "_retry_seconds": 0.05,
    }.items():
        monkeypatch.setattr(worker, name, seconds)


@pytest.fixture(autouse=True)
def no_worker_left() -> Iterator[None]:
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("projectionist")] == []


@pytest.fixture
def sqlite_home(tmp_path: Path) -> Iterator[Home]:
    home = Home.open(Config(home_folder=tmp_path / "home"))
    yield home
    home.close()


def domain_of(*projections: Any) -> Domain:
    domain = Domain("tests")
    domain.add(*projections)
    return domain


def test_it_takes_replays_and_follows_live(home: Home, store: EventStore) -> None:
    fill(store, 30)
    background = Worker(home, domain_of(counting()), lambda name: store, follow=("shop",))
    background.start()
    try:
        wait_for(lambda: row_of_or_none(store) and counted(store) == expected(store))
        id_ = jobs.request_replay(home, "shop", "counts", started_by="ann")
        wait_for(lambda: jobs.find_replay(home, id_).status == "done")
        assert row_of(store).generation == 2
        fill(store, 5, first=31)
        wait_for(lambda: counted(store) == expected(store))
    finally:
        assert background.stop() is True
    assert checkpoint_of(store).owner is None  # nobody has to wait for its leases


def row_of_or_none(store: EventStore) -> Any:
    with store.database.reading() as connection:
        names = sa.inspect(connection).get_table_names()
    return "counts" in names


def test_two_workers_share_the_jobs(home: Home, store: EventStore) -> None:
    fill(store, 60)
    names = [f"p{number}" for number in range(4)]
    domain = domain_of(*(counting(name, batch_size=5) for name in names))
    workers = [Worker(home, domain, lambda name: store) for _ in range(2)]
    ids = [jobs.request_replay(home, "shop", name, started_by="ann", batch_size=5) for name in names]
    for one in workers:
        one.start()
    try:
        wait_for(lambda: all(jobs.find_replay(home, id_).status == "done" for id_ in ids))
    finally:
        assert all(one.stop() for one in workers)
    for name in names:
        assert counted(store, name) == expected(store)
        assert row_of(store, name).generation == 2


def test_a_projection_that_the_code_does_not_know_fails_with_a_sentence(
    sqlite_home: Home, sqlite_store: EventStore
) -> None:
    def open_store(name: str) -> EventStore:
        if name == "attached":
            raise UnknownLayout("The store attached is attached read-only, so projections can't be run in it.")
        return sqlite_store

    unknown = jobs.request_replay(sqlite_home, "shop", "nobody", started_by="ann")
    attached = jobs.request_replay(sqlite_home, "attached", "counts", started_by="ann")
    background = Worker(sqlite_home, domain_of(counting()), open_store)
    background.start()
    try:
        for id_, sentence in ((unknown, "There is no projection “nobody” here"), (attached, "attached read-only")):
            wait_for(lambda id_=id_: jobs.find_replay(sqlite_home, id_).status == "failed")  # type: ignore[misc]
            assert sentence in str(jobs.find_replay(sqlite_home, id_).message)
    finally:
        assert background.stop()


def test_a_store_that_cannot_be_reached_is_tried_again_and_told_once(
    sqlite_home: Home, sqlite_store: EventStore, caplog: pytest.LogCaptureFixture
) -> None:
    fill(sqlite_store, 10)
    calls: list[str] = []
    is_away = threading.Event()
    is_away.set()

    def open_store(name: str) -> EventStore:
        calls.append(name)
        if is_away.is_set():
            raise StoreUnavailable("shop can't be reached. Is it running?")
        return sqlite_store

    background = Worker(sqlite_home, domain_of(counting()), open_store, follow=("shop",))
    background.start()
    try:
        id_ = jobs.request_replay(sqlite_home, "shop", "counts", started_by="ann")
        wait_for(lambda: len(calls) > 6)
        assert caplog.text.count("shop can't be followed now") == 1
        wait_for(lambda: "can't be reached" in str(jobs.find_replay(sqlite_home, id_).message))
        is_away.clear()
        wait_for(lambda: jobs.find_replay(sqlite_home, id_).status == "done")
        wait_for(lambda: counted(sqlite_store) == expected(sqlite_store))
    finally:
        assert background.stop()


def test_a_projection_that_raises_does_not_stop_the_others(
    sqlite_home: Home, sqlite_store: EventStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: RecordedEvent, context: Context) -> None:
        raise RuntimeError("broken")

    failing, taken = counting("failing", handler=broken), counting("taken")
    monkeypatch.setattr(taken, "fingerprint", lambda: 1 / 0)  # what nobody expected
    fill(sqlite_store, 10)
    background = Worker(sqlite_home, domain_of(failing, taken, counting()), lambda name: sqlite_store, follow=("shop",))
    background.start()
    try:
        wait_for(lambda: row_of_or_none(sqlite_store) and counted(sqlite_store) == expected(sqlite_store))
        fill(sqlite_store, 5, first=11)
        wait_for(lambda: counted(sqlite_store) == expected(sqlite_store))
        wait_for(lambda: row_of(sqlite_store, "failing").status == "failed")
    finally:
        assert background.stop()
    assert "failing waits: Projection failing failed at main:1" in caplog.text
    assert "taken waits: division by zero" in caplog.text and "ZeroDivisionError" in caplog.text


def test_it_stops_promptly_after_the_batch_in_hand(sqlite_home: Home, sqlite_store: EventStore) -> None:
    fill(sqlite_store, 2000)

    def slow(event: RecordedEvent, context: Context) -> None:
        time.sleep(0.01)

    projection = counting(handler=slow, batch_size=30)
    init_projection(sqlite_store, projection)
    id_ = jobs.request_replay(sqlite_home, "shop", "counts", started_by="ann", batch_size=30)
    background = Worker(sqlite_home, domain_of(projection), lambda name: sqlite_store, follow=("shop",))
    background.start()
    wait_for(lambda: checkpoint_of(sqlite_store).done > 0 and jobs.find_replay(sqlite_home, id_).done > 0)
    began = time.monotonic()
    assert background.stop() is True
    assert time.monotonic() - began < 3
    done = checkpoint_of(sqlite_store).done
    assert done % 30 == 0
    assert counted(sqlite_store) == expected(sqlite_store, up_to=done)
    job = jobs.find_replay(sqlite_home, id_)
    assert job.status == "queued" and job.runner is None  # any worker may go on at once
    assert checkpoint_of(sqlite_store).owner is checkpoint_of(sqlite_store, generation=2).owner is None


def test_stopping_says_when_a_thread_is_still_busy(sqlite_home: Home, sqlite_store: EventStore) -> None:
    fill(sqlite_store, 1)
    begun, go_on = threading.Event(), threading.Event()

    def stuck(event: RecordedEvent, context: Context) -> None:
        begun.set()
        go_on.wait(20)

    background = Worker(
        sqlite_home, domain_of(counting(handler=stuck)), lambda name: sqlite_store, follow=("shop", "shop")
    )
    background.start()
    assert begun.wait(20)
    began = time.monotonic()
    assert background.stop(timeout_seconds=0.3) is False
    assert time.monotonic() - began < 1  # for all threads together
    go_on.set()
    assert background.stop() is True


def test_an_idle_worker_rests(sqlite_home: Home, sqlite_store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # with the real pauses
    fill(sqlite_store, 10)
    projections = [counting(f"p{number}") for number in range(5)]
    background = Worker(sqlite_home, domain_of(*projections), lambda name: sqlite_store, follow=("shop",))
    background.start()
    try:
        wait_for(lambda: all(is_at_head(sqlite_store, one.name) for one in projections))
        statements: list[str] = []

        def count(*arguments: Any) -> None:
            statements.append(arguments[2])

        engines = (sqlite_home.database.engine, sqlite_store.database.engine)
        for engine in engines:
            sa.event.listen(engine, "before_cursor_execute", count)
        began = time.process_time()
        time.sleep(2)
        spent = time.process_time() - began
        for engine in engines:
            sa.event.remove(engine, "before_cursor_execute", count)
        assert spent < 0.5
        assert len(statements) < 250, "an idle worker asks too often"
        assert not [one for one in statements if one.startswith(("UPDATE", "INSERT", "DELETE"))]
    finally:
        assert background.stop()


def is_at_head(store: EventStore, name: str) -> bool:
    with store.database.reading() as connection:
        row = connection.execute(
            sa.text("SELECT done FROM projectionist_checkpoints WHERE projection = :name"), {"name": name}
        ).one_or_none()
    return row is not None and row.done == 10
