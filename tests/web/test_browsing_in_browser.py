"""Browsing in a real Chromium: htmx swaps parts, addresses follow, pages fit a phone, nothing hostile runs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Page, expect, sync_playwright
from werkzeug.serving import make_server

from tests.web.conftest import password
from tests.web.pages import open_pages
from tests.web.test_frame_in_browser import arguments


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained about."""
    return []


@pytest.fixture
def page(make_app: Callable[..., Flask], tmp_path: Path, complaints: list[str]) -> Iterator[Page]:
    """A browser window over the small shop, logged in."""
    pages = open_pages(make_app, tmp_path)
    server = make_server("127.0.0.1", 0, pages.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=os.environ["TEST_CHROMIUM"], args=arguments)
        page = chromium.new_page(viewport={"width": 1360, "height": 900}, base_url=address)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto("/login")
        page.fill("#username", "admin")
        page.fill("#password", password)
        page.press("#password", "Enter")
        page.wait_for_url(f"{address}/")
        yield page
        chromium.close()
    server.shutdown()
    thread.join(timeout=10)
    server.server_close()
    pages.store.close()


def test_older_swaps_the_rows_and_back_returns(page: Page, complaints: list[str]) -> None:
    page.goto("/stores/bazaar/events?log=main")
    page.locator("h1").evaluate("element => { element.dataset.kept = 'yes' }")
    page.click(".pager a[rel=next]")
    page.wait_for_url("**/events?log=main&before=81")
    expect(page.locator("#rows td.position").first).to_have_text("80")
    assert page.get_attribute("h1", "data-kept") == "yes", "only the rows were swapped"
    page.go_back()
    expect(page.locator("#rows td.position").first).to_have_text("130")
    assert complaints == []


def test_filters_are_applied_and_a_bad_one_is_explained_in_place(page: Page) -> None:
    page.goto("/stores/bazaar/events")
    page.fill("#type", "order.paid")
    page.click("#filters button[type=submit]")
    page.wait_for_url("**type=order.paid**")
    page.wait_for_selector(".chip.on")
    assert page.locator("#rows tbody tr").count() == 1
    page.fill("#since", "soon")
    page.click("#filters button[type=submit]")
    page.wait_for_selector("#since-error")
    assert page.input_value("#since") == "soon"


def test_the_slider_and_the_timeline_choose_versions(page: Page, complaints: list[str]) -> None:
    page.goto("/stores/bazaar/aggregates/order/42")
    page.locator(".find").evaluate("element => { element.dataset.kept = 'yes' }")
    page.click("ol.timeline li:nth-child(2) > a")
    page.wait_for_url("**version=2")
    page.wait_for_selector("text=Change at v2")
    page.locator("input[type=range]").fill("3")
    page.wait_for_selector("text=Change at v3")
    page.click(".tabs a:nth-child(2)")
    page.wait_for_selector("pre[aria-label=State]")
    assert "version=3" in page.url
    assert "tab=state" in page.url
    assert page.get_attribute(".find", "data-kept") == "yes", "the page was never loaded anew"
    assert complaints == []


def test_it_all_works_without_scripts(page: Page) -> None:
    context = page.context.browser.new_context(  # type: ignore[union-attr]
        java_script_enabled=False, storage_state=page.context.storage_state(), base_url=page.url.rstrip("/")
    )
    plain = context.new_page()
    plain.goto("/stores/bazaar/events?log=main")
    plain.click(".pager a[rel=next]")
    assert plain.locator("td.position").first.inner_text() == "80"
    plain.goto("/stores/bazaar/aggregates/order/42?version=1")
    plain.click("a[rel=next]")
    assert plain.locator(".tabs a[aria-current]").inner_text() == "Change at v2"
    plain.click(".slider button")
    assert "version=2" in plain.url
    context.close()


def test_every_page_fits_a_phone_and_runs_nothing_hostile(page: Page, complaints: list[str]) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for path in (
        "", "/events", "/events/main/3", "/events/main/5", "/events/main/6", "/events/main/7", "/events/main/8",
        "/events/main/9", "/logs", "/logs/main", "/types", "/types/ticket.opened", "/aggregates", "/aggregates/order",
        "/aggregates/order/42", "/aggregates/ticket/T-1", "/aggregates/ticket/T-1?tab=state", "/dead-letters",
        "/find?q=4",
    ):  # fmt: skip
        page.goto(f"/stores/bazaar{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    assert complaints == []
