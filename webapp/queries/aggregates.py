"""Aggregates: their types, those of one type, and one aggregate's history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from webapp.errors import AmbiguousLog, InvalidRequest, NotFound
from webapp.queries.cursors import page_args
from webapp.queries.filters import Arguments
from webapp.queries.states import FieldsAsLastWritten, FoldedState, Folding, fold
from webapp.queries.texts import ShownText, show_text
from webapp.queries.times import parse_time
from webapp.store.closing import StreamLinks
from webapp.store.events import RecordedEvent
from webapp.store.native import EventStore
from webapp.store.source import Aggregate, Count, EventSource

page_rows = 50
tabs = {"change": "Change", "state": "State", "payload": "Payload"}


@dataclass(frozen=True)
class TypeSummary:
    """One type of aggregates over all logs that hold it."""

    name: str
    count: Count
    logs: tuple[str, ...]
    last_at: dt.datetime | None


@dataclass(frozen=True)
class AggregateTypesPage:
    """All types of aggregates, by name."""

    types: Sequence[TypeSummary]

    @classmethod
    def load(cls, source: EventSource) -> AggregateTypesPage:
        """The types, each counted over all its logs."""
        found: dict[str, TypeSummary] = {}
        for one in source.aggregate_types():
            had = found.get(one.name)
            if had is None:
                found[one.name] = TypeSummary(one.name, one.count, (one.log,), one.last_at)
                continue
            times = [moment for moment in (had.last_at, one.last_at) if moment is not None]
            count = Count(had.count.number + one.count.number, had.count.exact and one.count.exact)
            found[one.name] = TypeSummary(one.name, count, (*had.logs, one.log), max(times, default=None))
        return cls(sorted(found.values(), key=lambda one: one.name))


@dataclass(frozen=True)
class AggregatesPage:
    """Aggregates of one type, in order of id."""

    type: str
    aggregates: Sequence[Aggregate]
    next: dict[str, Any] | None
    first: dict[str, Any] | None
    prefix: str
    log: str | None
    logs: tuple[str, ...]
    count: Count | None
    errors: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_args(cls, source: EventSource, aggregate_type: str, args: Arguments) -> AggregatesPage:
        """The page for the arguments prefix, log and after (an id). Raises NotFound for a type that isn't there."""
        kinds = [one for one in AggregateTypesPage.load(source).types if one.name == aggregate_type]
        if not kinds:
            raise NotFound("aggregate type", aggregate_type, "The page of aggregates lists all types.")
        kind = kinds[0]
        prefix, log, after = (args.get(name) or None for name in ("prefix", "log", "after"))
        errors = {}
        if log is not None and log not in kind.logs:
            errors["log"] = f"No aggregate of this type is in a log “{log}”. Known: {', '.join(kind.logs[:8])}."
        if any("\x00" in (value or "") for value in (prefix, after)):
            errors["prefix"] = "That holds a NUL character, which no id has. Leave it out."
        kept = {name: value for name, value in (("prefix", prefix), ("log", log)) if value is not None}
        found: Sequence[Aggregate] = ()
        if not errors:
            found = source.aggregates(aggregate_type, log=log, after_id=after, prefix=prefix or "", limit=page_rows + 1)
        shown = _whole_ids(list(found[:page_rows]), found[page_rows].id if len(found) > page_rows else None)
        following = page_args(kept, {"after": shown[-1].id}) if len(found) > page_rows else None
        first = kept if after else None
        return cls(aggregate_type, shown, following, first, prefix or "", log, kind.logs, kind.count, errors)

    @property
    def status(self) -> int:
        """The HTTP status that fits: 400 if something typed can't be used."""
        return 400 if self.errors else 200


def _whole_ids(shown: list[Aggregate], following_id: str | None) -> list[Aggregate]:
    """The page without a last id that goes on behind it, in other logs: the next page begins with all of that id."""
    if following_id is None or shown[0].id == following_id:
        return shown
    return [one for one in shown if one.id != following_id]


