"""A home beside the store: another fresh database on the same server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import create_database
from webapp.accounts.home import Home
from webapp.config import Config


@pytest.fixture
def home(backend: str, tmp_path: Path) -> Iterator[Home]:
    """An empty home."""
    url, drop = create_database(backend, tmp_path)
    home = Home.open(Config(home_folder=tmp_path / "home", home_url=url))
    yield home
    home.close()
    drop()
