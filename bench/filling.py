"""A demo store of a million events on each database: made once in an SQLite file, copied from there to the servers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

from tests.conftest import create_database
from webapp.adapters.native import NativeSource
from webapp.demo import make_demo
from webapp.store import EventStore
from webapp.store.database import parse_url

EVENTS = 1_000_000
_batch = 2_000
_tell_every = 200_000

Tell = Callable[[str], None]


class Filled:
    """Filled stores by database, made when first asked for unless they are given by URL; `drop` what was made."""

    def __init__(self, folder: Path, tell: Tell, events: int = EVENTS, given: Iterable[str] = ()) -> None:
        self.folder, self.tell, self.events = folder, tell, events
        self._urls = {parse_url(url).get_backend_name(): url for url in given}
        self._drops: list[Callable[[], None]] = []

    def url(self, backend: str) -> str:
        """The URL of a database that holds the demo's events."""
        if backend not in self._urls:
            self._urls[backend] = self._make() if backend == "sqlite" else self._copy(backend)
        return self._urls[backend]

    def drop(self) -> None:
        """Drops what was made on servers; the file goes with its folder."""
        for drop in self._drops:
            drop()

    def _make(self) -> str:
        path, began, said = self.folder / "demo.db", time.monotonic(), 0

        def on_progress(done: int, of: int) -> None:
            nonlocal said
            if done - said >= _tell_every:
                said = done
                self.tell(f"sqlite: {done:,} of about {of:,} events made")

        make_demo(path, events=self.events, on_progress=on_progress)
        self.tell(f"sqlite: the demo and its projections made in {time.monotonic() - began:.0f} s")
        return f"sqlite:///{path}"

    def _copy(self, backend: str) -> str:
        url, drop = create_database(backend, self.folder)
        self._drops.append(drop)
        began = time.monotonic()
        number = copy_events(self.url("sqlite"), url, lambda text: self.tell(f"{backend}: {text}"))
        self.tell(f"{backend}: {number:,} events copied in {time.monotonic() - began:.0f} s")
        return url


def copy_events(from_url: str, to_url: str, tell: Tell) -> int:
    """The number of events copied, log by log, into an empty database; the server knows its tables' sizes then."""
    source, target = NativeSource.open(from_url), EventStore.open(to_url)
    try:
        target.migrate()
        copied = 0
        for log in source.logs():
            events = source.read_log(log.name, limit=None)
            while batch := list(islice(events, _batch)):
                target.import_events(batch)
                copied += len(batch)
                if copied % _tell_every < _batch:
                    tell(f"{copied:,} events copied")
        if target.dialect == "PostgreSQL":  # as autovacuum does by itself after a while
            with target.database.writing() as connection:
                connection.exec_driver_sql("ANALYZE")
        return copied
    finally:
        source.close()
        target.close()
