"""What several commands share: options, how records and tables are printed."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
lone_surrogate = re.compile("[\ud800-\udfff]")
highest = 10**18
"""The highest number that an option takes: below what databases hold."""
Place = click.IntRange(0, highest)
Amount = click.IntRange(1, highest)


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
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=_plain)
    if not text.isascii() and lone_surrogate.search(text):  # which have no UTF-8; escaped they are JSON all the same
        text = json.dumps(record, separators=(",", ":"), default=_plain)
    click.echo(text)


def _plain(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def say(sentence: str) -> None:
    """A sentence for the person, on stderr, so that stdout stays for data; nothing in it that a terminal would obey."""
    click.echo(printable_lines(sentence), err=True)


def leave_stdout() -> None:
    """Lets stdout lead nowhere, so that Python doesn't complain at its end of a reader (head, less) that has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A plain table on stdout, columns as wide as what's in them."""
    texts = [[printable("" if value is None else str(value)) for value in row] for row in rows]
    widths = [max(len(line[at]) for line in [list(headings), *texts]) for at in range(len(headings))]
    for line in [list(headings), *texts]:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def printable_lines(text: str) -> str:
    """Text of several lines without what a terminal would obey; the lines stay."""
    return "\n".join(map(printable, text.split("\n")))


def printable(text: str) -> str:
    """Text without what a terminal would obey: control characters show as escapes."""
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in text)
