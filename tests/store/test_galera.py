"""A Galera cluster: writers on two of its nodes, a follower on the third."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests.servers.galera import cluster
from tests.store.torture import Committed, torture, write, writers
from webapp.errors import InvalidRequest
from webapp.store import EventStore
from webapp.store.database import parse_url

seconds = 6.0


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[sa.URL]]:
    """The URLs of one database on three nodes. The third answers only when it has what the others committed."""
    with cluster() as urls:
        for number, statement in ((0, "CREATE DATABASE torture"), (2, "SET GLOBAL wsrep_sync_wait = 1")):
            engine = sa.create_engine(parse_url(urls[number]), isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
            with engine.connect() as connection:
                connection.exec_driver_sql(statement)
        yield [parse_url(url).set(database="torture") for url in urls]


def test_with_writers_on_two_nodes_nothing_is_missed_and_nothing_comes_twice(nodes: list[sa.URL]) -> None:
    first, third = EventStore.open(nodes[0]), EventStore.open(nodes[2])
    first.migrate()
    first.create_log("main", "dense")

    def start_writers() -> list[Committed]:
        done: list[Committed] = []
        threads = [
            threading.Thread(
                target=lambda number=number: done.append(write(nodes[number % 2], "main", number, seconds))
            )
            for number in range(writers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(done) == writers, "a writer failed"
        return done

    done, seen = torture(third, "main", start_writers)
    committed = [event for one in done for event in one.events]
    assert len(committed) > 50
    assert sorted(seen.events) == sorted(committed)
    assert seen.positions == list(range(1, len(committed) + 1))
    assert seen.subscribed == seen.events
    assert first.head("main") == third.head("main") == len(committed)
    first.close()
    third.close()


def test_a_parallel_log_is_refused_there(nodes: list[sa.URL]) -> None:
    store = EventStore.open(nodes[1])
    store.migrate()
    with pytest.raises(InvalidRequest, match="Galera"):
        store.create_log("clicks", "parallel")
    store.close()
