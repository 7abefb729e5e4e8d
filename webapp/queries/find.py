"""One box for anything: an event's id or position, a type, an aggregate, a correlation, a log, a projection."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from webapp.errors import NotFound, StoreUnavailable, TimedOut
from webapp.queries.aggregates import AggregateTypesPage
from webapp.store.events import EventFilter, RecordedEvent
from webapp.store.selecting import to_uuid
from webapp.store.source import EventSource

_most_logs = 200
_most_types = 200
_most_per_kind = 20
_find_seconds = 6.0
_position = re.compile(r"(?:(?P<log>.+):)?(?P<position>[0-9][0-9,]{0,24})", re.DOTALL)


@dataclass(frozen=True)
class Found:
    """One thing that was found; `kind` and `values` say which page shows it, `is_exact` that it's meant by the text."""

    kind: str
    label: str
    values: dict[str, Any]
    note: str = ""
    is_exact: bool = True


@dataclass
class FindPage:
    """What a text may mean in a store. `unsearched` names, in words, what there was no time to look through."""

    text: str
    found: list[Found] = field(default_factory=list)
    unsearched: list[str] = field(default_factory=list)

    @classmethod
    def from_text(cls, source: EventSource, text: str) -> FindPage:
        """Everything the text can mean, exact matches first."""
        page = cls(text.strip())
        if not page.text or "\x00" in page.text:
            return page
        search = _Search(source, page.text)
        kinds: list[tuple[str, Callable[[], Iterator[Found]]]] = [
            ("positions", search.positions), ("logs", search.logs), ("event types", search.event_types),
            ("aggregate types", search.aggregate_types), ("projections", search.projections),
            ("event ids", search.event_ids), ("aggregates", search.aggregates),
            ("dead letters", search.dead_letters), ("correlations", search.correlations),
        ]  # fmt: skip
        for name, look in kinds:
            if name == "correlations" and any(found.is_exact for found in page.found):
                continue  # no index need serve it, and it's plain by now what is meant
            try:
                page.found.extend(look())
            except (TimedOut, StoreUnavailable):
                page.unsearched.append(name)
        page.found.sort(key=lambda found: not found.is_exact)
        return page

    @property
    def only(self) -> Found | None:
        """The one thing that is meant, None if there are several or none."""
        exact = [found for found in self.found if found.is_exact]
        candidates = exact or self.found
        return candidates[0] if len(candidates) == 1 and not self.unsearched else None


class _Search:
    def __init__(self, source: EventSource, text: str) -> None:
        self.source, self.text = source, text
        self.ends_at = time.monotonic() + _find_seconds
        self.log_names = [log.name for log in source.logs()]

    def positions(self) -> Iterator[Found]:
        """Events at the position that the text is, in every log or in the one it names."""
        match = _position.fullmatch(self.text)
        if match is None:
            return
        position = int(match["position"].replace(",", ""))
        named = [match["log"]] if match["log"] else self.log_names
        for log in named[:_most_per_kind]:
            try:
                yield _event(self.source.event(log, position))
            except NotFound:
                continue

    def logs(self) -> Iterator[Found]:
        """The log of that name."""
        if self.text in self.log_names:
            yield Found("log", self.text, {"log": self.text})

    def event_types(self) -> Iterator[Found]:
        """Types of events of that name, or with it in their name."""
        names = dict.fromkeys(kind.name for kind in self.source.event_types())
        for name in self._alike(names):
            yield Found("event type", name, {"type": name}, is_exact=name == self.text)

    def aggregate_types(self) -> Iterator[Found]:
        """Types of aggregates of that name, or with it in their name."""
        names = dict.fromkeys(kind.name for kind in self.source.aggregate_types())
        for name in self._alike(names):
            yield Found("aggregate type", name, {"type": name}, is_exact=name == self.text)

    def projections(self) -> Iterator[Found]:
        """Projections of that name, or with it in their name."""
        for name in self._alike(dict.fromkeys(status.name for status in self.source.projections())):
            yield Found("projection", name, {"name": name}, is_exact=name == self.text)

    def aggregates(self) -> Iterator[Found]:
        """Aggregates whose id is the text or begins with it; `type/id` names both."""
        kinds = AggregateTypesPage.load(self.source).types[:_most_types]
        for kind in kinds:
            self._check_time()
            for prefix in self._ids(kind.name):
                for one in self.source.aggregates(kind.name, prefix=prefix, limit=_most_per_kind):
                    values = {"type": one.type, "id": one.id} | ({"log": one.log} if len(kind.logs) > 1 else {})
                    note = f"version {one.version:,} in {one.log}"
                    yield Found("aggregate", f"{one.type}/{one.id}", values, note, is_exact=one.id == prefix)

    def event_ids(self) -> Iterator[Found]:
        """The event of that id."""
        event_id = to_uuid(self.text)
        if event_id is None:
            return
        for event in self._first_in_logs(EventFilter(event_id=str(event_id))):
            yield _event(event)
            return

    def correlations(self) -> Iterator[Found]:
        """The correlation of that id."""
        for event in self._first_in_logs(EventFilter(correlation_id=self.text)):
            if event.correlation_id == self.text:
                yield Found("correlation", self.text, {"correlation": self.text}, f"began with {event.type} or before")
                return

    def dead_letters(self) -> Iterator[Found]:
        """The dead letter of that id."""
        try:
            letter = self.source.dead_letter(self.text)
        except NotFound:
            return
        yield Found("dead letter", letter.id, {"id": letter.id})

    def _ids(self, type_name: str) -> list[str]:
        ids = [self.text]
        if self.text.startswith(type_name + "/") and len(self.text) > len(type_name) + 1:
            ids.append(self.text[len(type_name) + 1 :])
        return ids

    def _alike(self, names: Sequence[str] | dict[str, None]) -> list[str]:
        alike = sorted(name for name in names if self.text.lower() in name.lower())
        return sorted(alike, key=lambda name: name != self.text)[:_most_per_kind]

    def _first_in_logs(self, where: EventFilter) -> Iterator[RecordedEvent]:
        for log in self.log_names[:_most_logs]:
            self._check_time()
            seconds = max(0.2, self.ends_at - time.monotonic())
            yield from self.source.read_log(log, limit=1, where=where, with_payload=False, seconds=seconds)
        if len(self.log_names) > _most_logs:
            raise TimedOut(f"Only the first {_most_logs} logs were searched.")

    def _check_time(self) -> None:
        if time.monotonic() > self.ends_at:
            raise TimedOut("There was no time to look through everything.")


def _event(event: RecordedEvent) -> Found:
    note = f"{event.type}" + (f" of {event.stream}" if event.aggregate_type else "")
    return Found("event", f"{event.log}:{event.position:,}", {"log": event.log, "position": event.position}, note)
