"""What commands about projections open and show: the store, the code of a projection, how far something is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from webapp.adapters import open_source
from webapp.domain import Domain, load_domain
from webapp.errors import NotFound, UnknownLayout
from webapp.projections.projection import Projection
from webapp.store.native import EventStore
from webapp.store.source import EventSource


@contextmanager
def opened_source(url: str) -> Iterator[EventSource]:
    """The store at a URL, whatever its layout; closed at the end."""
    source = open_source(url)
    try:
        yield source
    finally:
        source.close()


@contextmanager
def opened_store(url: str) -> Iterator[EventStore]:
    """The store at a URL, if projections can be run in it; raises UnknownLayout."""
    with opened_source(url) as source:
        if not isinstance(source, EventStore):
            raise UnknownLayout(
                f"This database has the layout {source.layout} and is attached read-only: projections are run by the "
                "framework that owns it."
            )
        yield source


def named_domain(name: str | None) -> Domain:
    """The domain of --domain, which must be given."""
    if not name:
        raise click.UsageError("This needs the code of the projections: give --domain MODULE:NAME.")
    return load_domain(name)


def named_projection(domain_name: str | None, name: str) -> Projection:
    """The code of a projection; raises NotFound with the names there are."""
    domain = named_domain(domain_name)
    if name not in domain.projections:
        known = ", ".join(sorted(domain.projections)) or "none"
        raise NotFound("projection", name, f"{domain_name} defines {known}.")
    return domain.projections[name]


def progress_bar() -> Progress:
    """A bar on stderr that shows how much is done and for how long it goes on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))
