"""Starting, pausing, skipping, deleting; and what a kill in the middle of them leaves to mend."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.projections.helpers import checkpoint_of, counted, counting, expected, fill, row_of, tables
from tests.store.helpers import run_together
from webapp.errors import InvalidDefinition, NotFound, ReplayConflict
from webapp.projections import (
    Projection,
    Table,
    delete_projection,
    init_projection,
    pause_projection,
    resume_projection,
    run_to_head,
    skip_failed_event,
)
from webapp.projections import checkpoints as rows_of
from webapp.store import EventStore


def two_tables() -> Projection:
    return Projection(
        "pair",
        tables=[Table(name, sa.Column("id", sa.Integer, primary_key=True)) for name in ("pair_a", "pair_b")],
    )


def make_table(store: EventStore, name: str) -> None:
    with store.database.writing() as connection:
        connection.execute(sa.text(f"CREATE TABLE {name} (id INTEGER)"))
    with store.database.writing() as connection:
        connection.execute(sa.text(f"INSERT INTO {name} VALUES (42)"))


def test_it_starts_once(store: EventStore) -> None:
    assert init_projection(store, two_tables()) is True
    assert init_projection(store, two_tables()) is False
    row = row_of(store, "pair")
    assert (row.status, row.generation, row.swapping_to, row.tables) == ("running", 1, None, ("pair_a", "pair_b"))
    assert tables(store) == {"pair_a", "pair_b"}


def test_many_who_start_it_at_once_start_it_once(store: EventStore) -> None:
    for name in ("one", "two", "three"):
        outcomes = run_together(*[lambda name=name: init_projection(store, counting(name))] * 5)  # type: ignore[misc]
        assert sorted(outcomes, key=str) == [False] * 4 + [True]
        assert row_of(store, name).swapping_to is None
    assert tables(store) == {"one", "two", "three"}


def test_a_start_that_was_killed_half_way_is_completed(store: EventStore) -> None:
    with store.database.writing() as connection:
        rows_of.start_projection(connection, store.database.dialect, two_tables())
        connection.execute(sa.schema.CreateTable(two_tables().tables[0].physical("pair_a")))
    assert init_projection(store, two_tables()) is False  # it had been started, and is mended
    assert row_of(store, "pair").swapping_to is None
    assert tables(store) == {"pair_a", "pair_b"}


def test_a_table_that_is_somebody_elses_is_left_alone(store: EventStore) -> None:
    make_table(store, "pair_b")
    with pytest.raises(
        InvalidDefinition, match="A table pair_b is there already, and no projection of this store made"
    ):
        init_projection(store, two_tables())
    assert tables(store) == {"pair_b"}
    with store.database.reading() as connection:
        assert connection.execute(sa.text("SELECT id FROM pair_b")).scalar_one() == 42
        assert rows_of.list_projections(connection) == []


def test_a_table_that_another_projection_fills_is_refused(store: EventStore) -> None:
    init_projection(store, counting())
    with pytest.raises(InvalidDefinition, match=r"counts belongs to the projection counts\. Give others another"):
        init_projection(store, counting("others", table="counts"))
    with store.database.reading() as connection:
        assert [row.name for row in rows_of.list_projections(connection)] == ["counts"]


def test_pausing_and_resuming(store: EventStore) -> None:
    init_projection(store, counting())
    pause_projection(store, "counts")
    assert row_of(store).status == "paused"
    resume_projection(store, "counts")
    assert row_of(store).status == "running"


def test_skipping_needs_a_failed_event_and_a_reason(store: EventStore) -> None:
    init_projection(store, counting())
    with pytest.raises(InvalidDefinition, match="say why"):
        skip_failed_event(store, "counts", "  ")
    with pytest.raises(ReplayConflict, match="stands at no failed event"):
        skip_failed_event(store, "counts", "because")


def test_what_was_never_started_is_not_found(store: EventStore) -> None:
    for call in (pause_projection, resume_projection, delete_projection):
        with pytest.raises(NotFound, match="There is no projection “nobody” here"):
            call(store, "nobody")
    with pytest.raises(NotFound):
        skip_failed_event(store, "nobody", "because")


def test_deleting_leaves_nothing_and_it_may_begin_anew(store: EventStore) -> None:
    fill(store, 10)
    run_to_head(store, counting())
    make_table(store, "bystander")
    delete_projection(store, "counts")
    assert tables(store) == {"bystander"}
    with store.database.reading() as connection:
        assert rows_of.list_projections(connection) == rows_of.list_checkpoints(connection) == []
    assert run_to_head(store, counting()) == 10
    assert counted(store) == expected(store)
    assert checkpoint_of(store).generation == 1


def test_deleting_again_mends_a_deletion_that_was_killed_half_way(store: EventStore) -> None:
    init_projection(store, two_tables())
    with store.database.writing() as connection:
        connection.execute(sa.text("DROP TABLE pair_a"))
    delete_projection(store, "pair")
    assert tables(store) == set()
