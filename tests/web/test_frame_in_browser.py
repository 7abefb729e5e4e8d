"""The frame of every page in a real Chromium: its policy holds, its keys and switches work, it fits a phone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from flask import Flask
from playwright.sync_api import Page, sync_playwright
from werkzeug.serving import make_server

from tests.web.conftest import password
from webapp.accounts.home import Home
from webapp.store import Append, EventStore, NewEvent

arguments = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    """The dashboard on a port of its own."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join(timeout=10)
    server.server_close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained about: blocked by the policy, failing scripts."""
    return []


@pytest.fixture
def page(address: str, complaints: list[str]) -> Iterator[Page]:
    """A browser window in which the admin has logged in."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=os.environ["TEST_CHROMIUM"], args=arguments)
        page = chromium.new_page(viewport={"width": 1360, "height": 900}, color_scheme="light", base_url=address)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto("/login")
        page.fill("#username", "admin")
        page.fill("#password", password)
        page.press("#password", "Enter")
        page.wait_for_url(f"{address}/")
        yield page
        chromium.close()


def test_it_works_under_its_own_policy(page: Page, complaints: list[str]) -> None:
    for path in ("/", "/stores/shop", "/account", "/users", "/users/admin"):
        page.goto(path)
        assert page.evaluate("getComputedStyle(document.body).display") == "grid", "the style sheet is there"
    assert page.evaluate("htmx.version") == "4.0.1"
    assert complaints == []
    page.evaluate("document.body.setAttribute('onclick', 'window.broken = true')")
    page.click("h1")
    assert page.evaluate("window.broken") is None, "inline code does not run"


def test_icons_are_drawn(page: Page) -> None:
    page.goto("/stores/shop")
    box = page.evaluate("document.querySelector('nav .icon use').getBBox().width")
    assert box > 0


def test_a_key_leads_to_the_find_box(page: Page) -> None:
    page.goto("/stores/shop")
    for key in ("/", "Control+k"):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.name") == "q"
        assert page.input_value("[data-find]") == ""
        page.evaluate("document.activeElement.blur()")


def test_the_theme_is_switched_and_stays(page: Page) -> None:
    page.goto("/account")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("[data-theme-toggle]")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    page.emulate_media(color_scheme="dark")
    page.context.clear_cookies(name="projectionist_theme")
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark, "follows the system"


def test_pages_fit_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("/", "/stores/shop", "/stores/broken", "/account", "/users", "/users/admin", "/nowhere"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_a_list_turns_its_pages_in_place_and_after_logout_leads_to_the_login(
    page: Page, home: Home, settings: object, complaints: list[str]
) -> None:
    store = EventStore.open(dict(settings.stores)["shop"])  # type: ignore[attr-defined]
    store.append_many([Append("order", str(number), [NewEvent("order.placed", {})]) for number in range(120)])
    store.close()
    page.goto("/stores/shop/events")
    page.evaluate("window.stayed = true")
    page.click("a[rel=next]")
    page.wait_for_url("**before=*")
    assert page.evaluate("window.stayed")
    assert page.evaluate("scrollY") == 0
    page.context.clear_cookies()
    page.click("a[rel=next]")
    page.wait_for_url("**/login?next=*")
    assert complaints == []


def test_the_skip_link_comes_first_and_leads_to_the_content(page: Page) -> None:
    page.goto("/users")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
