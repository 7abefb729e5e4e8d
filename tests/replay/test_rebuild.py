"""Rebuilding beside the generation that serves, while the world goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from webapp.errors import ProjectionFailed
from webapp.projections import Context, Follower, Projection, Table, delete_projection, run_to_head, skip_failed_event
from webapp.projections.status import list_statuses
from webapp.replay import Phase, Rebuild, rebuild
from webapp.store import EventStore, NewEvent, RecordedEvent
from webapp.store.columns import Name
from webapp.store.source import Health

aggregates = 20


def counting(*, emits: bool = False, poison: int | None = None) -> Projection:
    """Counts events by aggregate and adds up their n; emits one event a hundred, fails at the poison."""
    projection = Projection(
        "counts",
        batch_size=100,
        emits=emits,
        tables=[
            Table(
                "counts",
                sa.Column("id", Name(60), primary_key=True),
                sa.Column("seen", sa.Integer, nullable=False, default=0),
                sa.Column("total", sa.Numeric(12, 2)),
            )
        ],
    )

    @projection.on("added")
    def added(event: RecordedEvent, context: Context) -> None:
        if event.data["n"] == poison:
            raise KeyError("vat")
        context.table("counts").increment(event.aggregate_id, seen=1, total=event.data["n"])
        if emits and event.data["n"] % 100 == 0:
            context.emit("counts", str(event.aggregate_id), NewEvent("hundred", {"n": event.data["n"]}))

    return projection


def fill(store: EventStore, each: int = 50) -> None:
    for number in range(aggregates):
        store.append("thing", f"T-{number}", [NewEvent("added", {"n": number * each + n}) for n in range(each)])


def rows(store: EventStore) -> dict[str, int]:
    with store.database.reading() as connection:
        return {row[0]: row[1] for row in connection.exec_driver_sql("SELECT id, seen FROM counts")}


def folded(store: EventStore) -> dict[str, int]:
    counted: dict[str, int] = {}
    for event in store.read_log("main", limit=None):
        counted[str(event.aggregate_id)] = counted.get(str(event.aggregate_id), 0) + 1
    return counted


@contextmanager
def meanwhile(*works: Callable[[], None]) -> Iterator[list[Exception]]:
    """Runs works over and over in threads of their own; gives the list in which their errors turn up."""
    stop, errors = threading.Event(), []

    def repeat(work: Callable[[], None]) -> None:
        while not stop.is_set():
            try:
                work()
            except Exception as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_readers_notice_nothing_while_writers_and_a_follower_go_on(store: EventStore) -> None:
    fill(store)
    projection = counting()
    run_to_head(store, projection)
    follower, seen = Follower(store, projection), set()

    def write() -> None:
        store.append("thing", "T-1", [NewEvent("added", {"n": 1})])

    with meanwhile(write, lambda: seen.add(len(rows(store))), lambda: follower.step() and None) as errors:
        for _ in range(3):
            rebuild(store, projection)
    follower.release()
    run_to_head(store, projection)
    assert errors == []
    assert seen == {aggregates}  # never empty, never half
    assert rows(store) == folded(store)
    [status] = list_statuses(store)
    assert (status.generation, status.health) == (4, Health.up_to_date)


def test_one_older_generation_is_kept(store: EventStore) -> None:
    fill(store)
    projection = counting()
    for _ in range(3):
        rebuild(store, projection)
    with store.database.reading() as connection:
        names = {name for name in sa.inspect(connection).get_table_names() if name.startswith("counts")}
    assert names == {"counts", "counts__g3"}


def test_a_rebuild_left_in_the_middle_is_gone_on_with(store: EventStore) -> None:
    fill(store)
    projection = counting()
    run_to_head(store, projection)
    first = Rebuild(store, projection)
    while first.done < 500:
        first.step()
    first.release()
    second = Rebuild(store, projection)
    second.step()
    assert (second.done, second.generation) == (500, first.generation)
    while second.phase is not Phase.done:
        second.step()
    assert rows(store) == folded(store)


def test_a_rebuild_emits_nothing_and_what_comes_after_is_emitted_once(store: EventStore) -> None:
    fill(store)
    projection = counting(emits=True)
    run_to_head(store, projection)
    emitted = store.head("derived-counts")
    assert emitted == 10
    store.append("thing", "T-1", [NewEvent("added", {"n": 5000})])  # not yet seen by the one that serves
    rebuild(store, projection)
    assert store.head("derived-counts") == emitted
    run_to_head(store, projection)
    assert store.head("derived-counts") == emitted + 1
    assert rows(store) == folded(store)
    delete_projection(store, "counts")
    assert store.log("derived-counts").is_retired
    run_to_head(store, projection)
    assert store.head("derived-counts-2") == emitted + 1


def test_an_event_that_fails_stops_it_there_and_may_be_skipped(store: EventStore) -> None:
    fill(store)
    projection = counting(poison=777)
    with pytest.raises(ProjectionFailed, match="main:778: KeyError"):
        run_to_head(store, projection)
    assert sum(rows(store).values()) == 777  # what came before is kept
    [status] = list_statuses(store)
    assert status.health is Health.failed
    assert status.failure is not None and "KeyError: 'vat'" in (status.failure.traceback or "")
    skip_failed_event(store, "counts", "no VAT on that one", "ann")
    run_to_head(store, projection)
    assert sum(rows(store).values()) == 999
    assert list_statuses(store)[0].skipped == 1
