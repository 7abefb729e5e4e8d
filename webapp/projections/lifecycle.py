"""Starting, pausing, deleting a projection, and putting another generation before its readers."""

from __future__ import annotations

import logging
from dataclasses import replace

import sqlalchemy as sa

from webapp.errors import InvalidDefinition, NeedsMigration, NotFound, RefusedData, ReplayConflict, StoreUnavailable
from webapp.projections import checkpoints
from webapp.projections.emitting import retire_derived_log
from webapp.projections.projection import Projection
from webapp.projections.targets import create_tables, drop_tables
from webapp.store.native import EventStore

log = logging.getLogger(__name__)
_swap_attempts = 5


def init_projection(store: EventStore, projection: Projection) -> bool:
    """Makes the projection's tables and its checkpoint before the first event; False if it was started already.

    Raises InvalidDefinition if one of its tables is there and belongs to something else.
    """
    database = store.database
    with database.writing() as connection:
        row = checkpoints.find_projection(connection, projection.name, lock=True)
        if row is None:
            _refuse_foreign_tables(connection, projection, checkpoints.list_projections(connection))
            checkpoints.start_projection(connection, database.dialect, projection)
            # The intent comes first, for where DDL commits by itself and a kill may leave half of it.
            checkpoints.change_projection(connection, database.dialect, projection.name, swapping_to=1)
    if row is not None and row.swapping_to is None:
        return False
    complete_swap(store, projection)
    return row is None


def _refuse_foreign_tables(
    connection: sa.Connection, projection: Projection, others: list[checkpoints.ProjectionRow]
) -> None:
    owners = {table: other.name for other in others for table in other.tables}
    for table in projection.tables:
        if table.name in owners:
            raise InvalidDefinition(
                f"The table {table.name} belongs to the projection {owners[table.name]}. Give {projection.name} another."
            )
        if sa.inspect(connection).has_table(table.name):
            raise InvalidDefinition(
                f"A table {table.name} is there already, and no projection of this store made it. "
                f"Rename or drop it, or give {projection.name} another table."
            )


def swap_generation(store: EventStore, projection: Projection, connection: sa.Connection, generation: int) -> None:
    """Puts a generation before the readers, inside the caller's transaction where the database can do that.

    Elsewhere (MySQL, MariaDB) only the intent is recorded; call complete_swap after the commit.
    """
    database = store.database
    row = checkpoints.find_projection(connection, projection.name, lock=True)
    if row is None:
        raise NotFound("projection", projection.name)
    changes: dict[str, object] = {"status": "running" if row.status == "failed" else row.status, "failure": None}
    changes["tables"] = checkpoints.table_names(projection)
    if database.dialect.can_swap_in_transaction:
        wanted = replace(row, swapping_to=generation)
        database.dialect.rename_tables(connection, _renames(connection, projection, wanted))
        changes |= {"generation": generation, "swapping_to": None}
    else:
        changes["swapping_to"] = generation
    checkpoints.change_projection(connection, database.dialect, projection.name, **changes)


def complete_swap(store: EventStore, projection: Projection) -> None:
    """Does what a recorded intent to swap still needs; safe to repeat, from any worker, after a kill anywhere."""
    for attempt in range(1, _swap_attempts + 1):
        try:
            store.database.retrying(lambda connection: _finish_renames(store, projection, connection))
            break
        except (NeedsMigration, RefusedData, StoreUnavailable):
            # Where renaming ends the transaction, a rival may have renamed first; then there's nothing left to do.
            if attempt == _swap_attempts:
                raise
            store.database.dialect.wait_before_retry(attempt)
    with store.database.writing() as connection:
        row = checkpoints.find_projection(connection, projection.name, lock=True)
        if row is not None and row.swapping_to is not None and not _renames(connection, projection, row):
            checkpoints.change_projection(
                connection, store.database.dialect, projection.name, generation=row.swapping_to, swapping_to=None
            )


