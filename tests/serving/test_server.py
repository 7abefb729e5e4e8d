"""The dashboard under gunicorn: two processes of four threads, many requests, and how it ends."""

from __future__ import annotations

import concurrent.futures
import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.serving.browser import Person, serving
from webapp.adapters.native import NativeSource
from webapp.projections import run_to_head
from webapp.store import EventStore, NewEvent

domain_code = """
import os, time
import sqlalchemy as sa
from webapp.domain import Domain
from webapp.projections import Projection, Table
from webapp.store.columns import Name

counts = Projection("counts", batch_size=100, tables=[
    Table("counts", sa.Column("id", Name(50), primary_key=True), sa.Column("seen", sa.Integer, nullable=False, default=0)),
])

@counts.on("counted")
def counted(event, context):
    if context.is_replay:
        time.sleep(float(os.environ.get("SLOW_SECONDS", "0")))
    context.table("counts").increment(event.aggregate_id, seen=1)

domain = Domain("counting")
domain.add(counts)
"""


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a store of 3,000 events whose projection, defined in counting.py, has run."""
    (tmp_path / "counting.py").write_text(domain_code)
    monkeypatch.setenv("PYTHONPATH", f"{Path.cwd()}{os.pathsep}{tmp_path}")
    monkeypatch.syspath_prepend(str(tmp_path))
    import importlib

    module = importlib.import_module("counting")
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    store = EventStore.open(url)
    store.migrate()
    for number in range(30):
        store.append("thing", f"T-{number}", [NewEvent("counted", {"n": n}) for n in range(100)])
    run_to_head(store, module.counts)
    store.close()
    import sys

    del sys.modules["counting"]
    return url


def replay_path(person: Person) -> str:
    """Asks for a rebuild and returns the address of its page."""
    status, text = person.post(
        "/stores/shop/projections/counts/rebuild",
        "/stores/shop/projections/counts/rebuild",
        reason="to see it",
        batch_size="100",
    )
    assert status == 200, text[:1500]
    found = re.search(r"/stores/shop/replays/\d+", text)
    assert found, text[:3000]
    return found[0]


def wait_for(person: Person, path: str, word: str, seconds: float = 60) -> str:
    """The page once it says the word."""
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        _, text = person.get(path)
        if word in text:
            return text
        time.sleep(0.2)
    raise AssertionError(f"{path} never said {word}:\n{text[:6000]}")


def replay_status(url: str, home: Path) -> list[tuple[str, int]]:
    """Status and events done of every replay in home."""
    store = EventStore.open(f"sqlite:///{home / 'home.db'}")
    try:
        with store.database.reading() as connection:
            rows = connection.exec_driver_sql("SELECT status, done FROM projectionist_replays ORDER BY id").fetchall()
            return [(row[0], row[1]) for row in rows]
    finally:
        store.close()


def sums(url: str) -> tuple[int, int, int]:
    """Rows, events counted in them, and the head of the log: the latter two are equal when each event counted once."""
    store = NativeSource.open(url)
    try:
        with store.database.reading() as connection:
            rows, seen = connection.exec_driver_sql("SELECT count(*), sum(seen) FROM counts").one()
        return rows, seen, store.head("main")
    finally:
        store.close()


def test_200_requests_at_once_lose_nothing(counted: str, tmp_path: Path) -> None:
    paths = ["/stores/shop/events", "/stores/shop/aggregates/thing/T-1", "/stores/shop/projections", "/", "/healthz"]
    with serving(tmp_path, "--store", f"shop={counted}", "--workers", "2", "--threads", "4") as server:
        person = Person(server)
        person.log_in()
        with concurrent.futures.ThreadPoolExecutor(200) as pool:
            answers = list(pool.map(lambda number: person.get(paths[number % len(paths)]), range(200)))
        assert [status for status, _ in answers] == [200] * 200
        assert all("T-1" in text for number, (_, text) in enumerate(answers) if number % len(paths) == 1)
        assert len(server.workers()) == 2
        assert server.stop() < 10
    assert "Traceback" not in server.log.read_text()


def test_a_rebuild_started_in_the_dashboard_runs_to_its_end(counted: str, tmp_path: Path) -> None:
    with serving(tmp_path, "--store", f"shop={counted}", "--domain", "counting:domain") as server:
        person = Person(server)
        person.log_in()
        wait_for(person, replay_path(person), "done")
    assert sums(counted) == (30, 3000, 3000)


def test_sigterm_ends_it_in_time_with_the_batch_committed(counted: str, tmp_path: Path) -> None:
    slow = {"SLOW_SECONDS": "0.005"}
    with serving(tmp_path, "--store", f"shop={counted}", "--domain", "counting:domain", environment=slow) as server:
        person = Person(server)
        person.log_in()
        path = replay_path(person)
        wait_for(person, path, "running")
        time.sleep(1.5)
        assert server.stop() < 10
    [(status, done)] = replay_status(counted, tmp_path / "home")
    assert status == "queued"  # for whoever comes next
    assert 0 < done < 3000 and done % 100 == 0
    assert sums(counted) == (30, 3000, 3000)  # the old generation serves
    with serving(tmp_path, "--store", f"shop={counted}", "--domain", "counting:domain") as server:
        person = Person(server)
        person.log_in()
        wait_for(person, path, "done")
    assert sums(counted) == (30, 3000, 3000)


def test_a_killed_process_is_followed_by_the_other(counted: str, tmp_path: Path) -> None:
    slow = {"SLOW_SECONDS": "0.004"}
    with serving(tmp_path, "--store", f"shop={counted}", "--domain", "counting:domain", environment=slow) as server:
        person = Person(server)
        person.log_in()
        path = replay_path(person)
        wait_for(person, path, "running")
        time.sleep(1)
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
        # gunicorn starts new processes, one of which takes the job over when its heartbeat and lease have run out.
        wait_for(person, path, "done", seconds=90)
    assert sums(counted) == (30, 3000, 3000)


def test_a_missing_store_is_a_usage_error(tmp_path: Path) -> None:
    import subprocess

    from tests.serving.browser import command

    answer = subprocess.run([*command, "serve"], check=False, capture_output=True, text=True, cwd=tmp_path, env={
        **{k: v for k, v in os.environ.items() if not k.startswith("PROJECTIONIST_")}, "PYTHONPATH": str(Path.cwd())})  # fmt: skip
    assert answer.returncode == 2
    assert "--store" in answer.stderr
