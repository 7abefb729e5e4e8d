"""Verifying a read model: what readers see against a fresh fold of the events, with no write into the store.

The fold goes into a scratch of its own, up to where the serving generation stands. Then that generation's rows and
checkpoint are read as of one moment, while the world goes on, and compared with the fold at the very same positions.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from webapp.errors import ReplayConflict
from webapp.projections.checkpoints import Checkpoint
from webapp.projections.feed import next_events
from webapp.projections.projection import Projection
from webapp.replay.comparing import Difference, Differences, compare_pages
from webapp.replay.fold import FreshFold
from webapp.replay.moment import Moment, held_moment, read_serving
from webapp.store.native import EventStore

log = logging.getLogger(__name__)
_most_rounds = 10


class VerifyPhase(enum.Enum):
    """What a verification does, in order."""

    prepare = "prepare"
    replay = "replay"
    compare = "compare"
    done = "done"


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of it: `positions` by log are where both sides stood, `counts` how many rows differ, by kind.

    `differences` are the first of them. `skipped` are the events left out in both, as people told the projection to;
    `live_state` and `fresh_state` are the projection's own state; `is_older` says that other code built the live rows.
    """

    projection: str
    generation: int
    positions: dict[str, int]
    events: int
    rows: int
    counts: dict[str, int]
    differences: tuple[Difference, ...]
    live_state: dict[str, Any]
    fresh_state: dict[str, Any]
    skipped: tuple[tuple[str, int], ...]
    is_older: bool

    @property
    def total(self) -> int:
        """How many rows differ, shown or not."""
        return sum(self.counts.values())

    @property
    def is_equal(self) -> bool:
        """Whether readers see what the events say, the projection's state included."""
        return not self.total and self.has_same_state

    @property
    def has_same_state(self) -> bool:
        """Whether the projection's own state is what the events say."""
        return self.live_state == self.fresh_state


