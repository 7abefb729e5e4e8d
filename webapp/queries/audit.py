"""A store's audit page: what a trail would hold, and what people did here of late."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from webapp.audit.formats import formats
from webapp.audit.trail import Scope
from webapp.errors import InvalidRequest, NotFound
from webapp.queries.estimates import Estimate, estimate
from webapp.queries.filters import Arguments, Filters, fields
from webapp.queries.texts import shorten
from webapp.store.events import EventFilter, RecordedEvent
from webapp.store.source import EventSource

page_rows = 20
_log = "main"
_words = {
    "download.started": "began to download a trail",
    "download.completed": "downloaded a trail",
    "download.aborted": "broke off the download of a trail",
    "download.failed": "could not be given a whole trail",
}


@dataclass(frozen=True, slots=True)
class Act:
    """One thing done: when, by whom, what in words, and its facts as (label, text)."""

    position: int
    at: dt.datetime
    actor: str
    what: str
    facts: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, event: RecordedEvent) -> Act:
        """The act that an event of home records."""
        try:
            data = event.data
        except ValueError:
            data = None
        facts = [
            (name.replace("_", " "), shorten(f"{value:,}" if isinstance(value, int) else str(value)))
            for name, value in (data if isinstance(data, dict) else {}).items()
            if value not in (None, "")
        ]
        what = _words.get(event.type, event.type.replace("_", " ").replace(".", " "))
        return cls(event.position, event.recorded_at, event.actor or "system", what, facts)


@dataclass
class AuditPage:
    """The form with what was chosen in it, an estimate of the trail, and acts, newest first."""

    filters: Filters
    format: str
    estimate: Estimate | None
    words: str
    acts: Sequence[Act]
    older: int | None
    is_first: bool
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_args(
        cls, source: EventSource, home: EventSource, store: str, args: Arguments, *, zone: dt.tzinfo = dt.UTC
    ) -> AuditPage:
        """The page for the filters of events, `format`, and `before` (a position in home, for older acts)."""
        filters = Filters.from_args(source, args, zone=zone, besides=("format", "before"))
        errors = dict(filters.errors)
        chosen = args.get("format") or "csv"
        if chosen not in formats:
            errors["format"] = f"There is no format “{chosen}”. Formats are {' and '.join(formats)}."
        before = args.get("before")
        if before and not (before.isascii() and before.isdigit() and len(before) < 19):
            errors["before"] = f"“{before}” is not a place in the list below. Begin it again from its newest."
            before = None
        acts = _read_acts(home, store, int(before) if before else None)
        scope = Scope(filters.where, filters.log)
        return cls(
            filters, chosen, None if filters.errors else estimate(source, scope), scope.words(), acts[:page_rows],
            acts[page_rows - 1].position if len(acts) > page_rows else None, not before, errors,
        )  # fmt: skip

    @property
    def status(self) -> int:
        """The HTTP status that fits: 400 if something typed can't be used."""
        return 400 if self.errors else 200

    @property
    def elsewhere(self) -> str:
        """What is wrong with arguments that have no field in the form."""
        return " ".join(sentence for name, sentence in self.errors.items() if name not in (*fields, "format"))

    @property
    def args(self) -> dict[str, Any]:
        """The arguments that make the form again."""
        return self.filters.args | ({"format": self.format} if self.format != "csv" else {})

    @property
    def formats(self) -> Sequence[str]:
        """The formats to choose from."""
        return list(formats)


def read_chosen_scope(source: EventSource, args: Arguments, zone: dt.tzinfo) -> Scope:
    """The scope that the filters of a URL name; raises InvalidRequest with all that is wrong."""
    filters = Filters.from_args(source, args, zone=zone, besides=("format",))
    if filters.errors:
        raise InvalidRequest(" ".join(filters.errors.values()), next(iter(filters.errors)))
    return Scope(filters.where, filters.log)


def _read_acts(home: EventSource, store: str, before: int | None) -> list[Act]:
    where = EventFilter(aggregate_type="store", aggregate_id=store)
    try:
        # The payloads are our own few words, and what was done can't be told without them.
        return [
            Act.of(event)
            for event in home.read_log(_log, before=before, limit=page_rows + 1, newest_first=True, where=where)
        ]
    except NotFound:  # nothing was ever recorded
        return []
