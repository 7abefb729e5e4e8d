"""A read model as its readers see it at one moment: rows and checkpoint at the very same positions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from webapp.errors import Conflict, NotFound, ProjectionistError, ReplayConflict, StoreUnavailable
from webapp.projections import checkpoints
from webapp.projections.checkpoints import Checkpoint, ProjectionRow
from webapp.replay.scratch import ScratchTable
from webapp.store.native import EventStore

_moment_seconds = 3600.0
_attempts = 20
_wait_seconds = 0.1


@dataclass(frozen=True, slots=True)
class Moment:
    """A connection that sees one moment, and the serving generation's checkpoint then."""

    connection: sa.Connection
    checkpoint: Checkpoint


def read_serving(connection: sa.Connection, name: str) -> tuple[ProjectionRow, Checkpoint]:
    """A projection's row and the checkpoint of the generation that readers see; raises NotFound if it never ran."""
    row = checkpoints.find_projection(connection, name)
    checkpoint = checkpoints.find_checkpoint(connection, name, row.generation) if row is not None else None
    if row is None or checkpoint is None:
        raise NotFound("projection", name, "It never ran here. Start it: projectionist projections run URL NAME")
    return row, checkpoint


@contextmanager
def held_moment(store: EventStore, name: str, tables: Sequence[ScratchTable]) -> Iterator[Moment]:
    """The read model as of now until the block ends, while others write on; a swap of its tables waits for the end.

    Raises Conflict if the tables aren't as the code defines them, ReplayConflict while swaps don't end.
    """
    with ExitStack() as stack:
        for _ in range(_attempts):
            connection = stack.enter_context(store.database.reading(_moment_seconds, at_one_moment=True))
            row, checkpoint = read_serving(connection, name)
            if _hold_tables(store, connection, row, tables):
                yield Moment(connection, checkpoint)
                return
            stack.close()
            time.sleep(_wait_seconds)
        raise ReplayConflict(f"{name} is being swapped over and over. Verify it again in a while.")


def _hold_tables(
    store: EventStore, connection: sa.Connection, row: ProjectionRow, tables: Sequence[ScratchTable]
) -> bool:
    """Whether the tables are those of the row; having been read, they keep their names until the connection ends."""
    try:
        with store.database.translated():
            for table in tables:
                connection.execute(sa.select(table.live).limit(1)).all()
    except ProjectionistError as error:
        is_retryable = isinstance(error, StoreUnavailable) and store.database.is_retryable(error)
        if is_retryable or _is_swapped_since(store, row):
            return False
        raise _explain(store, row.name, tables, error) from error
    return not _is_swapped_since(store, row)


def _is_swapped_since(store: EventStore, row: ProjectionRow) -> bool:
    with store.database.reading() as connection:
        now = read_serving(connection, row.name)[0]
    return now.swapping_to is not None or now.generation != row.generation


def _explain(
    store: EventStore, name: str, tables: Sequence[ScratchTable], error: ProjectionistError
) -> ProjectionistError:
    """The error in the words of tables that aren't as the code defines them, where that is the cause."""
    with store.database.reading() as connection:
        inspector = sa.inspect(connection)
        for table in tables:
            known = table.definition.name
            found = {one["name"] for one in inspector.get_columns(known)} if inspector.has_table(known) else set()
            lacking = [column.name for column in table.columns if column.name not in found]
            if lacking:
                what = f"has no column {', '.join(lacking)}" if found else "is not there"
                return Conflict(
                    f"The table {known} {what}, so it can't be compared with what the code would make. "
                    f"Rebuild {name}: projectionist projections rebuild URL {name}"
                )
    return error
