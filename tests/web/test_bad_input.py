"""Bad input at the dashboard: a page that says what is wrong and what to do, never a bug's page, never a password."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from tests.adapters.dumps import load_dump
from tests.bad_databases import bad_database, secret, ways
from tests.conftest import backends, create_database
from tests.queries.seed import fill
from tests.web.conftest import Browser
from tests.web.pages import text_of
from webapp.store import EventStore

huge = "1" + "0" * 30


@pytest.mark.parametrize(("backend", "way"), [(backend, way) for backend in backends for way in ways(backend)])
def test_a_store_that_cannot_be_used_says_why_on_every_page(
    make_app: Callable[..., Flask], settings: object, backend: str, way: str, tmp_path: Path
) -> None:
    good = dict(settings.stores)["shop"]  # type: ignore[attr-defined]
    with bad_database(backend, way, tmp_path) as bad:
        browser = Browser(make_app(stores=(("bad", bad.url), ("good", good))))
        browser.log_in()
        pages = [browser.read(f"/stores/bad{path}", 503) for path in ("", "/events", "/projections", "/audit")]
        pages += [browser.read("/")]
        for page in pages:
            assert re.search(bad.sentence, text_of(page)), text_of(page)
        assert "1 event" in text_of(browser.read("/stores/good/events/main/1")) or browser.read("/stores/good")
        for page in [*pages, browser.read("/healthz")]:
            assert secret not in page
            assert f":{bad.password}@" not in page


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> object:
    """The URLs of a store of ours and one of Ecotone's for each server; tests only read them."""
    folder, urls, drops = tmp_path_factory.mktemp("sources"), [], []
    for backend in backends:
        url, drop = create_database(backend, folder)
        store = EventStore.open(url)
        store.migrate()
        fill(store)
        store.close()
        urls.append((f"our-{backend}", url))
        drops.append(drop)
        if backend != "sqlite":
            url, drop = create_database(backend, folder)
            load_dump(url, backend)
            urls.append((f"ecotone-{backend}", url))
            drops.append(drop)
    yield tuple(urls)
    for drop in drops:
        drop()


names = [f"our-{backend}" for backend in backends] + [
    f"ecotone-{backend}" for backend in backends if backend != "sqlite"
]


@pytest.fixture(params=names)
def place(request: pytest.FixtureRequest, make_app: Callable[..., Flask], sources: object) -> tuple[Browser, str, str]:
    """Somebody logged in, the path of a store, and one of its logs; each kind of store in turn."""
    name = str(request.param)
    stores = tuple(one for one in sources if one[0] == name)  # type: ignore[attr-defined]
    browser = Browser(make_app(stores=stores))
    browser.log_in()
    return browser, f"/stores/{name}", "main" if name.startswith("our") else "orders"


def test_positions_that_are_none(place: tuple[Browser, str, str]) -> None:
    browser, store, log = place
    for position in ("0", "-1", huge, "abc"):
        assert "There is no" in browser.read(f"{store}/events/{log}/{position}", 404)
        for name in ("after", "before"):
            page = browser.read(f"{store}/events?log={log}&{name}={position}", 200 if position == "0" else 400)
            assert position == "0" or f"“{position}” is not a position" in page
    assert "There is no log “nope”" in browser.read(f"{store}/events/nope/1", 404)


def test_names_that_are_none(place: tuple[Browser, str, str]) -> None:
    browser, store, _ = place
    for path, sentence in (
        ("logs/nope", "There is no log “nope” here"),
        ("types/nope", "There is no event type “nope” here. The page of types lists all of them"),
        ("aggregates/nope", "There is no aggregate type “nope” here. The page of aggregates lists all types"),
        ("aggregates/order/nope", "There is no aggregate “order/nope” here"),
        ("projections/nope", "There is no projection “nope” here. Known here:"),
        ("dead-letters/nope", "There is no dead letter “nope” here"),
        ("replays/999", "There is no replay “999” here"),
        (f"replays/{huge}", "There is no page at this address"),
        ("replays/abc", "There is no page at this address"),
        (f"replays/{huge}/progress", "There is no page at this address"),
    ):
        assert sentence in text_of(browser.read(f"{store}/{path}", 404)), path


@pytest.mark.parametrize("page", ["events", "audit"])
def test_filters_that_make_no_sense(place: tuple[Browser, str, str], page: str) -> None:
    browser, store, _ = place
    for query, sentence in (
        ("since=gestern", "“gestern” is not a time. Write a date such as 2026-10-01"),
        ("until=2026-13-45", "“2026-13-45” is not a time"),
        ("since=2026-10-01&until=2026-09-01", "The end is not after the beginning, so no event can match"),
        ("type=nope", "There is no event type “nope” in this store. Known:"),
        ("aggregate_type=nope", "There is no aggregate type “nope” in this store. Known:"),
        ("log=nope", "There is no log “nope” in this store. Known:"),
        ("actorr=ann", "“actorr” is not a filter. Filters are log, type,"),
        ("actor=%00", "That holds a NUL character"),
        (
            "before=a%20b",
            "Begin it again from its newest" if page == "audit" else "That cursor is not one that this list gave out",
        ),
    ):
        text = text_of(browser.read(f"{store}/{page}?{query}", 400))
        assert sentence in text, (query, text)


def test_a_download_under_filters_that_make_no_sense_is_refused(place: tuple[Browser, str, str]) -> None:
    browser, store, _ = place
    for query, sentence in (
        ("format=exe", "There is no format “exe”. Formats are csv and ndjson"),
        ("", "No format was chosen"),
        ("format=csv&type=nope", "There is no event type “nope”"),
        ("format=csv&since=x", "“x” is not a time"),
        ("format=csv&since=2026-10-01&until=2026-09-01", "The end is not after the beginning"),
        ("format=csv&aggregate=order", "“aggregate” is not a filter"),
    ):
        assert sentence in text_of(browser.read(f"{store}/audit/download?{query}", 400))
    assert "downloaded" not in browser.read(f"{store}/audit")


def test_a_link_of_the_event_list_to_a_trail_keeps_its_filters(place: tuple[Browser, str, str]) -> None:
    browser, store, log = place
    page = browser.read(f"{store}/events?log={log}&order=oldest&since=2001-01-01")
    found = re.search(r'href="(\S+/audit\?[^"]*)"', page)
    assert found
    assert browser.read(found[1].replace("&amp;", "&"))


def test_a_store_and_a_person_that_are_none(admin: Browser) -> None:
    assert "There is no store “nope” here. Stores you may see: shop" in admin.read("/stores/nope/events", 404)
    assert "There is no person “nope” here" in admin.read("/users/nope", 404)
    for form, sentence in (
        ({"username": "bob", "password": "long enough words", "role": "king", "store": "*"}, "There is no role “king”"),
        ({"username": "bob", "password": "long enough words", "role": "viewer", "store": "x"}, "There is no store “x”"),
        (
            {"username": "b b", "password": "long enough words", "role": "viewer", "store": "*"},
            "A username has 1 to 64",
        ),
        ({"username": "bob", "password": "short", "role": "viewer", "store": "*"}, "at least 10"),
    ):
        response = admin.post("/users", form)
        assert response.status_code == 400
        assert sentence in response.get_data(True)
    assert ">bob<" not in admin.read("/users")


def test_lists_that_end_before_a_place_say_so(admin: Browser) -> None:
    for path, sentence in (
        ("types?after=zzz", "No type beyond here"),
        ("logs?category=nope", "No log is of this category"),
    ):
        assert sentence in text_of(admin.read(f"/stores/shop/{path}"))
