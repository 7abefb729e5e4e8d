"""`projectionist copy`: logs moved between databases and layouts."""

from __future__ import annotations

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from webapp.adapters import open_source
from webapp.cli.common import json_option, print_json, printable, say
from webapp.cli.reading import opened
from webapp.errors import InvalidRequest, NeedsMigration, UnknownLayout
from webapp.store.copying import LogCopy, copy_store
from webapp.store.database import hide_password, parse_url
from webapp.store.native import EventStore
from webapp.store.source import EventSource


@click.command()
@click.argument("source_url", metavar="SRC")
@click.argument("target_url", metavar="DST")
@click.option("--log", "logs", multiple=True, help="Only this log; may be repeated.")
@json_option
def copy(source_url: str, target_url: str, logs: tuple[str, ...], as_json: bool) -> None:
    """Copy the events of SRC, whatever its layout, into our tables in DST, and compare both afterwards.

    Ids, positions, times and texts stay as they are. A copy that was stopped goes on when the command is run again.
    """
    if parse_url(source_url) == parse_url(target_url):
        raise InvalidRequest("SRC and DST are the same database. Give another DST.")
    with opened(source_url) as source:
        target = _open_target(target_url)
        try:
            copies = _copy(source, target, logs)
        finally:
            target.close()
    for one in copies:
        if as_json:
            print_json({"log": one.log, "copied": one.copied, "head": one.head, "renumbered": one.renumbered,
                        "sha256": one.sha256})  # fmt: skip
        else:
            click.echo(_sentence(one))
    say(f"{hide_password(target_url)} holds the same events as {hide_password(source_url)}.")


def _open_target(url: str) -> EventStore:
    """The store at a URL, its tables made where there are none; raises UnknownLayout for somebody else's."""
    store = EventStore.open(url)
    try:
        store.database.dialect  # noqa: B018 - connects, which makes an SQLite file that isn't there
        source = open_source(url)
    except (UnknownLayout, NeedsMigration):
        pass  # an empty database, tables beside which ours may stand, or ours of an older version
    else:
        layout = source.layout
        source.close()
        if layout != store.layout:
            store.close()
            raise UnknownLayout(f"{hide_password(url)} has the layout {layout}. Copy into a database of its own.")
    store.migrate()
    return store


def _copy(source: EventSource, target: EventStore, logs: tuple[str, ...]) -> list[LogCopy]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("Copying", total=None)

        def tell(what: str, log: str, position: int, end: int) -> None:
            progress.update(task, description=f"{what} {printable(log)}", completed=position, total=max(end, 1))

        return copy_store(source, target, logs=logs or None, on_progress=tell)


def _sentence(one: LogCopy) -> str:
    renumbered = f", {one.renumbered:,} with another version" if one.renumbered else ""
    return (
        f"{printable(one.log)}: {one.copied:,} events copied{renumbered}; equal up to position {one.head:,}, "
        f"SHA-256 {one.sha256}"
    )
