"""Workers killed at any moment: every event counts once, and whoever reads the table notices nothing."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from tests.projections.helpers import (
    checkpoint_of,
    counted,
    counting,
    expected,
    fill,
    in_background,
    row_of,
    tables,
    wait_for,
)
from tests.replay import process
from webapp.accounts.home import Home
from webapp.errors import ReplayConflict
from webapp.projections import init_projection, run_to_head
from webapp.replay import jobs
from webapp.store import EventStore

kills = 20
phases = ("replay", "swap", "prepare", "clean", "swap", "replay")
context = multiprocessing.get_context("forkserver")


class Processes:
    """Worker processes, all of them gone at the end."""

    def __init__(self) -> None:
        self.all: list[ForkServerProcess] = []

    def start(self, target: Any, *arguments: Any) -> ForkServerProcess:
        child = context.Process(target=target, args=arguments, daemon=True)
        child.start()
        self.all.append(child)
        return child


@pytest.fixture
def processes() -> Iterator[Processes]:
    context.set_forkserver_preload(["tests.replay.process"])
    started = Processes()
    yield started
    for child in started.all:
        child.kill()
        child.join(10)
        child.close()


def request(home: Home) -> None:
    with contextlib.suppress(ReplayConflict):  # the one before is still to be finished
        jobs.request_replay(home, "shop", "counts", started_by="ann", batch_size=process.batch_size)


def url_of(source: Any) -> str:
    return str(source.database.engine.url.render_as_string(hide_password=False))


def test_twenty_kills_of_rebuilds_and_followers(
    home: Home, store: EventStore, processes: Processes, tmp_path: Path
) -> None:
    chance = random.Random()
    fill(store, 1500)
    run_to_head(store, counting())
    seen, reads = [0], [0]

    def read() -> None:
        found = counted(store)
        total = sum(count for count, _ in found.values())
        assert len(found) == 5 and total >= seen[0], "a reader went back in time"
        seen[0], reads[0] = total, reads[0] + 1

    def write() -> None:
        fill(store, 2)
        time.sleep(0.02)

    killed: list[str] = []
    with in_background(read, write):
        follower = processes.start(process.follow, url_of(store))
        for number in range(kills):
            wanted, request_at = phases[number % len(phases)], chance.randint(1, 12)
            told, tell = context.Pipe(duplex=False)
            worker = processes.start(process.take_replays, url_of(store), url_of(home), tmp_path / "home", tell)
            tell.close()
            ends_at = time.monotonic() + 30
            while True:
                assert told.poll(max(0, ends_at - time.monotonic())), f"no sign of {wanted}"
                phase = told.recv()
                if phase == "idle":
                    request(home)
                if phase == "replay" == wanted and request_at > 1:
                    request_at -= 1
                    continue
                if phase == wanted:
                    break
            time.sleep(chance.uniform(0, 0.02))
            worker.kill()
            worker.join(10)
            assert worker.exitcode == -9
            killed.append(phase)
            told.close()
            if number % 3 == 1:
                follower.kill()
                follower.join(10)
                follower = processes.start(process.follow, url_of(store))
        told, tell = context.Pipe(duplex=False)
        worker = processes.start(process.take_replays, url_of(store), url_of(home), tmp_path / "home", tell)
        tell.close()
        wait_for(lambda: not jobs.list_replays(home, "shop", only_active=True) or (told.poll(0) and told.recv() == ""))
        for child in (worker, follower):
            child.kill()
            child.join(10)
        told.close()
    assert len(killed) == kills
    wait_for(lambda: caught_up(store))
    assert counted(store) == expected(store)  # each event once
    generation = row_of(store).generation
    assert generation > 2 and tables(store) == {"counts", f"counts__g{generation - 1}"}
    assert reads[0] > 100


def caught_up(store: EventStore) -> bool:
    """Runs what is left, once the killed follower's lease is over."""
    try:
        run_to_head(store, counting(), wait_seconds=0)
    except ReplayConflict:
        return False
    return True


def test_sigterm_ends_a_worker_with_its_batches_committed(
    home: Home, store: EventStore, processes: Processes, tmp_path: Path
) -> None:
    fill(store, 400)
    init_projection(store, process.slow_counting())
    id_ = jobs.request_replay(home, "shop", "counts", started_by="ann", batch_size=20)
    worker = processes.start(process.work_until_terminated, url_of(store), url_of(home), tmp_path / "home")
    wait_for(lambda: checkpoint_of(store).done > 0 and jobs.find_replay(home, id_).done > 0)
    time.sleep(random.uniform(0, 1))
    before = checkpoint_of(store).done
    began = time.monotonic()
    worker.terminate()
    worker.join(10)
    assert worker.exitcode == 0
    assert time.monotonic() - began < 10
    done = checkpoint_of(store).done
    assert done % 20 == 0 and done >= before
    assert counted(store) == expected(store, up_to=done)
    assert checkpoint_of(store).owner is None and checkpoint_of(store, generation=2).owner is None
    assert jobs.find_replay(home, id_).status == "queued"
