"""What a view works with: the parts of the dashboard, the person who asks, and the stores that person may see."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from flask import current_app, g, request

from webapp.accounts import activity
from webapp.accounts.home import Home
from webapp.accounts.people import Person
from webapp.config import Config
from webapp.domain import Domain
from webapp.errors import NotAllowed, NotFound
from webapp.store.source import EventSource
from webapp.web.sources import Sources, StoreEntry

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Dashboard:
    """The parts that live as long as the process; kept in `app.extensions["projectionist"]`."""

    config: Config
    home: Home
    sources: Sources
    domain: Domain

    def close(self) -> None:
        """Gives all connections back; the app can't answer after."""
        self.sources.close()
        self.home.close()


def dashboard() -> Dashboard:
    """The parts of the app that answers now."""
    parts: Dashboard = current_app.extensions["projectionist"]
    return parts


def config() -> Config:
    """The settings."""
    return dashboard().config


def home() -> Home:
    """The dashboard's own database."""
    return dashboard().home


def domain() -> Domain:
    """What the code knows: aggregates and projections."""
    return dashboard().domain


def person() -> Person:
    """Who asks; every page but login, health and static files has somebody."""
    somebody: Person = g.person
    return somebody


def stores() -> dict[str, StoreEntry]:
    """The stores that the person may see, by name, in the order of the settings, home last."""
    return {entry.name: entry for entry in dashboard().sources.entries() if person().may("viewer", entry.name)}


def store_entry(store: str) -> StoreEntry:
    """One store; raises NotFound, also where there is one that the person may not see."""
    entry = stores().get(store)
    if entry is None:
        known = ", ".join(stores()) or "none"
        raise NotFound("store", store, f"Stores you may see: {known}.")
    return entry


def source(store: str) -> EventSource:
    """The store opened for reading; raises NotFound as store_entry does, StoreUnavailable where it can't be reached."""
    return dashboard().sources.open(store_entry(store).name)


def may(role: str, store: str | None = None) -> bool:
    """Whether the person may do what `role` stands for; templates ask this before they draw a button."""
    return person().may(role, store)


def requires(role: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A view for people with the role: in the store that its URL names, else for all stores. Others get a 403."""

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(view)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            store = (request.view_args or {}).get("store")
            if not may(role, store):
                where = f"in the store “{store}”" if store else "for all stores"
                has = person().role_in(store)
                raise NotAllowed(f"This needs the role {role} {where}; you have {has}. An admin can give it to you.")
            return view(*args, **kwargs)

        return checked

    return decorate


def record(type: str, data: dict[str, Any] | None = None, **subject: str) -> None:
    """Records an act of the person who asks in home's events; `person=` or `store=` says what it was about."""
    activity.record(home(), person().username, type, data, address=request.remote_addr, **subject)  # type: ignore[arg-type]
