"""`projectionist projections step`: what a projection would do event by event, for a terminal and as JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from webapp.cli.common import domain_option, json_option, print_json, print_table, printable, printable_lines, say
from webapp.cli.opening import named_projection, opened_store, progress_bar
from webapp.cli.reading import cut
from webapp.queries.steps import StepLine, parse_place, usual_limit
from webapp.replay.step_outcome import step_record, steps_record
from webapp.replay.stepper import most_steps, step_projection
from webapp.replay.steps import Steps, StepsFrom, places_in_words

_widest = 60
_widest_payload = 1000


@click.command("step")
@click.argument("url")
@click.argument("name")
@click.option(
    "--after", "after", multiple=True, metavar="[LOG:]N", help="Begin after this position; else where it stands."
)
@click.option("--log", help="Show only events of this log.")
@click.option("--aggregate", nargs=2, metavar="TYPE ID", help="Show only events of this aggregate.")
@click.option(
    "--limit", type=click.IntRange(1, most_steps), default=usual_limit, show_default=True, help="Events shown."
)
@click.option(
    "--from",
    "start",
    type=click.Choice([one.value for one in StepsFrom]),
    help="Start from the rows that readers see, all events before, or empty tables; else what fits best.",
)
@click.option("--without", multiple=True, metavar="[LOG:]N", help="Leave out an event, as if it was skipped.")
@domain_option
@json_option
def step(
    url: str, name: str, after: tuple[str, ...], log: str | None, aggregate: tuple[str, str] | None, limit: int,
    start: str | None, without: tuple[str, ...], domain_name: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Show what a projection would do at each event, writing nothing. Exit status 1 if it fails at one."""
    projection = named_projection(domain_name, name)
    places = [parse_place(place, projection, log) for place in after]
    left_out = [parse_place(place, projection, log) for place in without]
    with opened_store(url) as store, _telling(name) as tell:
        found = step_projection(
            store, projection, after=dict(places) or None, log=log, limit=limit, aggregate=aggregate or None,
            started_from=StepsFrom(start) if start else None, without=left_out, on_progress=tell,
        )  # fmt: skip
    if as_json:
        for record in steps_records(found):
            print_json(record)
    else:
        print_steps(found)
    if found.failed is not None:
        click.get_current_context().exit(1)


@contextmanager
def _telling(name: str) -> Iterator[Callable[[int, int], None]]:
    """What shows how many of the events before are applied; a bar that begins with the first of them."""
    progress = progress_bar()
    task = progress.add_task(f"Applying what comes before, {name}", total=None)

    def tell(done: int, total: int) -> None:
        progress.start()
        progress.update(task, completed=done, total=total)

    try:
        yield tell
    finally:
        if progress.live.is_started:
            progress.stop()


def steps_records(found: Steps) -> Iterator[dict[str, Any]]:
    """The steps, then a summary, each as one JSON object."""
    for step in found.steps:
        yield {"kind": "step", "projection": found.projection, **step_record(step)}
    yield {"kind": "steps", "projection": found.projection, **steps_record(found)}


def print_steps(found: Steps) -> None:
    """The steps for people, then a summary with how to go on."""
    for sentence in (found.beginning, *found.notes):
        say(sentence)
    for step in found.steps:
        _print_step(StepLine.make(step))
    counts: dict[str, int] = {}
    for step in found.steps:
        counts[step.outcome] = counts.get(step.outcome, 0) + 1
    told = ", ".join(f"{number:,} {outcome}" for outcome, number in counts.items()) or "no event"
    click.echo(printable(f"{found.projection} after {places_in_words(found.after)}: {told}. Nothing was written."))
    after = " ".join(f"--after {shlex.quote(f'{log}:{position}')}" for log, position in sorted(found.reached.items()))
    if found.failed is not None:
        say(f"Go on as if that event was skipped: {after} --without {shlex.quote(found.failed.place)}")
    elif found.has_more:
        say(f"Go on: {after}")


def _print_step(line: StepLine) -> None:
    step, event = line.step, line.step.event
    whose = f"{event.aggregate_type}/{event.aggregate_id}" if event.aggregate_type is not None else ""
    outcome = step.outcome if step.outcome in ("failed", "left out") else ""
    click.echo(printable("  ".join(part for part in (step.place, event.type, whose, line.handlers, outcome) if part)))
    error = step.error
    if error is not None:
        click.echo(f"  {cut(error.message, _widest_payload)}")
        click.echo(f"  payload: {cut(line.payload, _widest_payload)}")
        state = json.dumps(error.state, ensure_ascii=False)
        click.echo(f"  state before it: {cut(state, _widest_payload)}")
    sides = ("before", "after") if error is None else ("before", "when it failed")
    for row in line.rows:
        click.echo(f"  {printable(row.title)}  {row.kind}")
        _print_values("column", sides, row.columns)
    if step.hidden_rows:
        click.echo(f"  {step.hidden_rows:,} more rows, not shown")
    if line.state:
        click.echo("  the projection's state  changed")
        _print_values("value", sides, line.state)
    for what, data in line.emitted:
        click.echo(printable(f"  emits {what}: {data}"))
    if error is not None:
        click.echo(printable_lines(error.traceback.rstrip("\n")))
    click.echo()


def _print_values(what: str, sides: tuple[str, str], values: Sequence[tuple[str, str, str]]) -> None:
    if values:
        rows = [(f"    {name}", cut(before, _widest), cut(after, _widest)) for name, before, after in values]
        print_table((f"    {what}", *sides), rows)