def _finish_renames(store: EventStore, projection: Projection, connection: sa.Connection) -> None:
    row = checkpoints.find_projection(connection, projection.name, lock=True)
    if row is None or row.swapping_to is None:
        return
    if row.swapping_to == row.generation:  # its very first one: the tables may be half-made
        missing = [table for table in projection.tables if not sa.inspect(connection).has_table(table.name)]
        create_tables(connection, missing, row.swapping_to)
    renames = _renames(connection, projection, row)
    if renames:
        store.database.dialect.rename_tables(connection, renames)


def _renames(
    connection: sa.Connection, projection: Projection, row: checkpoints.ProjectionRow
) -> list[tuple[str, str]]:
    """What is still to be renamed for the generation that the row swaps to."""
    current, wanted = row.generation, row.swapping_to or row.generation
    inspector = sa.inspect(connection)
    renames = []
    for table in projection.tables:
        if not inspector.has_table(table.shadow_name(wanted)):
            continue  # renamed already
        if inspector.has_table(table.name):
            renames.append((table.name, table.shadow_name(current)))
        renames.append((table.shadow_name(wanted), table.name))
    return renames


def drop_generation(store: EventStore, projection: Projection, generation: int) -> None:
    """Forgets a generation that doesn't serve, tables and checkpoint."""
    with store.database.writing() as connection:
        row = checkpoints.find_projection(connection, projection.name, lock=True)
        if row is not None and generation in (row.generation, row.swapping_to):
            raise ReplayConflict(f"Generation {generation} of {projection.name} serves its readers, so it stays.")
        checkpoints.remove_checkpoint(connection, projection.name, generation)
        drop_tables(connection, [table.shadow_name(generation) for table in projection.tables])


def pause_projection(store: EventStore, name: str) -> None:
    """Lets it stand where it is after the batch in hand; raises NotFound."""
    with store.database.writing() as connection:
        checkpoints.change_projection(connection, store.database.dialect, name, status="paused")


def resume_projection(store: EventStore, name: str) -> None:
    """Lets it run on, from a pause or after a failure; raises NotFound."""
    with store.database.writing() as connection:
        checkpoints.change_projection(connection, store.database.dialect, name, status="running", failure=None)


def skip_failed_event(store: EventStore, name: str, reason: str, skipped_by: str | None = None) -> tuple[str, int]:
    """The (log, position) that was left out: the event at which the projection failed. It runs on from there.

    Raises NotFound, or ReplayConflict if it stands at no failure.
    """
    if not reason.strip():
        raise InvalidDefinition("A skipped event stays visible as a debt, so say why it is skipped.")
    with store.database.writing() as connection:
        row = checkpoints.find_projection(connection, name, lock=True)
        if row is None:
            raise NotFound("projection", name)
        if row.failure is None:
            raise ReplayConflict(f"{name} stands at no failed event, so there is nothing to skip.")
        at = (str(row.failure["log"]), int(row.failure["position"]))
        checkpoints.skip_event(connection, store.database.dialect, name, *at, reason.strip(), skipped_by)
        checkpoints.change_projection(connection, store.database.dialect, name, status="running", failure=None)
    return at


def delete_projection(store: EventStore, name: str) -> None:
    """Removes a projection with its tables and checkpoints, and retires its derived log; raises NotFound."""
    with store.database.writing() as connection:
        row = checkpoints.find_projection(connection, name, lock=True)
        if row is None:
            raise NotFound("projection", name)
        generations = [one.generation for one in checkpoints.list_checkpoints(connection) if one.projection == name]
        if row.derived_log is not None:
            retire_derived_log(connection, store.database.dialect, row.derived_log)
        checkpoints.remove_projection(connection, name)
        drop_tables(
            connection, [*row.tables, *(f"{table}__g{number}" for table in row.tables for number in generations)]
        )
    log.info("deleted the projection %s", name)
