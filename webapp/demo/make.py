"""Making the demo store: its history imported, its projections run, one of them paused, one failed."""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import sqlalchemy as sa

from webapp.demo.flows import Shop, events_each
from webapp.demo.projections import customer_activity, fraud_check, order_list, revenue_by_day, wallet_balance
from webapp.demo.simulation import simulate
from webapp.errors import Conflict, InvalidRequest, ProjectionFailed, StoreUnavailable
from webapp.projections import Follower, pause_projection, run_to_head
from webapp.store import EventStore, RecordedEvent
from webapp.store.database import parse_url

OnProgress = Callable[[int, int], None]
days = 90
fewest_events = 1_000
_seed = 20_260
_batch = 1000


def make_demo(target: str | Path, *, events: int = 50_000, on_progress: OnProgress | None = None) -> None:
    """Fills a new store with the shop's last 90 days: about `events` of them, and what projections make of those.

    `target` is a path or URL of an SQLite file that isn't there yet, which appears whole or not at all; or the URL of
    an empty database on a server, where a killed attempt leaves its half. Raises Conflict rather than overwrite.
    The same moment always gets the same history. `on_progress` is told events made so far, and `events`.
    """
    if events < fewest_events:
        raise InvalidRequest(f"A demo of {events} events would show too little. Ask for {fewest_events:,} or more.")
    text = str(target)
    url = parse_url(text if "://" in text else f"sqlite:///{text}")
    if url.get_backend_name() != "sqlite":
        _fill(url, events, on_progress)
        return
    if url.database in (None, "", ":memory:"):
        raise InvalidRequest("A demo in memory would be gone at once. Name a file: sqlite:///shop.db")
    path = Path(str(url.database))
    with _one_at_a_time(path):
        part = path.with_name(f".{path.name}.part")
        _remove(part)
        try:
            _fill(url.set(database=str(part)), events, on_progress)
            part.rename(path)
        finally:
            _remove(part)


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Waits for others who make a demo in the same folder; raises Conflict if the file is there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise StoreUnavailable(f"The folder {path.parent} can't be used: {error.strerror}. Name another.") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if path.exists():
            raise Conflict(f"{path} is there already and stays as it is. Remove it first, or name another file.")
        yield
    finally:
        os.close(folder)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _fill(url: sa.URL, events: int, on_progress: OnProgress | None) -> None:
    store = EventStore.open(url)
    try:
        with store.database.reading() as connection:
            if sa.inspect(connection).get_table_names():
                raise Conflict(f"{store.database.name} has tables already. Give the demo an empty database of its own.")
        store.migrate()
        with store.database.reading() as connection:
            ends_at = store.database.dialect.clock(connection)
        told, done = history(events, ends_at), 0
        while batch := list(islice(told, _batch)):
            done += len(store.import_events(batch))
            if on_progress is not None:
                on_progress(done, events)
        run_projections(store)
    finally:
        store.close()  # SQLite's last connection folds its write-ahead log into the file


def history(count: int, ends_at: dt.datetime) -> Iterator[RecordedEvent]:
    """The shop's events of the 90 days up to a moment, about `count`, oldest first, the same for the same moment."""
    chance = random.Random(_seed)  # noqa: S311 - made-up data
    return simulate(Shop(chance).begin, count, events_each, ends_at, days, chance)


def run_projections(store: EventStore) -> None:
    """Three to the head, one until it is nine tenths there, where it is paused, one until it fails."""
    for projection in (order_list, revenue_by_day, wallet_balance):
        run_to_head(store, projection)
    follower = Follower(store, customer_activity)
    wanted = 0.9 * sum(store.head(log) for log in customer_activity.logs)
    done = 0
    while done + customer_activity.batch_size <= wanted:
        done += follower.step()
    follower.release()
    pause_projection(store, customer_activity.name)
    try:
        run_to_head(store, fraud_check)
    except ProjectionFailed:
        return  # recorded with its traceback, for the pages to show
