"""The list of events and the page of one, by HTTP."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.queries.seed import break_payload, correlation, odd_id, odd_log, placed_id, script
from tests.web.pages import Pages, encoded, links, open_pages
from webapp.store import MasterKeys, NewEvent, PersonalData, Vault


@pytest.fixture
def pages(make_app: Callable[..., Flask], tmp_path: Path) -> Iterator[Pages]:
    """The dashboard over the small shop."""
    pages = open_pages(make_app, tmp_path)
    yield pages
    pages.store.close()


def test_the_list_shows_events_newest_first_with_links(pages: Pages) -> None:
    source = pages.source("events")
    assert "Events" in pages.text("events")
    assert source.count("<tr>") == 51
    assert links(source, "wallet.credited")[0] == "/stores/bazaar/events/side~2Flog%201/4"
    assert "x" * 100 not in source


def test_older_and_newer_lead_through_all_of_it(pages: Pages) -> None:
    path, seen = "events", 0
    while True:
        source = pages.source(path)
        seen += source.count("<tr>") - 1
        older = links(source, "Older")
        if not older:
            break
        path = older[0]
    assert seen == 134
    back = links(source, "Newer")
    assert back
    assert pages.source(links(pages.source(back[0]), "Newer")[0]).count("<tr>") == 51


def test_paging_swaps_only_the_rows_with_htmx(pages: Pages) -> None:
    source = pages.source("events?log=main")
    assert 'hx-get="/stores/bazaar/events?log=main&amp;before=81" hx-select="#rows" hx-target="#rows"' in source
    assert source.count('id="rows"') == 1


def test_filters_in_force_are_named_and_can_be_dropped(pages: Pages) -> None:
    source = pages.source("events?type=order.paid&actor=payments&order=oldest")
    assert links(source, "order.paid")[0] == "/stores/bazaar/events?actor=payments&order=oldest"
    assert links(source, "payments")[0] == "/stores/bazaar/events?type=order.paid&order=oldest"
    assert 'value="order.paid"' in source


def test_a_bad_filter_is_explained_beside_its_field_and_kept(pages: Pages) -> None:
    source = pages.source("events?since=soon&aggregate_id=keep-me", 400)
    assert 'id="since-error">“soon” is not a time. Write a date such as 2026-10-01' in source
    assert 'value="soon"' in source
    assert 'value="keep-me"' in source
    assert "Start again from the first page" in pages.text("events?before=17", 400)
    assert "There is no event type “nope” in this store" in pages.text("events?type=nope", 400)


def test_nothing_found_says_what_to_do(pages: Pages) -> None:
    assert "No event matches" in pages.text("events?actor=nobody")
    assert "No event yet" in pages.text("/stores/empty/events")
    assert "Nothing beyond here" in pages.text("events?log=main&before=1")


def test_an_event_shows_all_of_itself(pages: Pages) -> None:
    source = pages.source("events/main/3")
    text = pages.text("events/main/3")
    for word in ("order.paid", "main:3", "payments", correlation, "50 bytes", '"paid_at"'):
        assert word in text
    assert links(source, "All events of this correlation") == [
        f"/stores/bazaar/events?correlation={correlation}&order=oldest"
    ]
    cause = links(source, str(placed_id()))[0]
    assert pages.get(cause).headers["Location"] == "/stores/bazaar/events/main/1"
    assert links(source, "Previous in the log") == ["/stores/bazaar/events/main/2"]
    assert links(source, "Later version") == ["/stores/bazaar/events/main/4"]


def test_hostile_payloads_stay_text(pages: Pages) -> None:
    source = pages.source("events/main/5")
    assert script not in source
    assert "&lt;script&gt;alert(" in source
    turned = pages.text("events/main/8")
    assert "\\u202e" in turned
    assert "\u202e" not in turned
    assert "1e400" in turned
    assert turned.count('"n"') == 2
    assert "[[[[" in pages.text("events/main/7")


def test_a_large_payload_is_cut_and_can_be_downloaded(pages: Pages) -> None:
    source = pages.source("events/main/6")
    assert len(source) < 120_000
    assert "Only the first 64 KiB of 977 KiB are shown" in pages.text("events/main/6")
    response = pages.get(links(source, "Download all of it")[0])
    assert response.headers["Content-Disposition"] == 'attachment; filename="main-6-payload.json"'
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert json.loads(response.data)["text"].endswith("THE-END")


def test_a_broken_payload_is_shown_in_its_place(pages: Pages) -> None:
    break_payload(pages.store, "main", 3, '{"status": ')
    text = pages.text("events/main/3")
    assert "This is not JSON: expecting value at line 1, column 12." in text
    assert "order.paid" in text
    assert pages.get("events/main/3/payload").headers["Content-Disposition"].endswith('"main-3-payload.bin"')


def test_payloads_can_be_seen_as_they_were_stored(pages: Pages) -> None:
    source = pages.source("events/main/1")
    (as_stored,) = links(source, "As stored")
    assert '{"customer":"anna","total":100,"status":"open"}' in pages.text(as_stored)


def test_logs_with_odd_names_have_pages_however_they_are_encoded(pages: Pages) -> None:
    for path in (f"events/{encoded(odd_log)}/1", "events/side/log%201/1", "events/side~2Flog%201/1"):
        assert "wallet.opened" in pages.text(path)
    assert odd_id not in pages.source("events/main/9")
    assert pages.get(links(pages.source("events/main/9"), "a/b//")[0]).status_code == 200


def test_an_event_that_is_not_there_is_a_404_that_says_where_events_are(pages: Pages) -> None:
    assert "The log ends at position 130." in pages.text("events/main/131", 404)
    assert "no log “nope”" in pages.text("events/nope/1", 404)
    assert pages.get("events/main/x").status_code == 404
    assert pages.get("events/ma%00in/1").status_code == 404
    assert pages.get("events/main/" + "9" * 400).status_code == 404


def test_times_are_read_in_the_persons_zone(pages: Pages) -> None:
    source = pages.source("events/main/1")
    assert "UTC" in source
    text = pages.text("events?since=2099-01-01")
    assert "No event matches" in text


def test_an_event_says_when_it_occurred_and_what_of_it_is_encrypted(pages: Pages) -> None:
    personal = PersonalData()
    personal.declare(
        "customer.registered", subject=None, fields=["/email", "/contacts/*/phone"], metadata_fields=["/ip"]
    )
    vault = Vault(pages.store, personal, master_keys=MasterKeys(("2026", b"k" * 32)))
    data = {"email": "ann@example.org", "contacts": [{"phone": "0123"}], "plan": "large"}
    occurred_at = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    [event] = vault.protected().append(
        "customer", "c1", [NewEvent("customer.registered", data, {"ip": "192.0.2.1"}, occurred_at=occurred_at)]
    )
    path = f"events/{event.log}/{event.position}"
    text = pages.text(path)
    assert re.search(r"Encrypted\s+/email\s*,\s+/contacts/0/phone\s*,\s+metadata /ip\s+Personal data", text)
    assert "Occurred" in text and "2026-01-02T03:04:05" in pages.source(path)
    for secret in ("ann@example.org", "0123", "192.0.2.1"):
        assert secret not in pages.source(path)
    assert "Encrypted" not in pages.text("events/main/1") and "Occurred" not in pages.text("events/main/1")
