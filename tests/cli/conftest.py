"""Stores for the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.dumps import load_dump
from tests.conftest import create_database
from tests.queries.seed import fill
from webapp.store import EventStore, NewEvent


@pytest.fixture
def shop(sqlite_store: EventStore) -> str:
    """The URL of the small shop with two logs."""
    fill(sqlite_store)
    return str(sqlite_store.database.url)


@pytest.fixture
def small(sqlite_store: EventStore) -> str:
    """The URL of a store with one log of seven events."""
    for number in range(7):
        sqlite_store.append(
            "order", "1", [NewEvent("order.changed", {"n": number, f"f{number}": True}, {"actor": "ann"})]
        )
    return str(sqlite_store.database.url)


@pytest.fixture
def ecotone_url(tmp_path: Path) -> Iterator[str]:
    """The URL of a database that Ecotone wrote."""
    url, drop = create_database("postgresql", tmp_path)
    load_dump(url, "postgresql")
    yield url
    drop()
