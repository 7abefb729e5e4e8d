"""Results as tables for people and as JSON."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from bench.contestants import Ours
from bench.measure import Speeds, ratio
from bench.peer import Peer
from bench.raw import RAW
from bench.run import ROUNDS, Result

HEADING = "Benchmark"
BATCH, READ, SINGLE = "append 1,000 events of one aggregate", "read", "append one event"
# (measure begins with, database, against whom): what has to be reached
TARGETS = {
    **{(SINGLE, database, "raw"): 0.85 for database in RAW},
    **{(BATCH, database, "raw"): 0.8 if database == "postgresql" else 0.85 for database in RAW},
    **{(READ, database, "raw"): 0.7 for database in RAW},
    (BATCH, "postgresql", "eventsourcing"): 2.0,
    (BATCH, "sqlite", "eventsourcing"): 1.0,
    (READ, "postgresql", "eventsourcing"): 1.4,
    (READ, "sqlite", "eventsourcing"): 1.2,
}


def target(result: Result, other: str) -> float | None:
    """The ratio that has to be reached, None if none was set."""
    for (measure, database, against), wanted in TARGETS.items():
        if result.measure.startswith(measure) and (database, against) == (result.database, other):
            return wanted
    return None


def missed(results: Iterable[Result]) -> list[str]:
    """A sentence for each target that was not reached."""
    sentences = []
    for result in results:
        for other in ("raw", "eventsourcing"):
            wanted, got = target(result, other), ratio(result.speeds, "ours", other)
            if wanted is not None and got is not None and got < wanted:
                sentences.append(
                    f"{result.database}, {result.measure}: {got:.2f} of {other}, the target is {wanted:.2f}"
                )
    return sentences


def markdown(results: Sequence[Result], at: dt.datetime) -> str:
    """A page of tables: ratios first, then speeds in events per second, median (slowest–fastest round)."""
    lines = [
        f"# Benchmark of {at:%Y-%m-%d}",
        "",
        f"{ROUNDS} rounds in turns; ratios are medians over rounds. {machine()}",
        "",
        "| database | measure | ours / raw | ours / eventsourcing | raw / bare |",
        "| --- | --- | --- | --- | --- |",
    ]
    for result in results:
        cells = [_ratio(result, "ours", "raw"), _ratio(result, "ours", "eventsourcing"), _ratio(result, "raw", "bare")]
        lines.append(f"| {result.database} | {result.measure} | {' | '.join(cells)} |")
    lines += ["", "| database | measure | ours | raw | eventsourcing | bare |", "| --- | --- | --- | --- | --- | --- |"]
    for result in results:
        cells = [_speed(result.speeds.get(name)) for name in ("ours", "raw", "eventsourcing", "bare")]
        lines.append(f"| {result.database} | {result.measure} | {' | '.join(cells)} |")
    lines += ["", "Events per second, median (slowest to fastest round). Targets stand in brackets.", "", "## How", ""]
    lines += [f"- **ours**: {Ours.how}", f"- **eventsourcing**: {Peer.how}"]
    lines += [f"- **raw** on {name}: {kind.how}" for name, kind in RAW.items()]
    lines += [
        "- **raw** is the driver's fastest way into a table with our columns, indexes, triggers and durability settings; "
        "**bare** the same without indexes and triggers. Both make ids and JSON from the same inputs inside the timed "
        "part, but check nothing, hold no counter, and tell nobody what was recorded.",
        "- All keep the durability that their server or file has by default.",
    ]
    return "\n".join(lines) + "\n"


def machine() -> str:
    """What the numbers were measured on."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("psycopg", "PyMySQL", "sqlalchemy", "eventsourcing"))
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, {libraries}."


def as_json(results: Iterable[Result], at: dt.datetime) -> str:
    """All rounds of all contestants."""
    rows = [
        {
            "database": result.database,
            "measure": result.measure,
            "events_per_second": {
                name: [round(one) for one in speeds.rounds] for name, speeds in result.speeds.items()
            },
            "ratios": {
                other: round(found, 3)
                for other in ("raw", "eventsourcing")
                if (found := ratio(result.speeds, "ours", other)) is not None
            },
        }
        for result in results
    ]
    return json.dumps({"at": at.isoformat(), "machine": machine(), "results": rows}, indent=1) + "\n"


def _ratio(result: Result, one: str, other: str) -> str:
    found = ratio(result.speeds, one, other)
    if found is None:
        return "–"
    wanted = target(result, other) if one == "ours" else None
    return f"{found:.2f}" + (f" (≥ {wanted:.2f})" if wanted is not None else "")


def _speed(speeds: Speeds | None) -> str:
    if speeds is None:
        return "–"
    slowest, fastest = speeds.spread
    return f"{speeds.median:,.0f} ({slowest:,.0f}–{fastest:,.0f})"
