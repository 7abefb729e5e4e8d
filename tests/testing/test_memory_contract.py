"""The store in memory keeps the contract of an event source, with the very events that our own store keeps it with."""

from __future__ import annotations

import pytest

from tests.contract.event_source import EventSourceContract
from tests.store.test_contract import fill
from webapp.testing import MemoryStore


@pytest.fixture(scope="module")
def source() -> MemoryStore:
    """A store in memory with a busy log, logs and ids that differ in a byte only."""
    store = MemoryStore()
    fill(store)
    return store


class TestMemory(EventSourceContract):
    """Without dead letters, which only a database has."""
