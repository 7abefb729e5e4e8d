"""What goes in a trail: the events of a scope, oldest first, up to the heads that were settled when it began."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from webapp.store.events import EventFilter, RecordedEvent, utc
from webapp.store.merge import read_all
from webapp.store.source import EventSource, Log, no_filter


@dataclass(frozen=True, slots=True)
class Scope:
    """Which events are wanted; None means all. `after` and `before` are positions of `log`, edges left out."""

    where: EventFilter = no_filter
    log: str | None = None
    after: int = 0
    before: int | None = None
    limit: int | None = None

    def values(self) -> dict[str, Any]:
        """The conditions in force, under the names that URLs and the command line give them."""
        where = self.where
        values = {
            "log": self.log, "type": list(where.types) or None, "aggregate_type": where.aggregate_type,
            "aggregate_id": where.aggregate_id, "correlation": where.correlation_id, "actor": where.actor,
            "since": utc(where.since) if where.since else None, "until": utc(where.until) if where.until else None,
            "contains": where.contains, "after": self.after or None, "before": self.before, "limit": self.limit,
        }  # fmt: skip
        return {name: value for name, value in values.items() if value is not None}

    def words(self) -> str:
        """The conditions in force as a phrase: “events in log main, of type order.paid”."""
        values = self.values()
        if "type" in values:
            values["type"] = " or ".join(values["type"])
        phrases = ", ".join(_phrases[name] % values[name] for name in values)
        return f"events {phrases}" if phrases else "all events"


_phrases = {
    "log": "in log %s",
    "type": "of type %s",
    "aggregate_type": "of aggregate type %s",
    "aggregate_id": "of aggregate %s",
    "correlation": "of correlation %s",
    "actor": "by %s",
    "since": "recorded at or after %s",
    "until": "recorded before %s",
    "contains": "whose payload contains “%s”",
    "after": "after position %s",
    "before": "before position %s",
    "limit": "the first %s of them",
}


@dataclass(slots=True)
class Extent:
    """How much of one log a trail holds: its head at the start, then what was taken so far."""

    log: str
    strategy: str | None
    head: int
    settled_head: int
    count: int = 0
    first_position: int | None = None
    last_position: int | None = None


class Trail:
    """The events of a scope; iterate over it once, and `extents` and `count` tell what came.

    The heads are noted when it is made, and events that settle later stay out. Raises NotFound for a log that isn't
    there. Memory stays flat however many events there are.
    """

    def __init__(self, source: EventSource, scope: Scope) -> None:
        self.source, self.scope = source, scope
        logs: Iterable[Log] = [log for log in source.logs() if not log.is_retired]
        if scope.log is not None:
            logs = [source.log(scope.log)]
        self.extents = {log.name: Extent(log.name, log.strategy, log.head, log.settled_head) for log in logs}

    @property
    def count(self) -> int:
        """How many events came so far."""
        return sum(extent.count for extent in self.extents.values())

    def __iter__(self) -> Iterator[RecordedEvent]:
        extents = self.extents
        for event in islice(self._events(), self.scope.limit):
            extent = extents[event.log]
            extent.count += 1
            extent.last_position = event.position
            if extent.first_position is None:
                extent.first_position = event.position
            yield event

    def _events(self) -> Iterator[RecordedEvent]:
        scope, extents = self.scope, self.extents
        if len(extents) == 1:
            [extent] = extents.values()
            end = extent.settled_head + 1
            yield from self.source.read_log(
                extent.log, after=scope.after, before=end if scope.before is None else min(scope.before, end),
                limit=scope.limit, where=scope.where,
            )  # fmt: skip
        elif extents:
            # The merge notes the heads anew; what settled between the two notes is left out here.
            for event in read_all(self.source, list(extents), where=scope.where):
                if event.position <= extents[event.log].settled_head:
                    yield event
