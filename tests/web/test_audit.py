"""The audit page and its downloads, as auditors and others meet them."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.queries.seed import fill
from tests.web.conftest import Browser
from webapp.accounts.home import Home
from webapp.accounts.roles import Grant
from webapp.audit.verify import verify
from webapp.config import Config
from webapp.errors import StoreUnavailable
from webapp.store import EventStore, NewEvent

Somebody = Callable[..., Browser]


@pytest.fixture
def shop(settings: Config) -> Iterator[EventStore]:
    """The store that the dashboard shows, filled with what makes pages difficult."""
    store = EventStore.open(settings.stores[0][1])
    fill(store)
    yield store
    store.close()


@pytest.fixture
def auditor(somebody: Somebody) -> Browser:
    """An auditor of all stores."""
    return somebody("vera", Grant("auditor"))


def acts(home: Home, store: str = "shop") -> list[tuple[str, str | None, Any]]:
    """What home recorded of downloads: type, actor, data."""
    return [
        (event.type, event.actor, event.data)
        for event in home.events.read_stream("store", store)
        if event.type.startswith("download.")
    ]


def unpacked(content: bytes) -> tuple[list[str], bytes, dict[str, Any]]:
    """Names in a ZIP, its events and its manifest."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        return names, archive.read(names[0]), json.loads(archive.read(names[1]))


def test_an_auditor_downloads_a_trail_that_passes_the_check(
    auditor: Browser, home: Home, shop: EventStore, tmp_path: Path
) -> None:
    response = auditor.get("/stores/shop/audit/download?format=ndjson&type=order.placed")
    assert response.status_code == 200 and response.mimetype == "application/zip"
    names, events, manifest = unpacked(response.data)
    assert names == ["events.ndjson", "manifest.json"]
    found = [json.loads(line) for line in events.splitlines()]
    assert {event["type"] for event in found} == {"order.placed"}
    assert len(found) == manifest["count"] == 122
    assert manifest["taken_by"] == "vera" and manifest["store"]["name"] == "shop"
    assert manifest["filter"]["values"] == {"type": ["order.placed"]}
    (tmp_path / "trail.zip").write_bytes(response.data)
    report = verify(tmp_path / "trail.zip")
    assert report.is_intact, report.problems
    started, completed = acts(home)
    assert started[:2] == ("download.started", "vera") and "order.placed" in started[2]["filter"]
    assert completed[:2] == ("download.completed", "vera") and completed[2]["sha256"] == manifest["sha256"]
    assert started[2]["download"] == completed[2]["download"]


def test_file_names_are_safe_whatever_the_aggregate_is_called(auditor: Browser, shop: EventStore) -> None:
    name = 'x"; filename=../../evil\r\n .sh'
    shop.append(name, "é/..", [NewEvent("happened", {})])
    query = {"format": "csv", "aggregate_type": name, "aggregate_id": "é/.."}
    response = auditor.client.get("/stores/shop/audit/download", query_string=query)
    disposition = response.headers["Content-Disposition"]
    assert response.status_code == 200
    assert set(disposition.removeprefix('attachment; filename="').removesuffix('"')) <= set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
    )
    assert disposition.endswith('.zip"') and "shop-x" in disposition


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_others_are_told_which_role_it_needs(somebody: Somebody, home: Home, shop: EventStore, role: str) -> None:
    person = somebody("bob", Grant(role))
    for path in ("/stores/shop/audit", "/stores/shop/audit/download?format=csv"):
        assert "needs the role auditor" in person.read(path, 403)
    assert acts(home) == []


def test_an_auditor_of_one_store_takes_no_trail_of_another(somebody: Somebody, shop: EventStore) -> None:
    person = somebody("eve", Grant("auditor", "shop"), Grant("viewer", "broken"))
    assert "needs the role auditor" in person.read("/stores/broken/audit/download?format=csv", 403)
    assert person.get("/stores/shop/audit/download?format=csv").status_code == 200


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("", "No format was chosen"),
        ("?format=exe", "There is no format “exe”"),
        ("?format=csv&type=nope", "There is no event type “nope”"),
        ("?format=csv&since=gestern", "“gestern” is not a time"),
        ("?format=csv&log=nope", "There is no log “nope”"),
    ],
)
def test_what_can_not_be_used_is_refused_with_a_sentence(
    auditor: Browser, home: Home, shop: EventStore, query: str, sentence: str
) -> None:
    assert sentence in auditor.read(f"/stores/shop/audit/download{query}", 400)
    assert acts(home) == []


