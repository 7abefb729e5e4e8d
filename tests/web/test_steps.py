"""Stepping through events in the dashboard: who may, what it shows, how it goes on, what it refuses."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.replay.test_verify import contents
from tests.store.helpers import execute
from tests.web.conftest import Browser
from tests.web.pages import links, text_of
from tests.web.shopping import fragile, orders
from webapp.accounts.home import Home
from webapp.accounts.roles import Grant
from webapp.errors import ProjectionFailed
from webapp.projections import Follower, run_to_head
from webapp.store import Append, EventStore, NewEvent

projection = "/stores/shop/projections/orders"
page = f"{projection}/steps"
stumbling = "/stores/shop/projections/fragile"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """The dashboard with the code of three projections."""
    return make_app(domain="tests.web.shopping:domain")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    """The shop with 61 orders; the projection stands at 31, the fragile one before order o007."""
    store = EventStore.open(f"sqlite:///{tmp_path / 'shop.db'}")
    placed = [Append("order", f"o{n:03}", [NewEvent("order.placed", {"total": n})]) for n in range(60)]
    store.append_many(placed[:30])
    run_to_head(store, orders)
    store.append_many(placed[30:])
    with pytest.raises(ProjectionFailed):
        run_to_head(store, fragile)
    yield store
    store.close()


def test_an_operator_steps_through_the_next_events_and_on(
    app: Flask, home: Home, store: EventStore, somebody: Callable[..., Browser]
) -> None:
    ann = somebody("ann", Grant("operator", "shop"))
    before = contents(store), home.events.head("main")
    assert links(ann.read(projection), "Step through the next events") == [page]
    source = ann.read(page)
    text = text_of(source)
    assert "It starts from the rows that readers see (generation 1)." in text
    assert "orders id=o030 new total – 30" in text and "handler add_order" in text
    assert text.count(" new ") == 20 and "20 events after main:31" in text
    assert 'href="/stores/shop/events/main/32"' in source
    (following,) = links(source, "Next")
    assert following == f"{page}?after=51"
    text = text_of(ann.read(following))
    assert "20 events applied to them" in text and "orders id=o050 new" in text and "10 events after main:51" in text
    assert links(ann.read(following), "Next") == []
    (back,) = links(ann.read(following), "Previous")
    assert back == f"{page}?after=31"
    (further,) = links(ann.read(back), "Previous")
    assert further == f"{page}?after=11"
    assert "It starts from 11 events before these, folded anew." in text_of(ann.read(further))
    assert (contents(store), home.events.head("main")) == before


def test_a_failed_projection_leads_to_its_event_with_what_was_before_it(admin: Browser, store: EventStore) -> None:
    (address,) = links(admin.read(stumbling), "Step through this event")
    source = admin.read(address)
    text = text_of(source)
    assert "failed" in text and "KeyError: '<b>vat_id</b>'" in text and "<b>vat_id" not in source
    assert "Traceback (most recent call last)" in text and "tests/web/shopping.py" in text
    assert "Its handlers had read and written no row when it failed." in text
    assert "The projection keeps no state, or none yet." in text and '"total": 7' in text
    (without,) = links(source, "Go on without this event")
    assert without == f"{stumbling}/steps?after=8&without=main:9"
    text = text_of(admin.read(without))
    assert "Left out, as if skipped: main:9." in text and "left out" in text and "fragile id=o008 new" in text


def test_wishes_are_kept_in_the_address_and_in_the_form(admin: Browser, store: EventStore) -> None:
    store.append("order", "o003", [NewEvent("order.placed", {"total": n}) for n in (1000, 2000, 3000)])
    address = f"{page}?after=5&limit=1&from=start&aggregate_type=order&aggregate_id=o003&without=main%3A4"
    source = admin.read(address)
    assert "total 3 1000" in text_of(source)
    (following,) = links(source, "Next")
    assert following == f"{page}?after=62&limit=1&aggregate_type=order&aggregate_id=o003&from=start&without=main:4"
    assert "total 1000 2000" in text_of(admin.read(following))
    assert re.search(r'name="aggregate_id"[^>]*value="o003"', source) and 'value="start" selected' in source
    assert '<input type="hidden" name="without" value="main:4">' in source
    assert "No such event comes after it." in text_of(admin.read(f"{page}?aggregate_type=order&aggregate_id=none"))


def test_one_that_was_never_started_is_tried_out(admin: Browser, store: EventStore) -> None:
    loud = "/stores/shop/projections/loud"
    (address,) = links(admin.read(loud), "Step through the next events")
    text = text_of(admin.read(f"{address}?limit=2"))
    assert "It starts before the first event, from empty tables and no state." in text
    assert "It emits: order.shouted of shout/42" in text
    assert "derived-loud" not in admin.read("/stores/shop/logs")


@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_others_may_not_run_code(app: Flask, store: EventStore, somebody: Callable[..., Browser], role: str) -> None:
    ben = somebody("ben", Grant(role, "shop"))
    assert ben.get(page).status_code == 403
    assert "Step through" not in ben.read(projection) + ben.read(stumbling)


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("after=x", 400, "“x” is no position."),
        ("after=-1", 400, "“-1” is no position."),
        ("after=99999999999999999999", 400, "is no position."),
        ("after%3Aother=1", 400, "orders doesn't read the log other. It reads main."),
        ("log=other", 400, "doesn't read the log other"),
        ("limit=0", 400, "Ask for 1 to 200."),
        ("limit=%C2%B2", 400, "Ask for 1 to 200."),
        ("limit=201", 400, "Ask for 1 to 200."),
        ("from=%3Cb%3E", 400, "not from “<b>”"),
        ("aggregate_type=order", 400, "Give both."),
        ("without=main", 400, "“main” is no position."),
        ("after=3&from=live", 409, "which is past main:3"),
        ("after=900", 200, "The log main ends at 61, so nothing comes after 900 yet."),
        ("aggregate_type=a%00&aggregate_id=%00", 200, "No such event comes after it."),
        ("after=", 200, "It starts from the rows"),
    ],
)
def test_wishes_that_make_no_sense_are_told_on_the_page(
    admin: Browser, store: EventStore, query: str, status: int, words: str
) -> None:
    source = admin.read(f"{page}?{query}", status)
    assert words in text_of(source) and 'name="limit"' in source


def test_what_can_not_be_stepped_through(admin: Browser, store: EventStore, make_app: Callable[..., Flask]) -> None:
    assert "There is no projection “unheard” here." in admin.read("/stores/shop/projections/unheard/steps", 404)
    assert admin.get("/stores/home/projections/orders/steps").status_code == 409
    bare = Browser(make_app())
    bare.log_in()
    assert "There is no code for the projection “orders” here." in bare.read(page, 404)
    assert "Step through" not in bare.read(projection)


def test_hostile_names_and_payloads_are_shown_as_they_are(admin: Browser, store: EventStore) -> None:
    hostile = "<script>alert(1)</script>\u202e\x07"
    deep = "[" * 3000 + "]" * 3000
    store.append("order", hostile[:40], [NewEvent("order.placed", {"total": 1})])
    store.append("<i>", "x", [NewEvent("<b>bold</b>", json.dumps({"text": hostile}))])
    store.append("order", "deep", [NewEvent("order.placed", deep)])
    source = admin.read(f"{page}?after=61")
    main = source.partition("<main")[2]
    assert "<script>alert" not in main and "<b>bold" not in main and "\u202e" not in main and "\x07" not in main
    text = text_of(source)
    assert "no handler takes it" in text and html.escape("<script>alert(1)</script>") in main and "failed" in text


def test_it_goes_on_while_a_worker_holds_the_projection(admin: Browser, store: EventStore) -> None:
    follower = Follower(store, orders)
    follower.step()
    store.append("order", "late", [NewEvent("order.placed", {"total": 5})])
    assert "orders id=late new total – 5" in text_of(admin.read(page))
    assert follower.step() == 1
    follower.release()


def test_a_table_that_is_gone_is_told_and_a_fold_is_shown_instead(admin: Browser, store: EventStore) -> None:
    execute(store, "DROP TABLE orders")
    text = text_of(admin.read(page))
    assert "The table orders is not there" in text and "31 events before these, folded anew" in text
