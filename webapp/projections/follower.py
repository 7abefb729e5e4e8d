"""Keeping one projection up to date, batch by batch, under its lease."""

from __future__ import annotations

import time

from webapp.errors import LeaseLost, ReplayConflict
from webapp.projections import checkpoints
from webapp.projections.batch import Batch
from webapp.projections.checkpoints import lease_seconds
from webapp.projections.feed import next_events, settled_heads
from webapp.projections.lifecycle import init_projection
from webapp.projections.projection import Projection
from webapp.store.leases import worker_name
from webapp.store.native import EventStore


class Follower:
    """Follows the logs with one projection; one thread at a time. `step` until it returns 0, `release` when done."""

    def __init__(self, store: EventStore, projection: Projection, owner: str | None = None) -> None:
        self.store = store
        self.projection = projection
        self.owner = owner or worker_name()
        self._batch: Batch | None = None

    def step(self) -> int:
        """The number of events that one batch applied; 0 at the head, while paused or failed, or while another works.

        Raises ProjectionFailed when it comes to an event that fails.
        """
        if self._batch is None:
            self._claim()
        batch = self._batch
        if batch is None:
            return 0
        checkpoint = batch.checkpoint
        with self.store.database.reading() as connection:
            row = checkpoints.find_projection(connection, self.projection.name)
        if row is None or row.status != "running" or row.swapping_to or row.generation != checkpoint.generation:
            self.release()
            return 0
        heads = settled_heads(self.store, self.projection)
        events = next_events(self.store, checkpoint.positions, heads, self.projection.batch_size)
        if not events:
            return 0
        try:
            batch.apply(events, is_replay=False)
        except LeaseLost:
            self._batch = None
            return 0
        except Exception:
            self.release()
            raise
        return len(events)

    def _claim(self) -> None:
        database, name = self.store.database, self.projection.name
        init_projection(self.store, self.projection)
        with database.writing() as connection:
            row = checkpoints.find_projection(connection, name, lock=True)
            if row is None or row.status != "running" or row.swapping_to is not None:
                return
            epoch = checkpoints.claim_lease(connection, database.dialect, name, row.generation, self.owner)
            checkpoint = checkpoints.find_checkpoint(connection, name, row.generation)
        if epoch is not None and checkpoint is not None:
            self._batch = Batch(self.store, self.projection, checkpoint, serves=True)

    def release(self) -> None:
        """Gives the lease back, so that another worker may go on at once."""
        if self._batch is not None:
            checkpoint, self._batch = self._batch.checkpoint, None
            with self.store.database.writing() as connection:
                checkpoints.release_lease(
                    connection, self.projection.name, checkpoint.generation, self.owner, checkpoint.epoch
                )

    @property
    def is_working(self) -> bool:
        """Whether it holds the lease."""
        return self._batch is not None


def run_to_head(store: EventStore, projection: Projection, *, wait_seconds: float = lease_seconds + 5) -> int:
    """Brings a projection to the head of its logs and returns how many events that took; starts it if it's new.

    Waits up to `wait_seconds` for another worker's lease, then raises ReplayConflict; raises ProjectionFailed.
    """
    follower = Follower(store, projection)
    done, ends_at = 0, time.monotonic() + wait_seconds
    try:
        while True:
            applied = follower.step()
            done += applied
            if applied:
                continue
            if follower.is_working:
                return done
            with store.database.reading() as connection:
                row = checkpoints.find_projection(connection, projection.name)
            if row is not None and row.status != "running":
                raise ReplayConflict(f"{projection.name} is {row.status}. Resume it first.")
            if time.monotonic() > ends_at:
                raise ReplayConflict(f"Another worker runs {projection.name}. It brings it to the head.")
            time.sleep(0.2)
    finally:
        follower.release()
