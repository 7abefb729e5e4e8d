"""Verify in the dashboard: who may press it, what it shows, what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.store.helpers import execute
from tests.web.conftest import Browser
from tests.web.shopping import orders
from webapp.accounts.home import Home
from webapp.accounts.roles import Grant
from webapp.projections import Projection, run_to_head
from webapp.replay import jobs
from webapp.replay.runner import JobRunner
from webapp.store import Append, EventStore, NewEvent

projection = "/stores/shop/projections/orders"
page = "/stores/shop/replays/1"


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


def claim(home: Home, store: EventStore, code: Projection = orders) -> JobRunner:
    job = jobs.claim_replay(home, "runner")
    assert job is not None
    return JobRunner(home, job, store, code)


def test_an_operator_verifies_and_sees_each_row_that_differs(
    app: Flask, home: Home, store: EventStore, somebody: Callable[..., Browser]
) -> None:
    ann = somebody("ann", Grant("operator", "shop"))
    assert f'action="{projection}/verify"' in ann.read(projection)
    execute(store, "UPDATE orders SET total = -5 WHERE id = 'o042'")
    execute(store, "DELETE FROM orders WHERE id = 'o043'")
    execute(store, "INSERT INTO orders (id, total) VALUES ('<b>o999</b>', NULL)")
    answer = ann.post(f"{projection}/verify")
    assert (answer.status_code, answer.headers["Location"]) == (303, page)
    text = ann.read(page)
    assert "Verification 1 of orders" in text and "waits for a worker" in text
    assert f'action="{page}/pause"' not in text and f'href="{page}/cancel"' in text
    claim(home, store).run()
    text = ann.read(page)
    assert "1 missing, 1 extra, 1 different. Nothing was changed; a rebuild mends it." in text
    assert '<td class="mono">-5</td><td class="mono">42</td>' in text
    assert '<td class="mono">–</td><td class="mono">43</td>' in text
    assert "id=&lt;b&gt;o999&lt;/b&gt;" in text and "No event ever wrote it." in text
    position = next(event.position for event in store.read_stream("order", "o042"))
    assert f'href="/stores/shop/events/main/{position}"' in text
    assert "hx-trigger" not in text
    acts = [(event.type, event.data.get("kind")) for event in home.events.read_stream("store", "shop")]
    assert acts == [("replay.requested", "verify"), ("replay.done", "verify")]


def test_an_equal_read_model_is_said_to_be_equal(admin: Browser, home: Home, store: EventStore) -> None:
    assert admin.post(f"{projection}/verify").status_code == 303
    claim(home, store).run()
    text = admin.read(page)
    assert "120 rows are what 121 events say." in text or "121 rows are what 121 events say." in text
    assert "differ" not in text
    assert "done" in admin.read("/stores/shop/replays") and page in admin.read(projection)


def test_one_at_a_time_and_only_what_runs_here(admin: Browser, home: Home, store: EventStore) -> None:
    assert admin.post(f"{projection}/verify").status_code == 303
    text = admin.read(projection)
    assert f'action="{projection}/verify"' not in text
    assert admin.post(f"{projection}/verify").headers["Location"] == page
    assert "orders has replay 1 under way" in admin.read(page)
    assert "Cancel the verification of orders?" in admin.read(f"{page}/cancel")
    assert admin.post("/stores/shop/projections/loud/verify").status_code == 409
    assert admin.post("/stores/shop/projections/unheard/verify").status_code == 404
    assert len(jobs.list_replays(home, "shop")) == 1


@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_others_see_what_was_found_and_no_button(
    app: Flask, home: Home, store: EventStore, somebody: Callable[..., Browser], role: str
) -> None:
    jobs.request_replay(home, "shop", "orders", kind="verify", started_by="ann")
    claim(home, store).run()
    ben = somebody("ben", Grant(role, "shop"))
    assert "rows are what 121 events say" in ben.read(page)
    assert f"{projection}/verify" not in ben.read(projection)
    assert ben.post(f"{projection}/verify").status_code == 403
    assert ben.get(f"{projection}/verify").status_code in (404, 405)
    assert len(jobs.list_replays(home, "shop")) == 1


def test_a_fold_that_fails_says_where_and_can_be_tried_again(admin: Browser, home: Home, store: EventStore) -> None:
    admin.post(f"{projection}/verify")
    broken = Projection("orders", tables=orders.tables)

    @broken.on("order.placed")
    def stumble(event: object, context: object) -> None:
        raise KeyError("<b>vat</b>")

    claim(home, store, broken).run()
    text = admin.read(page)
    assert "KeyError" in text and "&lt;b&gt;vat" in text and "Nothing was changed." in text
    assert f'action="{projection}/verify"' in admin.read(projection)  # it holds nothing up
    assert admin.post(f"{page}/resume").status_code == 303
    claim(home, store).run()
    assert "rows are what 121 events say" in admin.read(page)
