"""No page asks a question whose cost grows with the log: every SELECT of every page has a limit or a unique key."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.web.conftest import Browser, password
from tests.web.crawling import crawl
from tests.web.statements import Statements, judge
from webapp.accounts.home import Home
from webapp.app import create_app
from webapp.config import Config
from webapp.demo import make_demo
from webapp.replay.jobs import request_replay
from webapp.store import EventStore
from webapp.web.context import Dashboard

correlation = "00000000-0000-7000-8000-000000000000"
seeds = [
    "/", "/account", "/users", "/healthz", "/metrics", "/login", "/stores/shop",
    "/stores/shop/dead-letters", "/stores/shop/dead-letters/none", "/stores/home",
    "/stores/shop/events?order=oldest",
    "/stores/shop/events?type=order.placed&type=payment.captured",
    "/stores/shop/events?aggregate_type=order",
    "/stores/shop/events?aggregate_type=order&aggregate_id=O-100001",
    "/stores/shop/events?aggregate_id=O-100001",
    f"/stores/shop/events?correlation={correlation}",
    "/stores/shop/events?actor=cron",
    "/stores/shop/events?contains=tea",
    "/stores/shop/events?since=2026-01-01&until=2030-01-01",
    "/stores/shop/events?log=main&before=500",
    "/stores/shop/find?q=O-100001", "/stores/shop/find?q=12", "/stores/shop/find?q=order", f"/stores/shop/find?q={correlation}",
    "/stores/shop/aggregates/order?prefix=O-1", "/stores/shop/aggregates/wallet/c-00001?at=2030-01-01",
    "/stores/shop/audit?type=order.placed", "/stores/shop/audit?actor=cron", "/stores/shop/audit?contains=tea",
    "/stores/shop/audit/download?format=csv", "/stores/shop/audit/download?format=ndjson&type=order.placed",
    "/stores/shop/audit/download?format=csv&aggregate_type=order&aggregate_id=O-100001",
]  # fmt: skip


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small demo store in it."""
    folder = tmp_path_factory.mktemp("statements")
    make_demo(folder / "shop.db", events=2_000)
    return folder


@pytest.fixture
def statements(shop: Path) -> Iterator[Statements]:
    """What every connection sends from now on."""
    statements = Statements()
    with statements.recording():
        yield statements


@pytest.fixture
def app(statements: Statements, shop: Path, tmp_path: Path) -> Iterator[Flask]:
    """The dashboard over the demo store, with a replay that waits."""
    app = create_app(
        Config(
            home_folder=tmp_path, admin_password=password, stores=(("shop", f"sqlite:///{shop / 'shop.db'}"),),
            domain="webapp.demo.shop:domain",
        )
    )  # fmt: skip
    parts: Dashboard = app.extensions["projectionist"]
    ask_for_replay(parts.home)
    yield app
    parts.close()


def ask_for_replay(home: Home) -> None:
    request_replay(home, "shop", "order_list", started_by="ann", reason="to have one")


