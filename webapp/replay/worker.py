"""The background of a process: takes queued replays, and follows live where asked to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from webapp.accounts.home import Home
from webapp.domain import Domain
from webapp.errors import NotFound, ProjectionistError, StoreUnavailable
from webapp.projections.follower import Follower
from webapp.replay import jobs
from webapp.replay.jobs import ReplayJob
from webapp.replay.runner import JobRunner
from webapp.store.leases import worker_name
from webapp.store.native import EventStore

log = logging.getLogger(__name__)
_poll_seconds = 1.0
_follow_seconds = 0.25
_idle_seconds = 2.0
_retry_seconds = 5.0


class Worker:
    """Threads that run replays, and with `follow` names of stores also every projection of the domain over them.

    `open_store` gives a store that can be appended to and hold projections; it raises a ProjectionistError otherwise.
    `watch` runs in a thread of its own until the event it's given is set. Start it after any fork; `stop` lets batches in hand commit.
    """

    def __init__(
        self,
        home: Home,
        domain: Domain,
        open_store: Callable[[str], EventStore],
        *,
        follow: tuple[str, ...] = (),
        concurrent_replays: int = 2,
        watch: Callable[[threading.Event], None] | None = None,
    ) -> None:
        self.home = home
        self.domain = domain
        self.open_store = open_store
        self.follow = follow
        self.watch = watch
        self.name = worker_name()
        self._slots = threading.Semaphore(concurrent_replays)
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def start(self) -> None:
        """Starts the threads; once."""
        self._spawn("replays", self._take_replays)
        for store in self.follow:
            self._spawn(f"follow {store}", self._follow_store, store)
        if self.watch is not None:
            self._spawn("alerts", self.watch, self._stopping)

    def stop(self, timeout_seconds: float = 8.0) -> bool:
        """Asks all threads to end after the batch in hand and waits; False if one is still busy."""
        self._stopping.set()
        ends_at = time.monotonic() + timeout_seconds
        while busy := self._busy_threads():  # asked again, as one may have spawned another
            if time.monotonic() > ends_at:
                return False
            busy[0].join(max(0.0, ends_at - time.monotonic()))
        return True

    def _busy_threads(self) -> list[threading.Thread]:
        with self._lock:
            self._threads = [one for one in self._threads if one.is_alive()]
            return list(self._threads)

    def _spawn(self, name: str, target: Callable[..., None], *arguments: object) -> None:
        # Daemon threads: a stuck database must not keep a process from ending; every batch is one transaction anyway.
        thread = threading.Thread(target=target, args=arguments, name=f"projectionist {name}", daemon=True)
        thread.start()
        with self._lock:
            self._threads.append(thread)

    # --- replays ----------------------------------------------------------------------------------------------------

    def _take_replays(self) -> None:
        while not self._stopping.is_set():
            if self._slots.acquire(blocking=False):
                try:
                    job = jobs.claim_replay(self.home, worker_name())
                except Exception as error:
                    _warn("home can't be asked for replays", error)
                    job = None
                if job is not None:
                    self._spawn(f"replay {job.id}", self._run_replay, job)
                    continue
                self._slots.release()
            self._stopping.wait(_poll_seconds)

    def _run_replay(self, job: ReplayJob) -> None:
        try:
            log.info("replay %d of %s in %s begins", job.id, job.projection, job.store)
            try:
                projection = self.domain.projections.get(job.projection)
                if projection is None:
                    raise NotFound("projection", job.projection, "The domain that this worker runs doesn't define it.")
                store = self.open_store(job.store)
            except StoreUnavailable as error:
                jobs.end_replay(self.home, job, "queued", str(error))
                self._stopping.wait(_retry_seconds)
                return
            except ProjectionistError as error:
                jobs.end_replay(self.home, job, "failed", str(error))
                return
            JobRunner(self.home, job, store, projection, self._stopping).run()
        except Exception as error:
            _warn(f"replay {job.id} stopped", error)
        finally:
            self._slots.release()

    # --- following --------------------------------------------------------------------------------------------------

    def _follow_store(self, name: str) -> None:
        followers: list[Follower] = []
        waits_until: dict[str, float] = {}
        said = ""
        try:
            while not self._stopping.is_set():
                try:
                    if not followers:
                        store = self.open_store(name)
                        followers = [Follower(store, one, self.name) for one in self.domain.projections.values()]
                    applied = sum(self._step(follower, waits_until) for follower in followers)
                    said = ""
                    self._stopping.wait(0 if applied else _follow_seconds)
                except Exception as error:
                    if str(error) != said:  # it is tried every few seconds, maybe for days
                        _warn(f"{name} can't be followed now", error)
                        said = str(error)
                    self._stopping.wait(_retry_seconds)
        finally:
            for follower in followers:
                try:
                    follower.release()
                except Exception as error:
                    _warn("a lease stays until it runs out", error)

    def _step(self, follower: Follower, waits_until: dict[str, float]) -> int:
        """One batch of one projection; one that isn't ours to run now is asked again only after a while."""
        name, now = follower.projection.name, time.monotonic()
        if self._stopping.is_set() or now < waits_until.get(name, 0):
            return 0
        try:
            applied = follower.step()
        except Exception as error:
            _warn(f"{name} waits", error)
            waits_until[name] = now + _retry_seconds
            return 0
        if not applied and not follower.is_working:
            waits_until[name] = now + _idle_seconds
        return applied


def _warn(what: str, error: Exception) -> None:
    """One line for what was to be expected, the traceback for what was not; the thread lives on in any case."""
    log.warning("%s: %s", what, error, exc_info=None if isinstance(error, ProjectionistError) else error)
