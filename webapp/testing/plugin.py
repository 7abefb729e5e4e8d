"""Fixtures for pytest, which finds them by itself wherever Projectionist is installed.

- `clock`: a `Clock` that stands at 2026-01-01 12:00 UTC until the test moves it.
- `memory_store`: an empty `MemoryStore` whose events are recorded at the time of `clock`.
- `event_store`: a migrated, empty `EventStore` on SQLite in a temporary file, whose time is the database's.

A fixture of the same name in a project's own tests takes their place. Nothing is imported before a test asks for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from webapp.store import EventStore
    from webapp.testing import Clock, MemoryStore


@pytest.fixture
def clock() -> Clock:
    """A clock that stands until it is moved: clock.now, clock.advance(hours=1), clock.set(time)."""
    from webapp.testing import Clock

    return Clock()


@pytest.fixture
def memory_store(clock: Clock) -> MemoryStore:
    """An empty event store in memory, on the time of `clock`."""
    from webapp.testing import MemoryStore

    return MemoryStore(clock)


@pytest.fixture
def event_store() -> Iterator[EventStore]:
    """A migrated, empty event store in a temporary SQLite file."""
    from webapp.testing import temporary_store

    with temporary_store() as store:
        yield store
