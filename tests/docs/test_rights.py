"""The rights that the page on production gives to programs are enough for them, and not enough to change what was recorded."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from tests.docs.pages import read_blocks, root
from tests.store.helpers import execute, noted, on_servers
from tests.store.vaults import make_vault, registered
from webapp.errors import ProjectionistError, StoreUnavailable
from webapp.projections import Context, Projection, Table, delete_projection, run_to_head
from webapp.replay import rebuild, verify_projection
from webapp.store import EventStore, Publisher, RecordedEvent
from webapp.store.database import parse_url

pytestmark = on_servers
password = "a-throwaway-password"
refused = {
    "postgresql": [
        "DROP TABLE projectionist_events",
        "TRUNCATE projectionist_events",
        "ALTER TABLE projectionist_events DISABLE TRIGGER ALL",
        "DROP TRIGGER projectionist_events_no_update ON projectionist_events",
        "SET session_replication_role = replica",
        "UPDATE projectionist_events SET version = 9",
    ],
    "mysql": [
        "DROP TABLE projectionist_events",
        "TRUNCATE TABLE projectionist_events",
        "DROP TRIGGER projectionist_events_no_update",
        "ALTER TABLE projectionist_events DROP COLUMN data",
        "RENAME TABLE projectionist_events TO gone",
        "UPDATE projectionist_events SET version = 9",
        "DELETE FROM projectionist_events",
    ],
}


@pytest.fixture
def open_as(store: EventStore, backend: str) -> Iterator[Callable[[str], EventStore]]:
    """Opens the store as one of the users that the page knows, with the rights that it gives them."""
    store.create_log("busy", "parallel")
    store.append("order", "42", noted(1))
    family = "postgresql" if backend == "postgresql" else "mysql"
    title = {"postgresql": "PostgreSQL", "mysql": "MariaDB and MySQL"}[family]
    page = root / "docs" / "guide" / "production.md"
    (block,) = [block for block in read_blocks(page) if block.title == title]
    mark, database = uuid.uuid4().hex[:8], store.database.url.database or ""
    users = {name: f"{name}_{mark}" for name in ("shop_app", "shop_worker", "shop_reader")}
    host = "" if family == "postgresql" else "@'%'"
    engine = sa.create_engine(store.database.url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    opened: list[EventStore] = []
    with engine.connect() as connection:
        for user in users.values():
            known_by = f"LOGIN PASSWORD '{password}'" if family == "postgresql" else f"IDENTIFIED BY '{password}'"
            connection.exec_driver_sql(f"CREATE USER {user}{host} {known_by}".replace("%", "%%" if host else "%"))
        for statement in block.text.split(";"):
            sql = re.sub(r"\bshop\.\*", f"{database}.*", statement).strip()
            sql = re.sub(r"\b(shop_app|shop_worker|shop_reader)\b", lambda found: users[found[1]] + host, sql)
            if sql:
                connection.exec_driver_sql(sql.replace("%", "%%"))

    def open_store(user: str) -> EventStore:
        url = parse_url(store.database.url).set(username=users[user], password=password)
        opened.append(EventStore.open(url))
        return opened[-1]

    yield open_store
    for one in opened:
        one.close()
    with engine.connect() as connection:
        for user in reversed(users.values()):
            if family == "postgresql":
                connection.exec_driver_sql(f"DROP OWNED BY {user}")
            connection.exec_driver_sql(f"DROP USER {user}{host}".replace("%", "%%"))


def test_a_program_can_do_its_work_and_change_nothing(open_as: Callable[[str], EventStore], backend: str) -> None:
    app = open_as("shop_app")
    app.check()
    app.append("order", "42", noted(2), expected_version=1)
    app.append("basket", "1", noted(*range(60)))
    app.append("visit", "1", noted(1), log="visits")
    app.append("click", "1", noted(1), log="busy")
    app.close_stream("order", "42", noted(3), into="42:b", opening_events=noted(4))
    vault = make_vault(app)
    vault.protected().append("customer", "7", [registered("7")])
    vault.forget("7", by="ann")
    seen: list[str] = []
    publisher = Publisher(app, "broker", lambda event: seen.append(event.type))
    while publisher.run_once():
        pass
    publisher.release()
    assert len(seen) == app.head("main")
    before = [event.to_json() for event in app.read_log("main", limit=None)]
    for statement in refused["postgresql" if backend == "postgresql" else "mysql"]:
        with pytest.raises(ProjectionistError, match=r"denied|must be owner|append-only"):
            execute(app, statement)
    assert [event.to_json() for event in app.read_log("main", limit=None)] == before


def test_a_worker_can_run_and_rebuild_projections(open_as: Callable[[str], EventStore], backend: str) -> None:
    worker = open_as("shop_worker")
    columns = (sa.Column("n", sa.Integer, primary_key=True), sa.Column("times", sa.Integer))
    projection = Projection("numbers", tables=[Table("numbers", *columns)])

    @projection.on("noted")
    def count(event: RecordedEvent, context: Context) -> None:
        context.table("numbers").increment(event.data["n"], times=1)

    assert run_to_head(worker, projection) == 1
    worker.append("order", "42", noted(1, 2))
    rebuild(worker, projection)
    assert verify_projection(worker, projection).is_equal
    assert [tuple(row) for row in execute(worker, "SELECT n, times FROM numbers ORDER BY n")] == [(1, 2), (2, 1)]
    delete_projection(worker, "numbers")
    for statement in refused["postgresql"] if backend == "postgresql" else ["DELETE FROM projectionist_events"]:
        with pytest.raises(ProjectionistError, match=r"denied|must be owner|append-only"):
            execute(worker, statement)
    assert worker.head("main") == 3


def test_a_reader_can_read_and_no_more(open_as: Callable[[str], EventStore]) -> None:
    reader = open_as("shop_reader")
    reader.check()
    assert [event.data for event in reader.read_log("main")] == [{"n": 1}]
    assert [log.name for log in reader.logs()] == ["busy", "main"]
    assert [kind.name for kind in reader.aggregate_types()] == ["order"]
    with pytest.raises(StoreUnavailable):
        reader.append("order", "42", noted(2))
