"""What the store's tests share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from tests.conftest import backends
from webapp.store import EventStore, NewEvent, RecordedEvent

on_servers = pytest.mark.parametrize("backend", ("postgresql", "mariadb", "mysql"), indirect=True)
"""For tests of what SQLite, with its one writer and no users, has no part in."""

in_memory_too = pytest.mark.parametrize("backend", (*backends, "memory"), indirect=True)
"""For tests of rules that a store in memory keeps as well."""

FIELDS = (
    "log", "position", "aggregate_type", "aggregate_id", "version", "type", "id", "recorded_at",
    "correlation_id", "causation_id", "actor", "data_text", "metadata_text", "data", "metadata",
)  # fmt: skip


def noted(*numbers: int) -> list[NewEvent]:
    """One event for each number, which stands in its data."""
    return [NewEvent("noted", {"n": number}) for number in numbers]


def fields(event: RecordedEvent) -> dict[str, Any]:
    """Everything an event says of itself."""
    return {name: getattr(event, name) for name in FIELDS}


def positions(store: EventStore, log: str = "main") -> list[int]:
    """All positions of a log as they are read."""
    return [event.position for event in store.read_log(log, limit=None)]


def run_together(*tasks: Callable[[], Any], seconds: float = 60) -> list[Any]:
    """What each task returned or raised; all start at the same moment, each in its thread."""
    barrier = threading.Barrier(len(tasks))
    outcomes: list[Any] = [None] * len(tasks)

    def run(index: int) -> None:
        barrier.wait()
        try:
            outcomes[index] = tasks[index]()
        except Exception as error:
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
    assert not [thread.name for thread in threads if thread.is_alive()], "a task did not end"
    return outcomes


def execute(store: EventStore, sql: str, values: Sequence[Any] = ()) -> list[Any]:
    """Rows of a statement run beside the store, committed; errors are ours."""
    with store.database.writing() as connection:
        result = connection.exec_driver_sql(sql, tuple(values))
        return list(result.all()) if result.returns_rows else []


def reopen(store: EventStore) -> EventStore:
    """A second store object on the same events, as another process would have; in memory there is but one."""
    return EventStore.open(store.database.url) if isinstance(store, EventStore) else store


def count_events(store: EventStore) -> int:
    """Number of events of all logs, as the table has them."""
    if isinstance(store, EventStore):
        return count(store, "projectionist_events")
    return sum(len(positions(store, log.name)) for log in store.logs())


def count(store: EventStore, table: str) -> int:
    """Number of rows of a table."""
    with store.database.reading() as connection:
        return int(connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())
