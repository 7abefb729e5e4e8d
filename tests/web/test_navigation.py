"""The sidebar: pages, stores, and what needs attention."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.web.conftest import Browser
from webapp.accounts.roles import Grant
from webapp.adapters.native import NativeSource
from webapp.errors import StoreUnavailable
from webapp.store.source import Health, ProjectionStatus


def links(text: str) -> list[str]:
    sidebar = text.partition('<nav aria-label="Pages">')[2].partition("</nav>")[0]
    return [" ".join(re.sub("<[^>]*>", "", link).split()) for link in re.findall(r"<a .*?</a>", sidebar, re.DOTALL)]


def test_the_pages_of_a_store_are_linked(admin: Browser) -> None:
    found = links(admin.read("/stores/shop"))
    assert found[:5] == ["Overview", "Events", "Logs", "Types", "Aggregates"]
    assert found[-1] == "People"
    assert "Dead letters" in found, "of our own layout's outbox"


def test_the_present_page_is_marked(admin: Browser) -> None:
    text = admin.read("/stores/shop/events")
    assert re.search(r'<a href="/stores/shop/events" aria-current="page">', text)
    assert text.count('aria-current="page"') == 1


def test_every_link_leads_to_a_whole_page_that_is_marked(admin: Browser) -> None:
    for start in ("/", "/stores/shop", "/stores/home"):
        sidebar = admin.read(start).partition('<nav aria-label="Pages">')[2].partition("</nav>")[0]
        addresses = re.findall(r'<a href="([^"]+)"', sidebar)
        assert addresses
        for address in addresses:
            page = admin.read(address)
            assert page.startswith("<!doctype html>"), address
            assert f'<a href="{address}" aria-current="page">' in page, address


def test_replays_stand_under_projections(admin: Browser) -> None:
    text = admin.read("/stores/shop/replays")
    assert re.search(r'<a href="/stores/shop/projections" aria-current="page">', text)
    assert text.count('aria-current="page"') == 1


def test_people_are_for_admins_and_audit_for_auditors(somebody: Callable[..., Browser]) -> None:
    viewer, auditor = somebody("vic", Grant("viewer")), somebody("aud", Grant("auditor"))
    assert "People" not in links(viewer.read("/stores/shop"))
    assert "Audit" not in links(viewer.read("/stores/shop"))
    assert "Audit" in links(auditor.read("/stores/shop"))


def test_only_stores_that_one_may_see_can_be_chosen(somebody: Callable[..., Browser]) -> None:
    text = somebody("vic", Grant("viewer", "shop")).read("/")
    assert re.findall(r'href="(/stores/[^"/]*)"', text.split('class="switcher"')[1].split("</details>")[0]) == [
        "/stores/shop"
    ]


def test_failing_projections_are_counted(admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = [ProjectionStatus(name, health, "") for name, health in (("a", Health.failed), ("b", Health.up_to_date))]
    asked = []
    monkeypatch.setattr(NativeSource, "projections", lambda self: asked.append(1) or statuses)
    text = admin.read("/stores/shop/logs")
    text = admin.read("/stores/shop/logs")
    assert "Projections , needing attention: 1" in links(text)
    count = len(asked)
    admin.read("/stores/shop/logs")
    assert len(asked) == count, "asked anew only after a while"


def test_a_count_that_cannot_be_had_is_left_out(admin: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: NativeSource) -> list[ProjectionStatus]:
        raise StoreUnavailable("no")

    monkeypatch.setattr(NativeSource, "projections", fail)
    admin.read("/stores/shop/logs")
    assert "needing attention" not in admin.read("/stores/shop/logs")
