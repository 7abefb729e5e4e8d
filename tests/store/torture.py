"""Writers that commit late and roll back often, beside those who follow them; also a program: one writer in a process.

Each writer's transaction inserts into a plain table with an identity column, waits, appends, waits, and in one of five
cases rolls back. Who follows the plain table by asking "id > last" loses rows; who follows the log must not.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import sqlalchemy as sa

from webapp.store import Append, EventStore, NewEvent

writers, rollbacks, longest_pause_seconds = 8, 0.2, 0.01
seconds_at_most = 60.0
naive = sa.Table("naive", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))


class RolledBack(Exception):
    """What a writer changes its mind with."""


@dataclass
class Committed:
    """What a writer committed: ids of events in its own order, and the number of plain rows."""

    events: list[str] = field(default_factory=list)
    rows: int = 0


def write(url: str | sa.URL, log: str, number: int, seconds: float) -> Committed:
    """Writes for so long, over connections of its own; some streams are its own, one is everybody's."""
    store, chance, done = EventStore.open(url), random.Random(number), Committed()
    has_naive = store.dialect != "SQLite"
    ends_at, turn = time.monotonic() + seconds, 0
    while time.monotonic() < ends_at:
        turn += 1
        stream = "everybody" if chance.random() < 0.05 else f"{number}-{turn // 5}"
        events = [NewEvent("noted", {"writer": number, "turn": turn})] * chance.randint(1, 3)

        def once(connection: sa.Connection, stream: str = stream, events: list[NewEvent] = events) -> list[str]:
            if has_naive:
                connection.execute(sa.insert(naive).values(n=number))
                time.sleep(chance.uniform(0, longest_pause_seconds))
            recorded = store.append_in(connection, [Append("note", stream, events, log=log)])
            time.sleep(chance.uniform(0, longest_pause_seconds))
            if chance.random() < rollbacks:
                raise RolledBack
            return [event.id for event in recorded]

        try:
            if chance.random() < 0.3:
                recorded = store.append("note", stream, events, log=log)
                done.events += [event.id for event in recorded]
            else:
                done.events += store.database.retrying(once)
                done.rows += has_naive
        except RolledBack:
            continue
    store.close()
    return done


@dataclass
class Seen:
    """What followers saw, in their order."""

    positions: list[int] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    subscribed: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)


def torture(store: EventStore, log: str, start_writers: Callable[[], list[Committed]]) -> tuple[list[Committed], Seen]:
    """What the writers committed and what was seen while they worked, and until all was read."""
    seen, is_over, stop = Seen(), threading.Event(), threading.Event()
    has_naive = store.dialect != "SQLite"
    if has_naive:
        with store.database.engine.begin() as connection:
            naive.create(connection)

    def follow() -> None:
        last, ends_at = 0, time.monotonic() + seconds_at_most
        while True:
            was_over = is_over.is_set()
            head = store.settled_head(log)
            for event in store.read_log(log, after=last, before=head + 1, limit=None):
                seen.positions.append(event.position)
                seen.events.append(event.id)
                last = event.position
            if (was_over and last == store.head(log)) or time.monotonic() > ends_at:
                return
            time.sleep(0.002)

    def follow_naively() -> None:
        last = 0
        query = sa.select(naive.c.id).where(naive.c.id > sa.bindparam("last")).order_by(naive.c.id)
        while has_naive:
            was_over = is_over.is_set()
            with store.database.engine.connect() as connection:
                found = list(connection.execute(query, {"last": last}).scalars())
            seen.rows += found
            last = max([last, *found])
            if was_over:
                return
            time.sleep(0.002)

    def subscribe() -> None:
        for event in store.subscribe(log, stop=stop):
            seen.subscribed.append(event.id)

    followers = [threading.Thread(target=target) for target in (follow, follow_naively)]
    subscriber = threading.Thread(target=subscribe)
    for thread in (*followers, subscriber):
        thread.start()
    try:
        done = start_writers()
    finally:
        is_over.set()
        for thread in followers:
            thread.join()
        ends_at = time.monotonic() + 10
        while len(seen.subscribed) < len(seen.events) and time.monotonic() < ends_at:
            time.sleep(0.01)
        stop.set()
        subscriber.join()
    return done, seen


def in_threads(url: str | sa.URL, log: str, seconds: float) -> list[Committed]:
    """What the writers committed, a thread each."""
    done: list[Committed] = []
    threads = [
        threading.Thread(target=lambda number=number: done.append(write(url, log, number, seconds)))
        for number in range(writers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == writers, "a writer failed"
    return done


def in_processes(url: sa.URL, log: str, seconds: float) -> list[Committed]:
    """What the writers committed, a process each."""
    text = url.render_as_string(hide_password=False)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.store.torture", text, log, str(number), str(seconds)], stdout=subprocess.PIPE
        )
        for number in range(writers)
    ]
    done = [Committed(**json.loads(process.communicate()[0])) for process in processes]
    assert all(process.returncode == 0 for process in processes)
    return done


if __name__ == "__main__":
    url_, log_, number_, seconds_ = sys.argv[1:]
    written = write(url_, log_, int(number_), float(seconds_))
    print(json.dumps({"events": written.events, "rows": written.rows}))
