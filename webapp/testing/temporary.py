"""A real event store for one test: an SQLite file that goes when the test does."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from webapp.store.native import EventStore


@contextmanager
def temporary_store() -> Iterator[EventStore]:
    """A migrated, empty EventStore on SQLite in a folder of its own; both are gone after the block.

    The tables are made once for all tests of a process, and copied, so that a store costs milliseconds.
    """
    with tempfile.TemporaryDirectory(prefix="projectionist-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "store.db"
        shutil.copyfile(_template(), path)
        store = EventStore.open(f"sqlite:///{path}")
        try:
            yield store
        finally:
            store.close()


@functools.cache
def _template() -> Path:
    """An SQLite file with our tables and nothing in them, kept until the process ends."""
    folder = tempfile.mkdtemp(prefix="projectionist-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "template.db"
    store = EventStore.open(f"sqlite:///{path}")
    try:
        store.migrate()
    finally:
        store.close()
    return path
