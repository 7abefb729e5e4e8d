"""Leases under an epoch, by the database's clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from tests.projections.helpers import checkpoint_of, counting, expire_leases, row_of
from tests.store.helpers import run_together
from webapp.errors import LeaseLost, NotFound
from webapp.projections import checkpoints as rows_of
from webapp.projections.lifecycle import init_projection
from webapp.store import EventStore
from webapp.store.dialects import Dialect


@pytest.fixture
def started(store: EventStore) -> EventStore:
    """A store in which the projection counts has its first generation."""
    init_projection(store, counting())
    return store


@contextmanager
def writing(store: EventStore) -> Iterator[tuple[sa.Connection, Dialect]]:
    with store.database.writing() as connection:
        yield connection, store.database.dialect


def claim(store: EventStore, owner: str) -> int | None:
    with writing(store) as (connection, dialect):
        return rows_of.claim_lease(connection, dialect, "counts", 1, owner)


def move(store: EventStore, owner: str, epoch: int, position: int) -> None:
    checkpoint = checkpoint_of(store)
    checkpoint.owner, checkpoint.epoch = owner, epoch
    with writing(store) as (connection, dialect):
        rows_of.move_checkpoint(connection, dialect, checkpoint, {"main": position}, {"n": position}, position)


def test_one_owner_at_a_time(started: EventStore) -> None:
    first = claim(started, "ann")
    assert first is not None
    assert claim(started, "bob") is None
    again = claim(started, "ann")
    assert again == first + 1
    with pytest.raises(LeaseLost):
        move(started, "ann", first, 5)  # by her own stalled twin
    move(started, "ann", again, 6)
    assert checkpoint_of(started).positions == {"main": 6}


def test_of_many_who_claim_at_once_one_wins(started: EventStore) -> None:
    epochs = run_together(*(lambda owner=f"o{n}": claim(started, owner) for n in range(6)))  # type: ignore[misc]
    assert len([epoch for epoch in epochs if epoch is not None]) == 1


def test_a_lease_that_ran_out_goes_to_who_asks_and_fences_the_old_owner_off(started: EventStore) -> None:
    first = claim(started, "ann")
    expire_leases(started)
    second = claim(started, "bob")
    assert first is not None and second == first + 1
    with pytest.raises(LeaseLost):
        move(started, "ann", first, 5)
    assert checkpoint_of(started).positions == {}


def test_a_batch_renews_the_lease(started: EventStore) -> None:
    epoch = claim(started, "ann")
    expire_leases(started, 1)
    assert epoch is not None
    move(started, "ann", epoch, 1)
    with started.database.reading() as connection:
        now = started.database.dialect.clock(connection)
    expires_at = checkpoint_of(started).lease_expires_at
    assert expires_at is not None and expires_at > now + dt.timedelta(seconds=rows_of.lease_seconds - 5)


def test_only_its_owner_gives_a_lease_back(started: EventStore) -> None:
    epoch = claim(started, "ann")
    assert epoch is not None
    for owner, number in (("bob", epoch), ("ann", epoch - 1)):
        with writing(started) as (connection, _):
            rows_of.release_lease(connection, "counts", 1, owner, number)
        assert checkpoint_of(started).owner == "ann"
    with writing(started) as (connection, _):
        rows_of.release_lease(connection, "counts", 1, "ann", epoch)
    assert claim(started, "bob") == epoch + 1


def test_what_is_written_comes_back(started: EventStore) -> None:
    epoch = claim(started, "ann")
    assert epoch is not None
    move(started, "ann", epoch, 2**60)
    found = checkpoint_of(started)
    assert (found.positions, found.state, found.done) == ({"main": 2**60}, {"n": 2**60}, 2**60)
    assert found.fingerprint == counting().fingerprint()
    with writing(started) as (connection, dialect):
        rows_of.change_projection(connection, dialect, "counts", failure={"message": "é\U0001f600"})
    row = row_of(started)
    assert row.failure == {"message": "é\U0001f600"}
    assert (row.generation, row.swapping_to, row.tables_of, row.tables) == (1, None, {1: ("counts",)}, ("counts",))


def test_what_is_not_there_is_said(started: EventStore) -> None:
    with started.database.writing() as connection:
        assert rows_of.find_projection(connection, "nobody") is None
        assert rows_of.find_checkpoint(connection, "counts", 9) is None
        assert rows_of.claim_lease(connection, started.database.dialect, "nobody", 1, "ann") is None
        with pytest.raises(NotFound, match="no projection “nobody”"):
            rows_of.change_projection(connection, started.database.dialect, "nobody", status="paused")