def test_every_select_of_every_page_has_a_limit_or_a_unique_key(app: Flask, statements: Statements) -> None:
    browser = Browser(app)
    browser.log_in()
    visited = crawl(app, browser, statements, seeds)
    pages = {rule.endpoint for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    assert pages - visited.keys() == {"static"}, "each kind of page was visited"
    asked = {sql for page, _, sql in statements.sent if page and "projectionist_events" in sql}
    assert len(asked) > 100
    assert any("e.data" in sql and "LIMIT" in sql for sql in asked), "the driver's own cursor is heard as well"
    complaints = statements.complaints()
    assert not complaints, "\n".join(complaints)


def test_a_page_that_counts_the_log_would_be_caught(
    app: Flask, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = EventStore.event_types

    def counting(self: EventStore) -> object:
        with self.database.reading() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM projectionist_events").scalar_one()
        return honest(self)

    monkeypatch.setattr(EventStore, "event_types", counting)
    browser = Browser(app)
    browser.log_in()
    statements.page = "/stores/shop/types"
    browser.read("/stores/shop/types")
    [complaint] = statements.complaints()
    assert complaint.startswith("/stores/shop/types sends a query that gathers over rows without a bound")


@pytest.mark.parametrize(
    ("sql", "wrong"),
    [
        ("SELECT * FROM projectionist_events", "without a limit"),
        ("SELECT * FROM projectionist_events e WHERE e.type_id = 1", "without a limit"),
        ("SELECT * FROM projectionist_events WHERE stream_id = 1 AND version > 2", "without a limit"),
        ("SELECT * FROM projectionist_events WHERE log_id = 1 AND position > 2 LIMIT 1000000", "without a limit"),
        ("SELECT * FROM projectionist_events LIMIT 50 OFFSET 5000", "OFFSET"),
        ("SELECT count(*) FROM projectionist_events", "gathers"),
        ("SELECT count(*) FROM projectionist_events WHERE type_id = 4 LIMIT 1", "gathers"),
        ("SELECT max(version) FROM projectionist_events WHERE stream_id IN (1, 2) GROUP BY stream_id", "gathers"),
        ("SELECT max(version) FROM projectionist_events WHERE type_id = 4", "gathers"),
        ("SELECT max(version) FROM projectionist_events WHERE stream_id = 4", None),
        ("SELECT max(version) FROM projectionist_events WHERE stream_id IN (4, 5)", "gathers"),
        ("SELECT s.id, (SELECT max(e.version) FROM projectionist_events e WHERE e.stream_id = s.id) "
         "FROM projectionist_streams s WHERE s.id IN (1, 2)", None),
        ("SELECT s.id, (SELECT max(e.position) FROM projectionist_events e WHERE e.stream_id = s.id) "
         "FROM projectionist_streams s WHERE s.id IN (1, 2)", "gathers"),
        ("SELECT type_id, count(*) FROM projectionist_events WHERE log_id = 1 AND position > 400 AND position <= 1400 "
         "GROUP BY type_id", None),
        ("SELECT type_id, count(*) FROM projectionist_events WHERE log_id = 1 AND position > 400 AND position <= 1401 "
         "GROUP BY type_id", "gathers"),
        ("SELECT type_id, count(*) FROM projectionist_events WHERE log_id = 1 AND position > 400 GROUP BY type_id", "gathers"),
        ("SELECT DISTINCT actor FROM projectionist_events LIMIT 20", "gathers"),
        ("SELECT count(*) FROM order_list", "gathers"),
        ("SELECT s.id, (SELECT count(*) FROM projectionist_events e WHERE e.stream_id = s.id) FROM projectionist_streams s "
         "WHERE s.id = 1", "gathers"),
        ("SELECT t.name FROM projectionist_types t JOIN projectionist_events e ON e.type_id = t.id", "without a limit"),
        ("SELECT name FROM projectionist_logs", None),
        ("SELECT 1", None),
        ("SELECT * FROM projectionist_events LIMIT 51", None),
        ("SELECT * FROM projectionist_events e WHERE e.log_id = 1 AND e.position = 7", None),
        ("SELECT * FROM projectionist_events WHERE stream_id IN (1, 2) AND version = 1", None),
        ("SELECT count(*) FROM (SELECT 1 FROM projectionist_events LIMIT 10001)", None),
        ("SELECT s.id, (SELECT e.version FROM projectionist_events e WHERE e.stream_id = s.id ORDER BY e.version DESC "
         "LIMIT 1) FROM projectionist_streams s WHERE s.id IN (1, 2)", None),
    ],
)  # fmt: skip
def test_it_tells_bounded_queries_from_others(shop: Path, sql: str, wrong: str | None) -> None:
    connection = sqlite3.connect(shop / "shop.db")
    found = judge(connection, sql)
    connection.close()
    assert (found is None) if wrong is None else (found is not None and wrong in found), found


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ("aggregate_type=order&aggregate_id=O-100001", "stream_id=?"),
        ("aggregate_id=O-100001", "stream_id=?"),
        ("type=order.placed&aggregate_id=O-100001", "stream_id=?"),
        (f"correlation={correlation}", "correlation_id=?"),
        (f"type=order.placed&correlation={correlation}&order=oldest", "correlation_id=?"),
    ],
)
def test_a_filter_for_few_events_is_answered_by_its_index(
    app: Flask, statements: Statements, shop: Path, filters: str, index: str
) -> None:
    browser = Browser(app)
    browser.log_in()
    statements.page = filters
    browser.read(f"/stores/shop/events?log=main&{filters}")
    [asked] = [
        sql for _, _, sql in statements.sent if "FROM projectionist_events e WHERE" in sql and "ORDER BY" in sql
    ]  # fmt: skip
    connection = sqlite3.connect(shop / "shop.db")
    [access] = [
        step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {asked}") if step.startswith(("SEARCH e", "SCAN e"))
    ]  # fmt: skip
    connection.close()
    assert index in access
