"""Making our tables: repeated, at once, after an accident, by hand, and without the rights."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from tests.conftest import server_url
from tests.store.helpers import execute, noted, positions
from webapp.errors import AppendOnly, NeedsMigration, StoreUnavailable
from webapp.projections import tables as projection_tables
from webapp.store import EventStore
from webapp.store import tables as store_tables
from webapp.store.migrate import migration_sql
from webapp.store.triggers import create_triggers, missing_triggers, refuse


@contextmanager
def opened(url: str | sa.URL) -> Iterator[EventStore]:
    """A store that closes by itself."""
    store = EventStore.open(url)
    try:
        yield store
    finally:
        store.close()


@pytest.fixture
def empty(database_url: str) -> Iterator[EventStore]:
    """A store in an empty database, not migrated."""
    with opened(database_url) as store:
        yield store


def schema(store: EventStore) -> dict[str, Any]:
    """Tables, columns, keys, indexes and triggers of ours, comparable."""
    with store.database.reading() as connection:
        inspector = sa.inspect(connection)
        tables = {
            name: (
                [{key: str(value) for key, value in column.items()} for column in inspector.get_columns(name)],
                str(inspector.get_pk_constraint(name)),
                sorted(map(str, inspector.get_indexes(name))),
                sorted(map(str, inspector.get_unique_constraints(name))),
                sorted(map(str, inspector.get_foreign_keys(name))),
            )
            for name in inspector.get_table_names()
        }
        triggers = sorted(connection.exec_driver_sql(store.database.dialect.triggers).scalars())
        versions = sorted(connection.execute(sa.text("SELECT version_num FROM projectionist_version")).scalars())
        return {"tables": tables, "triggers": triggers, "versions": versions}


def trigger_names(store: EventStore) -> set[str]:
    with store.database.reading() as connection:
        return set(connection.exec_driver_sql(store.database.dialect.triggers).scalars())


def test_migrating_twice_changes_nothing(store: EventStore) -> None:
    store.append("order", "1", noted(1))
    before = schema(store)
    store.migrate()
    assert schema(store) == before
    assert positions(store) == [1]
    store.check()


def migrate_once(url: str, start: Any, results: Any) -> None:
    """What each process of the next test does."""
    start.wait()
    store = EventStore.open(url)
    try:
        store.migrate()
        results.put(None)
    except Exception as error:
        results.put(f"{type(error).__name__}: {error}")
    finally:
        store.close()


def test_four_processes_at_once_make_the_tables_once(empty: EventStore, database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=migrate_once, args=(database_url, start, results)) for _ in range(4)]
    for process in processes:
        process.start()
    outcomes = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert outcomes == [None] * 4
    empty.check()
    empty.append("order", "1", noted(1))
    assert schema(empty)["versions"] == ["store_0003"]


def by_hand(url: sa.URL, text: str) -> None:
    """Runs a script as a DBA would: with the command-line client where there is one that reaches the server."""
    if url.get_backend_name() == "sqlite":
        with sqlite3.connect(str(url.database)) as connection:
            connection.executescript(text)
        connection.close()
    elif url.get_backend_name() == "postgresql":
        address = url.set(drivername="postgresql").render_as_string(hide_password=False)
        run(["psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", address], text)
    elif url.get_backend_name() == "mariadb":
        options = [f"--host={url.host}", f"--port={url.port}", f"--user={url.username}", f"--password={url.password}"]
        run(["mariadb", "--no-defaults", *options, str(url.database)], text)
    else:
        # MariaDB's client doesn't know MySQL's way to log in, so this splits as MySQL's client would.
        connect = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
        with pymysql.connect(**connect, database=url.database, autocommit=True) as connection:  # type: ignore[arg-type]
            for statement in split_like_a_client(text):
                connection.cursor().execute(statement)


def run(command: list[str], text: str) -> None:
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr


def split_like_a_client(text: str) -> Iterator[str]:
    """Statements of a script, ended by the delimiter that holds; DELIMITER lines and comments are the client's own."""
    delimiter, statement = ";", ""
    for line in text.splitlines():
        if line.startswith("DELIMITER "):
            delimiter = line.split()[1]
        elif line and not line.startswith("--"):
            statement += line + "\n"
            if line.endswith(delimiter):
                yield statement.rstrip().removesuffix(delimiter)
                statement = ""
    assert not statement.strip()


