"""A full disk, really full: a sentence says so, what was acknowledged stays, and once there is room appends go on."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.servers.common import Server, as_account, stop_all
from tests.servers.mariadb import MariaDB
from tests.servers.postgresql import PostgreSQL
from tests.store.helpers import positions
from webapp.errors import StoreUnavailable
from webapp.store import EventStore, NewEvent

megabyte = 2**20
sentence = (
    r"has no room left to write: .*The disk is full, .*: make room, then try again\. What was acknowledged is safe\."
)


def content(size: int) -> NewEvent:
    """An event of about so many bytes, which no database can compress."""
    return NewEvent("noted", json.dumps(random.randbytes(size // 2).hex()))


def fill(store: EventStore, size: int, *, at_once: int = 1) -> list[str]:
    """The ids of the events acknowledged until the disk was full, which the last append said in a sentence."""
    ids: list[str] = []
    with pytest.raises(StoreUnavailable, match=sentence):
        while len(ids) * size < 400 * megabyte:
            ids += [event.id for event in store.append("order", "1", [content(size) for _ in range(at_once)])]
    return ids


def check(store: EventStore, ids: list[str]) -> None:
    """Exactly the acknowledged events are there, without a hole."""
    assert [event.id for event in store.read_log("main", limit=None)] == ids
    assert positions(store) == list(range(1, len(ids) + 1))


@pytest.mark.parametrize("at_once", [1, 5])
def test_an_sqlite_file_that_may_not_grow(sqlite_store: EventStore, at_once: int) -> None:
    limits = {"pages": 500}

    def limit_pages(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
        connection.cursor().execute(f"PRAGMA max_page_count = {limits['pages']}")

    sa.event.listen(sqlite_store.database.engine, "connect", limit_pages)
    sqlite_store.database.engine.dispose()
    ids = fill(sqlite_store, 20_000, at_once=at_once)
    assert len(ids) > 20
    check(sqlite_store, ids)
    with pytest.raises(StoreUnavailable, match=sentence):
        sqlite_store.append("order", "1", [content(200_000)])
    limits["pages"] = 5_000
    sqlite_store.database.engine.dispose()
    ids += [event.id for event in sqlite_store.append("order", "1", [content(200_000)])]
    check(sqlite_store, ids)


_in_a_small_place = """
import resource, sys
from tests.store.test_full_disk import check, content, fill
from webapp.store import EventStore
store = EventStore.open(sys.argv[1])
store.migrate()
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))
ids = fill(store, 50_000)
check(store, ids)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ids += [event.id for event in store.append("order", "1", [content(50_000), content(50_000)])]
check(store, ids)
store.close()
print(len(ids))
"""


def test_a_process_that_may_not_write_larger_files(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'small.db'}"
    done = subprocess.run(
        [sys.executable, "-c", _in_a_small_place, url],
        check=False, capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
    store = EventStore.open(url)
    assert len(positions(store)) == int(done.stdout)
    store.close()


class _SmallMariaDB(MariaDB):
    """One whose redo log is smaller than the limit that a file meets later."""

    def settings(self) -> list[str]:
        return [*super().settings(), "--innodb-log-file-size=10M"]

    def command(self) -> list[str]:
        # The limit comes with a signal, a full disk does not.
        return ["sh", "-c", 'trap "" XFSZ; exec "$@"', "sh", *super().command()]


@pytest.fixture(params=[PostgreSQL, _SmallMariaDB])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of the test's own, since what happens to it is nothing for others."""
    folder = Path(tempfile.mkdtemp(prefix="projectionist-"))
    folder.chmod(0o755)  # the servers' account must pass through
    made: Server = request.param(folder / "server", durable=False)
    try:
        made.prepare()
        made.wait_prepared()
        made.start()
        made.wait_ready()
        yield made
    finally:
        stop_all([made])
        shutil.rmtree(folder, ignore_errors=True)


def limit_files(server: Server, size: int | None) -> None:
    """Lets no process of the server write beyond a file's first `size` bytes, as on a disk that is full; None lifts it."""
    assert server.process is not None
    # By the servers' own account, for not every root may change the limits of others.
    limit = f"--fsize={size or 'unlimited'}:unlimited"
    subprocess.run(as_account(["prlimit", f"--pid={server.process.pid}", limit]), check=True)


def test_a_server_whose_files_may_not_grow(server: Server) -> None:
    url = server.url()
    if server.name == "MariaDB":
        engine = sa.create_engine(sa.make_url(url).set(drivername="mariadb+pymysql"), poolclass=sa.pool.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql("CREATE DATABASE small")
        url += "small"
    # Larger ones make MariaDB end itself, since its rollback finds no room: “Out of disk space in rollback”.
    size, at_once = (6_000, 100) if server.name == "MariaDB" else (megabyte, 3)
    store = EventStore.open(url)
    try:
        store.migrate()
        store.database.engine.dispose()  # a process of PostgreSQL has the limits that its parent had when it began
        limit_files(server, 40 * megabyte)
        ids = fill(store, size, at_once=at_once)
        assert len(ids) > 5
        check(store, ids)
        ids += fill(store, size)
        check(store, ids)
        limit_files(server, None)
        store.database.engine.dispose()
        for _ in range(3):
            ids += [event.id for event in store.append("order", "1", [content(size) for _ in range(at_once)])]
        check(store, ids)
    finally:
        store.close()
