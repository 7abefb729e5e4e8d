"""One job run by one thread: step by step, with progress noted and wishes obeyed between batches."""

from __future__ import annotations

import logging
import threading
import time

from webapp.accounts import activity
from webapp.accounts.home import Home
from webapp.errors import LeaseLost, ProjectionistError, ReplayConflict, StoreUnavailable
from webapp.projections.projection import Projection
from webapp.replay import jobs
from webapp.replay.jobs import ReplayJob
from webapp.replay.outcome import kept_record
from webapp.replay.rebuild import Phase, Rebuild
from webapp.replay.verify import Verify, VerifyPhase
from webapp.store.native import EventStore

log = logging.getLogger(__name__)
_report_seconds = 0.5
_lease_wait_seconds = 1.0
_outage_seconds = 2.0
_outages_endured = 30


class JobRunner:
    """Runs one claimed job until it ends, is paused, or `stopping` is set. `step` does one batch; `run` does all."""

    def __init__(
        self,
        home: Home,
        job: ReplayJob,
        store: EventStore,
        projection: Projection,
        stopping: threading.Event | None = None,
    ) -> None:
        self.home = home
        self.job = job
        self.stopping = stopping or threading.Event()
        self.rebuild: Rebuild | Verify
        if job.is_verification:
            self.rebuild = Verify(store, projection, batch_size=job.batch_size)
        else:
            self.rebuild = Rebuild(store, projection, replay_id=job.id, owner=job.runner, batch_size=job.batch_size)
        self._speed = _Speed()
        self._reported_at = 0.0
        self._outages = 0

    def run(self) -> None:
        """Runs the job to its end; whatever happens is noted in its row, nothing is raised."""
        try:
            while self.step():
                pass
        except LeaseLost as error:
            log.warning("replay %d: %s", self.job.id, error)
        except ProjectionistError as error:
            self._end("failed", str(error))
        except Exception as error:
            log.exception("replay %d failed", self.job.id)
            self._end("failed", f"{type(error).__name__}: {error}. The log of the dashboard has the traceback.")
        finally:
            if isinstance(self.rebuild, Verify):
                self.rebuild.close()  # it may hold a moment of the store

    def step(self) -> bool:
        """Does one piece of work; False when this runner is through with the job."""
        try:
            goes_on = self._step()
            self._outages = 0
            return goes_on
        except StoreUnavailable as error:
            self._outages += 1
            if self._outages > _outages_endured:
                raise
            log.warning("replay %d waits for a database: %s", self.job.id, error)
            if self.stopping.is_set():
                return False  # whoever finds it silent goes on
            self.rebuild.start_over()
            self.stopping.wait(_outage_seconds)
        except ReplayConflict as error:
            if self.rebuild.phase is not Phase.prepare:
                raise
            # The lease of a worker that was killed runs for some seconds yet.
            log.info("replay %d waits: %s", self.job.id, error)
            self.stopping.wait(_lease_wait_seconds)
        return True

    def _step(self) -> bool:
        if self.stopping.is_set():
            self._release("queued")
            return False
        if not self._report() or not self._obey():
            return False
        self._speed.add(self.rebuild.step())
        if self.rebuild.phase not in (Phase.done, VerifyPhase.done):
            return True
        self._end("done")
        return False

    def _report(self, *, force: bool = False) -> bool:
        if not force and time.monotonic() - self._reported_at < _report_seconds:
            return True
        work = self.rebuild
        progress: dict[str, object] = {"phase": work.phase.value}
        if work.generation is not None:
            progress |= {"generation": work.generation, "done": work.done, "total": max(work.total, work.done)}
            progress["rate"] = self._speed.per_second()
        job = jobs.report_progress(self.home, self.job, **progress)
        if job is None:
            log.warning("replay %d is another runner's now", self.job.id)
            self.rebuild.release()
            return False
        self.job = job
        self._reported_at = time.monotonic()
        return True

    def _obey(self) -> bool:
        if self.job.wish == "pause":
            self._release("paused")
            return False
        if self.job.wish == "cancel":
            if not self.rebuild.cancel():
                return True  # too late: it serves already, and is finished
            self._end("cancelled")
            return False
        return True

    def _release(self, status: str) -> None:
        self._report(force=True)
        self.rebuild.release()
        jobs.end_replay(self.home, self.job, status)
        log.info("replay %d is %s", self.job.id, status)

    def _end(self, status: str, message: str | None = None) -> None:
        self._report(force=True)
        found = self.rebuild.result if isinstance(self.rebuild, Verify) else None
        try:
            self.rebuild.release()
        except ProjectionistError as error:
            log.warning("replay %d: the lease stays until it runs out: %s", self.job.id, error)
        if jobs.end_replay(self.home, self.job, status, message, kept_record(found) if found is not None else None):
            data = {"replay": self.job.id, "projection": self.job.projection, "message": message}
            if found is not None:
                data |= {"kind": self.job.kind, "equal": found.is_equal, "rows_that_differ": found.total}
            activity.record(self.home, self.job.started_by or "worker", f"replay.{status}", data, store=self.job.store)
        log.info("replay %d is %s%s", self.job.id, status, f": {message}" if message else "")


class _Speed:
    """Events per second over the last few seconds."""

    def __init__(self) -> None:
        self._marks: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def add(self, events: int) -> None:
        self._marks.append((time.monotonic(), self._marks[-1][1] + events))
        while len(self._marks) > 2 and self._marks[-1][0] - self._marks[1][0] > 5:
            self._marks.pop(0)

    def per_second(self) -> float | None:
        (first_at, first), (last_at, last) = self._marks[0], self._marks[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at and last > first else None
