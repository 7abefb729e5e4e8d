"""Events as lines for people: a table that needs no more memory than its first hundred rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice

import click

from webapp.cli.reading import cut, show_time, terminal_width
from webapp.store.events import RecordedEvent
from webapp.store.jsontext import as_text

Column = tuple[str, Callable[[RecordedEvent], str]]
_widest = 48
_narrow = 20
_narrowest_payload = 12

_columns: dict[str, Callable[[RecordedEvent], str]] = {
    "recorded at (UTC)": lambda event: show_time(event.recorded_at),
    "log": lambda event: event.log,
    "position": lambda event: str(event.position),
    "type": lambda event: event.type,
    "aggregate": lambda event: "" if event.aggregate_id is None else event.stream,
    "version": lambda event: "" if event.version is None else str(event.version),
    "actor": lambda event: event.actor or "",
}
_numbers = {"position", "version"}
_names = {"log", "type", "aggregate", "actor"}


def print_events(events: Iterable[RecordedEvent], headings: Sequence[str]) -> int:
    """Prints events under the headings named, the payload last, cut to the terminal's width; returns their number."""
    rows = ([cut(_columns[name](event), _widest) for name in headings] + [_payload(event)] for event in events)
    first = list(islice(rows, 100))
    if not first:
        return 0
    widths = [max(len(row[at]) for row in [list(headings), *first]) for at in range(len(headings))]
    if terminal_width() - sum(widths) - 2 * len(widths) < _narrowest_payload:
        widths = [
            min(width, _narrow if name in _names else width) for width, name in zip(widths, headings, strict=True)
        ]
    room = max(_narrowest_payload, terminal_width() - sum(widths) - 2 * len(widths))
    count = -1
    for row in chain([[*headings, "data"]], first, rows):
        cells = [
            text.rjust(width)
            if name in _numbers
            else cut(text, width).ljust(width)
            if name in _names
            else text.ljust(width)
            for text, width, name in zip(row, widths, headings, strict=False)
        ]
        click.echo("  ".join([*cells, cut(row[-1], room)]).rstrip())
        count += 1
    return count


def _payload(event: RecordedEvent) -> str:
    text = event.data_text
    # Only as much of a large payload as a line can show.
    return as_text(text[:1000]) if text is not None else ""
