"""Starting a projection, pausing it, leaving out an event it failed at, deleting it."""

from __future__ import annotations

import logging

from webapp.errors import DuplicateKey, InvalidDefinition, ReplayConflict
from webapp.projections import checkpoints
from webapp.projections.emitting import retire_derived_log
from webapp.projections.generations import complete_swap, refuse_obstacles
from webapp.projections.projection import Projection, shadow_name
from webapp.projections.targets import drop_tables
from webapp.store.native import EventStore

log = logging.getLogger(__name__)


def init_projection(store: EventStore, projection: Projection) -> bool:
    """Makes the projection's tables and its checkpoint before the first event; False if it was started already.

    Also completes what a killed worker left half-done, a first start or a swap. Raises InvalidDefinition if one of its
    tables is there and belongs to something else.
    """
    with store.database.reading() as connection:
        row = checkpoints.find_projection(connection, projection.name)
    if row is not None and row.swapping_to is None:
        return False
    is_new = row is None and _start(store, projection)
    complete_swap(store, projection)
    return is_new


def _start(store: EventStore, projection: Projection) -> bool:
    """Records the intent, for where DDL commits by itself and a kill may leave half of it; False if a rival did."""
    dialect = store.database.dialect
    try:
        with store.database.writing() as connection:
            checkpoints.start_projection(connection, dialect, projection)
            # Looked for second: a rival who was quicker has made the very tables, and ends this by the row's key.
            refuse_obstacles(connection, dialect, projection, None)
    except DuplicateKey:
        return False
    return True


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
        row = checkpoints.lock_projection(connection, name)
        if row.failure is None:
            raise ReplayConflict(f"{name} stands at no failed event, so there is nothing to skip.")
        at = (str(row.failure["log"]), int(row.failure["position"]))
        checkpoints.skip_event(connection, store.database.dialect, name, *at, reason.strip(), skipped_by)
        checkpoints.change_projection(connection, store.database.dialect, name, status="running", failure=None)
    return at


def delete_projection(store: EventStore, name: str) -> None:
    """Removes a projection with its tables and checkpoints, and retires its derived log; raises NotFound."""
    with store.database.writing() as connection:
        row = checkpoints.lock_projection(connection, name)
        if row.derived_log is not None:
            retire_derived_log(connection, store.database.dialect, row.derived_log)
        shadows = [shadow_name(table, number) for number, tables in row.tables_of.items() for table in tables]
        # Where DDL commits by itself the rows go last, so that a kill leaves something to delete again.
        drop_tables(connection, [*row.tables, *shadows])
        checkpoints.remove_projection(connection, name)
    log.info("deleted the projection %s", name)
