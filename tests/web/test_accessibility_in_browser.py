"""What screen readers, keyboards and weak eyes need, looked at in a real Chromium on every kind of page."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Page, sync_playwright
from werkzeug.serving import make_server

from tests.web.conftest import password
from tests.web.pages import open_pages
from tests.web.test_frame_in_browser import arguments

_check = (Path(__file__).parent / "accessibility.js").read_text()
_store = "/stores/bazaar"
paths = [
    "/", "/account", "/users", "/users/admin", "/nowhere", "/stores/broken", "/stores/empty", "/stores/empty/events",
    "/stores/empty/projections", "/stores/empty/aggregates",
    *(_store + path for path in (
        "", "/events", "/events?type=order.paid&actor=payments", "/events?since=x&type=nope", "/events/main/5", "/logs",
        "/logs/main", "/types", "/types/order.placed", "/aggregates", "/aggregates/order", "/aggregates/order/42",
        "/aggregates/order/42?tab=state", "/aggregates/wallet/w1", "/projections", "/replays", "/dead-letters", "/audit",
        "/audit?since=x", "/find?q=42", "/find?q=zzz",
    )),
]  # fmt: skip
_focus = """() => {
  const element = document.activeElement;
  if (element === document.body) return null;
  const drawn = (one) => one && getComputedStyle(one).outlineStyle !== "none" && parseFloat(getComputedStyle(one).outlineWidth) > 0;
  return drawn(element) || drawn(element.closest(".find")) ? "seen" : element.outerHTML.slice(0, 200);
}"""


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, make_app: Callable[..., Flask], tmp_path: Path) -> Iterator[Page]:
    """A browser window at the login page of a dashboard over the small shop, in each theme."""
    pages = open_pages(make_app, tmp_path)
    server = make_server("127.0.0.1", 0, pages.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=os.environ["TEST_CHROMIUM"], args=arguments)
        page = chromium.new_page(
            viewport={"width": 1360, "height": 900},
            color_scheme=request.param,
            base_url=f"http://127.0.0.1:{server.server_port}",
        )
        page.goto("/login")
        yield page
        chromium.close()
    server.shutdown()
    thread.join(timeout=10)
    server.server_close()
    pages.store.close()


def log_in(page: Page) -> None:
    page.fill("#username", "admin")
    page.fill("#password", password)
    page.press("#password", "Enter")
    page.wait_for_selector("text=All stores >> nth=0")


def test_everything_has_a_name_a_place_and_enough_contrast(page: Page) -> None:
    found = {"/login": page.evaluate(_check)}
    log_in(page)
    for path in paths:
        page.goto(path)
        found[path] = page.evaluate(_check)
    assert {path: problems for path, problems in found.items() if problems} == {}


def test_the_check_itself_finds_what_is_wrong(page: Page) -> None:
    page.evaluate(
        "document.querySelector('main').innerHTML = `<h3 id=a>x</h3><a href=/ id=a></a><nav><p style='color: rgb(150, 150, 150);"
        " background: rgb(160, 160, 160)'>faint</p></nav><input><label for=nothing>y</label>`"
    )
    page.evaluate("document.querySelector('main p').attributeStyleMap.set('color', 'rgb(150, 150, 150)')")
    page.evaluate("document.querySelector('main p').attributeStyleMap.set('background-color', 'rgb(160, 160, 160)')")
    problems = " ".join(page.evaluate(_check))
    for words in (
        "no name",
        "id twice",
        "leads nowhere",
        "not one h1",
        "heading skipped",
        "nav without",
        "contrast 1.",
    ):
        assert words in problems, words


def test_whoever_uses_the_keyboard_sees_where_they_are(page: Page) -> None:
    log_in(page)
    unseen = {}
    for path in (
        "/",
        f"{_store}/events",
        f"{_store}/events/main/5",
        f"{_store}/aggregates/order/42",
        f"{_store}/audit",
        "/users",
    ):
        page.goto(path)
        stops = []
        for _ in range(40):
            page.keyboard.press("Tab")
            stop = page.evaluate(_focus)
            if stop is None:
                break
            stops.append(stop)
        assert len(stops) > 5
        if hidden := [stop for stop in stops if stop != "seen"]:
            unseen[path] = hidden
    assert unseen == {}
