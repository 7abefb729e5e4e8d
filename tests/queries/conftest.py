"""A filled store for the tests of page objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.queries.seed import fill
from webapp.store import EventStore


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[EventStore]:
    """The small shop on SQLite."""
    store = EventStore.open(f"sqlite:///{tmp_path / 'shop.db'}")
    store.migrate()
    fill(store)
    yield store
    store.close()