class Verify:
    """One verification of one projection: call `step` until `phase` is done, then see `result`. One thread at a time.

    `limit` is the number of differences that are kept whole; the others are counted. `close` when done or given up.
    """

    def __init__(
        self, store: EventStore, projection: Projection, *, batch_size: int | None = None, limit: int = 100
    ) -> None:
        self.store = store
        self.projection = projection
        self.batch_size = batch_size or projection.batch_size
        self.phase = VerifyPhase.prepare
        self.generation: int | None = None
        self.total = 0
        self.result: Verification | None = None
        self.differences = Differences(limit)
        self._open = ExitStack()
        self._fold: FreshFold | None = None
        self._target: dict[str, int] = {}
        self._skipped: frozenset[tuple[str, int]] = frozenset()
        self._moment: Moment | None = None
        self._pages: Iterator[int] = iter(())
        self._rounds = 0

    @property
    def done(self) -> int:
        """Positions done so far, all logs together."""
        return sum(self._fold.positions.values()) if self._fold is not None else 0

    def step(self) -> int:
        """Does the next piece of work and returns how many events it applied.

        Raises NotFound if the projection never ran here, ProjectionFailed at an event that the fold fails at, Conflict
        if the tables aren't as the code defines them, ReplayConflict if the projection was emptied meanwhile.
        """
        if self.phase is VerifyPhase.prepare:
            self._fold = FreshFold(self.store, self.projection)
            self._open.callback(self._fold.close)
            self._look_ahead()
            self.phase = VerifyPhase.replay
        elif self.phase is VerifyPhase.replay:
            return self._replay(self._working_fold())
        elif self.phase is VerifyPhase.compare:
            self._compare(self._working_fold())
        return 0

    def close(self) -> None:
        """Removes the fold and lets the store's rows go; may be called twice."""
        self._moment = None
        self._open.close()

    def _working_fold(self) -> FreshFold:
        if self._fold is None:
            raise ReplayConflict("This verification was not prepared.")
        return self._fold

    # --- replay -----------------------------------------------------------------------------------------------------

    def _replay(self, fold: FreshFold) -> int:
        events = next_events(self.store, fold.positions, self._target, self.batch_size)
        if events:
            fold.apply(events, self._skipped)
            return len(events)
        if self._moment is not None:
            self._pages = compare_pages(self._moment.connection, fold, self.differences)
            self.phase = VerifyPhase.compare
            return 0
        self._look_ahead()
        self._rounds += 1
        # The moment is held for as short as can be, since databases keep what changes meanwhile.
        if self.total - self.done <= self.batch_size or self._rounds >= _most_rounds:
            tables = list(fold.tables.values())
            self._moment = self._open.enter_context(held_moment(self.store, self.projection.name, tables))
            self._aim(self._moment.checkpoint)
        return 0

    def _look_ahead(self) -> None:
        with self.store.database.reading() as connection:
            self._aim(read_serving(connection, self.projection.name)[1])

    def _aim(self, checkpoint: Checkpoint) -> None:
        """Sets how far to fold: to where the serving generation stands."""
        self._target = {log: checkpoint.positions.get(log, 0) for log in self.projection.logs}
        self._skipped = checkpoint.skipped
        self.generation = checkpoint.generation
        self.total = sum(self._target.values())
        if self._fold is not None and any(self._fold.positions.get(log, 0) > at for log, at in self._target.items()):
            raise ReplayConflict(f"{self.projection.name} was emptied meanwhile and began anew. Verify it again.")

    # --- as a job ---------------------------------------------------------------------------------------------------

    def start_over(self) -> None:
        """Begins anew at the next step, since what was folded is not kept."""
        self.close()
        self._fold, self._target, self._rounds = None, {}, 0
        self.differences = Differences(self.differences.limit)
        self.phase = VerifyPhase.prepare

    def release(self) -> None:
        """Lets go of everything; who goes on begins anew."""
        self.start_over()

    def cancel(self) -> bool:
        """Lets go of everything; there's always something to call off."""
        self.start_over()
        return True

    # --- compare ----------------------------------------------------------------------------------------------------

    def _compare(self, fold: FreshFold) -> None:
        if next(self._pages, None) is not None or self._moment is None:
            return
        checkpoint, found = self._moment.checkpoint, self.differences
        self.result = Verification(
            projection=self.projection.name,
            generation=checkpoint.generation,
            positions=dict(self._target),
            events=fold.events,
            rows=found.rows,
            counts=dict(found.counts),
            differences=tuple(found.shown),
            live_state=checkpoint.state,
            fresh_state=fold.state,
            skipped=tuple(sorted(one for one in self._skipped if one[1] <= self._target.get(one[0], 0))),
            is_older=checkpoint.fingerprint != self.projection.fingerprint(),
        )
        self.phase = VerifyPhase.done
        self.close()
        log.info("verified %s: %d rows differ of %d", self.projection.name, found.total, found.rows)


def verify_projection(
    store: EventStore,
    projection: Projection,
    *,
    batch_size: int | None = None,
    limit: int = 100,
    on_progress: Callable[[Verify], None] | None = None,
) -> Verification:
    """Where the rows that readers see differ from a fresh fold of the events, both at the same positions.

    Nothing is written, so a user who may only read can do it, and nothing is emitted. `limit` is the number of
    differences that are kept whole. `on_progress` is called after every step. Raises NotFound, ProjectionFailed,
    Conflict, ReplayConflict. Logs that are merged come in order of time here, as in a rebuild: a projection whose
    rows depend on the order between logs may differ for that reason alone.
    """
    work = Verify(store, projection, batch_size=batch_size, limit=limit)
    try:
        while work.phase is not VerifyPhase.done:
            work.step()
            if on_progress is not None:
                on_progress(work)
    finally:
        work.close()
    if work.result is None:
        raise ReplayConflict("This verification did not end.")
    return work.result
