"""The replays of a store, and one replay as it goes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from webapp.accounts.home import Home
from webapp.errors import ProjectionistError
from webapp.projections import checkpoints
from webapp.queries.verifications import VerificationPart
from webapp.replay.jobs import ReplayJob, find_replay, find_result, list_replays
from webapp.replay.rebuild import Phase
from webapp.replay.verify import VerifyPhase
from webapp.store.native import EventStore
from webapp.store.source import EventSource

index_rows = 50
phases = [phase.value for phase in Phase if phase is not Phase.done]
phases_of_verification = [phase.value for phase in VerifyPhase if phase is not VerifyPhase.done]
_whole_from = (Phase.swap.value, Phase.clean.value, Phase.done.value)


@dataclass(frozen=True)
class ReplayLine:
    """One replay in a list."""

    job: ReplayJob

    @property
    def id(self) -> int:
        """Its number."""
        return self.job.id

    @property
    def status(self) -> str:
        """Its status in the words of a page: interrupted, pausing and cancelling are told apart from running."""
        wishes = {"pause": "pausing", "cancel": "cancelling"}
        is_obeyed = self.job.is_active and not self.job.is_stale
        return wishes.get(self.job.wish or "", self.job.status) if is_obeyed else self.job.shown_status

    @property
    def is_problem(self) -> bool:
        """Whether it waits for a person."""
        return self.status in ("failed", "interrupted")

    @property
    def is_moving(self) -> bool:
        """Whether it changes by itself: a worker is at it, or will be."""
        return self.job.status in ("queued", "running")

    @property
    def percentage(self) -> int:
        """How much is done, 100 only when all of it is."""
        if self.job.status == "done":
            return 100
        return min(99, 100 * self.job.done // self.job.total) if self.job.total else 0

    @property
    def badge(self) -> str:
        """Status and percentage: “rebuilding 64 %”."""
        if self.status == "running":
            does = "verifying" if self.job.is_verification else "rebuilding"
            return f"{does} {self.percentage} %" if self.job.total else does
        return self.status

    @property
    def seconds(self) -> float | None:
        """How long it took from the request to its end, pauses included; None before the end."""
        job = self.job
        has_ended = job.status in ("done", "cancelled", "failed") and job.ended_at is not None
        return (job.ended_at - job.created_at).total_seconds() if has_ended and job.ended_at else None

    @property
    def average(self) -> float | None:
        """Events per second from the request until now or its end, None before anything was done."""
        until = self.job.ended_at if self.seconds is not None else self.job.heartbeat_at
        seconds = (until - self.job.created_at).total_seconds() if until else 0
        return self.job.done / seconds if self.job.done and seconds > 0 else None


@dataclass(frozen=True)
class ReplaysPage:
    """The newest replays of a store."""

    lines: Sequence[ReplayLine]
    is_cut: bool

    @classmethod
    def load(cls, home: Home, store: str) -> ReplaysPage:
        """The newest 50."""
        found = [ReplayLine(job) for job in list_replays(home, store, limit=index_rows + 1)]
        return cls(found[:index_rows], len(found) > index_rows)


@dataclass(frozen=True)
class ReplayPage(ReplayLine):
    """One replay. `serving` is the generation that readers see, `reached_at` the time of the last event applied."""

    serving: int | None = None
    reached_at: dt.datetime | None = None
    skipped: int = 0
    found: VerificationPart | None = None
    """What a verification found, None before its end and for a rebuild."""

    @classmethod
    def load(cls, home: Home, source: EventSource | None, store: str, replay_id: int) -> ReplayPage:
        """The page of a replay; raises NotFound. What the store itself knows is left out where it doesn't answer."""
        job = find_replay(home, replay_id, store)
        if job.is_verification:
            found = find_result(home, replay_id)
            skipped = len(found["skipped"]) if found is not None else 0
            return cls(job, skipped=skipped, found=None if found is None else VerificationPart.make(found))
        if not isinstance(source, EventStore):
            return cls(job)
        try:
            return cls(job, *_look_at_store(source, job))
        except ProjectionistError:
            return cls(job)

    @property
    def phase(self) -> str | None:
        """Which of the phases it is in, None before the first and after the last."""
        return self.job.phase if self.job.phase in self.phases and self.job.is_active else None

    @property
    def phases(self) -> Sequence[str]:
        """What it does, in order."""
        return phases_of_verification if self.job.is_verification else phases

    @property
    def shown_done(self) -> int:
        """How many events to show as done: all of them once the rows are only being put in place."""
        return (self.job.total or self.job.done) if self.job.phase in _whole_from else self.job.done

    @property
    def sentence(self) -> str:
        """Where it stands and what its readers see."""
        job, number = self.job, self.job.generation
        if job.total is None or number is None:
            return "No event was read yet." if job.is_active else "It ended before any event was read."
        if job.is_verification:
            return f"{job.done:,} of {job.total:,} events folded anew, to compare them with generation {number}"
        amount = f"{self.shown_done:,} of {job.total:,} events"
        if job.status == "done":
            now = "serves" if self.serving in (None, number) else f"was followed by generation {self.serving}"
            return f"{job.done:,} events · generation {number} {now}"
        if job.status == "cancelled":
            return f"{amount} · what was built is gone, what serves stayed as it was"
        beside = f" beside generation {self.serving}, which keeps serving" if self.serving not in (None, number) else ""
        if self.serving == number:
            return f"{amount} · generation {number} serves already"
        return f"{amount} · generation {number} {'is built' if self.is_moving else 'stands'}{beside}"

    @property
    def can_pause(self) -> bool:
        """Whether it can be paused; a verification would begin anew."""
        return not self.job.is_verification and self.status in ("queued", "running")

    @property
    def can_resume(self) -> bool:
        """Whether it can go on."""
        return self.status in ("paused", "failed", "interrupted", "pausing")

    @property
    def can_cancel(self) -> bool:
        """Whether it can be cancelled."""
        serves = not self.job.is_verification and self.serving == self.job.generation
        return self.job.is_active and self.job.wish != "cancel" and not serves

    @property
    def advice(self) -> str | None:
        """What to know or do where it doesn't go on as it should, None if it does."""
        job = self.job
        if self.status == "interrupted":
            return "Its worker went silent. Another worker takes it over by itself within seconds, or press Resume."
        if job.status == "failed" and job.is_verification:
            return "Nothing was changed. Mend the cause and press Resume, which verifies from the first event again."
        if job.status == "failed":
            return (
                "What it built so far is kept, and what serves stays as it is. Mend the cause and press Resume, "
                "or cancel it."
            )
        if job.status == "paused":
            return "It stands after its last batch, and what serves stays as it is. Resume it whenever you like."
        if self.status == "queued":
            return "It waits for a worker: the dashboard’s own processes look for work every second."
        return None


def _look_at_store(source: EventStore, job: ReplayJob) -> tuple[int | None, dt.datetime | None, int]:
    with source.database.reading() as connection:
        row = checkpoints.find_projection(connection, job.projection)
        building = checkpoints.find_checkpoint(connection, job.projection, job.generation) if job.generation else None
    if row is None:
        return None, None, 0
    if building is None or building.replay_id != job.id:
        return row.generation, None, 0
    moments = [_recorded_at(source, log, position) for log, position in building.positions.items()]
    reached_at = max((moment for moment in moments if moment is not None), default=None)
    return row.generation, reached_at, len(building.skipped)


def _recorded_at(source: EventStore, log: str, position: int) -> dt.datetime | None:
    events = source.read_log(log, after=position - 1, before=position + 1, limit=1, with_payload=False)
    return next((event.recorded_at for event in events), None)
