"""What was acknowledged is there after `kill -9`, of a writer or of the server, at any moment; the rest whole or not at all.

In the manner of Jepsen: writers note what they try and what they are told, and at the end all notes are held against the
log. The servers are durable ones of these tests' own.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.servers.common import NotAvailable, Server, stop_all
from tests.servers.mariadb import MariaDB
from tests.servers.mysql import MySQL
from tests.servers.mysql_fetch import mysql_root
from tests.servers.postgresql import PostgreSQL
from tests.store.helpers import execute, noted
from tests.store.test_subscriptions import kill_connections
from webapp.store import EventStore, RecordedEvent
from webapp.store.database import parse_url

logs = ("dense", "parallel")
rounds, writers_each = 3, 2
deadline_seconds = 60.0


@pytest.fixture(params=["postgresql", "mariadb", "mysql"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A durable server of this test's own, which may be killed."""
    folder = Path(tempfile.mkdtemp(prefix="projectionist-kills-"))
    folder.chmod(0o755)  # the account that it runs as must pass through
    made: list[Server] = []
    try:
        made.append(_make(request.param, folder))
        made[0].prepare()
        made[0].wait_prepared()
        made[0].start()
        made[0].wait_ready()
        yield made[0]
    finally:
        stop_all(made)
        shutil.rmtree(folder)


def _make(backend: str, folder: Path) -> Server:
    if backend == "mysql":
        if os.environ.get("TEST_WITHOUT_MYSQL"):
            pytest.skip("no MySQL server could be had; `make test` says so in its last line")
        try:
            return MySQL(folder / "server", True, mysql_root())
        except NotAvailable as error:
            pytest.fail(str(error))
    return (PostgreSQL if backend == "postgresql" else MariaDB)(folder / "server", True)


def _make_database(server: Server) -> str:
    engine = sa.create_engine(parse_url(server.url()), isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE kills")
    return parse_url(server.url()).set(database="kills").render_as_string(hide_password=False)


@dataclass
class Writers:
    """Processes that append to one log each, and are replaced when they were killed."""

    url: str
    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)

    @property
    def stop(self) -> Path:
        return self.folder / "stop"

    def start(self, log: str) -> None:
        name = f"{log}-{len(self.started)}"
        self.started.append(name)
        words = [self.url, log, name, str(self.notes(name)), str(self.stop)]
        self.running[name] = subprocess.Popen([sys.executable, "-m", "tests.store.killed_writer", *words])

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.wait()
        self.start(name.partition("-")[0])

    def end(self) -> None:
        self.stop.touch()
        for name, process in self.running.items():
            assert process.wait(deadline_seconds) == 0, name

    def notes(self, name: str) -> Path:
        return self.folder / name

    def read(self, name: str) -> list[list[object]]:
        """What a writer noted; a line that it was killed in the middle of says nothing."""
        text = self.notes(name).read_text() if self.notes(name).exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def stored(self) -> dict[str, int]:
        """How many appends each that runs was told are stored."""
        return {name: sum(note[0] == "stored" for note in self.read(name)) for name in self.running}

    def wait_for_progress(self) -> None:
        """Returns once each writer that runs has stored something more."""
        before, ends_at = self.stored(), time.monotonic() + deadline_seconds
        while True:
            now = self.stored()
            if all(now[name] > before.get(name, 0) for name in now):
                return
            assert time.monotonic() < ends_at, f"a writer does not go on: {before}, {now}"
            assert all(process.poll() is None for process in self.running.values()), "a writer fell over"
            time.sleep(0.05)


@dataclass
class Follower:
    """Follows a log by one subscription that lives through it all."""

    store: EventStore
    log: str
    events: list[RecordedEvent] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self.follow)
        self.thread.start()

    def follow(self) -> None:
        for event in self.store.subscribe(self.log, stop=self.stop):
            self.events.append(event)

    def end_at(self, number: int) -> None:
        ends_at = time.monotonic() + 20
        while len(self.events) < number and time.monotonic() < ends_at:
            time.sleep(0.02)
        self.stop.set()
        self.thread.join()


