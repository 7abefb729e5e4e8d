"""Batches of a projection under test: its live generation, and generations that replay the same events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from webapp.errors import ReplayConflict
from webapp.projections import checkpoints
from webapp.projections.batch import Batch
from webapp.projections.lifecycle import init_projection
from webapp.projections.projection import Projection, Table
from webapp.projections.targets import create_tables, drop_tables
from webapp.store.events import RecordedEvent
from webapp.store.leases import worker_name
from webapp.store.native import EventStore

Rows = dict[Any, dict[str, Any]]


@dataclass(slots=True)
class Applied:
    """One generation of a projection."""

    batch: Batch

    def apply(self, events: Sequence[RecordedEvent], *, is_replay: bool) -> list[RecordedEvent]:
        """The derived events that this batch emitted; raises ProjectionFailed."""
        before = len(self._read_derived(0))
        self.batch.apply(events, is_replay=is_replay)
        return self._read_derived(before)

    def _read_derived(self, after: int) -> list[RecordedEvent]:
        store = self.batch.store
        with store.database.reading() as connection:
            row = checkpoints.find_projection(connection, self.batch.projection.name)
        if row is None or row.derived_log is None:
            return []
        return list(store.read_log(row.derived_log, after=after, limit=None))

    def read(self, table: Table) -> Rows:
        """All rows of a table of this generation, by key."""
        name = table.name if self.batch.serves else table.shadow_name(self.batch.checkpoint.generation)
        with self.batch.store.database.reading() as connection:
            rows = [dict(row._mapping) for row in connection.execute(sa.select(table.physical(name)))]
        keys = [tuple(row[column] for column in table.key) for row in rows]
        return {key if len(key) > 1 else key[0]: row for key, row in zip(keys, rows, strict=True)}


def start(store: EventStore, projection: Projection) -> Applied:
    """A projection that begins here; raises ReplayConflict if the store has one of that name already."""
    if not init_projection(store, projection):
        raise ReplayConflict(f"This store has a projection {projection.name} already. Test it in a store of its own.")
    return Applied(_claim(store, projection, 1, serves=True))


def replay(live: Applied, events: Sequence[RecordedEvent], size: int) -> tuple[dict[str, Any], dict[str, Rows]]:
    """State and rows by table after all events, applied again in batches of that size, in a generation of its own."""
    store, projection = live.batch.store, live.batch.projection
    with store.database.writing() as connection:
        row = checkpoints.lock_projection(connection, projection.name)
        generation = max(row.tables_of) + 1
        create_tables(connection, projection.tables, generation)
        checkpoints.add_checkpoint(connection, store.database.dialect, projection, generation, row.tables_of)
    shadow = Applied(_claim(store, projection, generation, serves=False))
    try:
        for at in range(0, len(events), size):
            shadow.batch.apply(events[at : at + size], is_replay=True)
        return shadow.batch.checkpoint.state, {table.name: shadow.read(table) for table in projection.tables}
    finally:
        with store.database.writing() as connection:
            drop_tables(connection, [table.shadow_name(generation) for table in projection.tables])
            checkpoints.remove_checkpoint(connection, projection.name, generation)
            tables = {number: names for number, names in row.tables_of.items() if number != generation}
            checkpoints.change_projection(connection, store.database.dialect, projection.name, tables=tables)


def _claim(store: EventStore, projection: Projection, generation: int, *, serves: bool) -> Batch:
    owner = worker_name()
    with store.database.writing() as connection:
        checkpoints.claim_lease(connection, store.database.dialect, projection.name, generation, owner)
        checkpoint = checkpoints.find_checkpoint(connection, projection.name, generation)
    if checkpoint is None or checkpoint.owner != owner:
        raise ReplayConflict(f"Another worker runs {projection.name}. Test it in a store of its own.")
    return Batch(store, projection, checkpoint, serves=serves)
