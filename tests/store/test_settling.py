"""Nothing is missed and nothing comes twice: those who follow, beside writers who commit late and roll back often."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.servers.pgbouncer import pooled
from tests.store.helpers import FIELDS, count_events, execute, fields, noted, on_servers
from tests.store.torture import Committed, RolledBack, Seen, in_processes, in_threads, torture
from webapp.errors import Conflict, InvalidRequest
from webapp.projections import Projection
from webapp.projections.follower import run_to_head
from webapp.projections.status import list_statuses
from webapp.store import Append, EventStore, NewEvent, RecordedEvent
from webapp.store.copying import copy_store

seconds_each = 4.0
orderings = pytest.mark.parametrize("ordering", ["dense", "parallel"])


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"])  # SQLite has one writer: nothing commits late
def test_a_naive_reader_of_an_identity_column_loses_events(store: EventStore) -> None:
    table = sa.Table("naive", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))
    engine = store.database.engine
    with engine.begin() as connection:
        table.create(connection)

    def read_after(last: int) -> list[int]:
        with engine.connect() as connection:
            return list(
                connection.execute(sa.select(table.c.id).where(table.c.id > last).order_by(table.c.id)).scalars()
            )

    with engine.connect() as late, engine.begin() as early:
        late.execute(sa.insert(table).values(n=1))
        early.execute(sa.insert(table).values(n=2))
        early.commit()
        seen = read_after(0)
        late.commit()
    seen += read_after(max(seen))
    assert len(seen) == 1
    assert len(read_after(0)) == 2  # both are there, and one of them was never seen


def check(store: EventStore, ordering: str, done: list[Committed], seen: Seen) -> None:
    """Everything committed was seen by each follower, once, in order of position; a naive reader's loss is printed."""
    committed = [event for one in done for event in one.events]
    assert len(committed) > 100
    assert len(set(committed)) == len(committed)
    assert sorted(seen.events) == sorted(committed)
    assert seen.positions == sorted(set(seen.positions))
    assert seen.subscribed == seen.events
    if store.log("main").strategy == "dense":
        assert seen.positions == list(range(1, len(committed) + 1))
    place = {event: index for index, event in enumerate(seen.events)}
    for one in done:  # a writer's own order is that of the positions
        assert [place[event] for event in one.events] == sorted(place[event] for event in one.events)
    for kind in store.event_types():
        assert kind.count.number == len(committed)
    rows = sum(one.rows for one in done)
    lost = rows - len(set(seen.rows))
    print(f"\n{store.dialect}, {ordering}: naive reader lost {lost} of {rows}; ours 0 of {len(committed)}", end="")
    if store.dialect != "SQLite":
        assert lost > 0, "the naive reader lost nothing, so this test shows nothing"


@orderings
def test_among_threads_that_write_nothing_is_missed_and_nothing_comes_twice(store: EventStore, ordering: str) -> None:
    store.create_log("main", ordering)
    check(store, ordering, *torture(store, "main", lambda: in_threads(store.database.url, "main", seconds_each)))


@pytest.mark.parametrize("backend", ["postgresql", "mysql"], indirect=True)
def test_among_processes_that_write_nothing_is_missed_and_nothing_comes_twice(store: EventStore) -> None:
    store.create_log("main", "parallel")
    check(store, "parallel", *torture(store, "main", lambda: in_processes(store.database.url, "main", seconds_each)))


@orderings
@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_through_a_transaction_pooler_nothing_is_missed_and_nothing_comes_twice(
    store: EventStore, ordering: str
) -> None:
    store.create_log("main", ordering)
    with pooled(store.database.url) as url:
        through = EventStore.open(url)
        try:
            check(through, ordering, *torture(through, "main", lambda: in_threads(url, "main", seconds_each)))
        finally:
            through.close()


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_rolled_back_append_leaves_no_hole(store: EventStore, attempt: int) -> None:
    store.append("note", "1", [NewEvent("noted", 1)])
    with pytest.raises(RolledBack), store.database.writing() as connection:
        store.append_in(connection, [Append("note", "2", [NewEvent("noted", 2)] * attempt)])
        raise RolledBack
    assert store.append("note", "3", [NewEvent("noted", 3)])[0].position == 2


