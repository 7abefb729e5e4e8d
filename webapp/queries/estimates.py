"""About how many events a scope holds, found out without counting a log."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice

from webapp.audit.trail import Scope
from webapp.errors import TimedOut
from webapp.store.events import EventFilter
from webapp.store.merge import read_all
from webapp.store.source import Count, EventSource

_counted_at_most = 1_000
_seconds = 1.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """At least `low` and at most `high` events; equal where the number is known."""

    low: int
    high: int

    @property
    def words(self) -> str:
        """The estimate for people."""
        if self.low == self.high:
            return "No event" if not self.high else f"{self.high:,} event{'s' if self.high > 1 else ''}"
        return f"Between {self.low:,} and {self.high:,} events"


def estimate(source: EventSource, scope: Scope) -> Estimate:
    """How many events a scope holds: what the store keeps count of, else what a second of reading shows."""
    high, is_known = _at_most(source, scope)
    if is_known:
        return Estimate(high, high)
    logs = [scope.log] if scope.log is not None else None
    ends_at, found = time.monotonic() + _seconds, 0
    events = read_all(
        source, logs, where=scope.where, with_payload=False, limit=_counted_at_most + 1, seconds=_seconds
    )  # fmt: skip
    try:
        for _ in islice(events, _counted_at_most + 1):
            found += 1
            if time.monotonic() > ends_at:
                return Estimate(found, max(found, high))
    except TimedOut:
        return Estimate(found, max(found, high))
    if found <= _counted_at_most:
        return Estimate(found, found)
    return Estimate(_counted_at_most, max(_counted_at_most, high))


def _at_most(source: EventSource, scope: Scope) -> tuple[int, bool]:
    """A number of events that the scope can't exceed, and whether it is exactly that."""
    where = scope.where
    logs = [log for log in source.logs() if log.name == scope.log or (scope.log is None and not log.is_retired)]
    names = {log.name for log in logs}
    counts = [log.count for log in logs]
    if where.types:
        counts = [one.count for one in source.event_types() if one.log in names and one.name in where.types]
    return _sum(counts), where == EventFilter(types=where.types) and all(count.exact for count in counts)


def _sum(counts: list[Count]) -> int:
    return sum(count.number for count in counts)
