"""A demo appears whole or not at all, and never over something else."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import create_database
from webapp.demo import make_demo
from webapp.errors import Conflict, InvalidRequest, ProjectionistError
from webapp.store import EventStore


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_it_leaves_one_file_and_nothing_beside(tmp_path: Path) -> None:
    make_demo(tmp_path / "new/folder/shop.db", events=1_000)
    assert names(tmp_path / "new/folder") == ["shop.db"]
    with sqlite3.connect(tmp_path / "new/folder/shop.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT count(*) FROM projectionist_events").fetchone()[0] > 900
    connection.close()


def test_it_takes_a_url_as_well_as_a_path(tmp_path: Path) -> None:
    make_demo(f"sqlite:///{tmp_path / 'shop.db'}", events=1_000)
    store = EventStore.open(f"sqlite:///{tmp_path / 'shop.db'}")
    assert store.head("main") > 800
    store.close()


def test_it_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    make_demo(tmp_path / "shop.db", events=2_500, on_progress=lambda done, of: told.append((done, of)))
    assert [of for _, of in told] == [2_500] * len(told)
    done = [done for done, _ in told]
    assert done == sorted(done) and done[0] == 1_000 and abs(done[-1] - 2_500) < 250


def test_it_refuses_to_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    path.write_bytes(b"mine")
    with pytest.raises(Conflict, match="stays as it is"):
        make_demo(path)
    assert path.read_bytes() == b"mine"
    assert names(tmp_path) == ["shop.db"]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="file"):
        make_demo(url)


def test_it_refuses_a_database_that_is_not_empty(backend: str, tmp_path: Path) -> None:
    if backend == "sqlite":
        return  # there a file that exists is refused whatever it holds: see above
    url, drop = create_database(backend, tmp_path)
    store = EventStore.open(url)
    with store.database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE mine (id integer)")
    store.close()
    with pytest.raises(Conflict, match="empty database"):
        make_demo(url)
    drop()


def test_it_refuses_a_demo_that_shows_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="1,000"):
        make_demo(tmp_path / "shop.db", events=10)


def test_a_folder_that_cannot_be_made_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ProjectionistError, match="folder"):
        make_demo(tmp_path / "file/shop.db", events=1_000)


def test_a_killed_run_leaves_no_half_demo_and_the_next_one_clears_up(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    code = f"from webapp.demo import make_demo; make_demo({str(path)!r}, events=200_000)"
    child = subprocess.Popen([sys.executable, "-c", code])
    ends_at = time.monotonic() + 60
    while sum(file.stat().st_size for file in tmp_path.iterdir()) < 3_000_000:
        assert child.poll() is None and time.monotonic() < ends_at
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not path.exists()
    make_demo(path, events=1_000)
    assert names(tmp_path) == ["shop.db"]


def test_an_error_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_demo(tmp_path / "shop.db", events=2_000, on_progress=stop)
    assert names(tmp_path) == []


def test_of_two_at_once_one_makes_it_and_one_is_refused(tmp_path: Path) -> None:
    outcomes: list[object] = []

    def run() -> None:
        try:
            make_demo(tmp_path / "shop.db", events=1_000)
            outcomes.append(None)
        except Conflict as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict", "NoneType"]
    assert names(tmp_path) == ["shop.db"]