# --- parallel logs, step by step ------------------------------------------------------------------------------------


@pytest.fixture
def parallel(store: EventStore) -> EventStore:
    """A store whose main log has many writers at once."""
    store.create_log("main", "parallel")
    return store


@pytest.fixture
def open_transaction(parallel: EventStore) -> Iterator[sa.Connection]:
    """A connection of the store's in a transaction that the test ends."""
    with parallel.database.engine.connect() as connection:
        yield connection


def positions(store: EventStore) -> list[int]:
    return [event.position for event in store.read_log("main", limit=None)]


@on_servers
def test_what_commits_later_holds_readers_up_and_writers_not(
    parallel: EventStore, open_transaction: sa.Connection
) -> None:
    parallel.append("note", "1", noted(1))
    (late,) = parallel.append_in(open_transaction, [Append("note", "2", noted(2))])
    early = parallel.append("note", "3", noted(3))[0]
    assert early.position > late.position
    assert (parallel.head("main"), parallel.settled_head("main")) == (early.position, 1)
    assert positions(parallel) == [1]
    assert parallel.log("main").settled_head == 1
    open_transaction.commit()
    assert parallel.settled_head("main") == early.position
    assert positions(parallel) == [1, late.position, early.position]


@on_servers
def test_what_rolls_back_leaves_a_hole_that_only_followers_pass_for_good(
    parallel: EventStore, open_transaction: sa.Connection
) -> None:
    parallel.append("note", "1", noted(1))
    parallel.append_in(open_transaction, [Append("note", "2", noted(2, 3))])
    open_transaction.rollback()
    last = parallel.append("note", "3", noted(3))[0].position
    assert parallel.settled_head("main") == last
    assert positions(parallel) == [1, last]
    assert parallel.log("main").count.number == 2
    assert parallel.append("note", "3", noted(4))[0].position == last + 1


@pytest.mark.parametrize("backend", ["mariadb", "mysql"], indirect=True)
def test_a_writer_whose_position_was_claimed_appends_at_another(parallel: EventStore) -> None:
    dialect = parallel.database.dialect
    parallel.append("note", "1", noted(1))
    log_id = execute(parallel, "SELECT id FROM projectionist_logs WHERE name = 'main'")[0][0]
    with parallel.database.writing() as connection:
        (taken,) = dialect.parallel.take_positions(connection, log_id, 1)
    last = parallel.append("note", "2", noted(2))[0].position
    assert parallel.settled_head("main") == last  # which has claimed the position in between
    with parallel.database.writing() as connection, pytest.raises(sa.exc.IntegrityError, match="uplicate"):
        connection.exec_driver_sql(
            "INSERT INTO projectionist_events (log_id, position, stream_id, version, type_id, id, recorded_at, data, "
            f"metadata) SELECT log_id, {taken}, stream_id, 99, type_id, REVERSE(id), recorded_at, '1', '1' "
            "FROM projectionist_events WHERE position = 1"
        )
    execute(parallel, f"ALTER TABLE projectionist_log_{log_id} AUTO_INCREMENT = 1")
    execute(parallel, f"DELETE FROM projectionist_log_{log_id}")
    execute(parallel, f"ALTER TABLE projectionist_log_{log_id} AUTO_INCREMENT = {taken}")  # as after a crash
    again = parallel.append("note", "3", noted(3))[0].position
    assert again > last
    assert positions(parallel) == [1, last, again]
    assert count_events(parallel) == 4  # the claimed one is a row


@on_servers
def test_versions_are_guarded_without_a_counter(parallel: EventStore) -> None:
    outcomes: list[object] = []

    def append(number: int) -> None:
        try:
            outcomes.append(parallel.append("note", "1", noted(number), expected_version=0))
        except Conflict as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=append, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(isinstance(outcome, list) for outcome in outcomes) == [False] * 7 + [True]
    assert {outcome for outcome in outcomes if isinstance(outcome, str)} == {
        "note/1 is at version 1, not new. Reload it and decide again."
    }


