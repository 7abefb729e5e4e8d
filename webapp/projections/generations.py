"""Generations of a projection's tables: putting one before the readers, and dropping those that are done with.

The generation that serves has its tables under their own names, every other one has `<table>__g<number>`.
"""

from __future__ import annotations

import sqlalchemy as sa

from webapp.errors import (
    Conflict,
    InvalidDefinition,
    NeedsMigration,
    RefusedData,
    ReplayConflict,
    StoreUnavailable,
)
from webapp.projections import checkpoints
from webapp.projections.checkpoints import ProjectionRow
from webapp.projections.projection import Projection, shadow_name
from webapp.projections.targets import create_missing_tables, drop_tables
from webapp.store.dialects import Dialect
from webapp.store.native import EventStore

_attempts = 5


def refuse_obstacles(
    connection: sa.Connection, dialect: Dialect, projection: Projection, row: ProjectionRow | None
) -> None:
    """Raises InvalidDefinition if a table that the definition wants belongs to something else.

    Raises Conflict if something hangs on a table that serves now and would stay with the old one after a swap.
    """
    mine = row.tables if row is not None else ()
    for other in checkpoints.list_projections(connection):
        taken = {table.name for table in projection.tables} & set(other.tables)
        if other.name != projection.name and taken:
            raise InvalidDefinition(
                f"The table {taken.pop()} belongs to the projection {other.name}. Give {projection.name} another."
            )
    for table in projection.tables:
        if table.name not in mine and sa.inspect(connection).has_table(table.name):
            raise InvalidDefinition(
                f"A table {table.name} is there already, and no projection of this store made it. "
                f"Rename or drop it, or give {projection.name} another table."
            )
    for name in mine:
        dependents = dialect.find_dependents(connection, name)
        if dependents:
            raise Conflict(
                f"{' and '.join(dependents)} would stay with the old table when {name} is swapped. "
                "Drop what depends on it, rebuild, and make it again."
            )


def swap_generation(store: EventStore, projection: Projection, connection: sa.Connection, generation: int) -> None:
    """Puts a generation before the readers, inside the caller's transaction where the database can do that.

    Elsewhere (MySQL, MariaDB) only the intent is recorded; call complete_swap after the commit. A failure is forgotten:
    the generation has come past its event.
    """
    dialect, name = store.database.dialect, projection.name
    row = checkpoints.lock_projection(connection, name)
    refuse_obstacles(connection, dialect, projection, row)
    for table in set(row.tables) & set(row.tables_of[generation]):
        dialect.copy_grants(connection, table, shadow_name(table, generation))
    status = "running" if row.status == "failed" else row.status
    checkpoints.change_projection(connection, dialect, name, status=status, failure=None, swapping_to=generation)
    if dialect.can_swap_in_transaction:
        row.swapping_to = generation
        dialect.rename_tables(connection, _renames(connection, row))
        _serve(connection, dialect, row)


def complete_swap(store: EventStore, projection: Projection) -> None:
    """Does what a recorded intent to swap still needs; safe to repeat, from any worker, after a kill anywhere."""
    database, name = store.database, projection.name
    for attempt in range(1, _attempts + 1):
        try:
            database.retrying(lambda connection: _move_tables(connection, database.dialect, projection))
            break
        except (NeedsMigration, RefusedData, StoreUnavailable):
            # Where renaming ends the transaction, a rival may have renamed first; then there's nothing left to do.
            if attempt == _attempts:
                raise
            database.dialect.wait_before_retry(attempt)
    with database.writing() as connection:
        row = checkpoints.find_projection(connection, name, lock=True)
        if row is not None and row.swapping_to is not None and not _renames(connection, row):
            _serve(connection, database.dialect, row)


def _move_tables(connection: sa.Connection, dialect: Dialect, projection: Projection) -> None:
    row = checkpoints.find_projection(connection, projection.name, lock=True)
    if row is None or row.swapping_to is None:
        return
    if row.swapping_to == row.generation:  # its very first one has nobody before it
        create_missing_tables(connection, projection.tables)
    elif renames := _renames(connection, row):
        dialect.rename_tables(connection, renames)


def _renames(connection: sa.Connection, row: ProjectionRow) -> list[tuple[str, str]]:
    """What is still to be renamed for the generation that the row swaps to."""
    if row.swapping_to is None or row.swapping_to == row.generation:
        return []
    has_table = sa.inspect(connection).has_table
    old, new = row.tables, row.tables_of[row.swapping_to]
    renames = []
    for name in new:
        incoming = shadow_name(name, row.swapping_to)
        if has_table(incoming):  # else it was renamed already
            if name in old and has_table(name):
                renames.append((name, shadow_name(name, row.generation)))
            renames.append((incoming, name))
    for name in old:
        if name not in new and has_table(name):
            renames.append((name, shadow_name(name, row.generation)))
    return renames


def _serve(connection: sa.Connection, dialect: Dialect, row: ProjectionRow) -> None:
    checkpoints.change_projection(connection, dialect, row.name, generation=row.swapping_to, swapping_to=None)


def drop_generation(store: EventStore, name: str, generation: int) -> None:
    """Forgets a generation that doesn't serve, tables and checkpoint; whoever works on it loses the lease.

    Raises ReplayConflict if it serves.
    """
    with store.database.writing() as connection:
        row = checkpoints.find_projection(connection, name, lock=True)
        if row is None:
            return
        if generation in (row.generation, row.swapping_to):
            raise ReplayConflict(f"Generation {generation} of {name} serves its readers, so it stays.")
        checkpoints.remove_checkpoint(connection, name, generation)
        drop_tables(connection, [shadow_name(table, generation) for table in row.tables_of.get(generation, ())])
    # Only now, in a transaction of its own: where DDL commits by itself, a kill must not lose the tables' names.
    with store.database.writing() as connection:
        row = checkpoints.find_projection(connection, name, lock=True)
        if row is not None:
            tables_of = {number: names for number, names in row.tables_of.items() if number != generation}
            checkpoints.change_projection(connection, store.database.dialect, name, tables=tables_of)
