"""A rebuild in a real browser: asked for, watched, paused, resumed, done; with JavaScript and without."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect, sync_playwright
from werkzeug.serving import make_server

from tests.web.conftest import make_app, password, settings
from tests.web.shopping import orders
from webapp.projections import run_to_head
from webapp.replay.worker import Worker
from webapp.serving import open_writable
from webapp.store import Append, EventStore, NewEvent
from webapp.web.context import Dashboard

__all__ = ["make_app", "settings"]  # fixtures
arguments = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def site(make_app: Callable[..., Flask], tmp_path: Path) -> Iterator[str]:
    """The address of a dashboard that serves and works, over a shop of 6,000 orders."""
    app = make_app(domain="tests.web.shopping:domain")
    store = EventStore.open(f"sqlite:///{tmp_path / 'shop.db'}")
    store.append_many([Append("order", f"o{n:05}", [NewEvent("order.placed", {"total": n})]) for n in range(6000)])
    run_to_head(store, orders)
    store.close()
    parts: Dashboard = app.extensions["projectionist"]
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    worker = Worker(parts.home, parts.domain, open_writable(parts.sources))
    thread.start()
    worker.start()
    yield f"http://127.0.0.1:{server.server_port}"
    assert worker.stop()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def chromium() -> Iterator[Browser]:
    """A real Chromium."""
    path = os.environ.get("TEST_CHROMIUM")
    if not path:
        pytest.fail("TEST_CHROMIUM is not set: run the tests with `make test`, which finds it.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def ask_for_rebuild(page: Page, site: str) -> None:
    page.goto(f"{site}/stores/shop/projections/orders")
    page.fill("[name=username]", "admin")
    page.fill("[name=password]", password)
    page.click("main button[type=submit]")
    page.click("text=Rebuild…")
    page.fill("[name=reason]", "new column")
    page.fill("[name=batch_size]", "1")  # small, so that it takes a while
    page.click("main button.primary")
    expect(page).to_have_url(f"{site}/stores/shop/replays/1")


def done(page: Page) -> float:
    return float(page.locator("#progress progress").get_attribute("value") or 0)


def test_the_bar_moves_by_itself_and_the_rebuild_obeys(site: str, chromium: Browser) -> None:
    page = chromium.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    ask_for_rebuild(page, site)
    expect(page.locator("#progress .badge")).to_contain_text("rebuilding", timeout=15_000)
    before = done(page)
    for _ in range(150):
        if done(page) > before:
            break
        page.wait_for_timeout(100)
    assert done(page) > before
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#progress .badge")).to_have_text("paused", timeout=15_000)
    stands = done(page)
    assert 0 < stands < 6001
    page.wait_for_timeout(1500)
    assert done(page) == stands
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#progress .badge")).to_have_text("done", timeout=60_000)
    expect(page.locator("#progress")).to_contain_text("6,001 events · generation 2 serves")
    expect(page.locator("main")).not_to_contain_text("Pause")
    page.click("text=To the projection")
    expect(page.locator("main")).to_contain_text("2 serves; 1 kept for going back")
    assert problems == []


def test_it_works_without_javascript(site: str, chromium: Browser) -> None:
    page = chromium.new_context(java_script_enabled=False).new_page()
    ask_for_rebuild(page, site)
    page.click("main >> text=Refresh")  # from here on the server makes it reload
    expect(page.locator("#progress .badge")).to_contain_text("rebuilding", timeout=15_000)
    page.get_by_role("button", name="Pause").click()
    page.goto(f"{site}/stores/shop/replays/1?refresh=3")
    expect(page.locator("#progress .badge")).to_have_text("paused", timeout=15_000)
    page.click("main >> text=Cancel…")
    page.click("main button.danger")
    page.goto(f"{site}/stores/shop/replays/1?refresh=3")
    expect(page.locator("#progress .badge")).to_have_text("cancelled", timeout=15_000)
    page.goto(f"{site}/stores/shop/projections/orders")
    expect(page.locator("main")).to_contain_text("1 serves")
