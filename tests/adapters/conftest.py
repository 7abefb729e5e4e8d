"""Databases written by the real Ecotone, loaded once a session for each server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.dumps import load_dump, read_facts
from tests.conftest import create_database
from webapp.adapters.detection import open_source
from webapp.adapters.ecotone import EcotoneSource

servers = ("postgresql", "mysql", "mariadb")


@pytest.fixture(scope="session", params=servers)
def server(request: pytest.FixtureRequest) -> str:
    """Each server that Ecotone writes to, in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def loaded_url(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database with Ecotone's shop in it; tests only read it."""
    url, drop = create_database(server, tmp_path_factory.mktemp("ecotone"))
    load_dump(url, server)
    yield url
    drop()


@pytest.fixture(scope="session")
def facts(server: str) -> dict[str, Any]:
    """What is known of that database."""
    return read_facts(server)


@pytest.fixture
def source(loaded_url: str) -> Iterator[EcotoneSource]:
    """That database as a source of events."""
    source = open_source(loaded_url)
    assert isinstance(source, EcotoneSource)
    yield source
    source.close()


@pytest.fixture
def empty_url(server: str, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh, empty database on the same server."""
    url, drop = create_database(server, tmp_path)
    yield url
    drop()


@pytest.fixture
def demos_url(tmp_path: Path) -> Iterator[str]:
    """The URL of the database that Ecotone's own demos leave behind on PostgreSQL."""
    url, drop = create_database("postgresql", tmp_path)
    load_dump(url, "postgresql", "ecotone-demos-pg")
    yield url
    drop()


Opened = Callable[[str], EcotoneSource]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens sources and closes them after the test."""
    sources = []

    def open_it(url: str) -> EcotoneSource:
        source = open_source(url)
        assert isinstance(source, EcotoneSource)
        sources.append(source)
        return source

    yield open_it
    for source in sources:
        source.close()
