"""The types of events in a store, and one type."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from webapp.errors import NotFound, TimedOut
from webapp.queries.cursors import page_args
from webapp.queries.filters import Arguments
from webapp.queries.logs import add_counts
from webapp.queries.texts import shorten
from webapp.store.events import EventFilter, RecordedEvent
from webapp.store.merge import read_all
from webapp.store.source import Count, EventSource, EventType

page_rows = 100
latest_rows = 10
_largest_read = 1_000_000
_search_seconds = 3.0
_most_fields = 100


@dataclass(frozen=True)
class TypeRow:
    """One type of events over all logs that hold it."""

    name: str
    count: Count
    logs: Sequence[str]
    first_at: dt.datetime | None
    last_at: dt.datetime | None


def summarize(found: Sequence[EventType]) -> list[TypeRow]:
    """The types by name, each over all its logs."""
    by_name: dict[str, list[EventType]] = {}
    for kind in found:
        by_name.setdefault(kind.name, []).append(kind)
    return [
        TypeRow(
            name,
            add_counts([kind.count for kind in kinds]),
            [kind.log for kind in kinds],
            min((kind.first_at for kind in kinds if kind.first_at is not None), default=None),
            max((kind.last_at for kind in kinds if kind.last_at is not None), default=None),
        )
        for name, kinds in sorted(by_name.items())
    ]


@dataclass(frozen=True)
class TypesPage:
    """Types of events by name."""

    types: Sequence[TypeRow]
    next: dict[str, Any] | None
    first: dict[str, Any] | None
    prefix: str
    total: int

    @classmethod
    def from_args(cls, source: EventSource, args: Arguments) -> TypesPage:
        """The page for the arguments prefix and after (a name)."""
        prefix, after = args.get("prefix") or "", args.get("after") or ""
        rows = summarize(source.event_types())
        matching = [row for row in rows if row.name.startswith(prefix) and row.name > after]
        kept = {"prefix": prefix} if prefix else {}
        shown = matching[:page_rows]
        following = page_args(kept, {"after": shown[-1].name}) if len(matching) > page_rows else None
        return cls(shown, following, kept if after else None, prefix, len(rows))


@dataclass(frozen=True)
class SeenField:
    """A top-level field of payloads: in how many of those looked at, the kinds of its values, and one of them."""

    name: str
    seen: int
    kinds: str
    example: str


@dataclass(frozen=True)
class TypePage:
    """One type: its numbers per log, its latest events, and the fields of their payloads."""

    type: TypeRow
    by_log: Sequence[EventType]
    latest: Sequence[RecordedEvent]
    fields: Sequence[SeenField] = ()
    looked_at: int = 0
    broken: int = 0
    note: str | None = None
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, source: EventSource, name: str) -> TypePage:
        """The page of a type; raises NotFound."""
        by_log = [kind for kind in source.event_types() if kind.name == name]
        if not by_log:
            raise NotFound("event type", name, "The page of types lists all of them.")
        latest: list[RecordedEvent] = []
        note = None
        events = read_all(
            source, [kind.log for kind in by_log], where=EventFilter(types=(name,)), newest_first=True,
            limit=latest_rows, seconds=_search_seconds,
        )  # fmt: skip
        try:
            latest.extend(islice(events, latest_rows))
        except TimedOut:
            note = "Looking for the latest events took too long, so there may be more than are shown."
        values = [_decoded(event) for event in latest]
        fields = _fields([value for value in values if isinstance(value, dict)])
        broken = sum(value is _broken for value in values)
        return cls(summarize(by_log)[0], by_log, latest, fields, len(values) - broken, broken, note)


_broken = object()
_kinds = {bool: "true or false", int: "number", float: "number", str: "text", list: "list", dict: "object"}


def _decoded(event: RecordedEvent) -> Any:
    if len(event.data_text or "") > _largest_read:
        return None
    try:
        return event.data
    except ValueError:
        return _broken


def _fields(values: Sequence[dict[str, Any]]) -> list[SeenField]:
    seen = Counter(name for value in values for name in value)
    fields = []
    for name, number in sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:_most_fields]:
        found = [value[name] for value in values if name in value]
        kinds = sorted({_kinds.get(type(one), "null") for one in found})
        example = next((one for one in found if one is not None), None)
        fields.append(SeenField(shorten(name, 100), number, ", ".join(kinds), shorten(_as_text(example), 80)))
    return fields


def _as_text(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"{len(value)} inside"
    return "null" if value is None else str(value)
