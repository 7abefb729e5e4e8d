"""Home: its folder, its secret, its tables, and what can go wrong with them."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from webapp.accounts import activity, tables
from webapp.accounts.home import Home
from webapp.config import Config
from webapp.errors import InvalidRequest, StoreUnavailable
from webapp.store.columns import UtcDateTime


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_its_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "home"
    home = Home.open(Config(home_folder=folder))
    assert mode(folder) == 0o700
    assert mode(folder / "secret.key") == 0o600
    activity.record(home, "ann", "person.logged_in", person="ann")
    assert {mode(file) for file in folder.iterdir()} == {0o600}
    home.close()


def test_the_secret_is_made_once_even_by_many_at_once(tmp_path: Path) -> None:
    def secret(_: int) -> str:
        home = Home.open(Config(home_folder=tmp_path / "home"))
        home.close()
        return home.secret_key

    with ThreadPoolExecutor(6) as pool:
        secrets = set(pool.map(secret, range(6)))
    assert len(secrets) == 1
    assert len(secrets.pop()) >= 48
    assert secret(0) == (tmp_path / "home" / "secret.key").read_text()
    assert sorted(file.name for file in (tmp_path / "home").iterdir() if "secret" in file.name) == ["secret.key"]


def test_a_secret_from_the_settings_needs_no_file(tmp_path: Path) -> None:
    config = Config(home_folder=tmp_path / "home", home_url=f"sqlite:///{tmp_path / 'a.db'}", secret_key="s" * 32)
    home = Home.open(config)
    assert home.secret_key == "s" * 32
    assert not (tmp_path / "home").exists()
    assert mode(tmp_path / "a.db") == 0o600
    home.close()


def test_a_folder_or_file_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidRequest, match=r"can't be made: .* Set PROJECTIONIST_HOME"):
        Home.open(Config(home_folder=tmp_path / "file" / "home"))
    with pytest.raises(StoreUnavailable, match=r"can't be opened: .* PROJECTIONIST_HOME_URL"):
        Home.open(Config(home_folder=tmp_path / "home", home_url=f"sqlite:///{tmp_path}/nowhere/home.db"))
    (tmp_path / "home" / "secret.key").write_text("short")
    with pytest.raises(InvalidRequest, match="too short"):
        Home.open(Config(home_folder=tmp_path / "home"))


def test_opening_twice_changes_nothing_and_keeps_the_data(home: Home, settings: Config) -> None:
    activity.record(home, "ann", "store.rebuilt", {"why": "new column"}, store="shop", address="192.0.2.1")
    again = Home.open(settings)
    event = next(iter(again.events.read_stream("store", "shop")))
    assert (event.type, event.actor, event.data) == ("store.rebuilt", "ann", {"why": "new column"})
    assert event.metadata == {"actor": "ann", "address": "192.0.2.1"}
    again.close()


def test_the_database_has_the_tables_that_the_code_describes(home: Home) -> None:
    inspector = sa.inspect(home.database.engine)
    for table in tables.metadata.tables.values():
        found = {column["name"]: column for column in inspector.get_columns(table.name)}
        assert set(found) == set(table.columns.keys()), table.name
        for column in table.columns:
            assert found[column.name]["nullable"] == column.nullable, column
        assert {index.name for index in table.indexes} <= {index["name"] for index in inspector.get_indexes(table.name)}


def test_times_keep_their_microseconds(home: Home) -> None:
    moments = [
        column for table in tables.metadata.tables.values() for column in table.columns if column.name.endswith("_at")
    ]
    assert len(moments) > 5
    assert all(isinstance(column.type, UtcDateTime) for column in moments)
