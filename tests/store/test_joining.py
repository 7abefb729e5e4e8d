"""Appends in somebody else's transaction: with the rows beside them they commit or roll back, whoever's connection it is."""

from __future__ import annotations

import contextlib
import functools
import re
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from tests.conftest import create_database
from tests.store.helpers import count, fields, noted, on_servers, positions, run_together
from tests.store.vaults import make_vault, registered
from webapp.errors import Conflict, InvalidRequest, NeedsMigration, StoreUnavailable, WrongExpectedVersion
from webapp.store import Append, EventStore, NewEvent, command


class Base(DeclarativeBase):
    """The tables of the caller."""


class OrderRow(Base):
    """A row of the caller's."""

    __tablename__ = "order_rows"
    id: Mapped[str] = mapped_column(sa.String(20), primary_key=True)
    total: Mapped[int]


@pytest.fixture
def engine(store: EventStore) -> Iterator[sa.Engine]:
    """The caller's own engine on the store's database, with SQLAlchemy's defaults, and his table."""
    engine = sa.create_engine(store.database.url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def raw(store: EventStore, engine: sa.Engine) -> Iterator[Any]:
    """A driver's own connection that gives rows as dicts and makes cursors of its own kind, as a caller may like them."""
    arguments, options = engine.dialect.create_connect_args(store.database.url)
    connection = engine.dialect.loaded_dbapi.connect(*arguments, **options)
    if store.dialect == "PostgreSQL":
        from psycopg import ClientCursor
        from psycopg.rows import dict_row

        connection.cursor_factory, connection.row_factory = ClientCursor, dict_row
    elif store.dialect == "SQLite":
        connection.row_factory = lambda cursor, row: dict(
            zip([part[0] for part in cursor.description], row, strict=True)
        )
    else:
        from pymysql.cursors import DictCursor

        connection.cursorclass = DictCursor
    yield connection
    connection.close()


def order(number: object, *, expected_version: int | None = 0, log: str = "main") -> Append:
    """The append of one order."""
    return Append("order", str(number), [NewEvent("order.placed", {"total": 7})], expected_version, log)


def rows(store: EventStore) -> int:
    return count(store, "order_rows")


def emails(store: EventStore) -> list[Any]:
    """The addresses of the customers, as another process with the key sees them."""
    return [event.data["email"] for event in make_vault(store).protected().read_log("main")]


def insert(raw: Any, id: str) -> None:
    """A business row by the driver's own cursor."""
    raw.cursor().execute(f"INSERT INTO order_rows (id, total) VALUES ('{id}', 7)")


# --- together -------------------------------------------------------------------------------------------------------


def test_a_session_a_connection_and_a_scoped_session_commit_rows_and_events_together(
    store: EventStore, engine: sa.Engine
) -> None:
    with Session(engine) as session, session.begin():
        session.add(OrderRow(id="1", total=7))
        (recorded,) = store.append_in(session, [order(1)])
        assert (recorded.position, recorded.version) == (1, 1)
        assert count(store, "projectionist_events") == 0
    with engine.begin() as connection:
        connection.execute(sa.insert(OrderRow).values(id="2", total=7))
        store.append_in(connection, [order(2)])
    scoped = scoped_session(sessionmaker(engine))
    scoped.add(OrderRow(id="3", total=7))
    store.append_in(scoped, [order(3)])
    store.append_in(scoped, [order(3, expected_version=1)])
    scoped.commit()
    scoped.remove()
    assert positions(store) == [1, 2, 3, 4]
    assert rows(store) == 3
    assert fields(next(iter(store.read_log("main")))) == fields(recorded)


def test_an_append_alone_begins_the_transaction_that_the_caller_commits_or_not(
    store: EventStore, engine: sa.Engine
) -> None:
    with engine.connect() as connection:
        store.append_in(connection, [order(1)])
        connection.commit()
        store.append_in(connection, [order(2)])
    with Session(engine) as session:
        store.append_in(session, [order(2)])
        session.commit()
    assert [event.aggregate_id for event in store.read_log("main")] == ["1", "2"]


def test_nothing_to_append_is_nothing(store: EventStore, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        assert store.append_in(connection, []) == []


def test_a_row_that_is_refused_takes_its_event_along(store: EventStore, engine: sa.Engine) -> None:
    with Session(engine) as session, session.begin():
        session.add(OrderRow(id="1", total=7))
    with pytest.raises(sa.exc.IntegrityError), Session(engine) as session, session.begin():
        store.append_in(session, [order(2)])
        session.add(OrderRow(id="1", total=8))
    with pytest.raises(sa.exc.IntegrityError), Session(engine) as session, session.begin():
        session.add(OrderRow(id="1", total=8))
        store.append_in(session, [order(2)])  # writes the pending row first
    assert count(store, "projectionist_events") == 0


def test_an_event_that_is_refused_takes_its_row_along(store: EventStore, engine: sa.Engine) -> None:
    store.append("order", "1", noted(1, 2))
    with pytest.raises(WrongExpectedVersion, match=r"^order/1 is at version 2, not at version 1\. Reload"):
        with Session(engine) as session, session.begin():
            session.add(OrderRow(id="1", total=7))
            store.append_in(session, [order(1, expected_version=1)])
    assert (rows(store), positions(store)) == (0, [1, 2])


def test_a_caller_who_goes_on_after_a_refusal_commits_nothing_of_that_append(
    store: EventStore, engine: sa.Engine
) -> None:
    store.append("order", "1", noted(1), log="b")
    taken = NewEvent("noted", 1, id=uuid.uuid4())
    store.append("order", "9", [taken], log="b")
    with Session(engine) as session, session.begin():
        session.add(OrderRow(id="1", total=7))
        for refused in (order(1, log="b"), Append("order", "1", [NewEvent("noted", 2, id=taken.id)], None, "b")):
            with pytest.raises(Conflict):
                store.append_in(session, [order(1, log="a"), refused])
        store.append_in(session, [order(2, log="a")])
    assert rows(store) == 1
    assert [(event.position, event.aggregate_id) for event in store.read_log("a")] == [(1, "2")]
    assert positions(store, "b") == [1, 2]


def test_what_the_database_refuses_halfway_leaves_no_half_append(
    store: EventStore, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append("order", "1", noted(1))
    dialect = store.database.dialect
    append_rows = type(dialect).append_rows

    def refuse(self: Any, connection: sa.Connection, table: str, *rest: Any) -> None:
        append_rows(self, connection, "no_such_table", *rest)

    with Session(engine) as session, session.begin():
        session.add(OrderRow(id="1", total=7))
        with monkeypatch.context() as patched, pytest.raises(NeedsMigration):
            patched.setattr(type(dialect), "append_rows", refuse)
            store.append_in(session, [Append("order", "2", noted(1, 2))])
    store.append("order", "1", noted(2))
    assert (rows(store), positions(store)) == (1, [1, 2])


def test_two_at_once_are_one_after_the_other_or_refused(store: EventStore, engine: sa.Engine) -> None:
    def place(number: int) -> int:
        with engine.begin() as connection:
            connection.execute(sa.insert(OrderRow).values(id=str(number), total=7))
            (recorded,) = store.append_in(connection, [Append("till", "1", noted(number), 1)])
            return recorded.position

    store.append("till", "1", noted(0))
    outcomes = run_together(*[functools.partial(place, number) for number in range(4)])
    won = [outcome for outcome in outcomes if isinstance(outcome, int)]
    lost = [outcome for outcome in outcomes if not isinstance(outcome, int)]
    assert won == [2]
    # Who waited for SQLite's one writer, or read before the winner committed, is told so in one way or the other.
    assert all(isinstance(outcome, (Conflict, StoreUnavailable, sa.exc.OperationalError)) for outcome in lost)
    assert (rows(store), positions(store)) == (1, [1, 2])


# --- what is remembered ---------------------------------------------------------------------------------------------


def test_a_rollback_leaves_nothing_behind_in_memory(store: EventStore, engine: sa.Engine) -> None:
    event = NewEvent("lost", 1, id=uuid.uuid4())
    for opened in (engine, store.database.engine):
        with opened.connect() as connection:
            store.append_in(connection, [Append("ghost", "1", [event])])
            (again,) = store.append_in(connection, [Append("ghost", "1", [event])])
            assert (again.stream, again.type) == ("ghost/1", "lost")
            connection.rollback()
    # These take the numbers that the others had.
    store.append("order", "2", noted(1))
    store.append("order", "3", noted(1), expected_version=0)
    assert [(found.stream, found.type) for found in store.read_log("main")] == [
        ("order/2", "noted"),
        ("order/3", "noted"),
    ]
    assert [(found.name, found.count.number) for found in store.event_types()] == [("noted", 2)]


def test_an_append_with_the_same_ids_comes_back_and_with_others_is_refused(
    store: EventStore, engine: sa.Engine
) -> None:
    event = NewEvent("noted", {"n": 1}, id=uuid.uuid4())
    (first,) = store.append("order", "1", [event], expected_version=0)
    with engine.begin() as connection:
        (again,) = store.append_in(connection, [Append("order", "1", [event], 0)])
    assert fields(again) == fields(first)
    assert positions(store) == [1]


def test_the_context_and_the_vault_apply(store: EventStore, engine: sa.Engine) -> None:
    vault = make_vault(store)
    protected = vault.protected()
    with pytest.raises(ZeroDivisionError), Session(engine) as session, session.begin():
        protected.append_in(session, [Append("customer", "42", [registered()])])
        raise ZeroDivisionError
    assert count(store, "projectionist_subject_keys") == 0
    with command(tenant="acme", correlation_id="c-1"), Session(engine) as session, session.begin():
        session.add(OrderRow(id="1", total=7))
        (recorded,) = protected.append_in(session, [Append("customer", "42", [registered()])])
    assert (recorded.metadata["tenant"], recorded.correlation_id) == ("acme", "c-1")
    assert recorded.data == registered().data
    assert emails(store) == ["ann@x.org"]
    assert "ann@x.org" not in next(iter(store.read_log("main"))).data_text


def test_followers_are_woken_by_the_commit_and_not_by_a_rollback(store: EventStore, engine: sa.Engine) -> None:
    waiter = store.notifier.join("main", None)
    try:
        with engine.connect() as connection:
            for end, is_woken in ((connection.rollback, False), (connection.commit, True), (connection.commit, False)):
                if is_woken:
                    store.append_in(connection, [order(1)])
                waiter.clear()
                end()
                if store.dialect != "PostgreSQL":  # where the listener may wake it, too, when it begins to listen
                    assert waiter._woken.is_set() == is_woken
                elif is_woken:
                    waiter._woken.wait(30)
                    assert waiter._woken.is_set()
    finally:
        waiter.close()


# --- drivers' own connections ---------------------------------------------------------------------------------------


def test_a_drivers_own_connection_commits_what_was_appended_only_when_it_commits(store: EventStore, raw: Any) -> None:
    insert(raw, "1")
    with store.joining(raw) as connection:
        recorded = store.append_in(connection, [Append("order", "1", noted(*range(50)), 0)])
        assert [event.version for event in recorded] == list(range(1, 51))
    assert count(store, "projectionist_events") == 0
    raw.commit()
    assert (rows(store), positions(store)) == (1, list(range(1, 51)))
    insert(raw, "2")
    with store.joining(raw) as connection:
        store.append_in(connection, [order(2)])
    raw.rollback()
    assert (rows(store), len(positions(store))) == (1, 50)
    cursor = raw.cursor()
    cursor.execute("SELECT id FROM order_rows")
    assert cursor.fetchall() == [{"id": "1"}]  # as the caller likes it
    raw.rollback()


def test_an_error_in_the_block_ends_nothing(store: EventStore, raw: Any) -> None:
    insert(raw, "1")
    with pytest.raises(WrongExpectedVersion), store.joining(raw) as connection:
        store.append_in(connection, [order(1), order(1)])
    with store.joining(raw) as connection:
        store.append_in(connection, [order(1)])
    raw.commit()
    assert (rows(store), positions(store)) == (1, [1])


def test_the_joined_connection_can_neither_commit_nor_roll_back(store: EventStore, raw: Any) -> None:
    insert(raw, "1")
    with store.joining(raw) as connection:
        store.append_in(connection, [order(1)])
        with pytest.raises(InvalidRequest, match="Commit it where it was begun"):
            connection.commit()
    with store.joining(raw) as connection:
        store.append_in(connection, [order(2)])
        with pytest.raises(InvalidRequest, match="Roll it back where it was begun"):
            connection.rollback()
    assert count(store, "projectionist_events") == 0
    raw.commit()
    assert (rows(store), positions(store)) == (1, [1, 2])


def test_the_vaults_keys_are_part_of_a_joined_transaction(store: EventStore, raw: Any) -> None:
    protected = make_vault(store).protected()
    for end, is_kept in ((raw.rollback, False), (raw.commit, True)):
        with protected.joining(raw) as connection:
            protected.append_in(connection, [Append("customer", "42", [registered()])])
        end()
        assert bool(count(store, "projectionist_subject_keys")) == is_kept
    assert emails(store) == ["ann@x.org"]


# --- what can't be joined -------------------------------------------------------------------------------------------


def test_a_connection_that_commits_each_statement_is_refused(store: EventStore, engine: sa.Engine, raw: Any) -> None:
    sentence = r"^No transaction is open on this connection, so each statement would commit by itself\. Begin one"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        with pytest.raises(InvalidRequest, match=sentence):
            store.append_in(connection, [order(1)])
    if store.dialect == "PostgreSQL":
        raw.autocommit = True
    elif store.dialect == "SQLite":
        raw.isolation_level = None
    else:
        raw.autocommit(True)
    with pytest.raises(InvalidRequest, match=sentence), store.joining(raw) as connection:
        store.append_in(connection, [order(1)])
    raw.cursor().execute("BEGIN")  # as Django does, in its way
    with store.joining(raw) as connection:
        store.append_in(connection, [order(2)])
    raw.rollback()
    assert count(store, "projectionist_events") == 0


def test_another_kind_of_database_is_refused(store: EventStore, tmp_path: Any, engine: sa.Engine) -> None:
    other, drop = create_database("postgresql" if store.dialect == "SQLite" else "sqlite", tmp_path)
    with contextlib.closing(EventStore.open(other)) as stranger:
        stranger.migrate()
        with pytest.raises(
            InvalidRequest, match=f"^The store is on {stranger.dialect}, so its events can't be part of"
        ):
            with engine.begin() as connection:
                stranger.append_in(connection, [order(1)])
    drop()


def test_another_database_of_the_same_kind_is_refused(
    store: EventStore, backend: str, tmp_path: Any, engine: sa.Engine
) -> None:
    other, drop = create_database(backend, tmp_path)
    stranger = EventStore.open(other)
    stranger.migrate()
    with engine.begin() as connection:
        with pytest.raises(
            InvalidRequest, match=r"doesn't lead to the store's tables in .*Connect it to that database"
        ):
            stranger.append_in(connection, [order(1)])
    stranger.close()
    drop()
    assert count(store, "projectionist_events") == 0


def test_what_is_no_connection_is_refused(sqlite_store: EventStore) -> None:
    with pytest.raises(InvalidRequest, match=r"^Give a SQLAlchemy Connection or Session; builtins\.str is neither"):
        sqlite_store.append_in("sqlite://", [order(1)])  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="isn't open yet; in Django it is within"):
        with sqlite_store.joining(None):
            pass
    with pytest.raises(InvalidRequest, match="several databases"):
        sqlite_store.append_in(Session(), [order(1)])


@pytest.mark.parametrize("backend", ["mariadb", "mysql"], indirect=True)
def test_a_connection_that_can_not_say_everything_is_refused(store: EventStore, engine: sa.Engine) -> None:
    narrow = sa.create_engine(store.database.url.update_query_dict({"charset": "latin1"}))
    with narrow.begin() as connection, pytest.raises(InvalidRequest, match=r"talks latin1.*charset=utf8mb4"):
        store.append_in(connection, [order(1)])
    narrow.dispose()


# --- transactions that see the past ---------------------------------------------------------------------------------


@on_servers
def test_a_transaction_that_reads_the_past_is_told_to_run_again(store: EventStore) -> None:
    """Under REPEATABLE READ, MySQL's default, a stream would look shorter than it is."""
    store.append("order", "1", noted(1))
    engine = sa.create_engine(store.database.url, isolation_level="REPEATABLE READ")
    again = r"Roll it back and run it\s+again"
    with pytest.raises((Conflict, StoreUnavailable), match=again), engine.begin() as connection:
        connection.execute(sa.text("SELECT count(*) FROM projectionist_events")).scalar_one()
        store.append("order", "1", noted(2))
        store.append_in(connection, [order(1, expected_version=None)])
    with engine.begin() as connection:
        store.append_in(connection, [order(1, expected_version=2)])
        store.append_in(connection, [order(1, expected_version=3)])
    engine.dispose()
    assert positions(store) == [1, 2, 3, 4]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_sqlites_reader_that_can_not_turn_writer_is_told_to_begin_immediate(store: EventStore, raw: Any) -> None:
    raw.isolation_level = None
    store.append("order", "1", noted(1))
    raw.execute("BEGIN")
    raw.execute("SELECT count(*) FROM projectionist_events").fetchone()
    store.append("order", "1", noted(2))
    with pytest.raises(StoreUnavailable, match=r"This transaction can't write.*begin it with BEGIN IMMEDIATE"):
        with store.joining(raw) as connection:
            store.append_in(connection, [order(2)])
    raw.execute("ROLLBACK")
    for begin in ("BEGIN", "BEGIN IMMEDIATE"):  # one that has read nothing, or nothing old, can still become a writer
        raw.execute(begin)
        raw.execute("SELECT count(*) FROM projectionist_events").fetchone()
        with store.joining(raw) as connection:
            store.append_in(connection, [order(begin)])
        raw.execute("COMMIT")
    assert positions(store) == [1, 2, 3, 4]


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_a_transaction_that_failed_is_not_gone_on_with(store: EventStore, engine: sa.Engine) -> None:
    with engine.connect() as connection:
        with pytest.raises(sa.exc.ProgrammingError):
            connection.execute(sa.text("SELECT 1 FROM no_such_table"))
        with pytest.raises(Conflict, match="failed at an earlier statement"):
            store.append_in(connection, [order(1)])


@on_servers
def test_a_deadlock_says_that_all_is_to_be_run_again(store: EventStore, engine: sa.Engine) -> None:
    for log in ("a", "b"):
        store.append("order", "0", noted(0), log=log)
    holding = threading.Barrier(2)

    def append(first: str, second: str) -> None:
        with engine.begin() as connection:
            store.append_in(connection, [order(1, log=first)])
            holding.wait(30)
            store.append_in(connection, [order(1, log=second)])

    outcomes = run_together(lambda: append("a", "b"), lambda: append("b", "a"))
    (error,) = [outcome for outcome in outcomes if outcome is not None]
    assert isinstance(error, StoreUnavailable) and store.database.is_retryable(error)
    assert re.match(
        r"Another transaction was in the way of this one \(.+\)\. Roll it back and run it again, whole\.", str(error)
    )
    assert (positions(store, "a"), positions(store, "b")) == ([1, 2], [1, 2])
