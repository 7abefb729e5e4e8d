"""The browsing pages as a person sees them: a dashboard over the small shop, logged in, read as text."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Flask
from werkzeug.test import TestResponse

from tests.queries.seed import fill
from tests.web.conftest import Browser
from webapp.store import EventStore


class Pages:
    """Reads pages of the store `bazaar`; `empty` has no events, `broken` can't be opened."""

    def __init__(self, app: Flask, store: EventStore) -> None:
        self.app = app
        self.store = store
        self.browser = Browser(app)
        assert self.browser.log_in().status_code == 303

    def get(self, path: str) -> TestResponse:
        """The answer to a path; one that begins with no slash is below the store."""
        return self.browser.get(path if path.startswith("/") else f"/stores/bazaar/{path}")

    def source(self, path: str, status: int = 200) -> str:
        """The HTML of a page that must have that status."""
        response = self.get(path)
        assert response.status_code == status, text_of(response.get_data(True))
        return response.get_data(True)

    def text(self, path: str, status: int = 200) -> str:
        """What a person reads on a page that must have that status."""
        return text_of(self.source(path, status))


def text_of(source: str) -> str:
    """The words of a page's content, on one line."""
    content = source.partition('<main id="content"')[2].replace("<wbr>", "")
    content = re.sub(r'<span class="(?:key|text|number|word)">(.*?)</span>', r"\1", content)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", content)))


def links(source: str, words: str) -> list[str]:
    """The addresses of the links that hold these words."""
    found = re.findall(r'<a\s[^>]*?href="([^"]*)"[^>]*>(.*?)</a>', source.replace("<wbr>", ""), re.DOTALL)
    return [html.unescape(address) for address, label in found if words in html.unescape(label)]


def encoded(name: str) -> str:
    """A name as one path segment the way other programs write it."""
    return quote(name, safe="")


def open_pages(make_app: Callable[..., Flask], folder: Path, **changes: Any) -> Pages:
    """The dashboard over a filled store, an empty one, and one that isn't there."""
    stores = []
    for name in ("bazaar", "empty"):
        store = EventStore.open(f"sqlite:///{folder / name}.db")
        store.migrate()
        stores.append(store)
    fill(stores[0])
    stores[1].close()
    urls = tuple((name, f"sqlite:///{folder / name}.db") for name in ("bazaar", "empty", "broken"))
    return Pages(make_app(stores=urls, **changes), stores[0])
