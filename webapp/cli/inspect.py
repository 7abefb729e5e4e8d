"""`projectionist inspect`: what a store holds and how its projections are doing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from webapp.cli.common import json_option, print_json, print_table, printable, say
from webapp.cli.reading import cut, opened, show_time
from webapp.store.database import hide_password
from webapp.store.events import utc
from webapp.store.source import Capability, Count, EventSource, Log, ProjectionStatus

_most_looked_into = 200
_most_dead_letters = 1000


@click.command()
@click.argument("url")
@json_option
def inspect(url: str, as_json: bool) -> None:
    """The layout of a store, its logs, types and projections: heads, counts, position, lag and health."""
    with opened(url) as source:
        records = list(_records(source, url))
    if as_json:
        for record in records:
            print_json({name: utc(value) if hasattr(value, "isoformat") else value for name, value in record.items()})
    else:
        _report(records)


def _records(source: EventSource, url: str) -> Iterator[dict[str, Any]]:
    logs = source.logs()
    letters = (
        len(source.dead_letters(limit=_most_dead_letters)) if Capability.dead_letters in source.capabilities else 0
    )
    yield {
        "kind": "layout", "layout": source.layout, "database": source.dialect, "url": hide_password(url),
        "logs": len(logs), "capabilities": sorted(one.name for one in source.capabilities), "dead_letters": letters,
    }  # fmt: skip
    if len(logs) > _most_looked_into:
        say(f"There are {len(logs):,} logs, so positions without an event are not looked for.")
    for log in logs:
        yield _log(source.log(log.name) if len(logs) <= _most_looked_into else log)
    for group in source.aggregate_types():
        yield {
            "kind": "aggregate_type", "log": group.log, "aggregate_type": group.name, **_count(group.count),
            "last_at": group.last_at,
        }  # fmt: skip
    for type_ in source.event_types():
        yield {
            "kind": "event_type", "log": type_.log, "event_type": type_.name, **_count(type_.count),
            "first_at": type_.first_at, "last_at": type_.last_at,
        }  # fmt: skip
    for status in source.projections():
        yield _projection(status)


def _count(count: Count) -> dict[str, Any]:
    return {"count": count.number, "count_is_exact": count.exact}


def _log(log: Log) -> dict[str, Any]:
    return {
        "kind": "log", "log": log.name, "head": log.head, "settled_head": log.settled_head, **_count(log.count),
        "category": log.category, "strategy": log.strategy, "derived_from": log.derived_from,
        "is_retired": log.is_retired, "first_at": log.first_at, "last_at": log.last_at, "missing": list(log.missing),
        "details": log.details,
    }  # fmt: skip


def _projection(status: ProjectionStatus) -> dict[str, Any]:
    failure = status.failure
    only = status.progress[0] if len(status.progress) == 1 else None
    return {
        "kind": "projection", "projection": status.name, "engine": status.engine, "status": status.status,
        "health": status.health.value, "explanation": status.explanation,
        "position": only.position if only else None, "head": only.head if only else None, "lag": status.lag,
        "progress": [
            {
                "log": one.log, "position": one.position, "head": one.head, "lag": one.lag,
                "pending": one.pending.number if one.pending else None, "gaps": list(one.gaps),
            }
            for one in status.progress
        ],
        "partitions": status.partitions, "partitions_behind": status.partitions_behind, "state": status.state,
        "locked_until": status.locked_until, "updated_at": status.updated_at,
        "failure": failure and {"log": failure.log, "position": failure.position, "message": failure.message},
        "emits_to": status.emits_to, "tables": list(status.tables), "generation": status.generation,
        "is_stale": status.is_stale, "skipped": status.skipped, "details": status.details,
    }  # fmt: skip


# --- for people -----------------------------------------------------------------------------------------------------


def _report(records: Sequence[dict[str, Any]]) -> None:
    of = {kind: [one for one in records if one["kind"] == kind] for kind in _tables}
    [layout] = (one for one in records if one["kind"] == "layout")
    click.echo(f"{layout['url']}: {layout['database']}, layout {layout['layout']}")
    if layout["dead_letters"]:
        more = "+" if layout["dead_letters"] >= _most_dead_letters else ""
        click.echo(f"Dead letters: {layout['dead_letters']:,}{more}")
    for kind, (title, columns) in _tables.items():
        click.echo(f"\n{title}" if of[kind] else f"\n{title}: none")
        if of[kind]:
            print_table(list(columns), [[_shown(one, columns[name]) for name in columns] for one in of[kind]])
    for one in of["projection"]:
        click.echo(f"\n{printable(one['projection'])}: {printable(one['explanation'])}")


_tables: dict[str, tuple[str, dict[str, str]]] = {
    "log": (
        "Logs",
        {
            "log": "log", "head": "head", "settled head": "settled_head", "events": "count", "missing": "missing",
            "kind": "strategy", "derived from": "derived_from", "first (UTC)": "first_at", "last (UTC)": "last_at",
        },
    ),
    "aggregate_type": (
        "Aggregate types", {"log": "log", "type": "aggregate_type", "aggregates": "count", "last (UTC)": "last_at"},
    ),
    "event_type": (
        "Event types",
        {"log": "log", "type": "event_type", "events": "count", "first (UTC)": "first_at", "last (UTC)": "last_at"},
    ),
    "projection": (
        "Projections",
        {
            "projection": "projection", "health": "health", "status": "status", "position": "position", "lag": "lag",
            "partitions": "partitions",
        },
    ),
}  # fmt: skip
"""Of each kind of record: the title of its table, its headings and the fields below them."""


def _shown(record: dict[str, Any], name: str) -> str:
    value = record[name]
    if name.endswith("_at"):
        return show_time(value)
    if name == "missing":
        return ", ".join(map(str, value[:5])) + (f" and {len(value) - 5:,} more" if len(value) > 5 else "")
    if name == "position" and value is None:
        return cut(", ".join(f"{one['log']}:{one['position']}" for one in record["progress"][:3]), 60)
    if name == "count":
        return f"{value:,}{'' if record['count_is_exact'] else '+'}"
    if name == "log" and record.get("is_retired"):
        return f"{value} (retired)"
    return f"{value:,}" if isinstance(value, int) else value or ""
