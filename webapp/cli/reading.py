"""What the reading commands share: a store opened by its URL, the filters of events, and text fit for a terminal."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from webapp.adapters import open_source
from webapp.audit.trail import Scope
from webapp.cli.common import printable
from webapp.config import load_config
from webapp.errors import AmbiguousLog, InvalidRequest, NotFound, ProjectionistError
from webapp.queries.filters import Filters
from webapp.queries.times import accepted, parse_time
from webapp.store.events import utc
from webapp.store.source import EventSource

F = TypeVar("F", bound=Callable[..., Any])


@contextmanager
def opened(url: str) -> Iterator[EventSource]:
    """The store at a URL, whatever its layout; closed at the end."""
    source = open_source(url, actor_keys=load_config().actor_keys)
    try:
        yield source
    except AmbiguousLog as error:
        logs = ", ".join(printable(log) for log in error.logs)
        stream = printable(f"{error.aggregate_type}/{error.aggregate_id}")
        raise ProjectionistError(f"{stream} has events in several logs: {logs}. Choose one with --log.") from error
    finally:
        source.close()


class TimeText(click.ParamType[str]):
    """A time as people type it; passed on as RFC 3339 in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The time; what isn't one is wrong usage."""
        try:
            return utc(parse_time(str(value)))
        except InvalidRequest:
            self.fail(f"“{value}” is not a time. Write {accepted}; without a zone it is in UTC.", param, ctx)


def filter_options(function: F) -> F:
    """Adds the filters of events: --log, --type (repeatable), --aggregate-type, …, --contains."""
    options = [
        click.option("--log", help="Only this log."),
        click.option("--type", "types", multiple=True, help="Only events of this type; may be repeated."),
        click.option("--aggregate-type", help="Only events of aggregates of this type."),
        click.option("--aggregate-id", help="Only events of the aggregate with this id."),
        click.option("--correlation", help="Only events with this correlation id."),
        click.option("--actor", help="Only what this actor did."),
        click.option("--since", type=TimeText(), help="Recorded at or after this: 2026-10-01, 2026-10-01T14:30Z, -7d."),
        click.option("--until", type=TimeText(), help="Recorded before a time."),
        click.option("--contains", help="Only events whose payload contains this text."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


class _Given:
    """Options under the names of URL arguments, as the filters take them."""

    def __init__(self, values: dict[str, list[str]]) -> None:
        self.values = values

    def get(self, key: str, /) -> str | None:
        return next(iter(self.getlist(key)), None)

    def getlist(self, key: str, /) -> list[str]:
        return self.values.get(key, [])

    def keys(self) -> Iterable[str]:
        return self.values


def read_scope(source: EventSource, options: dict[str, Any]) -> Scope:
    """The scope that the filter options name; raises ProjectionistError for a log or type that isn't there."""
    given = {name: [value] for name, value in options.items() if isinstance(value, str) and value}
    given["type"] = list(options["types"])
    filters = Filters.from_args(source, _Given(given))
    for name, problem in filters.errors.items():
        if name == "until":
            raise click.UsageError(f"--until: {problem}")
        raise ProjectionistError(problem)
    return Scope(filters.where, filters.log)


def only_log(source: EventSource, log: str | None) -> str | None:
    """The log that was named, else the only one there is; None where there are several, or none. Raises NotFound."""
    logs = source.logs()
    if log is None:
        shown = [one.name for one in logs if not one.is_retired]
        return shown[0] if len(shown) == 1 else None
    if log not in {one.name for one in logs}:
        raise NotFound("log", log, "The command inspect lists them all.")
    return log


def show_time(at: dt.datetime | None) -> str:
    """A time for a table, in UTC to the millisecond."""
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}"


def terminal_width() -> int:
    """How many characters fit into a line; 120 where there is no terminal."""
    return max(60, shutil.get_terminal_size((120, 24)).columns)


def cut(text: str, width: int) -> str:
    """The text without what a terminal would obey, at most so wide."""
    shown = printable(text[: width + 1])
    return shown if len(shown) <= width else shown[: max(0, width - 1)] + "…"
