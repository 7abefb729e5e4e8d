"""Somebody who follows every kind of link."""

from __future__ import annotations

import html
import re
from collections import Counter, deque
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from tests.web.conftest import Browser
from tests.web.statements import Statements

of_each_kind = 3


def crawl(app: Flask, browser: Browser, statements: Statements, seeds: Iterable[str]) -> Counter[str]:
    """How many pages of each endpoint were visited.

    Links are followed from the seeds on, three of each kind: of one endpoint with the same names of arguments.
    """
    adapter = app.url_map.bind("localhost")
    visited: Counter[str] = Counter()
    kinds: Counter[tuple[str, tuple[str, ...]]] = Counter()
    waiting, known = deque(seeds), set(seeds)
    while waiting:
        path = waiting.popleft()
        address = urlsplit(path)
        try:
            endpoint, _ = adapter.match(address.path, method="GET")
        except (HTTPException, RequestRedirect):
            continue
        kind = endpoint, tuple(sorted(parse_qs(address.query)))
        kinds[kind] += 1
        if endpoint == "static" or kinds[kind] > of_each_kind:
            continue
        statements.page = path
        answer = browser.get(path)
        text = answer.get_data(True) if answer.mimetype == "text/html" else answer.get_data().decode("latin-1")
        statements.page = ""
        assert answer.status_code < 500, (path, text)
        visited[endpoint] += 1
        if answer.mimetype == "text/html":
            for link in re.findall(r'\b(?:href|hx-get|action)="(/[^"#]*)', text):
                if (target := html.unescape(link)) not in known:
                    known.add(target)
                    waiting.append(target)
    return visited
