"""Reading logs, streams and single events: edges of pages, what is selected, memory."""

from __future__ import annotations

import json
import sqlite3
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.conftest import backends, create_database
from tests.store.helpers import execute, fields, noted
from tests.store.test_migrate import opened, role
from webapp.errors import AmbiguousLog, NotFound, StoreUnavailable
from webapp.store import Append, EventFilter, EventStore, NewEvent
from webapp.store.reading import columns
from webapp.store.source import Capability

NUMBER = 3_300
"""Beyond the pages of 250, 1,000 and 2,000 rows, so that each of their edges is met."""
EDGES = (0, 1, 2, 249, 250, 251, 1249, 1250, 1251, 3249, 3250, 3251, 3299, 3300, 3301, 9999)


@pytest.fixture(scope="module", params=backends)
def long(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStore]:
    """A store with one long log of one long stream, and a log beside it."""
    url, drop = create_database(request.param, tmp_path_factory.mktemp("long"))
    with opened(url) as store:
        store.migrate()
        for n in range(0, NUMBER, 660):
            store.append("order", "1", noted(*range(n + 1, n + 661)))
            store.append("order", "2", noted(n), log="other")
        yield store
    drop()


def test_a_log_is_read_whole_across_all_pages(long: EventStore) -> None:
    assert [event.data["n"] for event in long.read_log("main", limit=None)] == list(range(1, NUMBER + 1))
    assert [event.position for event in long.read_log("main", limit=None, newest_first=True)] == list(
        range(NUMBER, 0, -1)
    )


def test_after_leaves_its_position_out(long: EventStore) -> None:
    for after in (-5, *EDGES):
        found = [event.position for event in long.read_log("main", after=after, limit=None)]
        assert found == list(range(max(0, after) + 1, NUMBER + 1)), after


def test_before_leaves_its_position_out(long: EventStore) -> None:
    for before in (-5, *EDGES):
        found = [event.position for event in long.read_log("main", before=before, limit=None, newest_first=True)]
        assert found == list(range(min(before - 1, NUMBER), 0, -1)), before


def test_a_limit_is_kept_exactly(long: EventStore) -> None:
    for limit in EDGES:
        for newest_first in (False, True):
            found = [event.position for event in long.read_log("main", limit=limit, newest_first=newest_first)]
            wanted = range(1, NUMBER + 1) if not newest_first else range(NUMBER, 0, -1)
            assert found == list(wanted)[:limit], limit


def test_ranges_that_hold_nothing_are_empty(long: EventStore) -> None:
    for after, before in ((5, 5), (5, 6), (6, 5), (NUMBER, None), (2**63, None), (2**70, 2**71), (0, 1), (0, -(2**70))):
        assert list(long.read_log("main", after=after, before=before)) == []
    assert [event.position for event in long.read_log("main", after=5, before=7)] == [6]


def test_without_a_limit_a_thousand_come(long: EventStore) -> None:
    assert len(list(long.read_log("main"))) == 1000


def test_a_stream_is_read_by_version(long: EventStore) -> None:
    for after in EDGES:
        found = [event.version for event in long.read_stream("order", "1", after=after)]
        assert found == list(range(after + 1, NUMBER + 1)), after
    for limit in (0, 1, 250, 251, 1250):
        found = [event.version for event in long.read_stream("order", "1", after=7, limit=limit)]
        assert found == list(range(8, 8 + limit)), limit


def test_only_what_was_there_when_reading_began_is_read(store: EventStore) -> None:
    store.append("order", "1", noted(*range(300)))
    reading = iter(store.read_log("main", limit=None))
    next(reading)
    store.append("order", "1", noted(301))
    assert len(list(reading)) == 299


def test_a_log_that_is_not_there_is_named(store: EventStore) -> None:
    store.append("order", "1", noted(1))
    actions = [
        lambda: list(store.read_log("none")),
        lambda: list(store.read_log("none", limit=0)),
        lambda: list(store.read_stream("order", "1", log="none")),
        lambda: store.event("none", 1),
        lambda: store.log("none"),
        lambda: store.head("none"),
        lambda: store.settled_head("none"),
    ]
    for action in actions:
        with pytest.raises(NotFound, match="There is no log “none” here"):
            action()


