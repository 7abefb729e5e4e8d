"""Projections in the dashboard: what a person sees of them, and what operators do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.web.conftest import Browser
from tests.web.shopping import fragile, loud, orders
from webapp.accounts.home import Home
from webapp.accounts.roles import Grant
from webapp.errors import ProjectionFailed
from webapp.projections import run_to_head
from webapp.replay.jobs import list_replays
from webapp.store import Append, EventStore, NewEvent
from webapp.store.source import Health, ProjectionStatus

page = "/stores/shop/projections"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """The dashboard with the code of three projections."""
    return make_app(domain="tests.web.shopping:domain")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    """The shop, with 120 more orders in it."""
    store = EventStore.open(f"sqlite:///{tmp_path / 'shop.db'}")
    store.append_many([Append("order", f"o{n:03}", [NewEvent("order.placed", {"total": n})]) for n in range(120)])
    yield store
    store.close()


@pytest.fixture
def failed(store: EventStore) -> EventStore:
    """The shop with one projection at the head and one that stopped at position 9."""
    run_to_head(store, orders)
    with pytest.raises(ProjectionFailed):
        run_to_head(store, fragile)
    return store


def status(store: EventStore, name: str) -> ProjectionStatus:
    from webapp.projections.status import list_statuses

    return next(one for one in list_statuses(store) if one.name == name)


def test_the_list_shows_problems_first_and_what_was_never_started(admin: Browser, failed: EventStore) -> None:
    text = admin.read(page)
    assert text.index(f"{page}/fragile") < text.index(f"{page}/orders") < text.index(f"{page}/loud")
    assert "failed at 9" in text
    assert "1 needs attention" in text
    assert "not started" in text
    assert f'action="{page}/loud/start"' in text
    assert "hx-trigger" not in text, "nothing runs, so nothing is polled"


def test_a_failure_is_shown_with_its_event_and_harmless(admin: Browser, failed: EventStore) -> None:
    text = admin.read(f"{page}/fragile")
    assert "/stores/shop/events/main/9" in text
    assert "&lt;b&gt;vat_id" in text
    assert "<b>vat_id" not in text
    assert "Traceback" in text


def test_rows_are_browsed_by_key_both_ways(admin: Browser, failed: EventStore) -> None:
    import html
    import re

    first = admin.read(f"{page}/orders")
    assert ">42<" in first
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following
    second = admin.read(html.unescape(following[1]))
    assert ">o049<" in second
    back = re.search(r'rel="prev" href="([^"]+)"', second)
    assert back
    assert ">o048<" in admin.read(html.unescape(back[1]))
    assert "not a place in this table" in admin.read(f"{page}/orders?after=rubbish", 400)
    assert "There is no table" in admin.read(f"{page}/orders?table=projectionist_people", 400)


def test_starting_pausing_and_resuming_are_done_and_recorded(admin: Browser, store: EventStore, home: Home) -> None:
    for act, expected in (("start", "running"), ("pause", "paused"), ("resume", "running")):
        response = admin.post(f"{page}/orders/{act}", page=page)
        assert (response.status_code, response.headers["Location"]) == (303, f"{page}/orders")
        assert status(store, "orders").status == expected
    acts = [event.type for event in home.events.read_stream("store", "shop")]
    assert acts == ["projection.started", "projection.paused", "projection.resumed"]


def test_skipping_needs_a_reason_and_the_event_that_was_seen(admin: Browser, failed: EventStore, home: Home) -> None:
    url = f"{page}/fragile/skip"
    assert admin.post(url, {"event": "main:9", "reason": " "}).status_code == 400
    assert admin.post(url, {"event": "main:8", "reason": "test data"}).status_code == 409
    assert status(failed, "fragile").skipped == 0
    assert admin.post(url, {"event": "main:9", "reason": "test data"}).status_code == 303
    text = admin.read(f"{page}/fragile")
    assert "test data" in text
    event = next(iter(home.events.read_stream("store", "shop")))
    assert event.data == {"projection": "fragile", "log": "main", "position": 9, "reason": "test data"}
    assert run_to_head(failed, fragile) > 0
    assert status(failed, "fragile").health is Health.up_to_date


def test_deleting_needs_the_name_and_retires_the_derived_log(admin: Browser, store: EventStore) -> None:
    run_to_head(store, loud)
    response = admin.post(f"{page}/loud/delete", {"confirm": "Loud"})
    assert response.status_code == 400
    assert "Nothing was deleted" in response.get_data(True)
    assert admin.post(f"{page}/loud/delete", {"confirm": "loud"}).status_code == 303
    assert store.log("derived-loud").is_retired
    assert "not started" in admin.read(f"{page}/loud")


def test_a_rebuild_is_asked_for_once(admin: Browser, failed: EventStore, home: Home) -> None:
    text = admin.read(f"{page}/orders/rebuild")
    assert "121" in text
    assert "Readers keep seeing generation 1 until the swap" in text
    form = {"reason": "new column", "batch_size": "50"}
    first = admin.post(f"{page}/orders/rebuild", form)
    second = admin.post(f"{page}/orders/rebuild", form)
    assert first.status_code == second.status_code == 303
    assert first.headers["Location"] == second.headers["Location"] == "/stores/shop/replays/1"
    assert "under way already" in admin.read("/stores/shop/replays/1")
    assert [(job.reason, job.batch_size, job.started_by) for job in list_replays(home, "shop")] == [
        ("new column", 50, "admin")
    ]
    response = admin.post(f"{page}/orders/delete", {"confirm": "orders"})
    assert response.status_code == 409, "not while a replay is under way"


@pytest.mark.parametrize("size", ["0", "-1", "many", "1000001", ""])
def test_a_batch_size_that_cannot_be_used_is_said_beside_its_field(
    admin: Browser, store: EventStore, home: Home, size: str
) -> None:
    response = admin.post(f"{page}/orders/rebuild", {"batch_size": size, "reason": "kept"})
    assert response.status_code == 400
    assert 'id="batch_size-error"' in response.get_data(True)
    assert "kept" in response.get_data(True)
    assert not list_replays(home, "shop")


acts = {
    "start": {}, "pause": {}, "resume": {}, "skip": {"event": "main:9", "reason": "x"},
    "rebuild": {"batch_size": "10"}, "delete": {"confirm": "fragile"},
}  # fmt: skip


@pytest.mark.parametrize("act", acts)
@pytest.mark.parametrize(
    ("grant", "may"),
    [
        (Grant("viewer"), False),
        (Grant("auditor"), False),
        (Grant("operator"), True),
        (Grant("operator", "shop"), True),
        (Grant("admin"), True),
    ],
    ids=str,
)
def test_acts_are_for_operators_of_the_store(
    somebody: Callable[..., Browser], failed: EventStore, act: str, grant: Grant, may: bool
) -> None:
    ann = somebody("ann", grant)
    assert (f"{page}/fragile/skip" in ann.read(f"{page}/fragile")) is may
    assert ann.post(f"{page}/fragile/{act}", acts[act]).status_code == (303 if may else 403)
    assert ann.get(f"{page}/orders/rebuild").status_code == (200 if may else 403)


def test_an_operator_of_another_store_does_not_see_this_one(
    somebody: Callable[..., Browser], failed: EventStore
) -> None:
    ann = somebody("ann", Grant("operator", "broken"))
    assert ann.get(page).status_code == 404
    assert ann.post(f"{page}/fragile/pause").status_code == 404


def test_code_that_changed_or_is_gone_is_said(
    make_app: Callable[..., Flask], app: Flask, admin: Browser, failed: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.projections.projection.Projection.fingerprint", lambda self: "other")
    assert "Built by older code" in admin.read(f"{page}/orders")
    bare = Browser(make_app(domain=None))
    bare.log_in()
    text = bare.read(f"{page}/orders")
    assert "No code here defines it" in text
    assert f"{page}/orders/rebuild" not in text
    assert bare.get(f"{page}/orders/rebuild").status_code == 404


def test_an_unknown_projection_is_a_404_that_names_those_there_are(admin: Browser, store: EventStore) -> None:
    assert "There is no projection “nix” here. Known here:" in admin.read(f"{page}/nix", 404)
    for act, form in acts.items():
        assert admin.post(f"{page}/nix/{act}", form).status_code == 404


def test_home_runs_no_projections(admin: Browser) -> None:
    assert "Start" not in admin.read("/stores/home/projections")
    assert admin.post("/stores/home/projections/orders/start").status_code == 409
