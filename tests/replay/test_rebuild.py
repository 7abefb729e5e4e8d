"""Rebuilding beside the generation that serves: what it comes to, leaves, refuses, and goes on with."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import sqlalchemy as sa

from tests.conftest import backends
from tests.projections.helpers import (
    checkpoint_of,
    counted,
    counting,
    expected,
    expire_leases,
    fill,
    in_background,
    row_of,
    tables,
)
from tests.store.helpers import execute, on_servers, run_together
from webapp.errors import (
    Conflict,
    InvalidDefinition,
    LeaseLost,
    ProjectionFailed,
    ProjectionistError,
    ReplayConflict,
)
from webapp.projections import Context, Follower, Projection, Table, pause_projection, run_to_head
from webapp.projections.generations import complete_swap, swap_generation
from webapp.replay import Phase, Rebuild, rebuild
from webapp.store import EventStore, RecordedEvent
from webapp.store.columns import Name

where_ddl_commits = pytest.mark.parametrize("backend", ("mariadb", "mysql"), indirect=True)
on_postgresql = pytest.mark.parametrize("backend", ("postgresql",), indirect=True)
where_names_rule = pytest.mark.parametrize(
    "backend", [backend for backend in backends if backend != "postgresql"], indirect=True
)


def run(work: Rebuild) -> None:
    while work.phase is not Phase.done:
        work.step()


def run_until(work: Rebuild, phase: Phase) -> None:
    while work.phase is not phase:
        work.step()


def other_code(projection: Projection) -> Projection:
    """The same projection with a handler more."""
    projection.on("unheard_of")(lambda event, context: None)
    return projection


def listing(*more: Table, columns: tuple[sa.Column[Any], ...] = ()) -> Projection:
    """Counts, in tables that may be defined otherwise."""
    projection = Projection(
        "counts", tables=[Table("listed", sa.Column("id", Name(40), primary_key=True), *columns), *more]
    )

    @projection.on("noted")
    def note(event: RecordedEvent, context: Context) -> None:
        context.table("listed").upsert(event.aggregate_id, **{column.name: event.data["n"] for column in columns})
        for table in more:
            context.table(table.name).upsert(event.aggregate_id)

    return projection


def extra() -> Table:
    return Table("extra", sa.Column("id", Name(40), primary_key=True))


# --- what it comes to -----------------------------------------------------------------------------------------------


def test_four_writers_a_follower_and_readers_go_on_throughout(store: EventStore) -> None:
    fill(store, 600)
    projection = counting(batch_size=50)
    run_to_head(store, projection)
    seen = [0]
    follower = Follower(store, projection)

    def read() -> None:
        found = counted(store)
        total = sum(count for count, _ in found.values())
        assert len(found) == 5 and total >= seen[0], "a reader went back in time"
        seen[0] = total

    def write() -> None:
        fill(store, 3)

    with in_background(read, *[write] * 4, follower.step, pause_seconds=0.01):
        for generation in (2, 3, 4):
            rebuild(store, projection)
            assert row_of(store).generation == generation
    follower.release()
    run_to_head(store, projection)
    assert counted(store) == expected(store)
    assert tables(store) == {"counts", "counts__g3"}  # one to go back to, none older


def test_a_projection_that_was_never_started_is_built_for_the_first_time(store: EventStore) -> None:
    fill(store, 10)
    rebuild(store, counting())
    assert counted(store) == expected(store)


def test_a_paused_projection_stays_paused(store: EventStore) -> None:
    fill(store, 10)
    run_to_head(store, counting())
    pause_projection(store, "counts")
    rebuild(store, counting())
    assert row_of(store).status == "paused"


def test_a_failed_projection_runs_on_after_its_handler_is_mended(store: EventStore) -> None:
    fill(store, 20)

    def broken(event: RecordedEvent, context: Context) -> None:
        if event.position == 13:
            raise RuntimeError("broken")

    with pytest.raises(ProjectionFailed):
        run_to_head(store, counting(handler=broken))
    with pytest.raises(ProjectionFailed, match="main:13"):
        rebuild(store, counting(handler=broken))
    assert counted(store) == expected(store, up_to=12)
    rebuild(store, counting())
    assert (row_of(store).status, row_of(store).failure) == ("running", None)
    fill(store, 3, first=21)
    run_to_head(store, counting())
    assert counted(store) == expected(store)


def test_a_new_column_and_a_new_table_come_with_a_rebuild(store: EventStore) -> None:
    fill(store, 10)
    run_to_head(store, listing())
    wanted = listing(extra(), columns=(sa.Column("n", sa.Integer),))
    rebuild(store, wanted)
    assert dict(execute(store, "SELECT id, n FROM listed")) == {"n0": 10, "n1": 6, "n2": 7, "n3": 8, "n4": 9}
    assert len(execute(store, "SELECT id FROM extra")) == 5
    assert row_of(store).tables == ("listed", "extra")
    assert tables(store) == {"listed", "extra", "listed__g1"}


def test_a_table_that_the_definition_no_longer_has_goes_with_its_generation(store: EventStore) -> None:
    fill(store, 10)
    run_to_head(store, listing(extra()))
    rebuild(store, listing())
    assert tables(store) == {"listed", "listed__g1", "extra__g1"}
    assert row_of(store).tables == ("listed",)
    rebuild(store, listing())
    assert tables(store) == {"listed", "listed__g2"}


def test_a_log_that_the_definition_no_longer_has_holds_nothing_up(store: EventStore) -> None:
    fill(store, 10)
    fill(store, 5, log="side")
    run_to_head(store, counting(logs=["main", "side"]))
    work = Rebuild(store, counting(logs=["main"]))
    for _ in range(10):
        work.step()
    assert work.phase is Phase.done
    assert counted(store) == expected(store)


def test_the_serving_generation_is_never_overtaken_backwards(store: EventStore) -> None:
    fill(store, 10)
    projection = counting(batch_size=5)
    run_to_head(store, projection)
    work = Rebuild(store, projection)
    run_until(work, Phase.swap)
    fill(store, 3, first=11)
    run_to_head(store, projection)
    work.step()
    assert work.phase is Phase.replay  # the one that serves is further
    run(work)
    assert counted(store) == expected(store)
    assert checkpoint_of(store).positions == {"main": 13}


# --- one at a time, and going on ------------------------------------------------------------------------------------


def test_two_at_once_are_refused(store: EventStore) -> None:
    fill(store, 20)
    run_to_head(store, counting())
    first = Rebuild(store, counting(), batch_size=5, replay_id=1)
    first.step()
    first.step()
    for rival in (
        Rebuild(store, counting()),
        Rebuild(store, counting(), resume=False),
        Rebuild(store, counting(), replay_id=2),
        Rebuild(store, other_code(counting()), replay_id=1),
    ):
        with pytest.raises(ReplayConflict, match="Another worker rebuilds counts already"):
            rival.step()
    run(first)
    assert counted(store) == expected(store)
    assert row_of(store).generation == 2


def test_one_whose_owner_went_silent_is_taken_over(store: EventStore) -> None:
    fill(store, 20)
    run_to_head(store, counting())
    stalled = Rebuild(store, counting(), batch_size=5, replay_id=1)
    while stalled.done < 10:
        stalled.step()
    expire_leases(store)
    second = Rebuild(store, counting(), batch_size=5, replay_id=1)
    second.step()
    assert (second.done, second.generation) == (10, stalled.generation)
    with pytest.raises(LeaseLost):
        stalled.step()
    run(second)
    assert counted(store) == expected(store)


def test_it_goes_on_after_an_exception(store: EventStore) -> None:
    fill(store, 20)
    broken = [13]

    def handler(event: RecordedEvent, context: Context) -> None:
        if event.position in broken and context.is_replay:
            raise RuntimeError("broken")

    projection = counting(handler=handler, batch_size=5)
    run_to_head(store, projection)
    with pytest.raises(ProjectionFailed, match="main:13"):
        rebuild(store, projection)
    assert row_of(store).status == "running"  # what serves is untouched
    assert checkpoint_of(store, generation=2).positions == {"main": 12}
    broken.clear()
    work = Rebuild(store, projection)
    work.step()
    assert work.done == 12
    run(work)
    assert counted(store) == expected(store)


@pytest.mark.parametrize("replay_id", [None, 7])
def test_what_older_code_left_unfinished_is_dropped(store: EventStore, replay_id: int | None) -> None:
    fill(store, 20)
    run_to_head(store, counting())
    older = Rebuild(store, counting(), batch_size=5, replay_id=replay_id)
    while older.done < 10:
        older.step()
    older.release()
    newer = Rebuild(store, other_code(counting()), replay_id=replay_id)
    newer.step()
    assert newer.done == 0
    run(newer)
    assert counted(store) == expected(store)
    assert tables(store) == {"counts", "counts__g1"}


def test_the_generation_kept_is_the_last_that_served(store: EventStore) -> None:
    fill(store, 20)
    run_to_head(store, counting())
    abandoned = Rebuild(store, counting(), batch_size=5, replay_id=1)
    while abandoned.done < 10:
        abandoned.step()
    abandoned.release()
    rebuild(store, counting())
    kept = [name for name in tables(store) if name != "counts"]
    assert kept == ["counts__g1"]
    assert len(execute(store, "SELECT id FROM counts__g1")) == 5


def test_a_job_that_was_killed_after_its_swap_only_cleans(store: EventStore) -> None:
    fill(store, 10)
    run_to_head(store, counting())
    killed = Rebuild(store, counting(), replay_id=1)
    run_until(killed, Phase.clean)
    rebuild(store, counting())  # by somebody else, meanwhile
    assert row_of(store).generation == 3
    expire_leases(store)
    again = Rebuild(store, counting(), replay_id=1)
    again.step()
    assert again.phase is Phase.clean
    run(again)
    assert row_of(store).generation == 3
    assert counted(store) == expected(store)


@pytest.mark.parametrize("is_other_worker", [False, True])
def test_cancelling_drops_what_was_built(store: EventStore, is_other_worker: bool) -> None:
    fill(store, 20)
    run_to_head(store, counting())
    work = Rebuild(store, counting(), batch_size=5, replay_id=1)
    while work.done < 10:
        work.step()
    assert "counts__g2" in tables(store)
    canceller = Rebuild(store, counting(), replay_id=1) if is_other_worker else work
    assert canceller.cancel() is True
    assert tables(store) == {"counts"}
    assert (row_of(store).generation, row_of(store).tables_of) == (1, {1: ("counts",)})
    with pytest.raises(LeaseLost):
        work.step()
    assert counted(store) == expected(store)
    rebuild(store, counting())


def test_cancelling_comes_too_late_once_it_serves(store: EventStore) -> None:
    fill(store, 5)
    work = Rebuild(store, counting(), replay_id=1)
    run_until(work, Phase.clean)
    assert work.cancel() is False
    run(work)
    assert row_of(store).generation == 2


# --- what is in the way ---------------------------------------------------------------------------------------------


def test_a_new_table_whose_name_is_taken_is_refused_and_nothing_touched(store: EventStore) -> None:
    fill(store, 5)
    run_to_head(store, listing())
    execute(store, "CREATE TABLE extra (id INTEGER)")
    execute(store, "INSERT INTO extra VALUES (42)")
    with pytest.raises(InvalidDefinition, match="A table extra is there already"):
        rebuild(store, listing(extra()))
    assert tables(store) == {"listed", "extra"}
    assert execute(store, "SELECT id FROM extra") == [(42,)]
    assert row_of(store).generation == 1


def test_a_table_that_turns_up_before_the_swap_is_left_alone_too(store: EventStore) -> None:
    fill(store, 5)
    run_to_head(store, listing())
    work = Rebuild(store, listing(extra()))
    run_until(work, Phase.swap)
    execute(store, "CREATE TABLE extra (id INTEGER)")
    with pytest.raises(InvalidDefinition, match="A table extra is there already"):
        work.step()
    assert (row_of(store).generation, row_of(store).swapping_to) == (1, None)
    execute(store, "DROP TABLE extra")
    run(work)
    assert row_of(store).tables == ("listed", "extra")


@on_postgresql
def test_rights_on_the_table_survive(store: EventStore) -> None:
    fill(store, 5)
    run_to_head(store, counting())
    role = f"reader_{threading.get_native_id()}_{time.time_ns()}"
    execute(store, f'CREATE ROLE "{role}"')
    try:
        execute(store, f'GRANT SELECT ON counts TO "{role}" WITH GRANT OPTION')
        execute(store, f'GRANT UPDATE ON counts TO "{role}"')
        execute(store, "GRANT SELECT ON counts TO PUBLIC")
        rights = "SELECT relacl::text FROM pg_class WHERE relname = 'counts'"
        before = execute(store, rights)
        rebuild(store, counting())
        after = execute(store, rights)
        assert sorted(after[0][0].strip("{}").split(",")) == sorted(before[0][0].strip("{}").split(","))
    finally:
        execute(store, f'DROP OWNED BY "{role}"')
        execute(store, f'DROP ROLE "{role}"')


@on_postgresql
def test_a_view_that_would_stay_with_the_old_table_is_named(store: EventStore) -> None:
    fill(store, 5)
    run_to_head(store, counting())
    execute(store, "CREATE VIEW busiest AS SELECT id FROM counts WHERE seen > 1")
    with pytest.raises(Conflict, match="The view busiest would stay with the old table when counts is swapped"):
        rebuild(store, counting())
    assert row_of(store).generation == 1 and tables(store) == {"counts"}
    execute(store, "DROP VIEW busiest")
    rebuild(store, counting())


@on_servers
def test_a_foreign_key_that_would_stay_with_the_old_table_is_named(store: EventStore, backend: str) -> None:
    fill(store, 5)
    run_to_head(store, counting())
    id_type = counting().tables[0].physical("counts").c.id.type.compile(dialect=store.database.engine.dialect)
    execute(store, f"CREATE TABLE pins (id {id_type}, CONSTRAINT pinned FOREIGN KEY (id) REFERENCES counts (id))")
    with pytest.raises(Conflict, match="The foreign key pinned of pins would stay with the old table"):
        rebuild(store, counting())
    execute(store, "DROP TABLE pins")
    rebuild(store, counting())


@where_names_rule
def test_a_view_goes_with_the_name(store: EventStore) -> None:
    fill(store, 5)
    run_to_head(store, counting())
    execute(store, "CREATE VIEW busiest AS SELECT id, seen FROM counts")
    fill(store, 5)
    rebuild(store, counting())
    assert {row[1] for row in execute(store, "SELECT id, seen FROM busiest")} == {2}
    execute(store, "DROP VIEW busiest")


# --- the swap itself ------------------------------------------------------------------------------------------------


@on_servers
def test_a_long_reader_holds_up_the_swap_but_not_the_other_readers(store: EventStore) -> None:
    fill(store, 20)
    run_to_head(store, counting())
    longest = [0.0]

    def read() -> None:
        began = time.monotonic()
        assert len(counted(store)) == 5
        longest[0] = max(longest[0], time.monotonic() - began)

    with store.database.reading(seconds=60) as connection:
        connection.execute(sa.text("SELECT count(*) FROM counts")).scalar_one()
        thread = threading.Thread(target=rebuild, args=(store, counting()))
        thread.start()
        with in_background(read):
            time.sleep(3)
    thread.join(30)
    assert not thread.is_alive()
    assert row_of(store).generation == 2
    assert longest[0] < 2.9  # what waits behind the swap is let go
    assert counted(store) == expected(store)


@where_ddl_commits
def test_a_swap_killed_between_intent_and_rename_is_completed_by_the_next(store: EventStore) -> None:
    fill(store, 10)
    run_to_head(store, counting())
    work = Rebuild(store, counting())
    run_until(work, Phase.swap)
    with store.database.writing() as connection:
        swap_generation(store, counting(), connection, 2)
    row = row_of(store)
    assert (row.generation, row.swapping_to) == (1, 2)
    fill(store, 2, first=11)
    expire_leases(store)
    assert run_to_head(store, counting()) == 2  # a follower mends it and goes on with the new generation
    assert (row_of(store).generation, row_of(store).swapping_to) == (2, None)
    assert counted(store) == expected(store)


@where_ddl_commits
def test_a_swap_killed_between_rename_and_record_is_completed_by_the_next(store: EventStore) -> None:
    fill(store, 10)
    run_to_head(store, counting())
    live = Follower(store, counting())
    live.step()
    work = Rebuild(store, counting())
    run_until(work, Phase.swap)
    with store.database.writing() as connection:
        swap_generation(store, counting(), connection, 2)
        store.database.dialect.rename_tables(connection, [("counts", "counts__g1"), ("counts__g2", "counts")])
    fill(store, 2, first=11)
    assert live.step() == 0  # the live worker doesn't write into the new generation by the old one's checkpoint
    assert counted(store) == expected(store, up_to=10)
    for _ in range(2):
        complete_swap(store, counting())
    assert (row_of(store).generation, row_of(store).swapping_to) == (2, None)
    expire_leases(store)
    run_to_head(store, counting())
    assert counted(store) == expected(store)


@where_ddl_commits
def test_many_who_complete_a_swap_at_once_do_it_once(store: EventStore) -> None:
    fill(store, 10)
    run_to_head(store, counting())
    work = Rebuild(store, counting())
    run_until(work, Phase.swap)
    with store.database.writing() as connection:
        swap_generation(store, counting(), connection, 2)
    outcomes = run_together(*[lambda: complete_swap(store, counting())] * 5)
    assert outcomes == [None] * 5
    assert (row_of(store).generation, row_of(store).swapping_to) == (2, None)
    assert counted(store) == expected(store)


@where_ddl_commits
def test_a_table_that_turns_up_in_the_middle_of_a_swap_is_not_renamed_away(store: EventStore) -> None:
    fill(store, 5)
    run_to_head(store, listing())
    wanted = listing(extra())
    work = Rebuild(store, wanted)
    run_until(work, Phase.swap)
    with store.database.writing() as connection:
        swap_generation(store, wanted, connection, 2)
    execute(store, "CREATE TABLE extra (id INTEGER)")
    execute(store, "INSERT INTO extra VALUES (42)")
    with pytest.raises(ProjectionistError, match=r"extra.* already exists"):
        complete_swap(store, wanted)
    assert execute(store, "SELECT id FROM extra") == [(42,)]
    execute(store, "RENAME TABLE extra TO theirs")
    complete_swap(store, wanted)
    assert row_of(store).tables == ("listed", "extra")
    assert tables(store) == {"listed", "listed__g1", "extra", "theirs"}
