"""Heads, holes, counts and times of Ecotone's streams, where its own dumps show too little."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.adapters.conftest import Opened
from tests.adapters.writing import Writer, Written, table_of
from webapp.errors import NotFound, TimedOut, UnknownLayout
from webapp.store.events import EventFilter
from webapp.store.source import Count


@pytest.fixture
def writer(empty_url: str, server: str) -> Writer:
    writer = Writer(empty_url, server)
    writer.create()
    return writer


def ago(seconds: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None) - dt.timedelta(seconds=seconds)


def written(no: int, seconds_ago: float) -> Written:
    return Written(no, ("order", f"{no:05}", 1), at=ago(seconds_ago))


def test_the_settled_head_stands_before_a_hole_that_may_still_fill(
    writer: Writer, empty_url: str, opened: Opened
) -> None:
    writer.add_streams(["orders"])
    # 3 was rolled back long ago; 6 and 7 may still come, for 8 is young.
    writer.append("orders", [written(no, 300) for no in (1, 2, 4)] + [written(no, 5) for no in (5, 8, 9)])
    source = opened(empty_url)
    log = source.log("orders")
    assert (log.head, log.settled_head, log.missing) == (9, 5, (3, 6, 7))
    assert [event.position for event in source.read_log("orders")] == [1, 2, 4, 5]
    assert [event.position for event in source.read_log("orders", newest_first=True, limit=2)] == [5, 4]
    assert source.event("orders", 9).position == 9
    writer.append("orders", [written(7, 4)])
    assert source.log("orders").settled_head == 5
    writer.append("orders", [written(6, 4)])
    assert source.log("orders").settled_head == 9
    assert [event.position for event in source.read_log("orders", after=5)] == [6, 7, 8, 9]


def test_a_transaction_that_is_open_holds_the_settled_head_until_it_ends(
    writer: Writer, empty_url: str, opened: Opened
) -> None:
    writer.add_streams(["orders"])
    writer.append("orders", [written(1, 300)])
    source = opened(empty_url)
    slow = writer.engine.connect()
    with slow.begin() as transaction:
        writer.append_in(slow, "orders", [written(2, 1)])
        writer.append("orders", [written(3, 0)])
        assert source.log("orders").settled_head == 1
        assert [event.position for event in source.read_log("orders")] == [1]
        transaction.commit()
    slow.close()
    assert [event.position for event in source.read_log("orders")] == [1, 2, 3]


def test_a_hole_older_than_a_minute_is_burnt(writer: Writer, empty_url: str, opened: Opened) -> None:
    writer.add_streams(["orders"])
    writer.append("orders", [written(1, 300), written(3, 70), written(4, 1)])
    log = opened(empty_url).log("orders")
    assert (log.head, log.settled_head, log.missing) == (4, 4, (2,))


def test_a_hole_at_the_very_beginning_counts_too(writer: Writer, empty_url: str, opened: Opened) -> None:
    writer.add_streams(["orders"])
    writer.append("orders", [written(4, 1)])
    source = opened(empty_url)
    assert (source.log("orders").settled_head, source.log("orders").missing) == (0, (1, 2, 3))
    assert list(source.read_log("orders")) == []


def test_a_young_hole_far_below_the_head_is_found(writer: Writer, empty_url: str, opened: Opened) -> None:
    writer.add_streams(["orders"])
    writer.append("orders", [written(no, 300) for no in range(1, 101)])
    writer.append("orders", [written(no, 10) for no in range(103, 4000)])
    log = opened(empty_url).log("orders")
    assert (log.head, log.settled_head, log.missing) == (3999, 100, (101, 102))


def test_an_empty_stream_is_at_zero(writer: Writer, empty_url: str, opened: Opened) -> None:
    for strategy in ("simple", "partition", "aggregate"):
        writer.add_streams([f"x-{strategy}"], strategy)
    source = opened(empty_url)
    for log in source.logs():
        assert (log.head, log.settled_head, log.count, log.first_at, log.missing) == (0, 0, Count(0), None, ())
        assert log.name == f"x-{log.strategy}"
        assert log.category == "x"
        assert list(source.read_log(log.name)) == []
        assert source.log(log.name).missing == ()
    assert (list(source.event_types()), list(source.aggregate_types()), list(source.projections())) == ([], [], [])
    assert list(source.read_stream("x", "y")) == []


def test_times_are_found_by_position(writer: Writer, empty_url: str, opened: Opened) -> None:
    writer.add_streams(["views"], "simple")
    start = dt.datetime(2026, 10, 1)
    # One an hour, each third number rolled back, and two events that came late with an older time.
    numbers = [no for no in range(1, 1000) if no % 3]
    late = {500: dt.timedelta(minutes=-65), 701: dt.timedelta(minutes=-62)}
    writer.append(
        "views", [Written(no, at=start + dt.timedelta(hours=no) + late.get(no, dt.timedelta(0))) for no in numbers]
    )
    source = opened(empty_url)
    everything = list(source.read_log("views", limit=None))
    for hours in (0, 1, 2, 3, 498.5, 499, 500, 699, 700, 701, 999, 1000, 5000):
        moment = (start + dt.timedelta(hours=hours)).replace(tzinfo=dt.UTC)
        for where in (EventFilter(since=moment), EventFilter(until=moment), EventFilter(since=moment, until=moment)):
            found = list(source.read_log("views", limit=None, where=where))
            assert [event.position for event in found] == [e.position for e in everything if where.matches(e)]
    zone = dt.timezone(dt.timedelta(hours=5))
    where = EventFilter(since=dt.datetime(2026, 10, 3, 5, tzinfo=zone), until=dt.datetime(2026, 10, 3, 9, tzinfo=zone))
    assert [event.position for event in source.read_log("views", where=where)] == [49, 50]


def test_large_logs_are_estimated_not_counted(writer: Writer, empty_url: str, opened: Opened, server: str) -> None:
    writer.add_streams(["orders"])
    kinds = ("order.placed", "order.paid", "order.shipped", "order.closed")
    missing = {77, *range(21_000, 21_004)}
    writer.append(
        "orders",
        [
            Written(no, ("order", f"{(no - 1) // 4:05}", 1 + (no - 1) % 4), type=kinds[(no - 1) % 4])
            for no in range(1, 24_001)
            if no not in missing
        ],
    )
    writer.run(f"{'ANALYZE' if server == 'postgresql' else 'ANALYZE TABLE'} {table_of('orders')}")
    source = opened(empty_url)
    log = source.log("orders")
    assert not log.count.exact
    assert 12_000 <= log.count.number <= 24_000
    assert log.missing == (21_000, 21_001, 21_002, 21_003)  # not 77, which is further below than is looked
    assert log.details["holes looked for from position"] == 13_997
    types = source.event_types()
    assert [type_.name for type_ in types] == sorted(kinds)
    for type_ in types:
        assert not type_.count.exact
        assert 5_500 <= type_.count.number <= 6_500
        times = [
            event.recorded_at
            for newest_first in (False, True)
            for event in source.read_log(
                "orders", limit=1, newest_first=newest_first, where=EventFilter(types=(type_.name,))
            )
        ]
        assert [type_.first_at, type_.last_at] == times
    (aggregates,) = source.aggregate_types()
    assert not aggregates.count.exact
    assert 5_500 <= aggregates.count.number <= 6_500
    page = source.aggregates("order", after_id="04749", limit=3)
    assert [(one.id, one.version) for one in page] == [("04750", 4), ("04751", 4), ("04752", 4)]
    rare = source.read_log("orders", limit=5, where=EventFilter(contains="nowhere"), seconds=60)
    assert list(rare) == []


def test_a_search_that_runs_out_of_time_says_how_far_it_got(loaded_url: str, opened: Opened) -> None:
    source = opened(loaded_url)
    found = []
    with pytest.raises(TimedOut) as raised:
        for event in source.read_log(
            "orders", limit=None, newest_first=True, seconds=0, where=EventFilter(contains="a")
        ):
            found.append(event.position)
    assert raised.value.reached == found[-1]
    rest = source.read_log("orders", limit=None, newest_first=True, before=raised.value.reached)
    assert len(found) + len(list(rest)) == 2387


def test_a_stream_deleted_meanwhile_is_told_in_a_sentence(writer: Writer, empty_url: str, opened: Opened) -> None:
    writer.add_streams(["orders", "others"])
    source = opened(empty_url)
    source.logs()
    writer.run(f"DROP TABLE {table_of('orders')}")
    with pytest.raises(UnknownLayout, match=r"lacks a table that Ecotone's registry names.*Try again\."):
        source.logs()
    writer.run("DELETE FROM event_streams WHERE real_stream_name = 'orders'")
    assert [log.name for log in source.logs()] == ["others"]
    with pytest.raises(NotFound, match="There is no log “orders” here"):
        source.read_log("orders")