@pytest.mark.parametrize("with_triggers", [True, False])
def test_the_sql_for_a_dba_makes_what_migrate_makes(
    store: EventStore, backend: str, with_triggers: bool, tmp_path: Path
) -> None:
    if not with_triggers:
        for table in ("events", "streams", "types"):
            for name in trigger_names(store):
                if name.startswith(f"projectionist_{table}_"):
                    execute(
                        store,
                        f"DROP TRIGGER {name}" + (f" ON projectionist_{table}" if backend == "postgresql" else ""),
                    )
    url = store.database.url
    name = f"test_{uuid.uuid4().hex[:12]}"
    if backend == "sqlite":
        other = url.set(database=str(tmp_path / "by_hand.db"))
    else:
        other = url.set(database=name)
        create_server_database(backend, name)
    try:
        by_hand(other, migration_sql(backend, with_triggers=with_triggers))
        with opened(other) as made:
            made.check()
            assert schema(made) == schema(store)
            made.append("order", "1", noted(1))
            guarded = pytest.raises(AppendOnly, match="append-only: DELETE") if with_triggers else nullcontext()
            with guarded:
                execute(made, "DELETE FROM projectionist_events")
    finally:
        if backend != "sqlite":
            drop_server_database(backend, name)


def create_server_database(backend: str, name: str) -> None:
    at_server(backend, f"CREATE DATABASE {name}")


def drop_server_database(backend: str, name: str) -> None:
    at_server(backend, f"DROP DATABASE {name}" + (" WITH (FORCE)" if backend == "postgresql" else ""))


