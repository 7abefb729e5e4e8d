"""A person at the dashboard of a filled store: the whole app by Flask's test client, logged in."""

from __future__ import annotations

import html
import re
import time
from collections import deque
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from webapp.app import create_app
from webapp.config import Config
from webapp.queries.cursors import page_rows
from webapp.store.events import EventFilter
from webapp.store.merge import read_all
from webapp.store.source import EventSource
from webapp.web.context import Dashboard

_password = "only for the benchmark"


class Visitor:
    """Asks an app of its own for pages of the store `shop`; `close` when done."""

    def __init__(self, url: str, folder: Path) -> None:
        config = Config(
            home_folder=folder, admin_password=_password, stores=(("shop", url),), domain="webapp.demo.shop:domain"
        )
        app = create_app(config)
        self.parts: Dashboard = app.extensions["projectionist"]
        self.client = app.test_client()
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.client.get("/login").get_data(True))
        form = {"username": "admin", "password": _password, "csrf_token": html.unescape(token[1]) if token else ""}
        if self.client.post("/login", data=form).status_code != 303:
            raise AssertionError("the login was refused")

    @property
    def source(self) -> EventSource:
        """The store as the app reads it."""
        return self.parts.sources.open("shop")

    def ask(self, path: str) -> tuple[float, str]:
        """How many seconds a page took, from the request to the last letter of its HTML; and that HTML."""
        began = time.perf_counter()
        answer = self.client.get(path)
        text = answer.get_data(True)
        seconds = time.perf_counter() - began
        if answer.status_code != 200:
            raise AssertionError(f"{path} answered {answer.status_code}: {text[:2000]}")
        return seconds, text

    def next_path(self, path: str) -> str:
        """The address behind “Older” on a page of events."""
        found = [
            html.unescape(address)
            for address, words in re.findall(r'<a\s[^>]*?href="([^"]*)"[^>]*>(.*?)</a>', self.ask(path)[1], re.DOTALL)
            if "Older" in words
        ]
        if not found:
            raise AssertionError(f"{path} has no next page")
        return found[0]

    def path_after(self, pages: int, **filters: Any) -> str:
        """The address that `pages` clicks on “Older” lead to, from the first page of the list of events.

        A cursor says where reading stands, not how it got there, so all pages but the last are walked in one go by the
        very reader that the pages use, without the HTML; the last click is a real one. A test follows all the links.
        """
        path = "/stores/shop/events"
        if pages > 1:
            types = tuple(filters.get("type", ()))
            events = read_all(self.source, where=EventFilter(types=types), newest_first=True, with_payload=False)
            deque(islice(events, (pages - 1) * page_rows), maxlen=0)
            filters = {**filters, "before": events.cursor}
        return self.next_path(f"{path}?{urlencode(filters, doseq=True)}" if filters else path)

    def close(self) -> None:
        """Gives all connections back."""
        self.parts.close()
