"""Rebuilding a projection beside the one that serves: replay into a new generation, catch up, swap, keep the old one.

Each step is one transaction, so the process may be killed between any two instructions; whoever comes next goes on from
the last batch. Readers see the old generation until one rename puts the new one in its place.
"""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Callable

import sqlalchemy as sa

from webapp.errors import LeaseLost, NotFound, ReplayConflict
from webapp.projections import checkpoints
from webapp.projections.batch import Batch
from webapp.projections.checkpoints import Checkpoint, ProjectionRow, lease_seconds
from webapp.projections.feed import next_events, settled_heads
from webapp.projections.generations import complete_swap, drop_generation, refuse_obstacles, swap_generation
from webapp.projections.lifecycle import init_projection
from webapp.projections.projection import Projection
from webapp.projections.targets import create_tables
from webapp.store.leases import worker_name
from webapp.store.native import EventStore

log = logging.getLogger(__name__)


class Phase(enum.Enum):
    """What a rebuild does, in order."""

    prepare = "prepare"
    replay = "replay"
    swap = "swap"
    clean = "clean"
    done = "done"


class Rebuild:
    """One rebuild of one projection: call `step` until `phase` is done. One thread at a time.

    `replay_id` ties the new generation to a job, so that whoever resumes the job finds it; without one, a rebuild that
    was left unfinished is gone on with if the code is still the same.
    """

    def __init__(
        self,
        store: EventStore,
        projection: Projection,
        *,
        replay_id: int | None = None,
        owner: str | None = None,
        batch_size: int | None = None,
        resume: bool = True,
    ) -> None:
        self.store = store
        self.projection = projection
        self.replay_id = replay_id
        self.owner = owner or worker_name()
        self.resume = resume
        self.batch_size = batch_size or projection.batch_size
        self.phase = Phase.prepare
        self.total = 0
        self._batch: Batch | None = None

    @property
    def generation(self) -> int | None:
        """The generation that is being built, None before it's known."""
        return self._batch.checkpoint.generation if self._batch is not None else None

    @property
    def done(self) -> int:
        """Positions done so far, all logs together."""
        return sum(self._batch.checkpoint.positions.values()) if self._batch is not None else 0

    def step(self) -> int:
        """Does the next piece of work and returns how many events it applied.

        Raises ProjectionFailed at an event that fails (what came before it is kept), LeaseLost if another worker took
        over, ReplayConflict if another rebuild of this projection is at work.
        """
        if self.phase is Phase.prepare:
            self._prepare()
            return 0
        if self.phase is Phase.replay:
            return self._replay()
        if self.phase is Phase.swap:
            self._swap()
            return 0
        if self.phase is Phase.clean:
            self._clean()
        return 0

    # --- prepare ----------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        store, projection, database = self.store, self.projection, self.store.database
        init_projection(store, projection)
        for generation in self._claim_abandoned():
            drop_generation(store, projection.name, generation)
        with database.writing() as connection:
            row = self._find_row(connection)
            mine, others = self._sort(connection, row)
            if mine is not None and mine.generation <= row.generation:  # it has been swapped in; only cleaning is left
                self._batch = Batch(store, projection, mine, serves=False)
                self.phase = Phase.clean
                return
            if others:
                raise self._conflict()
            refuse_obstacles(connection, database.dialect, projection, row)
            generation = mine.generation if mine is not None else max(row.tables_of) + 1
            if mine is None:
                checkpoints.add_checkpoint(
                    connection, database.dialect, projection, generation, row.tables_of, self.replay_id
                )
            if not self._claim(connection, generation):
                raise self._conflict()
            checkpoint = checkpoints.find_checkpoint(connection, projection.name, generation)
            if checkpoint is None:
                raise LeaseLost(f"Generation {generation} of {projection.name} is gone.")
            if not checkpoint.positions:
                create_tables(connection, projection.tables, generation)
        self._batch = Batch(store, projection, checkpoint, serves=False)
        self.total = sum(self._targets().values())
        self.phase = Phase.replay
        log.info(
            "rebuilding %s as generation %d from %s", projection.name, generation, checkpoint.positions or "nothing"
        )

    def _claim_abandoned(self) -> list[int]:
        """What others left unfinished, with its lease taken; raises ReplayConflict while somebody works on it."""
        with self.store.database.writing() as connection:
            row = self._find_row(connection)
            others = {one.generation for one in self._sort(connection, row)[1]}
            for generation in others:
                if not self._claim(connection, generation):
                    raise self._conflict()
            known = {one.generation for one in checkpoints.list_checkpoints(connection, self.projection.name)}
        return sorted(others | (row.tables_of.keys() - known))

    def _sort(self, connection: sa.Connection, row: ProjectionRow) -> tuple[Checkpoint | None, list[Checkpoint]]:
        """The generation to go on with, None if there's none; and the unfinished ones that are in its way."""
        fingerprint, is_job = self.projection.fingerprint(), self.replay_id is not None
        mine, others = None, []
        for one in checkpoints.list_checkpoints(connection, self.projection.name):
            is_finished = one.generation <= row.generation
            is_ours = one.replay_id == self.replay_id and (is_job or (self.resume and not is_finished))
            if is_ours and (is_finished or one.fingerprint == fingerprint):
                mine = one
            elif not is_finished:
                others.append(one)
        return mine, others

    def _find_row(self, connection: sa.Connection) -> ProjectionRow:
        row = checkpoints.find_projection(connection, self.projection.name, lock=True)
        if row is None:
            raise LeaseLost(f"The projection {self.projection.name} was deleted.")
        return row

    def _claim(self, connection: sa.Connection, generation: int) -> bool:
        dialect, name = self.store.database.dialect, self.projection.name
        return checkpoints.claim_lease(connection, dialect, name, generation, self.owner) is not None

    def _conflict(self) -> ReplayConflict:
        return ReplayConflict(f"Another worker rebuilds {self.projection.name} already. Wait for it, or cancel it.")

    # --- replay -----------------------------------------------------------------------------------------------------

    def _targets(self) -> dict[str, int]:
        """How far to replay before the swap: the settled heads, but never past what an emitting projection emitted."""
        if not self.projection.emits:
            return settled_heads(self.store, self.projection)
        return self._serving_positions()

    def _serving_positions(self) -> dict[str, int]:
        with self.store.database.reading() as connection:
            row = checkpoints.find_projection(connection, self.projection.name)
            serving = row and checkpoints.find_checkpoint(connection, self.projection.name, row.generation)
        if not serving:
            raise NotFound("projection", self.projection.name)
        return {log: serving.positions.get(log, 0) for log in self.projection.logs}

    def _replay(self) -> int:
        batch = self._working_batch()
        targets = self._targets()
        self.total = max(self.total, sum(targets.values()))
        events = next_events(self.store, batch.checkpoint.positions, targets, self.batch_size)
        if not events:
            self.phase = Phase.swap
            return 0
        batch.apply(events, is_replay=True)
        return len(events)

    def _working_batch(self) -> Batch:
        if self._batch is None:
            raise ReplayConflict("This rebuild was not prepared.")
        return self._batch

    # --- swap and clean ---------------------------------------------------------------------------------------------

    def _swap(self) -> None:
        self.store.database.retrying(self._swap_in)
        if self.phase is Phase.clean:
            complete_swap(self.store, self.projection)
            log.info("generation %s of %s serves now", self.generation, self.projection.name)

    def _swap_in(self, connection: sa.Connection) -> None:
        """Swaps, or replays more where the serving generation is further: readers must not go back in time."""
        checkpoint, dialect = self._working_batch().checkpoint, self.store.database.dialect
        row = self._find_row(connection)  # ours until commit, so the serving generation stands still
        serving = checkpoints.find_checkpoint(connection, row.name, row.generation)
        positions = serving.positions if serving is not None else {}
        if any(positions.get(log, 0) > checkpoint.positions.get(log, 0) for log in self.projection.logs):
            self.phase = Phase.replay
            return
        checkpoints.move_checkpoint(
            connection, dialect, checkpoint, checkpoint.positions, checkpoint.state, checkpoint.done
        )
        swap_generation(self.store, self.projection, connection, checkpoint.generation)
        self.phase = Phase.clean

    def _clean(self) -> None:
        """Gives the lease back and drops all generations but the one that serves and the one before it."""
        self.release()
        with self.store.database.reading() as connection:
            row = checkpoints.find_projection(connection, self.projection.name)
        older = sorted(number for number in row.tables_of if number < row.generation) if row is not None else []
        for number in older[:-1]:
            drop_generation(self.store, self.projection.name, number)
        self.phase = Phase.done

    # --- leaving early ----------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Gives the lease back, so that another worker may go on at once."""
        if self._batch is not None:
            checkpoint = self._batch.checkpoint
            with self.store.database.writing() as connection:
                checkpoints.release_lease(
                    connection, self.projection.name, checkpoint.generation, self.owner, checkpoint.epoch
                )

    def start_over(self) -> None:
        """Claims anew at the next step and goes on from the last batch, after the database was away."""
        self.phase = Phase.prepare

    def cancel(self) -> bool:
        """Drops what was built, by whichever worker; False if it serves already, so there's nothing to call off."""
        name = self.projection.name
        with self.store.database.reading() as connection:
            row = checkpoints.find_projection(connection, name)
            known = checkpoints.list_checkpoints(connection, name)
        is_job = self.replay_id is not None
        for one in known:
            if one.replay_id == self.replay_id if is_job else one.generation == self.generation:
                if row is not None and one.generation in (row.generation, row.swapping_to):
                    return False
                drop_generation(self.store, name, one.generation)
        return True


def rebuild(
    store: EventStore,
    projection: Projection,
    *,
    batch_size: int | None = None,
    on_progress: Callable[[Rebuild], None] | None = None,
    resume: bool = True,
    wait_seconds: float = lease_seconds + 5,
) -> None:
    """Rebuilds a projection here and now; returns when the new generation serves.

    With `resume` it goes on with what an earlier call left unfinished, if the code is still the same. The lease of a
    process that was killed is waited for, up to `wait_seconds`. `on_progress` is called after every step. Raises
    ProjectionFailed, ReplayConflict, LeaseLost.
    """
    work = Rebuild(store, projection, batch_size=batch_size, resume=resume)
    ends_at = time.monotonic() + wait_seconds
    try:
        while work.phase is not Phase.done:
            try:
                work.step()
            except ReplayConflict:
                if work.phase is not Phase.prepare or time.monotonic() > ends_at:
                    raise
                time.sleep(0.2)
            if on_progress is not None:
                on_progress(work)
    except BaseException:
        work.release()
        raise
