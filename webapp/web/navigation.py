"""The links in the sidebar: which pages there are for this person and this store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import current_app, request, url_for

from webapp.accounts.people import Person
from webapp.store.source import Capability
from webapp.web.context import dashboard
from webapp.web.sources import StoreEntry


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the sidebar; `count` says how many things behind it need attention."""

    label: str
    url: str
    icon: str
    is_current: bool = False
    count: str = ""


_store_pages = (
    ("Overview", "stores.show", "gauge", "viewer"),
    ("Events", "events.index", "list", "viewer"),
    ("Logs", "logs.index", "layers", "viewer"),
    ("Types", "types.index", "tag", "viewer"),
    ("Aggregates", "aggregates.index", "boxes", "viewer"),
    ("Projections", "projections.index", "refresh", "viewer"),
    ("Dead letters", "dead_letters.index", "mail", "viewer"),
    ("Audit", "audit.index", "scroll", "auditor"),
)
_needs = {"dead_letters.index": Capability.dead_letters}
_home_pages = ("stores.show", "events.index", "types.index", "aggregates.index", "audit.index")
"""What makes sense for our own store."""
_sections = {"replays": "projections"}
"""Pages that have no link of their own, and under whose link they stand."""


def links(person: Person, entry: StoreEntry | None) -> list[Link]:
    """The pages of a store, or those above all stores, then people for admins."""
    if entry is None:
        found = [_link("Overview", "stores.index", "gauge")]
    else:
        counts = dashboard().sources.attention(entry.name)
        found = [
            _link(label, endpoint, icon, counts.get(endpoint.partition(".")[0], 0), store=entry.name)
            for label, endpoint, icon, role in _store_pages
            if person.may(role, entry.name) and _makes_sense(endpoint, entry)
            if endpoint in current_app.view_functions  # audit is still to come
        ]
    if person.may("admin"):
        found.append(_link("People", "users.index", "users"))
    return found


def _makes_sense(endpoint: str, entry: StoreEntry) -> bool:
    """Whether a store has that page: what a source can't do isn't shown, as far as it was opened and known."""
    if entry.is_home:
        return endpoint in _home_pages
    needed = _needs.get(endpoint)
    return needed is None or entry.source is None or needed in entry.source.capabilities


def _link(label: str, endpoint: str, icon: str, count: int = 0, **values: Any) -> Link:
    here, section = request.endpoint or "", endpoint.partition(".")[0]
    present = here.partition(".")[0]
    is_current = here == endpoint if section == "stores" else _sections.get(present, present) == section
    shown = "" if not count else "99+" if count > 99 else str(count)
    return Link(label, url_for(endpoint, **values), icon, is_current, shown)
