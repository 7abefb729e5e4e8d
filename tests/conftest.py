"""Databases for tests: real servers, started by `make test`, a fresh database for each test that asks."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from webapp.store import EventStore
from webapp.store.database import parse_url
from webapp.testing import MemoryStore

backends = ("sqlite", "postgresql", "mariadb", "mysql")


def server_url(backend: str) -> sa.URL:
    """The address of a throwaway server, with a user who may make databases; only MySQL may be missing."""
    text = os.environ.get(f"TEST_{backend.upper()}_URL")
    if not text:
        if backend == "mysql" and os.environ.get("TEST_WITHOUT_MYSQL"):
            pytest.skip("no MySQL server could be had; `make test` says so in its last line")
        pytest.fail(f"TEST_{backend.upper()}_URL is not set: run the tests with `make test`, which starts the servers.")
    return parse_url(text)


def create_database(backend: str, folder: Path) -> tuple[str, Callable[[], None]]:
    """The URL of a fresh, empty database and what drops it."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    if backend == "sqlite":
        return f"sqlite:///{folder / name}.db", lambda: None
    server = server_url(backend)

    def run(statement: str) -> None:
        engine = sa.create_engine(server, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)

    run(f"CREATE DATABASE {name}")
    force = " WITH (FORCE)" if backend == "postgresql" else ""
    url = server.set(database=name).render_as_string(hide_password=False)
    return url, lambda: run(f"DROP DATABASE {name}{force}")


@pytest.fixture(params=backends)
def backend(request: pytest.FixtureRequest) -> str:
    """Each of the four databases in turn."""
    return str(request.param)


@pytest.fixture
def database_url(backend: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh, empty database."""
    url, drop = create_database(backend, tmp_path)
    yield url
    drop()


@pytest.fixture
def store(backend: str, request: pytest.FixtureRequest) -> Iterator[EventStore]:
    """A migrated, empty event store; one in memory for tests that say so."""
    if backend == "memory":
        yield MemoryStore()  # type: ignore[misc]
        return
    store = EventStore.open(request.getfixturevalue("database_url"))
    store.migrate()
    yield store
    store.close()


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[EventStore]:
    """A migrated, empty event store on SQLite, for tests that are about something else."""
    store = EventStore.open(f"sqlite:///{tmp_path / 'store.db'}")
    store.migrate()
    yield store
    store.close()


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Fails a test that leaves a thread of ours running."""
    before = set(threading.enumerate())
    yield
    left = [thread for thread in set(threading.enumerate()) - before if thread.is_alive() and not thread.daemon]
    for thread in left:
        thread.join(timeout=5)
    assert not [thread.name for thread in left if thread.is_alive()]
