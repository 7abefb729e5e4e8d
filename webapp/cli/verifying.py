"""What a verification found, for a terminal and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from webapp.cli.common import print_table, printable, say
from webapp.cli.reading import cut
from webapp.replay.comparing import Difference
from webapp.replay.outcome import difference_record, summary_record, to_json
from webapp.replay.scratch import events_kept
from webapp.replay.verify import Verification

_widest = 60
_kinds = {
    "missing": "missing: readers lack this row",
    "extra": "extra: the events make no such row",
    "different": "different",
}


def verification_records(found: Verification) -> Iterator[dict[str, Any]]:
    """The differences, then a summary, each as one JSON object."""
    for one in found.differences:
        yield {"kind": "difference", "projection": found.projection, **difference_record(one)}
    yield {"kind": "verification", "projection": found.projection, **summary_record(found)}


def print_verification(found: Verification) -> None:
    """The differences for people, then a summary with what to do."""
    for one in found.differences:
        _print_difference(one)
    if not found.has_same_state:
        click.echo("The projection's state differs:")
        print_table(
            ("", "state"),
            [("  now", _shown(found.live_state)), ("  by the events", _shown(found.fresh_state))],
        )
        click.echo()
    hidden = found.total - len(found.differences)
    if hidden:
        click.echo(f"{hidden:,} more rows differ. Show them with --limit {found.total}.")
    at = ", ".join(f"{log}:{position:,}" for log, position in sorted(found.positions.items()))
    where = printable(f"{found.projection} (generation {found.generation}) at {at}")
    if found.is_equal:
        click.echo(f"{where}: {found.rows:,} rows are what {found.events:,} events say.")
    else:
        counts = ", ".join(f"{number:,} {kind}" for kind, number in found.counts.items() if number)
        parts = [counts or "no row differs", *(["its state differs"] if not found.has_same_state else [])]
        click.echo(f"{where}: compared {found.rows:,} rows with what {found.events:,} events say: {', '.join(parts)}.")
        say(f"Nothing was changed. To mend it: projectionist projections rebuild URL {printable(found.projection)}")
    if found.skipped:
        shown = ", ".join(printable(f"{log}:{position}") for log, position in found.skipped[:20])
        more = f" and {len(found.skipped) - 20:,} more" if len(found.skipped) > 20 else ""
        say(f"Left out on both sides, as skipped events: {shown}{more}.")
    if found.is_older:
        say("The rows were built by older code, so some may differ because the code has changed since.")


def _print_difference(one: Difference) -> None:
    key = ", ".join(f"{name}={_shown(value)}" for name, value in one.key.items())
    click.echo(f"{printable(one.table)} {key}  {_kinds[one.kind]}")
    live, fresh = one.live or {}, one.fresh or {}
    names = one.columns or [name for name in live or fresh if name not in one.key]
    rows = [(f"  {name}", _shown(live[name]) if live else "–", _shown(fresh[name]) if fresh else "–") for name in names]
    print_table(("  column", "readers see", "the events say"), rows)
    if one.events:
        last = f"the last {events_kept} events" if len(one.events) == events_kept else "events"
        behind = ", ".join(f"{cause.log}:{cause.position} {cause.type}" for cause in one.events)
        click.echo(printable(f"  {last} behind it: {behind}"))
    else:
        click.echo("  no event ever wrote it")
    click.echo()


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(to_json(value), ensure_ascii=False, default=str)
    return cut("NULL" if value is None else text, _widest)