def at_server(backend: str, *statements: str) -> None:
    engine = sa.create_engine(server_url(backend), isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_the_tables_in_code_are_those_in_the_database(store: EventStore) -> None:
    with store.database.reading() as connection:
        options = {"compare_type": True, "compare_server_default": True, "version_table": "projectionist_version"}
        context = MigrationContext.configure(connection, opts=options)
        both = [store_tables.metadata, projection_tables.metadata]
        differences = compare_metadata(context, both)  # type: ignore[arg-type]
    assert differences == []


@pytest.mark.parametrize("backend", ["mariadb", "mysql"], indirect=True)
@pytest.mark.parametrize("number", [1, 2, 4, 5, 6, 8, 10, 12])
def test_a_migration_that_was_killed_is_finished_by_the_next(
    empty: EventStore, backend: str, number: int, tmp_path: Path
) -> None:
    # DDL commits statement by statement there, so after a kill exactly the first few statements are done.
    statements = list(split_like_a_client(migration_sql(backend)))
    with empty.database.writing() as connection:
        for statement in statements[:number]:
            connection.exec_driver_sql(statement)
    with pytest.raises(NeedsMigration, match="Run: projectionist migrate"):
        empty.check()
    empty.migrate()
    empty.check()
    empty.append("order", "1", noted(1))
    with opened(empty.database.url) as fresh:
        assert create_triggers("mysql").keys() <= trigger_names(fresh)
        with empty.database.reading() as connection:
            indexes = {index["name"] for index in sa.inspect(connection).get_indexes("projectionist_events")}
        assert {"projectionist_events_type", "projectionist_events_correlation"} <= indexes


def test_without_triggers_there_are_none_until_a_migration_with_them(empty: EventStore) -> None:
    empty.migrate(with_triggers=False)
    empty.check()
    assert not trigger_names(empty)
    empty.append("order", "1", noted(1))
    empty.migrate(with_triggers=False)
    assert not trigger_names(empty)
    empty.migrate()
    with empty.database.reading() as connection:
        wanted = create_triggers(connection.dialect.name).keys() - {refuse}
        assert missing_triggers(empty.database.dialect, connection) == {}
    assert trigger_names(empty) == wanted
    with pytest.raises(AppendOnly):
        execute(empty, "DELETE FROM projectionist_events")


def test_what_was_never_migrated_says_which_command_to_run(empty: EventStore) -> None:
    actions = [
        empty.check,
        empty.logs,
        lambda: empty.append("order", "1", noted(1)),
        lambda: list(empty.read_log("main")),
        lambda: list(empty.read_stream("order", "1")),
        empty.event_types,
    ]
    for action in actions:
        with pytest.raises(NeedsMigration, match="Run: projectionist migrate") as raised:
            action()
        assert "***" in str(raised.value) or "sqlite" in str(raised.value)
        assert "Traceback" not in str(raised.value)


def test_tables_of_an_older_version_need_a_migration(store: EventStore) -> None:
    execute(store, "UPDATE projectionist_version SET version_num = 'store_0001'")
    with pytest.raises(NeedsMigration, match="store_0003 missing"):
        store.check()


def test_tables_of_a_newer_version_say_so(store: EventStore) -> None:
    execute(store, "UPDATE projectionist_version SET version_num = 'store_9999'")
    for action in (store.check, store.migrate):
        with pytest.raises(NeedsMigration, match=r"made by a newer version of Projectionist \(store_9999\). Install"):
            action()


@contextmanager
def role(backend: str, database: str, *grants: str) -> Iterator[sa.URL]:
    """The URL of a user with only these rights in one database."""
    name, password = f"role_{uuid.uuid4().hex[:10]}", "secret"
    if backend == "postgresql":
        make, drop = f"CREATE ROLE {name} LOGIN PASSWORD '{password}'", f"DROP ROLE {name}"
    else:
        make, drop = f"CREATE USER {name} IDENTIFIED BY '{password}'", f"DROP USER {name}"
    at_server(backend, make)
    url = server_url(backend).set(username=name, password=password, database=database)
    engine = sa.create_engine(server_url(backend).set(database=database), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for grant in grants:
            connection.exec_driver_sql(grant.format(role=name, database=database))
    try:
        yield url
    finally:
        if backend == "postgresql":
            with engine.connect() as connection:
                connection.exec_driver_sql(f"DROP OWNED BY {name} CASCADE")
        engine.dispose()
        at_server(backend, drop)


RIGHTS = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, REFERENCES"


@pytest.mark.parametrize("backend", ["mariadb", "mysql"], indirect=True)
def test_a_user_without_the_trigger_right_is_told_so(empty: EventStore, backend: str) -> None:
    database = str(empty.database.url.database)
    with role(backend, database, f"GRANT {RIGHTS} ON {{database}}.* TO {{role}}") as url, opened(url) as limited:
        with pytest.raises(StoreUnavailable, match=r"doesn't let this user make triggers: .*Grant TRIGGER .*--with"):
            limited.migrate()
        with pytest.raises(NeedsMigration):
            limited.check()
        limited.migrate(with_triggers=False)
        limited.append("order", "1", noted(1))
        empty.migrate()  # by somebody who may
        limited.migrate()  # who can't see the triggers either
        with pytest.raises(AppendOnly):
            execute(limited, "DELETE FROM projectionist_events")


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_a_role_that_may_make_no_trigger_function_is_told_so(empty: EventStore) -> None:
    database = str(empty.database.url.database)
    execute(empty, "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC")
    with role("postgresql", database, "GRANT CREATE ON SCHEMA public TO {role}") as url, opened(url) as limited:
        with pytest.raises(StoreUnavailable, match=r"doesn't let this user make triggers: .*--without-triggers"):
            limited.migrate()
        assert schema_is_empty(limited), "DDL is part of the transaction"
        limited.migrate(with_triggers=False)
        limited.append("order", "1", noted(1))


def schema_is_empty(store: EventStore) -> bool:
    with store.database.reading() as connection:
        return not sa.inspect(connection).get_table_names()


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
def test_a_user_who_may_make_no_table_is_told_so(empty: EventStore, backend: str) -> None:
    database = str(empty.database.url.database)
    grants = [] if backend == "postgresql" else ["GRANT SELECT ON {database}.* TO {role}"]
    with role(backend, database, *grants) as url, opened(url) as limited:
        with pytest.raises(StoreUnavailable, match=r"denied a right: .* Grant it, or use another"):
            limited.migrate()


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"], indirect=True)
def test_a_user_who_may_only_select_can_read_and_is_told_so_when_writing(store: EventStore, backend: str) -> None:
    store.append("order", "1", noted(1))
    grant = "ALL TABLES IN SCHEMA public" if backend == "postgresql" else "{database}.*"
    with (
        role(backend, str(store.database.url.database), f"GRANT SELECT ON {grant} TO {{role}}") as url,
        opened(url) as limited,
    ):
        limited.check()
        assert positions(limited) == [1]
        assert [log.name for log in limited.logs()] == ["main"]
        with pytest.raises(StoreUnavailable, match="denied a right"):
            limited.append("order", "1", noted(2))
        limited.migrate()  # there is nothing to do