def test_a_store_that_can_not_be_reached_is_a_page_and_no_download(auditor: Browser, home: Home) -> None:
    assert auditor.get("/stores/broken/audit/download?format=csv").status_code == 503
    assert acts(home, "broken") == []


def test_asking_for_the_headers_alone_records_nothing(auditor: Browser, home: Home, shop: EventStore) -> None:
    response = auditor.client.head("/stores/shop/audit/download?format=csv")
    assert response.status_code == 200 and response.data == b""
    assert acts(home) == []


def test_a_database_that_is_lost_in_the_middle_breaks_the_download(
    auditor: Browser, home: Home, shop: EventStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:  # fmt: skip
    read_log = EventStore.read_log

    def breaking(self: EventStore, log: str, **options: Any) -> Any:
        # Stands in for a server that dies: the real reading goes on until then.
        for number, event in enumerate(read_log(self, log, **options)):
            if number == 50 and options.get("with_payload", True):
                raise StoreUnavailable("The server is gone.")
            yield event

    monkeypatch.setattr(EventStore, "read_log", breaking)
    response = auditor.client.get("/stores/shop/audit/download?format=csv")
    received = b""
    with caplog.at_level(logging.ERROR), pytest.raises(StoreUnavailable):
        for piece in response.iter_encoded():
            received += piece
    response.close()
    monkeypatch.undo()
    assert received and not zipfile.is_zipfile(io.BytesIO(received))
    (tmp_path / "broken.zip").write_bytes(received)
    assert not verify(tmp_path / "broken.zip").is_intact
    assert [act[0] for act in acts(home)] == ["download.started", "download.failed"]
    assert acts(home)[1][2]["reason"] == "The server is gone."
    assert "The server is gone." in caplog.text


def test_a_reader_who_leaves_is_recorded(auditor: Browser, home: Home, shop: EventStore) -> None:
    response = auditor.client.get("/stores/shop/audit/download?format=csv")
    next(iter(response.iter_encoded()))
    response.close()
    assert [act[0] for act in acts(home)] == ["download.started", "download.aborted"]


def test_the_page_offers_filters_an_estimate_and_the_way_to_check(auditor: Browser, shop: EventStore) -> None:
    page = auditor.read("/stores/shop/audit?aggregate_type=order&aggregate_id=42&format=ndjson")
    assert "5 events" in page and "of aggregate type order, of aggregate 42" in page
    assert '<option value="ndjson" selected>' in page
    assert 'formaction="/stores/shop/audit/download"' in page
    assert "projectionist audit verify" in page
    assert "There is no event type" in auditor.read("/stores/shop/audit?type=nope", 400)


def test_the_page_shows_who_did_what(auditor: Browser, home: Home, shop: EventStore) -> None:
    auditor.get("/stores/shop/audit/download?format=csv&actor=<script>")
    page = auditor.read("/stores/shop/audit")
    assert "downloaded a trail" in page and "vera" in page
    assert "&lt;script&gt;" in page and "by <script>" not in page


def test_older_activity_is_on_further_pages(auditor: Browser, home: Home, shop: EventStore) -> None:
    for _ in range(12):
        auditor.get("/stores/shop/audit/download?format=csv&actor=nobody")
    first = auditor.read("/stores/shop/audit")
    assert first.count("downloaded a trail") == 10 and "before=" in first
    before = first.partition("before=")[2].partition('"')[0].partition("&")[0]
    assert auditor.read(f"/stores/shop/audit?before={before}").count("downloaded a trail") == 2


def test_the_sidebar_leads_auditors_there_and_nobody_else(
    auditor: Browser, somebody: Somebody, shop: EventStore, app: Flask
) -> None:
    assert 'href="/stores/shop/audit"' in auditor.read("/stores/shop/events")
    assert 'href="/stores/shop/audit"' not in somebody("bob", Grant("viewer")).read("/stores/shop/events")
