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
from webapp.projections.follower import worker_name
from webapp.projections.lifecycle import complete_swap, drop_generation, init_projection, swap_generation
from webapp.projections.projection import Projection
from webapp.projections.targets import create_tables, drop_tables
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
        complete_swap(store, projection)
        with database.writing() as connection:
            row = checkpoints.find_projection(connection, projection.name, lock=True)
            if row is None:
                raise NotFound("projection", projection.name)
            known = [one for one in checkpoints.list_checkpoints(connection) if one.projection == projection.name]
            mine = self._unfinished(row, known)
            if mine is not None and self.replay_id is None and not self.resume:
                self._discard(connection, mine)
                mine = None
            if mine is None:
                generation = max(one.generation for one in known) + 1
                checkpoints.add_checkpoint(connection, database.dialect, projection, generation, self.replay_id)
            else:
                generation = mine.generation
            if generation == row.generation:  # swapped already; only cleaning is left
                self._adopt(connection, generation)
                self.phase = Phase.clean
                return
            epoch = checkpoints.claim_lease(connection, database.dialect, projection.name, generation, self.owner)
            if epoch is None:
                raise ReplayConflict(f"Another worker rebuilds {projection.name} already. Wait for it, or cancel it.")
            checkpoint = self._adopt(connection, generation)
            if checkpoint.done == 0 and not checkpoint.positions:
                create_tables(connection, projection.tables, generation)
        self.total = sum(self._targets().values())
        self.phase = Phase.replay
        log.info(
            "rebuilding %s as generation %d from %s", projection.name, generation, checkpoint.positions or "the start"
        )

    def _discard(self, connection: sa.Connection, unfinished: Checkpoint) -> None:
        """Drops what an earlier attempt built, unless somebody still works on it."""
        database, name = self.store.database, self.projection.name
        if checkpoints.claim_lease(connection, database.dialect, name, unfinished.generation, self.owner) is None:
            raise ReplayConflict(f"Another worker rebuilds {name} already. Wait for it, or cancel it.")
        checkpoints.remove_checkpoint(connection, name, unfinished.generation)
        drop_tables(connection, [table.shadow_name(unfinished.generation) for table in self.projection.tables])

    def _unfinished(self, row: ProjectionRow, known: list[Checkpoint]) -> Checkpoint | None:
        """The generation to go on with: this job's, or without a job the newest one that nobody finished."""
        for one in reversed(known):
            if self.replay_id is not None and one.replay_id == self.replay_id:
                return one
            is_free = one.replay_id is None and one.generation > row.generation
            if self.replay_id is None and is_free and one.fingerprint == self.projection.fingerprint():
                return one
        return None

    def _adopt(self, connection: sa.Connection, generation: int) -> Checkpoint:
        checkpoint = checkpoints.find_checkpoint(connection, self.projection.name, generation)
        if checkpoint is None:
            raise LeaseLost(f"Generation {generation} of {self.projection.name} is gone.")
        self._batch = Batch(self.store, self.projection, checkpoint, serves=False)
        return checkpoint

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
        events, reached = next_events(self.store, batch.checkpoint.positions, targets, self.batch_size)
        if not events:
            self.phase = Phase.swap
            return 0
        batch.apply(events, reached, is_replay=True)
        return len(events)

    def _working_batch(self) -> Batch:
        if self._batch is None:
            raise ReplayConflict("This rebuild was not prepared.")
        return self._batch

    # --- swap and clean ---------------------------------------------------------------------------------------------

    def _swap(self) -> None:
        batch, database, name = self._working_batch(), self.store.database, self.projection.name
        checkpoint = batch.checkpoint
        with database.writing() as connection:
            row = checkpoints.find_projection(connection, name, lock=True)
            if row is None:
                raise LeaseLost(f"The projection {name} was deleted.")
            serving = checkpoints.find_checkpoint(connection, name, row.generation)
            # The row is ours until commit, so the serving generation stands still: readers must not go back in time.
            if serving is not None and any(
                position > checkpoint.positions.get(log, 0) for log, position in serving.positions.items()
            ):
                self.phase = Phase.replay
                return
            checkpoints.move_checkpoint(
                connection, database.dialect, checkpoint, checkpoint.positions, checkpoint.state, checkpoint.done
            )
            swap_generation(self.store, self.projection, connection, checkpoint.generation)
        complete_swap(self.store, self.projection)
        self.phase = Phase.clean
        log.info("generation %d of %s serves now", checkpoint.generation, name)

    def _clean(self) -> None:
        """Gives the lease back and drops generations older than the one kept for going back."""
        self.release()
        generation = self._working_batch().checkpoint.generation
        with self.store.database.reading() as connection:
            known = [
                one.generation
                for one in checkpoints.list_checkpoints(connection)
                if one.projection == self.projection.name
            ]
        older = sorted(number for number in known if number < generation)
        for number in older[:-1]:
            drop_generation(self.store, self.projection, number)
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

    def cancel(self) -> None:
        """Drops what was built; the generation that serves stays as it is."""
        if self._batch is not None and self.phase in (Phase.replay, Phase.swap):
            drop_generation(self.store, self.projection, self._batch.checkpoint.generation)


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