def test_what_was_acknowledged_is_there_and_the_rest_whole_or_not_at_all(server: Server, tmp_path: Path) -> None:
    url = _make_database(server)
    store = EventStore.open(url)
    store.migrate()
    for log in logs:
        store.create_log(log, log)
    chance, writers = random.Random(), Writers(url, tmp_path)
    followers = [Follower(store, log) for log in logs]
    try:
        for log in logs * writers_each:
            writers.start(log)
        writers.wait_for_progress()
        for _ in range(rounds):
            time.sleep(chance.uniform(0.2, 0.8))
            writers.kill(chance.choice(list(writers.running)))
            writers.wait_for_progress()
            time.sleep(chance.uniform(0.2, 0.8))
            server.kill()
            time.sleep(chance.uniform(0, 0.3))
            server.restart()
            writers.wait_for_progress()
        writers.end()
        for follower in followers:
            wait_until_settled(store, follower.log)
            events = list(store.read_log(follower.log, limit=None))
            follower.end_at(len(events))
            notes = {name: writers.read(name) for name in writers.started if name.startswith(follower.log)}
            check(events, notes)
            assert [event.id for event in follower.events] == [event.id for event in events]
            if follower.log == "dense":
                assert [event.position for event in events] == list(range(1, len(events) + 1))
    finally:
        for process in writers.running.values():
            process.kill()
            process.wait()
        for follower in followers:
            follower.stop.set()
            follower.thread.join()
        store.close()
    told = [note for name in writers.started for note in writers.read(name) if note[0] == "unknown"]
    print(
        f"\n{store.dialect}: {len(told)} of unknown outcome, {sum(writers.stored().values())} stored by the last writers"
    )
    assert told, "no append was in flight when the server was killed, so this test shows nothing"
    assert {note[2] for note in told} == {"StoreUnavailable"}
    assert all(str(note[3]).startswith(store.database.name) for note in told)


def wait_until_settled(store: EventStore, log: str) -> None:
    """Returns once nothing is open any more; who was killed in a transaction leaves it to the server to find out."""
    ends_at = time.monotonic() + deadline_seconds
    while store.settled_head(log) < store.head(log):
        assert time.monotonic() < ends_at, f"{log} stays unsettled at {store.settled_head(log)} of {store.head(log)}"
        time.sleep(0.05)


def check(events: list[RecordedEvent], notes: dict[str, list[list[object]]]) -> None:
    """Holds what is stored in one log against what its writers tried and were told."""
    stored = {event.id: (event.position, event.version) for event in events}
    assert len(stored) == len(events)
    assert [event.position for event in events] == sorted({event.position for event in events})
    versions: dict[str | None, list[int | None]] = {}
    for event in events:
        versions.setdefault(event.aggregate_id, []).append(event.version)
    assert all(found == list(range(1, len(found) + 1)) for found in versions.values())
    tried: set[str] = set()
    acknowledged = 0
    for name, lines in notes.items():
        last = 0
        for kind, turn, what, *_ in lines:
            if kind == "try":
                ids: list[str] = what  # type: ignore[assignment]
                assert not tried & set(ids)
                tried |= set(ids)
                there = [one in stored for one in ids]
                assert all(there) or not any(there), f"half of turn {turn} of {name} is stored"
            if kind == "stored":
                told: list[tuple[str, int, int]] = what  # type: ignore[assignment]
                found = [(id_, *stored.get(id_, (None, None))) for id_, *_ in told]
                assert found == [tuple(one) for one in told], (name, turn)
                positions = [position for _, position, _ in told]
                assert positions == sorted(positions)
                # An append that was tried again may have been stored before it was told.
                assert positions[0] > last
                last = positions[-1]
                acknowledged += 1
    assert acknowledged > 50
    assert set(stored) <= tried


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"])
@pytest.mark.parametrize("ordering", logs)
def test_what_a_server_lost_is_not_remembered(database_url: str, ordering: str) -> None:
    """A server that doesn't wait for its disk may lose the end of a log; numbers of what was in it are given again."""
    store, other = EventStore.open(database_url), EventStore.open(database_url)
    store.migrate(with_triggers=False)
    store.create_log("main", ordering)
    store.append("lost", "1", noted(1))
    for statement in (
        "DELETE FROM projectionist_events",
        "DELETE FROM projectionist_streams",
        "DELETE FROM projectionist_types",
        "UPDATE projectionist_logs SET head = 0, streams = 0, recorded_at = NULL",
    ):
        execute(store, statement)
    kill_connections(other)
    other.append("order", "1", noted(2))
    store.append("lost", "1", noted(3), expected_version=0)
    store.settled_head("main")  # passes what stayed empty
    for one in (store, other):
        assert [(event.stream, event.version, event.data["n"]) for event in one.read_log("main")] == [
            ("order/1", 1, 2),
            ("lost/1", 1, 3),
        ]
        one.close()
