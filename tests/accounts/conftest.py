"""Homes for tests: one on each of the four databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from webapp.accounts.home import Home
from webapp.config import Config

password = "correct horse battery"


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Config:
    """Settings of a home in a fresh database."""
    return Config(home_folder=tmp_path / "home", home_url=database_url)


@pytest.fixture
def home(settings: Config) -> Iterator[Home]:
    """An empty home."""
    home = Home.open(settings)
    yield home
    home.close()
