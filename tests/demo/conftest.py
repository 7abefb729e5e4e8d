"""One demo of full size for all tests that only look, since making it takes some seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from webapp.demo import make_demo
from webapp.store import EventStore, RecordedEvent


@pytest.fixture(scope="session")
def demo_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's SQLite file, 50,000 events. Look, don't touch."""
    path = tmp_path_factory.mktemp("demo") / "shop.db"
    make_demo(path)
    return path


@pytest.fixture(scope="session")
def demo(demo_path: Path) -> Iterator[EventStore]:
    """The demo store."""
    store = EventStore.open(f"sqlite:///{demo_path}")
    yield store
    store.close()


@pytest.fixture(scope="session")
def demo_events(demo: EventStore) -> list[RecordedEvent]:
    """All events of the shop's own logs, main before support."""
    return [event for log in ("main", "support") for event in demo.read_log(log, limit=None)]
