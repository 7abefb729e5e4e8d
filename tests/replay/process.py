"""Worker processes that tests kill: they run what a real worker runs, with leases short enough to wait for."""

from __future__ import annotations

import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

from tests.projections.helpers import counting
from webapp.accounts.home import Home
from webapp.config import Config
from webapp.domain import Domain
from webapp.errors import LeaseLost
from webapp.projections import Context, Follower, Projection, checkpoints
from webapp.replay import jobs, runner
from webapp.replay.runner import JobRunner
from webapp.replay.worker import Worker
from webapp.store import EventStore, RecordedEvent
from webapp.store.leases import worker_name

batch_size = 100
slow_seconds = 0.05


def _hurry() -> None:
    """Leases and silences that a test can wait for."""
    checkpoints.lease_seconds = 0.3
    jobs.stale_seconds = 0.3
    runner._lease_wait_seconds = 0.03
    runner._report_seconds = 0.02


def _open_home(url: str, folder: Path) -> Home:
    return Home.open(Config(home_folder=folder, home_url=url))


def take_replays(store_url: str, home_url: str, folder: Path, reports: Connection) -> None:
    """Claims jobs and runs them until it's killed, telling each phase before it does a piece of it."""
    _hurry()
    store, home = EventStore.open(store_url), _open_home(home_url, folder)
    while True:
        job = jobs.claim_replay(home, worker_name())
        if job is None:
            reports.send("idle")
            time.sleep(0.02)
            continue
        work = JobRunner(home, job, store, counting(batch_size=batch_size))
        step = work.rebuild.step

        def tell_and_step(work: JobRunner = work, step: object = step) -> int:
            reports.send(work.rebuild.phase.value)
            return step()  # type: ignore[operator,no-any-return]

        work.rebuild.step = tell_and_step  # type: ignore[method-assign]
        work.run()


def follow(store_url: str) -> None:
    """Follows the log until it's killed."""
    _hurry()
    follower = Follower(EventStore.open(store_url), counting(batch_size=batch_size))
    while True:
        try:
            if not follower.step():
                time.sleep(0.01)
        except LeaseLost:
            pass


def slow_counting() -> Projection:
    """Twenty events a batch, a second a batch."""

    def handler(event: RecordedEvent, context: Context) -> None:
        time.sleep(slow_seconds)

    return counting(handler=handler, batch_size=20)


def work_until_terminated(store_url: str, home_url: str, folder: Path) -> None:
    """A worker as `projectionist worker` runs it, slow enough to be caught in a batch."""
    store, home = EventStore.open(store_url), _open_home(home_url, folder)
    domain = Domain("slow")
    domain.add(slow_counting())
    worker, is_asked = Worker(home, domain, lambda name: store, follow=("shop",)), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_asked.set())
    worker.start()
    is_asked.wait()
    raise SystemExit(0 if worker.stop() else 1)
