"""A replay in the dashboard: how far it is, pause, resume, cancel."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.web.conftest import Browser
from tests.web.shopping import fragile, orders
from webapp.accounts.home import Home
from webapp.accounts.roles import Grant
from webapp.accounts.tables import replays
from webapp.projections import run_to_head
from webapp.replay import jobs
from webapp.replay.runner import JobRunner
from webapp.store import Append, EventStore, NewEvent

page = "/stores/shop/replays"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """The dashboard with the code of three projections."""
    return make_app(domain="tests.web.shopping:domain")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    """The shop with 121 orders, its projection at the head."""
    store = EventStore.open(f"sqlite:///{tmp_path / 'shop.db'}")
    store.append_many([Append("order", f"o{n:03}", [NewEvent("order.placed", {"total": n})]) for n in range(120)])
    run_to_head(store, orders)
    yield store
    store.close()


def ask(home: Home) -> int:
    return jobs.request_replay(home, "shop", "orders", started_by="ann", reason="new <column>", batch_size=10)


def claim(home: Home, store: EventStore) -> JobRunner:
    job = jobs.claim_replay(home, "runner")
    assert job is not None
    return JobRunner(home, job, store, orders)


def steps(runner: JobRunner, number: int) -> None:
    for _ in range(number):
        runner._reported_at = 0.0  # so that each step reports
        assert runner.step()


def test_progress_is_polled_while_it_runs(admin: Browser, home: Home, store: EventStore) -> None:
    ask(home)
    assert "waits for a worker" in admin.read(f"{page}/1")
    runner = claim(home, store)
    steps(runner, 4)
    text = admin.read(f"{page}/1")
    assert "of 121 events · generation 2 is built beside generation 1, which keeps serving" in text
    assert "new &lt;column&gt;" in text
    piece = admin.read(f"{page}/1/progress?seen=running")
    assert 'hx-trigger="every 1s"' in piece
    assert "<html" not in piece
    assert admin.get(f"{page}/1/progress?seen=queued").headers["HX-Refresh"] == "true"
    assert admin.get(f"{page}/1?refresh=3").headers["Refresh"] == "3"
    assert "Refresh" not in admin.get(f"{page}/1").headers
    listed = admin.read("/stores/shop/projections")
    assert 'hx-get="/stores/shop/projections/~list"' in listed
    assert "rebuilding" in listed
    runner.run()
    text = admin.read(f"{page}/1")
    assert "121 events · generation 2 serves" in text
    assert "hx-trigger" not in text
    assert "done" in admin.read(page)
    assert "Refresh" not in admin.get(f"{page}/1?refresh=3").headers


def test_it_is_paused_resumed_and_cancelled(admin: Browser, home: Home, store: EventStore) -> None:
    ask(home)
    runner = claim(home, store)
    steps(runner, 3)
    assert admin.post(f"{page}/1/pause").status_code == 303
    assert "pausing" in admin.read(f"{page}/1")
    runner._reported_at = 0.0  # a wish is seen with the next report
    runner.run()
    assert "paused" in admin.read(f"{page}/1")
    assert admin.post(f"{page}/1/pause").status_code == 409
    assert admin.post(f"{page}/1/resume").status_code == 303
    assert "What was built so far is dropped" in admin.read(f"{page}/1/cancel")
    assert admin.post(f"{page}/1/cancel").status_code == 303
    claim(home, store).run()
    assert jobs.find_replay(home, 1).status == "cancelled"
    assert "what serves stayed as it was" in admin.read(f"{page}/1")
    acts = [event.type for event in home.events.read_stream("store", "shop")]
    assert acts == ["replay.pause_requested", "replay.resumed", "replay.cancel_requested", "replay.cancelled"]


def test_a_silent_worker_shows_as_interrupted(admin: Browser, home: Home, store: EventStore) -> None:
    ask(home)
    steps(claim(home, store), 2)
    with home.database.writing() as connection:
        long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
        connection.execute(sa.update(replays).values(heartbeat_at=long_ago))
    text = admin.read(f"{page}/1")
    assert "interrupted" in text
    assert "press Resume" in text
    assert f'action="{page}/1/resume"' in text


def test_a_failure_says_why_and_leads_to_the_projection(admin: Browser, home: Home, store: EventStore) -> None:
    jobs.request_replay(home, "shop", "fragile", started_by="ann", batch_size=10)
    job = jobs.claim_replay(home, "runner")
    assert job is not None
    JobRunner(home, job, store, fragile).run()
    text = admin.read(f"{page}/1")
    assert "Projection fragile failed at main:9" in text
    assert "/stores/shop/projections/fragile" in text
    assert "<b>vat_id" not in text
    assert "replay failed" in admin.read("/stores/shop/projections")


@pytest.mark.parametrize("act", ["pause", "resume", "cancel"])
@pytest.mark.parametrize(("role", "may"), [("viewer", False), ("auditor", False), ("operator", True), ("admin", True)])
def test_acts_are_for_operators(
    somebody: Callable[..., Browser], home: Home, store: EventStore, act: str, role: str, may: bool
) -> None:
    ask(home)
    if act == "resume":
        jobs.pause_replay(home, 1)
    ann = somebody("ann", Grant(role, "shop"))
    assert ('method="post" action="/stores/shop/replays' in ann.read(f"{page}/1")) is may
    assert ann.post(f"{page}/1/{act}").status_code == (303 if may else 403)
    assert ann.get(f"{page}/1/cancel").status_code == (200 if may else 403)


def test_an_unknown_replay_is_a_404(admin: Browser, home: Home, store: EventStore) -> None:
    assert "There is no replay “7” here." in admin.read(f"{page}/7", 404)
    jobs.request_replay(home, "other", "orders", started_by="ann")
    assert admin.get(f"{page}/1").status_code == 404, "another store's"
    for act in ("pause", "resume", "cancel"):
        assert admin.post(f"{page}/1/{act}").status_code == 404


def test_the_page_stays_when_the_store_does_not_answer(admin: Browser, home: Home) -> None:
    jobs.request_replay(home, "broken", "orders", started_by="ann")
    assert "Rebuild 1 of orders" in admin.read("/stores/broken/replays/1")
