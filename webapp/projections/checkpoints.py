"""How far a projection got, who may go on with it, and which generation readers see: rows in the target's database.

Every batch ends by moving its checkpoint under the owner's epoch. A worker that was stalled past its lease finds
another epoch there, and its whole batch rolls back.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from webapp.errors import NotFound
from webapp.projections.projection import Projection
from webapp.projections.tables import checkpoints, projections, skips
from webapp.store import leases
from webapp.store.dialects import Dialect

lease_seconds = 15.0


@dataclass(slots=True)
class ProjectionRow:
    """A projection as its database remembers it.

    `tables_of` names each generation's tables; `failure` is a dict of log, position, message, traceback, at.
    """

    name: str
    status: str
    generation: int
    swapping_to: int | None
    tables_of: dict[int, tuple[str, ...]]
    derived_log: str | None
    failure: dict[str, Any] | None
    updated_at: dt.datetime

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that readers see."""
        return self.tables_of[self.generation]


@dataclass(slots=True)
class Checkpoint:
    """How far one generation got: the last position done by log, the projection's state, events counted."""

    projection: str
    generation: int
    positions: dict[str, int]
    state: dict[str, Any]
    done: int
    fingerprint: str
    replay_id: int | None = None
    owner: str | None = None
    epoch: int = 0
    lease_expires_at: dt.datetime | None = None
    updated_at: dt.datetime | None = None
    skipped: frozenset[tuple[str, int]] = field(default_factory=frozenset)


def _projection_row(row: Any) -> ProjectionRow:
    failure = json.loads(row.failure) if row.failure else None
    tables_of = {int(generation): tuple(names) for generation, names in json.loads(row.tables).items()}
    return ProjectionRow(
        row.name, row.status, row.generation, row.swapping_to, tables_of, row.derived_log, failure, row.updated_at
    )


def _checkpoint(row: Any) -> Checkpoint:
    return Checkpoint(
        row.projection, row.generation, json.loads(row.positions), json.loads(row.state), row.done, row.fingerprint,
        row.replay_id, row.owner, row.epoch, row.lease_expires_at, row.updated_at,
    )  # fmt: skip


def find_projection(connection: sa.Connection, name: str, *, lock: bool = False) -> ProjectionRow | None:
    """The projection's row, None if it was never started here; `lock` holds it until commit."""
    query = sa.select(projections).where(projections.c.name == name)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return None if row is None else _projection_row(row)


def lock_projection(connection: sa.Connection, name: str) -> ProjectionRow:
    """The projection's row, held until commit; raises NotFound."""
    row = find_projection(connection, name, lock=True)
    if row is None:
        raise NotFound("projection", name)
    return row


def list_projections(connection: sa.Connection) -> list[ProjectionRow]:
    """All projections started here, by name."""
    return [_projection_row(row) for row in connection.execute(sa.select(projections).order_by(projections.c.name))]


def find_checkpoint(connection: sa.Connection, name: str, generation: int) -> Checkpoint | None:
    """One generation's checkpoint with the events it skips, None if there is no such generation."""
    query = sa.select(checkpoints).where(checkpoints.c.projection == name, checkpoints.c.generation == generation)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    checkpoint = _checkpoint(row)
    skipped = sa.select(skips.c.log, skips.c.position).where(skips.c.projection == name)
    checkpoint.skipped = frozenset((row.log, row.position) for row in connection.execute(skipped))
    return checkpoint


def list_checkpoints(connection: sa.Connection, name: str | None = None) -> list[Checkpoint]:
    """The checkpoints of all generations of one projection or of all, oldest first."""
    query = sa.select(checkpoints).order_by(checkpoints.c.projection, checkpoints.c.generation)
    if name is not None:
        query = query.where(checkpoints.c.projection == name)
    return [_checkpoint(row) for row in connection.execute(query)]


def start_projection(connection: sa.Connection, dialect: Dialect, projection: Projection) -> None:
    """Records a projection that is new here, at generation 1 before the first event, its tables still to be made."""
    connection.execute(
        sa.insert(projections).values(
            name=projection.name, status="running", generation=1, swapping_to=1, tables=json.dumps({}),
            updated_at=dialect.clock(connection),
        )
    )  # fmt: skip
    add_checkpoint(connection, dialect, projection, 1, {})


