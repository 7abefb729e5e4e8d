"""A database: read-only reading with a time limit, writing that commits or rolls back, errors that are sentences."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.store.helpers import count, execute, noted, on_servers, positions
from webapp.errors import DuplicateKey, NeedsMigration, StoreUnavailable, TimedOut
from webapp.store import Append, EventStore
from webapp.store.database import Database
from webapp.store.events import EventFilter

SLOW = {
    "SQLite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) SELECT count(*) FROM n",
    "PostgreSQL": "SELECT pg_sleep(20)",
    "MariaDB": "SELECT count(*) FROM seq_1_to_100000000 a JOIN seq_1_to_1000 b",
    "MySQL": "SELECT SLEEP(20) FROM projectionist_logs",
}


def test_a_statement_of_a_page_ends_when_its_time_is_up(store: EventStore) -> None:
    store.append("order", "1", noted(1))
    if store.dialect == "MySQL":  # a sleep that is interrupted says so by its value; a join that is, by an error
        many = "(SELECT 1 FROM information_schema.collations LIMIT 200)"
        slow = f"SELECT count(*) FROM {many} a, {many} b, {many} c, {many} d, {many} e"
    else:
        slow = SLOW[store.dialect]
    with pytest.raises(TimedOut, match="took too long for one page"), store.database.reading(0.2) as connection:
        connection.exec_driver_sql(slow)
    assert positions(store) == [1]
    store.append("order", "1", noted(2))
    assert positions(store) == [1, 2]


def test_the_time_limit_of_reading_does_not_stay_with_a_writer(store: EventStore) -> None:
    with store.database.reading(0.05):
        pass
    waits = {"PostgreSQL": "SELECT pg_sleep(0.3)", "MariaDB": "SELECT SLEEP(0.3)", "MySQL": "SELECT SLEEP(0.3)"}
    for _ in range(6):  # whichever connection of the pool it is
        with store.database.writing() as connection:
            wait = waits.get(store.dialect)
            if wait:
                assert connection.exec_driver_sql(wait).scalar() in ("", 0)
            else:
                number = "SELECT count(*) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000) "
                assert connection.exec_driver_sql(number + "SELECT i FROM n)").scalar() == 300000


def test_writing_commits_at_the_end_and_rolls_back_when_it_raises(store: EventStore) -> None:
    with store.database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO projectionist_logs (name) VALUES ('kept')")
    with pytest.raises(ZeroDivisionError), store.database.writing() as connection:
        connection.exec_driver_sql("INSERT INTO projectionist_logs (name) VALUES ('lost')")
        raise ZeroDivisionError
    assert [log.name for log in store.logs()] == ["kept"]


def test_reading_can_not_write(store: EventStore) -> None:
    for sql in ("INSERT INTO projectionist_logs (name) VALUES ('x')", "DELETE FROM projectionist_events"):
        with pytest.raises(StoreUnavailable), store.database.reading() as connection:
            connection.exec_driver_sql(sql)
    store.append("order", "1", noted(1))  # the connection isn't read-only any more
    assert [log.name for log in store.logs()] == ["main"]


def test_a_taken_key_is_told_apart(store: EventStore) -> None:
    execute(store, "INSERT INTO projectionist_logs (name) VALUES ('x')")
    with pytest.raises(DuplicateKey):
        execute(store, "INSERT INTO projectionist_logs (name) VALUES ('x')")
    with pytest.raises(DuplicateKey), store.database.writing() as connection:  # by the driver's own cursor too
        connection.connection.cursor().execute("INSERT INTO projectionist_logs (name) VALUES ('x')")
    assert count(store, "projectionist_logs") == 1


def test_a_missing_table_asks_for_a_migration(store: EventStore) -> None:
    with pytest.raises(NeedsMigration, match="Run: projectionist migrate"):
        count(store, "projectionist_none")


def test_an_error_names_the_database_without_its_password(store: EventStore) -> None:
    with pytest.raises(StoreUnavailable) as raised:
        execute(store, "SELECT nonsense FROM")
    assert store.database.name in str(raised.value)
    password = store.database.url.password
    assert not password or str(password) not in str(raised.value)


def test_work_that_meets_a_lock_timeout_is_run_again(store: EventStore) -> None:
    attempts = []

    def work(connection: sa.Connection) -> str:
        attempts.append(connection)
        store.append_in(connection, [Append("order", "1", noted(len(attempts)))])
        if len(attempts) < 3:
            raise error_of_a_deadlock(store)
        return "done"

    assert store.database.retrying(work) == "done"
    assert len(attempts) == 3
    assert [event.data["n"] for event in store.read_log("main")] == [3], "what was rolled back is gone"


def error_of_a_deadlock(store: EventStore) -> Exception:
    """The driver's own error, as it raises it."""
    driver = store.database.engine.dialect.loaded_dbapi
    if store.dialect == "PostgreSQL":
        return driver.errors.DeadlockDetected("deadlock detected")  # type: ignore[no-any-return]
    if store.dialect == "SQLite":
        return driver.OperationalError("database is locked")  # type: ignore[no-any-return]
    return driver.err.OperationalError(1213, "Deadlock found when trying to get lock")  # type: ignore[no-any-return]


def test_work_that_fails_otherwise_is_not_run_again(sqlite_store: EventStore) -> None:
    attempts = []

    def work(connection: sa.Connection) -> None:
        attempts.append(connection)
        connection.exec_driver_sql("SELECT nonsense FROM")

    with pytest.raises(StoreUnavailable):
        sqlite_store.database.retrying(work)
    assert len(attempts) == 1


@on_servers
def test_a_pool_that_is_used_up_says_so(database_url: str) -> None:
    database = Database(database_url, pool_size=1, overflow=0)
    database.engine.pool._timeout = 0.1  # type: ignore[attr-defined]
    with (
        database.reading(),
        pytest.raises(StoreUnavailable, match=r"All connections to .* are busy"),
        database.reading(),
    ):
        pass
    database.close()


@on_servers
def test_a_connection_that_the_server_ended_is_replaced(store: EventStore) -> None:
    store.append("order", "1", noted(1))
    ids = {"PostgreSQL": "SELECT pg_backend_pid()"}.get(store.dialect, "SELECT CONNECTION_ID()")
    end = {"PostgreSQL": "SELECT pg_terminate_backend({})"}.get(store.dialect, "KILL {}")
    with store.database.reading() as connection:
        number = connection.exec_driver_sql(ids).scalar()
    other = Database(store.database.url)
    with other.writing() as connection:
        connection.exec_driver_sql(end.format(number))
    other.close()
    assert positions(store) == [1]
    store.append("order", "1", noted(2))
    assert [event.position for event in store.read_log("main", where=EventFilter(types=("noted",)))] == [1, 2]
