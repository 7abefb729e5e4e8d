"""Connections between two uses: tested without a round trip, given back without one, replaced when they are dead."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import sqlalchemy as sa

from tests.store.helpers import fields, noted, on_servers, positions
from webapp.errors import InvalidRequest
from webapp.store import EventStore, NewEvent
from webapp.store.database import Database
from webapp.store.dialects.base import Dialect


@pytest.fixture
def pings(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A mark for each time a server was asked whether it's still there."""
    asked: list[Any] = []
    original = store.database.engine.dialect.do_ping

    def ask(connection: Any) -> bool:
        asked.append(connection)
        return original(connection)

    monkeypatch.setattr(store.database.engine.dialect, "do_ping", ask)
    return asked


def end_connections(store: EventStore) -> None:
    """Has the server end every connection of a store's pool, as a restart would."""
    is_postgresql = store.dialect == "PostgreSQL"
    other = sa.create_engine(store.database.engine.url, poolclass=sa.pool.NullPool, isolation_level="AUTOCOMMIT")
    with other.connect() as connection:
        if is_postgresql:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).all()
        else:
            threads = connection.exec_driver_sql(
                "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            ).scalars()
            for thread in threads.all():
                connection.exec_driver_sql(f"KILL {thread}")


def test_a_connection_used_a_moment_ago_is_not_asked_for(store: EventStore, pings: list[Any]) -> None:
    for number in range(5):
        store.append("order", "1", noted(number))
        list(store.read_log("main"))
    assert pings == []


def test_a_connection_idle_for_long_is(
    store: EventStore, pings: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    store.append("order", "1", noted(1))
    monkeypatch.setattr("webapp.store.pooling.trusted_seconds", -1.0)
    pings.clear()
    store.append("order", "1", noted(2))
    assert pings


@on_servers
def test_appends_and_pages_go_on_after_the_server_ended_all_connections(store: EventStore) -> None:
    store.append("order", "1", noted(0))
    for number in range(1, 4):
        end_connections(store)
        store.append("order", "1", noted(number), expected_version=number)
        end_connections(store)
        assert positions(store) == list(range(1, number + 2))


@on_servers
@pytest.mark.parametrize("is_stored", [False, True])
def test_an_append_whose_connection_breaks_is_stored_once(
    store: EventStore, monkeypatch: pytest.MonkeyPatch, is_stored: bool
) -> None:
    store.append("order", "1", noted(0))
    original = type(store.database.dialect).append_one
    calls: list[Any] = []

    def break_off(self: Dialect, connection: Any, values: Any) -> Any:
        """The connection is lost on the way to the server, or its answer on the way back."""
        calls.append(values)
        if is_stored:
            original(self, connection, values)
        end_connections(store)
        return original(self, connection, values)

    monkeypatch.setattr(type(store.database.dialect), "append_one", break_off)
    (recorded,) = store.append("order", "1", [NewEvent("noted", {"n": 1}, id=uuid.uuid4())], expected_version=1)
    assert len(calls) == 1
    assert positions(store) == [1, 2]
    assert fields(store.event("main", 2)) == fields(recorded)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_statements_are_prepared_on_the_server_only_if_the_url_lets_them(database_url: str) -> None:
    def count_prepared(query: str) -> int:
        store = EventStore.open(f"{database_url}?prepare_threshold={query}")
        store.migrate()
        for number in range(8):
            store.append("order", "1", noted(number))
        with store.database.reading() as connection:
            found = connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar_one()
        store.close()
        return int(found)

    assert count_prepared("none") == 0
    assert count_prepared("2") > 0


def test_a_threshold_that_is_no_number_is_told_so() -> None:
    with pytest.raises(InvalidRequest, match="prepare_threshold in the URL must be a number, or none for never; “x”"):
        Database("postgresql://host/name?prepare_threshold=x")
