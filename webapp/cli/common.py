"""What several commands share: options, how records and tables are printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """Adds --json."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object a line, nothing else, on stdout.")(
        function
    )


def domain_option(function: F) -> F:
    """Adds --domain MODULE:NAME."""
    return click.option(
        "--domain", "domain_name", metavar="MODULE:NAME", envvar="PROJECTIONIST_DOMAIN",
        help="The Domain that knows aggregates and projections, such as shop.events:domain.",
    )(function)  # fmt: skip


def print_json(record: Mapping[str, Any]) -> None:
    """One line of JSON on stdout; times as RFC 3339, what JSON doesn't know as text."""
    click.echo(json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=_plain))


def _plain(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def say(sentence: str) -> None:
    """A sentence for the person, on stderr, so that stdout stays for data."""
    click.echo(sentence, err=True)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A plain table on stdout, columns as wide as what's in them."""
    texts = [[printable("" if value is None else str(value)) for value in row] for row in rows]
    widths = [max(len(line[at]) for line in [list(headings), *texts]) for at in range(len(headings))]
    for line in [list(headings), *texts]:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def printable(text: str) -> str:
    """Text without what a terminal would obey: control characters show as escapes."""
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)
