"""Health of Ecotone's projections: what may be said from status, lock and lag, and no more."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from tests.adapters.conftest import Opened
from tests.adapters.writing import Writer, Written
from webapp.adapters.ecotone import EcotoneSource
from webapp.store.source import Count, Health, ProjectionStatus

wallets = [f"wallet-{n * 8}-{n * 4}-4{n * 3}-8{n * 3}-{n * 12}" for n in "1234"]


def by_name(source: EcotoneSource) -> dict[str, ProjectionStatus]:
    return {status.name: status for status in source.projections()}


# --- what the real Ecotone left behind --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "health", "sentence"),
    [
        ("crashed_report", Health.crashed, "Crashed: lock expired at 2026-11-24 06:3"),
        ("crashed_report", Health.crashed, "behind by 1,791 positions (1,787 events) in orders."),
        ("legacy_export", Health.waiting, "'deleting incl emitted events' was requested and no runner has obeyed."),
        ("reset_me", Health.waiting, "Nobody runs it: 'resetting' was requested and no runner has obeyed."),
        ("ticket_board", Health.waiting, "Nobody runs it: 'stopping' was requested and no runner has obeyed."),
        ("order_list", Health.behind, "Behind by 7 positions (3 events) in orders."),
        ("order_totals", Health.behind, "Behind by 7 positions (3 events) in orders."),
        ("orders_v2", Health.up_to_date, "It watches 4 gaps in orders that no event has filled."),
        ("backoffice_counter", Health.up_to_date, "Up to date in every stream that its position names."),
        ("broken_v2", Health.unknown, "Catching up or failed: "),
        ("broken_v2", Health.unknown, "behind by 1,391 positions (1,387 events) in orders."),
        ("order_details", Health.behind, "5 of the 40 partitions are behind (5 events)."),
        ("order_details", Health.behind, "663 aggregates have never been projected."),
    ],
)
def test_it_says_how_each_is_doing(source: EcotoneSource, name: str, health: Health, sentence: str) -> None:
    status = by_name(source)[name]
    assert status.health is health
    assert sentence in status.explanation


@pytest.mark.parametrize(
    ("name", "lag", "pending"),
    [
        ("legacy_export", 697, 693),
        ("reset_me", 697, 693),
        ("ticket_board", 104, 104),
        ("order_list", 7, 3),
        ("crashed_report", 1791, 1787),
    ],
)
def test_it_counts_positions_and_events_behind(source: EcotoneSource, name: str, lag: int, pending: int) -> None:
    status = by_name(source)[name]
    assert status.lag == lag
    assert [progress.pending for progress in status.progress] == [Count(pending)]


def test_it_says_that_v1_reads_nothing_from_streams_of_one_aggregate_on_mysql(
    source: EcotoneSource, server: str
) -> None:
    status = by_name(source)["wallet_balance"]
    if server == "postgresql":
        assert (status.health, status.lag) == (Health.up_to_date, 0)
        return
    assert (status.health, status.lag) == (Health.behind, 253)
    assert (
        f"It stands at 0 in {wallets[0]}, {wallets[1]} and {wallets[2]}: on {source.dialect}, V1" in status.explanation
    )
    search = by_name(source)["search_index"]
    assert (search.health, search.lag) == (Health.behind, 260)
    assert "report no error" in search.explanation
    assert {progress.log: progress.lag for progress in search.progress if progress.lag} == {
        "orders": 7, wallets[0]: 93, wallets[1]: 70, wallets[2]: 90,
    }  # fmt: skip


# --- what it didn't --------------------------------------------------------------------------------------------------


@pytest.fixture
def writer(empty_url: str, server: str) -> Writer:
    """A database with one stream of ten events, 6 and 7 missing."""
    writer = Writer(empty_url, server)
    writer.create()
    writer.add_streams(["orders"])
    writer.append(
        "orders", [Written(no, ("order", "a:b", version)) for version, no in enumerate([1, 2, 3, 4, 5, 8, 9, 10], 1)]
    )
    return writer


def add_v1(
    writer: Writer, name: str, status: str, position: str, locked_until: str | None = None, state: str = "[]"
) -> None:
    lock = "NULL" if locked_until is None else f"'{locked_until}'"
    writer.run(
        "INSERT INTO projections (name, position, state, status, locked_until)"
        f" VALUES ('{name}', '{position}', '{state}', '{status}', {lock})"
    )


def add_v2(writer: Writer, name: str, position: str, status: str = "initialized", key: str = "") -> None:
    metadata = json.dumps({"initialization_status": status})
    writer.run(
        "INSERT INTO ecotone_projection_state (projection_name, partition_key, last_position, metadata, user_state)"
        f" VALUES ('{name}', '{key}', '{position}', '{metadata}', 'null')"
    )


def test_v1_is_judged_by_status_lock_and_lag(writer: Writer, empty_url: str, opened: Opened) -> None:
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    later, before = (now + dt.timedelta(hours=1)).isoformat(), "2026-01-01T00:00:00.000000"
    for name, status, position, lock in (
        ("at_rest", "running", '{"orders": 10}', None),
        ("busy", "running", '{"orders": 3}', later),
        ("crashed", "running", '{"orders": 10}', before),
        ("gone", "idle", '{"orders": 10, "dropped": 4}', None),
        ("held", "resetting", "[]", later),
        ("left", "stopping", "{}", before),
        ("new", "idle", "[]", None),
        ("newer", "idle", "{}", None),
        ("odd", "paused", '{"orders": 1}', None),
        ("unreadable", "idle", '"what"', None),
    ):
        add_v1(writer, name, status, position, lock)
    found = by_name(opened(empty_url))
    assert {name: status.health for name, status in found.items()} == {
        "at_rest": Health.up_to_date, "busy": Health.running, "crashed": Health.crashed, "gone": Health.up_to_date,
        "held": Health.running, "left": Health.waiting, "new": Health.not_started, "newer": Health.not_started,
        "odd": Health.failed, "unreadable": Health.unknown,
    }  # fmt: skip
    assert "; behind by 7 positions (5 events) in orders." in found["busy"].explanation
    assert found["busy"].explanation.startswith("Running: its runner holds the lock until ")
    assert "It also names dropped, which is not in the registry." in found["gone"].explanation
    assert found["left"].explanation.endswith("The last lock expired at 2026-01-01 00:00:00 UTC.")
    assert (
        found["odd"].explanation == "“paused” is not a status that Ecotone knows; every run fails until it is mended."
    )
    assert found["unreadable"].explanation.startswith("Its position can't be read: ")


def test_v2_is_judged_by_position_and_initialization(writer: Writer, empty_url: str, opened: Opened) -> None:
    for name, position, status in (
        ("bare", "5", "initialized"),
        ("behind", "orders=8:;", "initialized"),
        ("filled", "orders=10:5,6,7;", "initialized"),
        ("malformed", "orders=5;", "initialized"),
        ("new", "", "uninitialized"),
        ("nothing", "", "initialized"),
        ("stuck", "orders=4:;", "uninitialized"),
        ("done", "orders=10:6,7;", "uninitialized"),
        ("event_streaming_channel_adapter_feed", "orders=10:;", "initialized"),
    ):
        add_v2(writer, name, position, status)
    found = by_name(opened(empty_url))
    assert {name: status.health for name, status in found.items()} == {
        "bare": Health.unknown, "behind": Health.behind, "filled": Health.behind, "malformed": Health.failed,
        "new": Health.not_started, "nothing": Health.up_to_date, "stuck": Health.unknown, "done": Health.up_to_date,
        "event_streaming_channel_adapter_feed": Health.up_to_date,
    }  # fmt: skip
    assert found["behind"].explanation.startswith("Behind by 2 positions (2 events) in orders;")
    assert found["filled"].explanation.startswith("Behind by 0 positions (1 event) in orders;")
    assert "1 event appeared in gaps of orders that it watches: 5." in found["filled"].explanation
    assert found["filled"].progress[0].gaps == (5, 6, 7)
    assert found["filled"].details == {"gaps that have filled": {"orders": [5]}}
    assert "every run fails with “Invalid position format”." in found["malformed"].explanation
    assert "bare 5, which Ecotone takes for nothing" in found["bare"].explanation
    assert found["event_streaming_channel_adapter_feed"].engine == "Ecotone V2 (feeds a channel)"


def test_partitions_are_compared_with_their_aggregates(writer: Writer, empty_url: str, opened: Opened) -> None:
    writer.append("orders", [Written(11, ("order", "other", 1))])
    writer.add_streams(["wallet-1"], "aggregate")
    writer.append("wallet-1", [Written(no, ("wallet", "1", no)) for no in range(1, 5)])
    add_v2(writer, "complete", "8", key="orders:order:a:b")
    add_v2(writer, "complete", "1", key="orders:order:other")
    add_v2(writer, "partial", "6", key="orders:order:a:b")
    add_v2(writer, "alone", "3", key="wallet-1:wallet:1")
    add_v2(writer, "odd", "what", key="orders:order:a:b")
    found = by_name(opened(empty_url))
    assert found["complete"].health is Health.up_to_date
    assert (found["partial"].health, found["partial"].partitions, found["partial"].partitions_behind) == (
        Health.behind,
        1,
        1,
    )
    assert found["partial"].explanation == (
        "1 of the 1 partition is behind (2 events). 1 aggregate has never been projected."
    )
    assert found["partial"].details["aggregates never projected"] == 1
    assert found["alone"].explanation == "1 of the 1 partition is behind (1 event)."
    assert "1 have a key or a position that can't be read." in found["odd"].explanation


def test_a_projection_of_thousands_of_partitions_is_judged_by_the_first_thousand(
    writer: Writer, empty_url: str, opened: Opened
) -> None:
    ids = [f"{number:05}" for number in range(1200)]
    writer.append("orders", [Written(100 + place, ("order", id_, 1)) for place, id_ in enumerate(ids)])
    values = ", ".join(f"""('many', 'orders:order:{id_}', '{int(id_ >= "00010")}', '{{}}', 'null')""" for id_ in ids)
    writer.run(f"INSERT INTO ecotone_projection_state VALUES {values}")
    add_v2(writer, "zz_after_it", "orders=10:;")
    found = by_name(opened(empty_url))
    assert (found["many"].partitions, found["many"].partitions_behind) == (1200, 10)
    assert found["many"].explanation == "10 of the first 1,000 of the 1,200 partitions are behind (10 events)."
    assert found["zz_after_it"].health is Health.behind
