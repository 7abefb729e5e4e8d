"""Append-only is enforced by the database itself, whoever connects."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tests.store.helpers import execute, noted
from webapp.errors import AppendOnly, DuplicateKey
from webapp.store import EventStore

CHANGES = [
    ("UPDATE projectionist_events SET data = '{}'", "UPDATE", "events"),
    ("UPDATE projectionist_events SET position = position + 10", "UPDATE", "events"),
    ("UPDATE projectionist_events SET data = data WHERE position = 2", "UPDATE", "events"),
    ("DELETE FROM projectionist_events", "DELETE", "events"),
    ("DELETE FROM projectionist_events WHERE position = 1", "DELETE", "events"),
    ("UPDATE projectionist_streams SET aggregate_id = 'other'", "UPDATE", "streams"),
    ("DELETE FROM projectionist_streams", "DELETE", "streams"),
    ("UPDATE projectionist_types SET name = 'other'", "UPDATE", "types"),
    ("UPDATE projectionist_types SET kind = 'other'", "UPDATE", "types"),
    ("DELETE FROM projectionist_types", "DELETE", "types"),
]  # fmt: skip


@pytest.fixture
def filled(store: EventStore) -> Iterator[EventStore]:
    """A store of three events, which are the same at the end."""
    store.append("order", "1", noted(1, 2))
    store.append("order", "2", noted(3))
    before = [event.to_json() for event in store.read_log("main")]
    yield store
    fresh = EventStore.open(store.database.url)
    try:
        assert [event.to_json() for event in fresh.read_log("main")] == before
        assert [event.version for event in fresh.read_stream("order", "1")] == [1, 2]
    finally:
        fresh.close()


def refusal(operation: str, table: str) -> str:
    return (
        f"append-only: {operation} of projectionist_{table} is refused, because events are never changed or removed. "
        "Record a new event."
    )


@pytest.mark.parametrize(("sql", "operation", "table"), CHANGES)
def test_a_change_is_refused_and_the_message_says_why(filled: EventStore, sql: str, operation: str, table: str) -> None:
    with pytest.raises(AppendOnly) as raised:
        execute(filled, sql)
    assert refusal(operation, table) in str(raised.value)


def test_the_drivers_own_error_says_why_too(filled: EventStore) -> None:
    engine = sa.create_engine(filled.database.url)
    try:
        for sql, operation, table in CHANGES:
            with pytest.raises(DBAPIError, match=refusal(operation, table)), engine.begin() as connection:
                connection.exec_driver_sql(sql)
    finally:
        engine.dispose()


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.parametrize("table", ["events", "streams", "types"])
def test_truncate_is_refused_on_postgresql(filled: EventStore, table: str) -> None:
    for cascade in ("", " CASCADE"):
        if table == "types" and not cascade:
            continue  # refused already, for streams refer to it
        with pytest.raises(AppendOnly, match="append-only: TRUNCATE of projectionist_"):
            execute(filled, f"TRUNCATE projectionist_{table}{cascade}")


EVENT = "log_id, position, stream_id, version, type_id, id, recorded_at, data, metadata"
KEYS = [
    ("log_id, 1, stream_id + 9, 9", "id", "{blob}"),
    ("log_id, 9, stream_id, 1", "version", "{blob}"),
    ("log_id, 9, stream_id + 9, 9", "event id", "id"),
]


@pytest.mark.parametrize("backend", ["mariadb", "mysql"], indirect=True)
@pytest.mark.parametrize(("numbers", "by", "event_id"), KEYS)
def test_replacing_a_row_is_refused_on_mysql_and_mariadb(
    filled: EventStore, numbers: str, by: str, event_id: str
) -> None:
    values = f"{numbers}, type_id, {event_id.format(blob='UNHEX(REPEAT(42, 16))')}, recorded_at, '{{}}', '{{}}'"
    row = f"SELECT {values} FROM projectionist_events WHERE position = 1"
    with pytest.raises(AppendOnly, match="append-only"):
        execute(filled, f"REPLACE INTO projectionist_events ({EVENT}) {row}")
    with pytest.raises(AppendOnly, match="append-only"):
        execute(filled, f"INSERT INTO projectionist_events ({EVENT}) {row} ON DUPLICATE KEY UPDATE data = 'x'")


@pytest.fixture
def plain(sqlite_store: EventStore) -> Iterator[sqlite3.Connection]:
    """A connection of somebody who knows nothing of us: no pragma is set. Events are the same at the end."""
    sqlite_store.append("order", "1", noted(1, 2))
    connection = sqlite3.connect(str(sqlite_store.database.path), isolation_level=None)
    before = connection.execute("SELECT * FROM projectionist_events").fetchall()
    others = [connection.execute(f"SELECT * FROM projectionist_{name}").fetchall() for name in ("streams", "types")]
    yield connection
    assert connection.execute("SELECT * FROM projectionist_events").fetchall() == before
    assert [
        connection.execute(f"SELECT * FROM projectionist_{name}").fetchall() for name in ("streams", "types")
    ] == others
    connection.close()


@pytest.mark.parametrize("verb", ["REPLACE", "INSERT OR REPLACE", "INSERT", "INSERT OR IGNORE"])
@pytest.mark.parametrize(("numbers", "by", "event_id"), KEYS)
def test_replacing_an_event_is_refused_on_sqlite_without_our_pragmas(
    plain: sqlite3.Connection, verb: str, numbers: str, by: str, event_id: str
) -> None:
    values = f"{numbers}, type_id, {event_id.format(blob='randomblob(16)')}, recorded_at, '{{}}', '{{}}'"
    row = f"SELECT {values} FROM projectionist_events WHERE position = 1"
    with pytest.raises(
        sqlite3.IntegrityError, match="append-only: INSERT over an existing row of projectionist_events"
    ):
        plain.execute(f"{verb} INTO projectionist_events ({EVENT}) {row}")


def test_changing_an_event_is_refused_on_sqlite_without_our_pragmas(plain: sqlite3.Connection) -> None:
    for sql, operation, table in CHANGES:
        for verb in ("UPDATE", "UPDATE OR REPLACE", "UPDATE OR IGNORE"):
            with pytest.raises(sqlite3.IntegrityError, match=refusal(operation, table)):
                plain.execute(sql.replace("UPDATE", verb, 1))


@pytest.mark.parametrize(
    "sql",
    [
        "REPLACE INTO projectionist_streams SELECT id, type_id, 'other', NULL, NULL FROM projectionist_streams",
        "REPLACE INTO projectionist_streams SELECT id + 1, type_id, aggregate_id, NULL, NULL FROM projectionist_streams",
        "REPLACE INTO projectionist_types SELECT id, log_id, kind, 'other', 0, NULL, NULL FROM projectionist_types",
        "REPLACE INTO projectionist_types SELECT id + 9, log_id, kind, name, 0, NULL, NULL FROM projectionist_types",
        "INSERT INTO projectionist_streams SELECT * FROM projectionist_streams WHERE 1 "
        "ON CONFLICT DO UPDATE SET aggregate_id = 'other'",
    ],
)
def test_replacing_what_events_refer_to_is_refused_on_sqlite(plain: sqlite3.Connection, sql: str) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="append-only: INSERT over an existing row"):
        plain.execute(sql)


def test_a_row_over_an_existing_one_is_a_taken_key_to_us(filled: EventStore) -> None:
    with pytest.raises(DuplicateKey):
        execute(filled, "INSERT INTO projectionist_events SELECT * FROM projectionist_events")


def test_counters_of_types_may_change(filled: EventStore) -> None:
    execute(filled, "UPDATE projectionist_types SET total = total, last_at = first_at")


def test_without_triggers_changes_pass(database_url: str) -> None:
    store = EventStore.open(database_url)
    try:
        store.migrate(with_triggers=False)
        store.append("order", "1", noted(1, 2))
        execute(store, "UPDATE projectionist_events SET data = '7' WHERE position = 1")
        execute(store, "DELETE FROM projectionist_events WHERE position = 2")
        assert [event.data for event in store.read_log("main")] == [7]
    finally:
        store.close()