def test_an_aggregate_that_is_not_there_has_no_events(store: EventStore) -> None:
    store.append("order", "1", noted(1))
    assert list(store.read_stream("order", "2")) == []
    assert list(store.read_stream("ordeR", "1")) == []
    assert list(store.read_stream("noted", "1")) == [], "a type of events is no type of aggregates"
    assert list(store.read_stream("order", "2", log="main")) == []


def test_an_aggregate_in_several_logs_asks_for_one(store: EventStore) -> None:
    store.append_many([Append("order", "1", noted(1), log=log) for log in ("b", "a")])
    with pytest.raises(AmbiguousLog, match=r"order/1 has events in several logs: a, b. Choose one") as raised:
        list(store.read_stream("order", "1"))
    assert raised.value.logs == ["a", "b"]
    assert [event.log for event in store.read_stream("order", "1", log="b")] == ["b"]


@pytest.mark.parametrize("position", [0, -1, 2, 2**63 - 1, 2**63, 2**80])
def test_an_event_that_is_not_there_is_named(sqlite_store: EventStore, position: int) -> None:
    sqlite_store.append("order", "1", noted(1))
    with pytest.raises(NotFound, match=f"There is no event “main:{position}” here"):
        sqlite_store.event("main", position)


def test_one_event_is_read_whole(store: EventStore) -> None:
    recorded = store.append("order", "1", [NewEvent("noted", {"n": 1}, {"actor": "ann"})])
    assert fields(store.event("main", 1)) == fields(recorded[0])


def test_lists_never_select_payloads(store: EventStore, backend: str) -> None:
    store.append("order", "1", [NewEvent("noted", {"n": n}, {"actor": "ann"}) for n in range(5)])
    visible = ", ".join(column for column in columns if column not in ("data", "metadata"))
    tables = ("logs", "types", "streams", "version")
    if backend == "sqlite":
        with opened(store.database.url) as limited:
            sa.event.listen(limited.database.engine, "connect", lambda driver, _record: hide_payloads(driver))
            assert_payloads_stay_away(limited)
        return
    grants = [f"GRANT SELECT ({visible}) ON projectionist_events TO {{role}}"]
    grants += [f"GRANT SELECT ON projectionist_{table} TO {{role}}" for table in tables]
    with role(backend, str(store.database.url.database), *grants) as url, opened(url) as limited:
        assert_payloads_stay_away(limited)


def hide_payloads(driver: sqlite3.Connection) -> None:
    """What column rights are on servers."""

    def authorize(action: int, table: str | None, column: str | None, *_: object) -> int:
        hidden = action == sqlite3.SQLITE_READ and table == "projectionist_events" and column in ("data", "metadata")
        return sqlite3.SQLITE_DENY if hidden else sqlite3.SQLITE_OK

    driver.set_authorizer(authorize)


def assert_payloads_stay_away(limited: EventStore) -> None:
    """By a connection that may not read them."""
    for where in (EventFilter(), EventFilter(types=("noted",)), EventFilter(actor="ann")):
        events = list(limited.read_log("main", with_payload=False, where=where, newest_first=True))
        assert [event.position for event in events] == [5, 4, 3, 2, 1]
        assert {(event.data_text, event.metadata_text, event.actor) for event in events} == {(None, None, "ann")}
    assert limited.logs()[0].head == 5
    assert limited.event_types()[0].count.number == 5
    assert limited.aggregate_types()[0].count.number == 1
    assert [aggregate.version for aggregate in limited.aggregates("order")] == [5]
    with pytest.raises(StoreUnavailable):
        list(limited.read_log("main"))


@pytest.mark.parametrize("backend", ["sqlite", "postgresql", "mariadb", "mysql"], indirect=True)
def test_large_payloads_do_not_fill_the_memory(store: EventStore) -> None:
    large = json.dumps("x" * 1_000_000)
    store.append("order", "1", [NewEvent("small", n) for n in range(3000)])  # by now pages have many rows
    for _ in range(10):
        store.append("order", "1", [NewEvent("large", large, {"note": "m" * 100_000}) for _ in range(6)])
    store.append("order", "1", [NewEvent("small", n) for n in range(3000)])
    for read in (
        lambda: store.read_log("main", limit=None),
        lambda: store.read_log("main", limit=None, newest_first=True),
        lambda: store.read_stream("order", "1"),
        lambda: store.read_log("main", limit=None, where=EventFilter(types=("large",))),
    ):
        tracemalloc.start()
        try:
            size = sum(len(event.data_text or "") + len(event.metadata_text or "") for event in read())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert size > 60 * 1_100_000
        assert peak < 16_000_000


