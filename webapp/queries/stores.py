"""The overview of all stores, and of one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from webapp.errors import ProjectionistError
from webapp.queries.aggregates import AggregateTypesPage, TypeSummary
from webapp.queries.cursors import EventRows, Place, read_rows
from webapp.queries.logs import add_counts
from webapp.queries.types import summarize
from webapp.store.events import EventFilter, RecordedEvent
from webapp.store.source import Capability, Count, DeadLetter, EventSource, Log, ProjectionStatus

last_rows = 8
_most_at_once = 8
_most_letters = 100


@dataclass
class StoreOverview:
    """What one store holds and how it's doing. `failures` holds a sentence for every part that couldn't be read."""

    layout: str
    dialect: str
    capabilities: frozenset[Capability]
    logs: Sequence[Log] = ()
    projections: Sequence[ProjectionStatus] = ()
    dead_letters: Sequence[DeadLetter] = ()
    aggregate_types: Sequence[TypeSummary] = ()
    event_types: int = 0
    last_events: Sequence[RecordedEvent] = ()
    facts: Sequence[tuple[str, Count]] = ()
    failures: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, source: EventSource, *, is_brief: bool = False) -> StoreOverview:
        """The overview; `is_brief` leaves out types and takes only the last event. What fails doesn't stop the rest."""
        found = cls(source.layout, source.dialect, source.capabilities)
        found.logs = found._read("logs", source.logs, ())
        found.projections = found._read("projections", lambda: _problems_first(source.projections()), ())
        if Capability.dead_letters in source.capabilities:
            found.dead_letters = found._read("dead letters", lambda: source.dead_letters(limit=_most_letters), ())
        if found.current_logs:
            rows = 1 if is_brief else last_rows
            page = found._read("last events", lambda: _last(source, found.current_logs, rows), EventRows())
            found.last_events = page.events
        if not is_brief:
            found.aggregate_types = found._read("aggregates", lambda: AggregateTypesPage.load(source).types, ())
            found.event_types = len(found._read("event types", lambda: summarize(source.event_types()), []))
            found.facts = found._read("other tables", source.overview_facts, ())
        return found

    def _read(self, name: str, read: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return read()
        except ProjectionistError as error:
            self.failures[name] = str(error)
            return otherwise

    @property
    def current_logs(self) -> list[Log]:
        """The logs without those that are retired."""
        return [log for log in self.logs if not log.is_retired]

    @property
    def events(self) -> Count:
        """How many events the logs hold."""
        return add_counts([log.count for log in self.current_logs])

    @property
    def problems(self) -> list[ProjectionStatus]:
        """Projections that a person should look at."""
        return [status for status in self.projections if status.health.is_problem]

    @property
    def last_at(self) -> dt.datetime | None:
        """When the last event was recorded, None if there is none or it isn't known."""
        if self.last_events:
            return self.last_events[0].recorded_at
        return max((log.last_at for log in self.current_logs if log.last_at is not None), default=None)

    @property
    def first_at(self) -> dt.datetime | None:
        """When the first event was recorded, None if there is none or it isn't known."""
        return min((log.first_at for log in self.current_logs if log.first_at is not None), default=None)

    @property
    def dead_letter_count(self) -> Count:
        """How many dead letters there are, counted up to 100."""
        return Count(len(self.dead_letters), exact=len(self.dead_letters) < _most_letters)


def _last(source: EventSource, logs: Sequence[Log], rows: int) -> EventRows:
    return read_rows(source, logs, EventFilter(), Place(), rows)


def _problems_first(found: Sequence[ProjectionStatus]) -> list[ProjectionStatus]:
    return sorted(found, key=lambda status: (not status.health.is_problem, status.lag == 0, status.name))


@dataclass
class StoreLine:
    """One store in the overview of all: its numbers, or the sentence why they can't be had."""

    name: str
    description: str
    overview: StoreOverview | None = None
    failure: str | None = None

    @property
    def needs_attention(self) -> int:
        """How many things need a person's eye; 0 for a store that is well."""
        if self.overview is None:
            return 1
        return len(self.overview.problems) + len(self.overview.dead_letters) + len(self.overview.failures)


def load_stores(
    names: Sequence[str], open_source: Callable[[str], EventSource], describe: Callable[[str], str]
) -> list[StoreLine]:
    """A line for every store; those that need attention come first, else in the order given.

    Stores are asked side by side, so that one that doesn't answer holds up the others no longer than its own timeout.
    """

    def load(name: str) -> StoreLine:
        try:
            overview = StoreOverview.load(open_source(name), is_brief=True)
        except ProjectionistError as error:
            return StoreLine(name, describe(name), failure=str(error))
        return StoreLine(name, describe(name), overview)

    with ThreadPoolExecutor(max_workers=_most_at_once) as threads:
        lines = list(threads.map(load, names))
    return sorted(lines, key=lambda line: line.needs_attention == 0)