def add_checkpoint(
    connection: sa.Connection,
    dialect: Dialect,
    projection: Projection,
    generation: int,
    tables_of: Mapping[int, tuple[str, ...]],
    replay_id: int | None = None,
) -> None:
    """Records a generation that stands before the first event, beside those that have tables already."""
    connection.execute(
        sa.insert(checkpoints).values(
            projection=projection.name, generation=generation, positions="{}", state="{}", done=0,
            fingerprint=projection.fingerprint(), replay_id=replay_id, epoch=0, updated_at=dialect.clock(connection),
        )
    )  # fmt: skip
    names = tuple(table.name for table in projection.tables)
    change_projection(connection, dialect, projection.name, tables={**tables_of, generation: names})


def remove_checkpoint(connection: sa.Connection, name: str, generation: int) -> None:
    """Forgets a generation."""
    connection.execute(
        sa.delete(checkpoints).where(checkpoints.c.projection == name, checkpoints.c.generation == generation)
    )


def remove_projection(connection: sa.Connection, name: str) -> None:
    """Forgets a projection with all generations and skips."""
    connection.execute(sa.delete(checkpoints).where(checkpoints.c.projection == name))
    connection.execute(sa.delete(skips).where(skips.c.projection == name))
    connection.execute(sa.delete(projections).where(projections.c.name == name))


def change_projection(connection: sa.Connection, dialect: Dialect, name: str, **values: Any) -> None:
    """Sets columns of a projection's row; raises NotFound."""
    for column in ("failure", "tables"):
        if values.get(column) is not None:
            values[column] = json.dumps(values[column])
    values["updated_at"] = dialect.clock(connection)
    if connection.execute(sa.update(projections).where(projections.c.name == name).values(**values)).rowcount != 1:
        raise NotFound("projection", name)


def claim_lease(connection: sa.Connection, dialect: Dialect, name: str, generation: int, owner: str) -> int | None:
    """The new epoch under which `owner` may work on a generation, None while somebody else's lease runs."""
    return leases.claim_lease(connection, dialect, checkpoints, _row(name, generation), owner, lease_seconds)


def move_checkpoint(
    connection: sa.Connection,
    dialect: Dialect,
    checkpoint: Checkpoint,
    positions: Mapping[str, int],
    state: Mapping[str, Any],
    done: int,
) -> None:
    """Records a batch's end and renews the lease; raises LeaseLost if another worker has taken over."""
    leases.renew_lease(
        connection, dialect, checkpoints, _row(checkpoint.projection, checkpoint.generation),
        checkpoint.owner, checkpoint.epoch, lease_seconds, checkpoint.projection,
        positions=json.dumps(dict(positions)), state=json.dumps(dict(state)), done=done,
    )  # fmt: skip


def release_lease(connection: sa.Connection, name: str, generation: int, owner: str, epoch: int) -> None:
    """Gives a lease back, if it's still this owner's, so that another worker needn't wait for its end."""
    leases.release_lease(connection, checkpoints, _row(name, generation), owner, epoch)


def _row(name: str, generation: int) -> sa.ColumnElement[bool]:
    return sa.and_(checkpoints.c.projection == name, checkpoints.c.generation == generation)


def skip_event(
    connection: sa.Connection, dialect: Dialect, name: str, log: str, position: int, reason: str, skipped_by: str | None
) -> None:
    """Records that a projection shall leave an event out, and why."""
    connection.execute(
        sa.insert(skips).values(
            projection=name, log=log, position=position, reason=reason, skipped_by=skipped_by,
            skipped_at=dialect.clock(connection),
        )
    )  # fmt: skip


def list_skips(connection: sa.Connection, name: str, limit: int = 100) -> list[Any]:
    """Rows (log, position, reason, skipped_by, skipped_at) of events a projection leaves out, by log and position."""
    query = sa.select(skips).where(skips.c.projection == name).order_by(skips.c.log, skips.c.position)
    return list(connection.execute(query.limit(limit)))


def count_skips(connection: sa.Connection) -> dict[str, int]:
    """How many events each projection leaves out, for those that leave any out."""
    query = sa.select(skips.c.projection, sa.func.count()).group_by(skips.c.projection)
    return {row[0]: row[1] for row in connection.execute(query)}
