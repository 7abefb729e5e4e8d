"""How long the app takes for a page, near and far: whole requests, to the last letter of HTML."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bench.filling import Filled, Tell
from bench.visitor import Visitor
from webapp.queries.cursors import page_rows

ROUNDS, WARM_UP = 40, 3
DEEP = 10_000
"""Pages that lie before the far one, where a list is that long."""
TARGET = 50.0
HEADING = "Pages"


@dataclass(frozen=True)
class Place:
    """One page that is asked for again and again."""

    name: str
    path: str


def measure(backend: str, filled: Filled, folder: Path, tell: Tell) -> list[dict[str, Any]]:
    """A row for each page, its times in milliseconds by round; pages take turns, so that noise hits all."""
    url = filled.url(backend)
    visitor = Visitor(url, folder / f"home-{backend}")
    try:
        tell(f"{backend}: looking for the far pages")
        places = find_places(visitor)
        tell(f"{backend}: asking for {len(places)} pages, {ROUNDS} times each")
        times: dict[str, list[float]] = {place.name: [] for place in places}
        for number in range(WARM_UP + ROUNDS):
            gc.collect()
            for place in places[number % len(places) :] + places[: number % len(places)]:
                seconds, _ = visitor.ask(place.path)
                if number >= WARM_UP:
                    times[place.name].append(round(seconds * 1000, 2))
    finally:
        visitor.close()
    return [{"database": backend, "page": name, "milliseconds": found} for name, found in times.items()]


def find_places(visitor: Visitor) -> list[Place]:
    """The first page and the far one: of all events, of those of the most common type, of the longest history."""
    source = visitor.source
    most = max((kind for kind in source.event_types() if kind.log == "main"), key=lambda kind: kind.count.number)
    everything = sum(log.head for log in source.logs() if not log.is_retired)
    wallet = max(source.aggregates("wallet", limit=200), key=lambda one: one.version)
    history = f"/stores/shop/aggregates/wallet/{quote(wallet.id, safe='')}"
    places = []
    for words, filters, number in (
        ("events", {}, everything),
        (f"events of type {most.name}", {"type": [most.name]}, most.count.number),
    ):
        pages = min(DEEP, number // page_rows - 1)  # a full page
        first = f"/stores/shop/events?type={most.name}" if filters else "/stores/shop/events"
        places.append(Place(f"{words}, first page", first))
        places.append(Place(f"{words}, after {pages:,} pages", visitor.path_after(pages, **filters)))
    places.append(Place(f"history of a wallet of {wallet.version:,} events, newest", history))
    places.append(Place(f"history of a wallet of {wallet.version:,} events, oldest", f"{history}?version=1"))
    return places


def markdown(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The section as lines."""
    lines = [
        f"{ROUNDS} requests each, in turns, after {WARM_UP} that don't count; milliseconds, median (fastest–slowest). "
        f"The target is a median under {TARGET:.0f} ms.",
        "",
        "| database | page | milliseconds |",
        "| --- | --- | --- |",
    ]
    for row in rows:
        found = row["milliseconds"]
        cells = f"{statistics.median(found):.1f} ({min(found):.1f}–{max(found):.1f})"
        lines.append(f"| {row['database']} | {row['page']} | {cells} |")
    return [
        *lines,
        "",
        "- A request is a GET by Flask's test client, logged in, through the whole app to its HTML: session, rights, "
        "queries, templates. Network and gunicorn are not in it.",
        f"- The store is the demo shop of about 1,000,000 events with its projections' own log beside it, {page_rows} "
        "events a page, newest first, logs merged. Far pages are those that as many clicks on “Older” lead to.",
    ]


def missed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each page that takes too long."""
    return [
        f"{row['database']}, {row['page']}: {median:.1f} ms, the target is under {TARGET:.0f} ms"
        for row in rows
        if (median := statistics.median(row["milliseconds"])) >= TARGET
    ]
