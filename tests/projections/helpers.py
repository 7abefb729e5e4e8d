"""A projection that counts, and what its table must hold, told from the log alone."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from webapp.projections import Context, Projection, Table
from webapp.projections import checkpoints as rows_of
from webapp.projections.checkpoints import Checkpoint, ProjectionRow
from webapp.projections.tables import checkpoints
from webapp.store import Append, EventStore, NewEvent, RecordedEvent
from webapp.store.columns import Name

Handler = Callable[[RecordedEvent, Context], None]


def counting(name: str = "counts", *, handler: Handler | None = None, **options: Any) -> Projection:
    """Counts events and adds up their numbers by aggregate; `handler` runs first at each event."""
    table = Table(
        options.pop("table", name),
        sa.Column("id", Name(40), primary_key=True),
        sa.Column("seen", sa.Integer, default=0),
        sa.Column("total", sa.BigInteger, default=0),
    )
    projection = Projection(name, tables=[table], **options)

    @projection.on("noted")
    def count(event: RecordedEvent, context: Context) -> None:
        if handler is not None:
            handler(event, context)
        context.table(table.name).increment(event.aggregate_id, seen=1, total=event.data["n"])

    return projection


def fill(store: EventStore, count: int, *, aggregates: int = 5, log: str = "main", first: int = 1) -> None:
    """Appends events numbered from `first` on, over some aggregates in turn, in one transaction."""
    store.append_many(
        [
            Append("note", f"n{number % aggregates}", [NewEvent("noted", {"n": number})], log=log)
            for number in range(first, first + count)
        ]
    )


def expected(store: EventStore, *logs: str, up_to: int | None = None) -> dict[str, tuple[int, int]]:
    """Seen and total by aggregate, folded from the logs event by event."""
    found: dict[str, tuple[int, int]] = {}
    for log in logs or ("main",):
        for event in store.read_log(log, limit=None):
            if event.type == "noted" and (up_to is None or event.position <= up_to):
                seen, total = found.get(event.aggregate_id or "", (0, 0))
                found[event.aggregate_id or ""] = (seen + 1, total + event.data["n"])
    return found


def counted(store: EventStore, table: str = "counts") -> dict[str, tuple[int, int]]:
    """Seen and total by aggregate, as the table has them."""
    with store.database.reading() as connection:
        return {row[0]: (row[1], row[2]) for row in connection.execute(sa.text(f"SELECT id, seen, total FROM {table}"))}


def row_of(store: EventStore, name: str = "counts") -> ProjectionRow:
    """The projection's row."""
    with store.database.reading() as connection:
        row = rows_of.find_projection(connection, name)
    assert row is not None
    return row


def checkpoint_of(store: EventStore, name: str = "counts", generation: int | None = None) -> Checkpoint:
    """A generation's checkpoint, by default of the one that serves."""
    with store.database.reading() as connection:
        row = rows_of.find_projection(connection, name)
        assert row is not None
        found = rows_of.find_checkpoint(connection, name, generation or row.generation)
    assert found is not None
    return found


def tables(store: EventStore) -> set[str]:
    """The tables in the database that aren't the store's own."""
    with store.database.reading() as connection:
        return {name for name in sa.inspect(connection).get_table_names() if not name.startswith("projectionist_")}


def expire_leases(store: EventStore, seconds: float = -60) -> None:
    """Makes all leases run out, as if their owners had stalled for long; with seconds > 0 they begin to run again."""
    with store.database.writing() as connection:
        moment = store.database.dialect.clock(connection)
        change = sa.update(checkpoints).where(checkpoints.c.owner.is_not(None))
        connection.execute(change.values(lease_expires_at=moment + dt.timedelta(seconds=seconds)))


def wait_for(claim: Callable[[], Any], seconds: float = 20) -> Any:
    """What `claim` returns once it's true; fails after a deadline."""
    ends_at = time.monotonic() + seconds
    while not (found := claim()):
        assert time.monotonic() < ends_at, "it did not come about in time"
        time.sleep(0.01)
    return found


@contextmanager
def in_background(*tasks: Callable[[], Any], pause_seconds: float = 0.002) -> Iterator[list[BaseException]]:
    """Runs each task over and over in its own thread until the block ends; errors fail the test."""
    stopping, errors = threading.Event(), list[BaseException]()

    def run(task: Callable[[], Any]) -> None:
        while not stopping.is_set():
            try:
                task()
            except BaseException as error:
                errors.append(error)
                return
            stopping.wait(pause_seconds)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        stopping.set()
        for thread in threads:
            thread.join(30)
    assert not [thread for thread in threads if thread.is_alive()]
    if errors:
        raise errors[0]
