"""Databases that can't be used as they are, made on real servers, each with the sentence that must say why."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from tests.adapters.dumps import load_dump
from tests.adapters.test_ecotone_rights import Role
from tests.conftest import create_database
from webapp.store import EventStore
from webapp.store.database import parse_url

secret = "s3cr3t-w0rd"


@dataclass(frozen=True)
class BadDatabase:
    """What is wrong, the URL, and a pattern that the sentence about it matches."""

    name: str
    url: str
    sentence: str

    @property
    def password(self) -> str:
        """What must not be shown."""
        return parse_url(self.url).password or secret


_ways = {
    "empty": r"has no tables.*run: projectionist migrate URL",
    "strange": r"1 tables?, but none that is known.*Looked for projectionist_events",
    "half_ours": r"lacks projectionist_streams.*Run: projectionist migrate URL",
    "old_ours": r"Run: projectionist migrate URL",
}
_ways_of_servers = {
    "half_ecotone": r"names the stream .*, whose table _[0-9a-f]{40} is missing or hidden.*Restore it",
    "maimed_ecotone": r"has a table event_streams that lacks columns of Ecotone's: real_stream_name.*Restore them",
    "wrong_password": r"refused the login. Check user and password",
    "no_database": r"there is no such database. Create it, or mend the URL|refused the login",
    "no_server": r"can't be reached.*Is it running, are host and port right\?",
    "no_host": r"can't be reached.*Is it running, are host and port right\?",
    "no_rights": r"denied a right: permission denied|refused the login|denied a right",
}
_ways_of_files = {
    "no_file": "there is no such file. Mend the path, or make it: projectionist migrate URL",
    "no_folder": "there is no such file. Mend the path, or make it: projectionist migrate URL",
    "text_file": "is not an SQLite database. Mend the path",
    "folder": "is a folder, not a file. Name the database file in it",
}


def ways(backend: str) -> list[str]:
    """What can be wrong with a database of that kind."""
    return [*_ways, *(_ways_of_files if backend == "sqlite" else _ways_of_servers)]


@contextmanager
def bad_database(backend: str, way: str, folder: Path) -> Iterator[BadDatabase]:
    """A database with that wrong with it; dropped at the end."""
    sentence = (_ways | _ways_of_servers | _ways_of_files)[way]
    if way in _ways_of_files:
        yield BadDatabase(way, f"sqlite:///{_bad_file(way, folder)}", sentence)
        return
    with ExitStack() as cleanup:
        url, drop = create_database(backend, folder)
        cleanup.callback(drop)
        yield BadDatabase(way, _spoiled(way, url, backend, cleanup.callback), sentence)


def _bad_file(way: str, folder: Path) -> Path:
    path = folder / ("nowhere/x.db" if way == "no_folder" else f"{way}.db")
    if way == "text_file":
        path.write_text("This is a letter and no database at all. " * 100)
    elif way == "folder":
        path.mkdir()
    return path


def _spoiled(way: str, url: str, backend: str, at_end: Callable[..., object]) -> str:
    parts = parse_url(url)
    if way in ("half_ours", "old_ours", "no_rights"):
        store = EventStore.open(url)
        store.migrate()
        store.close()
    elif way.endswith("ecotone"):
        load_dump(url, backend)
    if way == "empty" and backend == "sqlite":
        Path(parts.database or "").touch()
    elif way == "strange":
        _run(url, "CREATE TABLE customers (id INTEGER)")
    elif way == "half_ours":
        cascade = " CASCADE" if backend == "postgresql" else ""
        foreign = "SET FOREIGN_KEY_CHECKS = 0" if backend in ("mysql", "mariadb") else "SELECT 1"
        _run(url, foreign, f"DROP TABLE projectionist_streams{cascade}")
    elif way == "old_ours":
        _run(url, "DELETE FROM projectionist_version")
    elif way == "half_ecotone":
        _run(url, f"DROP TABLE {_first(url, 'SELECT stream_name FROM event_streams ORDER BY no')}")
    elif way == "maimed_ecotone":
        cascade = " CASCADE" if backend == "postgresql" else ""
        _run(url, f"ALTER TABLE event_streams DROP COLUMN real_stream_name{cascade}")
    changed = {
        "wrong_password": parts.set(username="nobody", password=secret),
        "no_database": parts.set(database="not_there"),
        "no_server": parts.set(port=1, password=secret),
        "no_host": parts.set(host="no-such-host.invalid", password=secret),
    }.get(way, parts)
    if way == "no_rights":
        role = Role("postgresql" if backend == "postgresql" else backend, url, f"stranger_{uuid.uuid4().hex[:8]}")
        at_end(role.drop)
        return role.url
    return changed.render_as_string(hide_password=False)


def _run(url: str, *statements: str) -> None:
    engine = sa.create_engine(parse_url(url), isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def _first(url: str, query: str) -> str:
    engine = sa.create_engine(parse_url(url), poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        return str(connection.exec_driver_sql(query).scalars().first())