@dataclass
class AggregatePage:
    """One aggregate: its history, and what it was at the chosen version.

    Where several logs hold this type and id, only `choices` is filled: the logs, one of which must be chosen.
    """

    type: str
    id: str
    log: str = ""
    choices: Sequence[str] = ()
    last_version: int = 0
    first_at: dt.datetime | None = None
    last_at: dt.datetime | None = None
    links: StreamLinks = field(default_factory=lambda: StreamLinks(None, None))
    chosen: RecordedEvent | None = None
    history: Sequence[RecordedEvent] = ()
    previous: dict[str, Any] | None = None
    next: dict[str, Any] | None = None
    tab: str = "change"
    kept: dict[str, Any] = field(default_factory=dict)
    folding: Folding | None = None
    state: FoldedState | None = None
    data: ShownText | None = None
    metadata: ShownText | None = None
    errors: dict[str, str] = field(default_factory=dict)
    typed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_args(
        cls, source: EventSource, aggregate_type: str, aggregate_id: str, args: Arguments,
        *, definitions: Mapping[str, Folding], zone: dt.tzinfo = dt.UTC,
    ) -> AggregatePage:  # fmt: skip
        """The page for the arguments log, version or at (a time), after (a version) and tab. Raises NotFound."""
        page = cls(aggregate_type, aggregate_id)
        asked_log = args.get("log") or None
        page.typed = {name: args.get(name) or "" for name in ("version", "at")}
        page.tab = args.get("tab") or "change"
        page.kept = {"log": asked_log} if asked_log else {}
        if page.tab not in tabs:
            page.errors["tab"] = f"“{page.tab}” is not a tab. Known: {', '.join(tabs)}."
            page.tab = "change"
        stream = _Stream(source, aggregate_type, aggregate_id, asked_log)
        try:
            first = stream.first_after(0)
        except AmbiguousLog as error:
            page.choices = error.logs
            return page
        if first is None:
            raise NotFound("aggregate", f"{aggregate_type}/{aggregate_id}", "Find it by a part of its id.")
        stream.log = page.log = first.log
        page.last_version = stream.last_version()
        last = stream.first_after(page.last_version - 1) or first
        page.first_at, page.last_at = first.recorded_at, last.recorded_at
        if isinstance(source, EventStore):  # other layouts know of no such links
            page.links = source.stream_links(aggregate_type, aggregate_id, log=page.log)
        version = page._version(args, stream, zone)
        page._read_history(args, stream, version)
        page.chosen = stream.first_after(version - 1, with_payload=True)
        if page.chosen is not None:
            page.data, page.metadata = show_text(page.chosen.data_text), show_text(page.chosen.metadata_text)
        page.folding = definitions.get(aggregate_type)
        if page.tab != "payload":
            folding = page.folding or FieldsAsLastWritten()
            page.state = fold(source, (aggregate_type, aggregate_id), log=page.log, version=version, folding=folding)
        return page

    @property
    def status(self) -> int:
        """The HTTP status that fits: 300 where a log must be chosen, 400 if something typed can't be used."""
        return 300 if self.choices else 400 if self.errors else 200

    @property
    def version(self) -> int:
        """The chosen version."""
        return (self.chosen.version if self.chosen is not None else None) or self.last_version

    @property
    def tabs(self) -> Mapping[str, str]:
        """The tabs and what they are called."""
        return tabs

    def choice(self, log: str) -> dict[str, Any]:
        """The arguments of this page in one of the logs to choose from."""
        return self.link(log=log, **{name: value for name, value in self.typed.items() if value})

    def link(self, **changes: Any) -> dict[str, Any]:
        """The arguments of this page at another version or tab."""
        tab = {"tab": self.tab} if self.tab != "change" else {}
        return {name: value for name, value in page_args(self.kept, tab, changes).items() if value is not None}

    def _version(self, args: Arguments, stream: _Stream, zone: dt.tzinfo) -> int:
        """The version that `version` or `at` asks for, the last one where nothing usable is asked."""
        text, at = args.get("version"), args.get("at")
        if text:
            number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
            if 1 <= number <= self.last_version:
                return number
            self.errors["version"] = f"“{text}” is not a version of it. It has versions 1 to {self.last_version}."
        elif at:
            try:
                number = stream.version_at(parse_time(at, zone=zone, field="at"), self.last_version)
            except InvalidRequest as error:
                self.errors["at"] = str(error)
                return self.last_version
            if number:
                return number
            self.errors["at"] = "It did not exist at that time: its first event came later."
        return self.last_version

    def _read_history(self, args: Arguments, stream: _Stream, version: int) -> None:
        """The page of the timeline: after a version, or the one that holds the chosen version."""
        after = args.get("after")
        start = int(after) if after and after.isascii() and after.isdigit() and len(after) < 19 else None
        if after and start is None:
            self.errors["after"] = f"“{after}” is not a version. Versions are whole numbers from 1."
        if start is None:
            start = (version - 1) // page_rows * page_rows
        found = stream.read(start, page_rows + 1)
        self.history = found[:page_rows]
        if start > 0:
            self.previous = self.link(version=version, after=max(0, start - page_rows))
        if len(found) > page_rows:
            self.next = self.link(version=version, after=self.history[-1].version)


class _Stream:
    """One aggregate's events, looked at by version."""

    def __init__(self, source: EventSource, aggregate_type: str, aggregate_id: str, log: str | None) -> None:
        self.source, self.type, self.id, self.log = source, aggregate_type, aggregate_id, log

    def read(self, after: int, limit: int, *, with_payload: bool = False) -> list[RecordedEvent]:
        """Up to `limit` events behind a version."""
        found = self.source.read_stream(
            self.type, self.id, log=self.log, after=after, limit=limit, with_payload=with_payload
        )
        return list(found)

    def first_after(self, version: int, *, with_payload: bool = False) -> RecordedEvent | None:
        """The event behind a version, None at the end."""
        return next(iter(self.read(version, 1, with_payload=with_payload)), None)

    def last_version(self) -> int:
        """The version that the stream stands at."""
        # Ids that begin with this one come after it, except where a database sorts in its own way.
        found = self.source.aggregates(self.type, log=self.log, prefix=self.id, limit=page_rows)
        return next((one.version for one in found if one.id == self.id and one.log == self.log), 1)

    def version_at(self, moment: dt.datetime, last: int) -> int:
        """The last version recorded at or before a moment, 0 if none: found by halving."""
        low, high = 0, last
        while low < high:
            middle = (low + high + 1) // 2
            event = self.first_after(middle - 1)
            if event is not None and event.recorded_at <= moment:
                low = max(middle, event.version or middle)
            else:
                high = middle - 1
        return min(low, last)