def test_large_payloads_come_whole_and_in_order(store: EventStore) -> None:
    sizes = [10, 40_000, 3, 200_000, 32_768, 32_769, 1_000_000, 7]
    texts = [json.dumps("ü" * size, ensure_ascii=False) for size in sizes]
    metadata = [json.dumps({"m": "ü" * size}, ensure_ascii=False) for size in reversed(sizes)]
    recorded = store.append(
        "order", "1", [NewEvent("noted", text, about) for text, about in zip(texts, metadata, strict=True)]
    )
    for read in (list(store.read_log("main")), list(store.read_stream("order", "1"))):
        assert [event.data_text for event in read] == texts
        assert [event.metadata_text for event in read] == metadata
        assert [event.to_json() for event in read] == [event.to_json() for event in recorded]
    newest = list(store.read_log("main", newest_first=True, where=EventFilter(types=("noted",))))
    assert [event.data_text for event in newest] == texts[::-1]


def test_what_a_store_can_do_is_said(sqlite_store: EventStore) -> None:
    assert sqlite_store.capabilities == set(Capability)
    assert (sqlite_store.layout, sqlite_store.dialect) == ("projectionist", "SQLite")


def test_logs_say_where_they_stand(store: EventStore) -> None:
    store.append("order", "1", noted(1, 2), log="b")
    store.append("order", "1", noted(1), log="a")
    store.append("order", "1", noted(3), log="b")
    a, b = store.logs()
    events = list(store.read_log("b"))
    assert (a.name, a.head, b.name, b.head, b.settled_head, b.count.number) == ("a", 1, "b", 3, 3, 3)
    assert (b.first_at, b.last_at) == (events[0].recorded_at, events[-1].recorded_at)
    assert store.log("b") == b


def test_a_retired_log_takes_no_more_events_but_can_be_read(store: EventStore) -> None:
    store.append("order", "1", noted(1))
    execute(store, "UPDATE projectionist_logs SET retired_at = recorded_at")
    with pytest.raises(Exception, match="The log main is retired, so nothing can be appended to it"):
        store.append("order", "1", noted(2))
    assert store.log("main").is_retired
    assert [event.position for event in store.read_log("main")] == [1]


def test_aggregates_come_page_by_page_in_byte_order(store: EventStore) -> None:
    ids = ["a", "B", "ab", "a b", "ä", "😀", "a\uffff", "Z", "10", "9", "a%", "a_"]
    store.append_many([Append("order", id_, noted(1, 2)) for id_ in ids])
    store.append_many([Append("order", "a", noted(1), log="other"), Append("wallet", "a", noted(1))])
    wanted = [(id_, "main") for id_ in sorted(ids, key=str.encode)]
    wanted.insert(wanted.index(("a", "main")) + 1, ("a", "other"))
    assert [(found.id, found.log) for found in store.aggregates("order")] == wanted
    assert [found.id for found in store.aggregates("order", log="main", limit=3)] == ["10", "9", "B"]
    after: str | None = None
    seen = []
    while page := store.aggregates("order", log="main", after_id=after, limit=5):
        seen += [found.id for found in page]
        after = page[-1].id
    assert seen == sorted(ids, key=str.encode)
    assert [found.id for found in store.aggregates("order", log="main", prefix="a")] == [
        "a", "a b", "a%", "a_", "ab", "a\uffff",
    ]  # fmt: skip
    assert [found.id for found in store.aggregates("order", prefix="a%")] == ["a%"]
    assert store.aggregates("none") == []
    (wallet,) = store.aggregates("wallet")
    (event,) = store.read_stream("wallet", "a")
    assert (wallet.version, wallet.first_at, wallet.last_at) == (1, event.recorded_at, event.recorded_at)


def test_a_file_can_be_read_while_somebody_writes(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path / 'store.db'}") as store:
        store.migrate()
        store.append("order", "1", noted(1))
        with store.database.writing() as connection:
            store.append_in(connection, [Append("order", "1", noted(2))])
            assert [event.position for event in store.read_log("main")] == [1]
        assert [event.position for event in store.read_log("main")] == [1, 2]
