"""`projectionist events`, `history` and `state`: what happened, and what came of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

import click

from webapp.audit.formats.ndjson import encode_line
from webapp.cli.common import Amount, Place, domain_option, json_option, print_json, printable, say
from webapp.cli.reading import TimeText, filter_options, only_log, opened, read_scope
from webapp.cli.tables import print_events
from webapp.errors import NotFound
from webapp.store.events import EventFilter, RecordedEvent
from webapp.store.merge import MergedEvents, read_all
from webapp.store.source import EventSource

_shown_by_default = 100


@click.command()
@click.argument("url")
@filter_options
@click.option("--after", metavar="PLACE", help="Only what follows a position, or the cursor of a longer list.")
@click.option("--before", metavar="PLACE", help="Only what comes before a position, or a cursor with --newest.")
@click.option("--newest", is_flag=True, help="Newest first; oldest first without it.")
@click.option("--limit", type=Amount, help="At most so many; 100 without --json, all with it.")
@json_option
def events(
    url: str, after: str | None, before: str | None, newest: bool, limit: int | None, as_json: bool, **options: Any
) -> None:
    """The events of a store, oldest first; those of several logs by time.

    A list that goes on ends with the place to go on from, on stderr.
    """
    limit = limit or (None if as_json else _shown_by_default)
    with opened(url) as source:
        scope = read_scope(source, options)
        log = only_log(source, scope.log)
        found: _Followed | MergedEvents
        if log is not None:
            found = _read_log(source, log, scope.where, after, before, newest, limit)
        else:
            found = _read_all(source, scope.where, after, before, newest, limit)
        count = _print(islice(found, limit), as_json, _headings(log))
        if not count:
            say("No event matches." if scope.values() or after or before else "There is no event yet.")
        _say_more(found, log, "--before" if newest else "--after")


def _read_log(
    source: EventSource, log: str, where: EventFilter, after: str | None, before: str | None, newest: bool,
    limit: int | None,
) -> _Followed:  # fmt: skip
    low, high = _position(after, "--after"), _position(before, "--before")
    more = None if limit is None else limit + 1
    return _Followed(source.read_log(log, after=low or 0, before=high, limit=more, newest_first=newest, where=where))


def _read_all(
    source: EventSource, where: EventFilter, after: str | None, before: str | None, newest: bool, limit: int | None
) -> MergedEvents:
    for name, value in (("--after", after), ("--before", before)):
        if value and value.isdigit():
            logs = [printable(log.name) for log in source.logs() if not log.is_retired]
            known = ", ".join(logs[:8]) + (f" and {len(logs) - 8:,} more" if len(logs) > 8 else "")
            raise click.UsageError(f"{name} {value} is a position, which needs --log. Logs: {known or 'none yet'}.")
    if (before if not newest else after) or (after and before):
        raise click.UsageError("A cursor leads on in the order of its list: --after it, or --before it with --newest.")
    return read_all(source, where=where, newest_first=newest, cursor=after or before, limit=limit)


def _position(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise click.UsageError(f"{name} takes a position of the log, a whole number, not “{text}”.")
    return int(text)


class _Followed(Iterator[RecordedEvent]):
    """Events of one log; `cursor` is the position of the last one."""

    def __init__(self, found: Iterable[RecordedEvent]) -> None:
        self._events = iter(found)
        self.cursor = ""

    def __next__(self) -> RecordedEvent:
        event = next(self._events)
        self.cursor = str(event.position)
        return event


def _say_more(found: _Followed | MergedEvents, log: str | None, option: str) -> None:
    place = found.cursor
    if place and next(found, None) is not None:
        say(f"There are more: {option} {place}{f' --log {printable(log)}' if log is not None else ''}")


def _headings(log: str | None) -> list[str]:
    names = ["recorded at (UTC)", "log", "position", "type", "aggregate", "version", "actor"]
    return names if log is None else [name for name in names if name != "log"]


def _print(found: Iterable[RecordedEvent], as_json: bool, headings: list[str]) -> int:
    if not as_json:
        return print_events(found, headings)
    out = sys.stdout.buffer
    count = 0
    for event in found:
        out.write(encode_line(event))
        count += 1
    out.flush()
    return count


@click.command()
@click.argument("url")
@click.argument("type_", metavar="TYPE")
@click.argument("id_", metavar="ID")
@click.option("--log", help="The log, where several hold this aggregate.")
@click.option("--after", type=Place, default=0, help="Only versions above this one.")
@click.option("--limit", type=Amount, help="At most so many.")
@json_option
def history(url: str, type_: str, id_: str, log: str | None, after: int, limit: int | None, as_json: bool) -> None:
    """The events of one aggregate, in order of version."""
    with opened(url) as source:
        found = read_history(source, type_, id_, log, after)
        names = ["version", "recorded at (UTC)", "position", "type", "actor"]
        count = _print(islice(found, limit), as_json, names)
        if not count:
            say(f"It has no version above {after}.")
        elif next(found, None) is not None:
            say(f"There are more: --after {after + count}")


def read_history(source: EventSource, type_: str, id_: str, log: str | None, after: int = 0) -> Iterator[RecordedEvent]:
    """An aggregate's events above a version. Raises NotFound if it has none at all, AmbiguousLog at the first event."""
    found = iter(source.read_stream(type_, id_, log=log, after=after))
    first = next(found, None)
    if first is not None:
        return chain([first], found)
    if not after or next(iter(source.read_stream(type_, id_, log=log, limit=1, with_payload=False)), None) is None:
        where = f"No event of it is in log “{log}”." if log else "Types and ids compare byte by byte."
        raise NotFound("aggregate", f"{type_}/{id_}", where)
    return iter(())


@click.command()
@click.argument("url")
@click.argument("type_", metavar="TYPE")
@click.argument("id_", metavar="ID")
@click.option("--log", help="The log, where several hold this aggregate.")
@click.option("--version", type=Amount, help="As it was at this version.")
@click.option("--at", type=TimeText(), help="As it was at a time: 2026-10-01, 2026-10-01T14:30Z, -7d.")
@domain_option
@json_option
def state(
    url: str, type_: str, id_: str, log: str | None, version: int | None, at: str | None, domain_name: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """The state of one aggregate, folded from its events.

    The Domain's code folds it; without one, the fields of the payloads are shown as they were last written.
    """
    from webapp.cli.folding import fold_all, folding_of, print_state

    if version is not None and at is not None:
        raise click.UsageError("Give --version or --at, not both.")
    folding = folding_of(type_, domain_name)
    with opened(url) as source:
        folded = fold_all(read_history(source, type_, id_, log), folding, version=version, at=at)
    if as_json:
        print_json(folded.record)
    else:
        print_state(folded)
