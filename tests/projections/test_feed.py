"""What a projection reads next, from one log or several."""

from __future__ import annotations

from tests.projections.helpers import counted, counting, expected, fill
from webapp.projections import Projection, run_to_head
from webapp.projections.emitting import retire_derived_log
from webapp.projections.feed import next_events, settled_heads
from webapp.store import EventStore


def test_a_log_that_is_not_there_yet_stands_at_nothing(store: EventStore) -> None:
    fill(store, 3)
    assert settled_heads(store, Projection("a", logs=["main", "later"])) == {"main": 3, "later": 0}


def test_it_reads_after_the_positions_and_up_to_the_edge(store: EventStore) -> None:
    fill(store, 10)
    found = next_events(store, {"main": 3}, {"main": 8}, 4)
    assert [event.position for event in found] == [4, 5, 6, 7]
    assert [event.position for event in next_events(store, {"main": 7}, {"main": 8}, 4)] == [8]
    assert next_events(store, {"main": 8}, {"main": 8}, 4) == []


def test_several_logs_are_merged_by_time(store: EventStore) -> None:
    for number in range(1, 41):
        fill(store, 1 + number % 3, log=f"log{number % 3}", first=number * 10)
    logs = ("log0", "log1", "log2")
    heads = settled_heads(store, Projection("a", logs=logs))
    everything = sorted(
        (event for log in logs for event in store.read_log(log, limit=None)),
        key=lambda event: (event.recorded_at, event.log, event.position),
    )
    wanted = [(event.log, event.position) for event in everything]
    for limit in (1, 7, 1000):
        positions: dict[str, int] = {}
        read = []
        while found := next_events(store, positions, heads, limit):
            read += [(event.log, event.position) for event in found]
            positions |= {event.log: event.position for event in found}
        assert read == wanted
        assert positions == heads


def test_a_projection_of_several_logs_takes_each_event_once(store: EventStore) -> None:
    fill(store, 7, log="a")
    projection = counting(logs=["a", "b", "c"], batch_size=3)
    assert run_to_head(store, projection) == 7
    fill(store, 5, log="b")
    fill(store, 4, log="a", first=8)
    assert run_to_head(store, projection) == 9
    assert counted(store) == expected(store, "a", "b")


def test_a_retired_log_is_read_to_its_end(store: EventStore) -> None:
    fill(store, 5, log="old")
    with store.database.writing() as connection:
        retire_derived_log(connection, store.database.dialect, "old")
    run_to_head(store, counting(logs=["old"]))
    assert counted(store) == expected(store, "old")
