"""What `make bench` can measure, by name."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import aggregates, downloads, groups, pages
from bench.filling import Filled, Tell
from bench.report import HEADING as SPEEDS_HEADING
from bench.report import as_json, machine, markdown, missed
from bench.run import run
from bench.sections import merge_rows, read_values, write_part


@dataclass(frozen=True)
class Outcome:
    """One part measured: its section of the page, its values for the JSON, a sentence for each target missed."""

    name: str
    heading: str
    text: str
    values: Mapping[str, Any]
    missed: Sequence[str]


@dataclass(frozen=True)
class Run:
    """What the parts of one run share: which databases, filled stores, a folder that goes, and the folder of results."""

    at: dt.datetime
    databases: Sequence[str]
    folder: Path
    filled: Filled
    results: Path
    tell: Tell


def speeds(run_: Run) -> Outcome:
    """Appending, reading and rebuilding against the raw drivers and eventsourcing."""
    found = [result for backend in run_.databases for result in run(backend, run_.folder, run_.tell)]
    values = json.loads(as_json(found, run_.at))
    return Outcome("speeds", SPEEDS_HEADING, markdown(found, run_.at), values, missed(found))


def _over_filled(name: str, part: Any) -> Callable[[Run], Outcome]:
    """A part that measures the filled store, database by database; rows of databases left out today stay."""

    def measure(run_: Run) -> Outcome:
        rows = [row for one in run_.databases for row in part.measure(one, run_.filled, run_.folder, run_.tell)]
        had = read_values(run_.results / f"{run_.at:%Y-%m-%d}.json").get(name, {}).get("rows", [])
        merged = merge_rows(had, rows)
        text = "\n".join([f"# {part.HEADING} of {run_.at:%Y-%m-%d}", "", machine(), "", *part.markdown(merged)])
        values = {"at": run_.at.isoformat(), "machine": machine(), "rows": merged}
        return Outcome(name, part.HEADING, text, values, part.missed(rows))

    return measure


PARTS: dict[str, Callable[[Run], Outcome]] = {
    "speeds": speeds,
    "groups": _over_filled("groups", groups),
    "pages": _over_filled("pages", pages),
    "downloads": _over_filled("downloads", downloads),
    "aggregates": _over_filled("aggregates", aggregates),
}


def keep(outcome: Outcome, run_: Run) -> None:
    """Writes a part into the files of the day."""
    write_part(run_.results, run_.at, outcome.name, outcome.heading, outcome.text, outcome.values)