@on_servers
def test_the_same_events_again_come_back_as_they_are(parallel: EventStore) -> None:
    event = NewEvent("noted", 1, id="018f0000-0000-7000-8000-000000000001")
    first = parallel.append("note", "1", [event])
    assert [one.to_json() for one in parallel.append("note", "1", [event])] == [one.to_json() for one in first]
    assert count_events(parallel) == 1


@on_servers
def test_counts_keep_up_without_any_append_writing_them(parallel: EventStore) -> None:
    for number in range(5):
        parallel.append("note", f"{number}", noted(*range(500)))
    row = execute(parallel, "SELECT counted, head FROM projectionist_logs WHERE name = 'main'")[0]
    assert row[0] == row[1] >= 2000
    assert parallel.log("main").count.number == 2500
    assert parallel.event_types()[0].count.number == 2500
    assert parallel.aggregate_types()[0].count.number == 5


@orderings
def test_a_log_keeps_its_ordering(store: EventStore, ordering: str) -> None:
    store.create_log("main", ordering)
    store.create_log("main", ordering)
    other = "dense" if ordering == "parallel" else "parallel"
    if store.dialect == "SQLite":
        store.create_log("main", other)
        assert store.log("main").strategy == "dense"
        return
    with pytest.raises(Conflict, match=f"The log main is there already, and is {ordering}. A log keeps its ordering"):
        store.create_log("main", other)
    assert store.log("main").strategy == ordering


def test_an_ordering_that_is_not_known_is_refused_with_a_sentence(sqlite_store: EventStore) -> None:
    with pytest.raises(InvalidRequest, match="A log's ordering is dense or parallel, not 'loose'"):
        sqlite_store.create_log("main", "loose")


@on_servers
def test_events_are_not_imported_into_a_parallel_log(parallel: EventStore) -> None:
    (event,) = parallel.append("note", "1", noted(1), log="other")
    there = {**fields(event), "log": "main", "id": "018f0000-0000-7000-8000-000000000001"}
    imported = RecordedEvent(*(there[name] for name in FIELDS[:-2]))
    for keep_positions in (False, True):
        with pytest.raises(Conflict, match="The log main is parallel"):
            parallel.import_events([imported], keep_positions=keep_positions)


@orderings
def test_a_projection_has_every_event_of_a_log_with_holes_once(store: EventStore, ordering: str) -> None:
    seen: list[int] = []
    projection = Projection("numbers", logs=["main"])

    @projection.on("noted")
    def note(event: RecordedEvent, target: object) -> None:
        seen.append(event.data["n"])

    store.create_log("main", ordering)
    for number in range(30):
        with store.database.engine.connect() as connection:
            store.append_in(connection, [Append("note", str(number % 4), noted(number))])
            connection.rollback() if number % 3 else connection.commit()
    assert run_to_head(store, projection) == 10
    assert seen == list(range(0, 30, 3))
    (status,) = list_statuses(store)
    assert (status.health.value, status.lag) == ("up to date", 0)


@on_servers
def test_a_parallel_log_is_copied_with_its_positions(parallel: EventStore, tmp_path: Path) -> None:
    for number in range(10):
        with parallel.database.engine.connect() as connection:
            parallel.append_in(connection, [Append("note", str(number), noted(number))])
            connection.rollback() if number % 2 else connection.commit()
    assert parallel.settled_head("main") == parallel.head("main")
    target = EventStore.open(f"sqlite:///{tmp_path / 'copy.db'}")
    target.migrate()
    copy_store(parallel, target)
    assert [fields(event) for event in target.read_log("main")] == [
        fields(event) for event in parallel.read_log("main")
    ]
    assert target.append("note", "1", noted(99))[0].position == parallel.head("main") + 1
    target.close()
