"""How made-up time passes: flows of happenings side by side, merged into one history of recorded events."""

from __future__ import annotations

import datetime as dt
import heapq
import json
import random
import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from webapp.store import RecordedEvent

_day = 86_400.0
_week = [1.0, 1.05, 1.0, 1.1, 1.2, 0.8, 0.6]
_hours = [2, 1, 1, 1, 1, 2, 4, 7, 9, 10, 10, 10, 11, 10, 9, 9, 10, 11, 12, 13, 12, 10, 7, 4]
"""How lively a day of the week is, from Monday, and an hour of the day."""


@dataclass(slots=True)
class Happening:
    """Something that a flow lets happen `after` so many seconds; `because` is the id of the event that led to it."""

    aggregate_type: str
    aggregate_id: str
    type: str
    data: dict[str, Any]
    by: str
    after: float = 0.0
    because: uuid.UUID | None = None
    log: str = "main"
    revision: int = 1


Flow = Generator[Happening, uuid.UUID, None]
"""Yields happenings, and is sent the id of the event that each became."""


@dataclass(order=True, slots=True)
class _Due:
    at: float
    number: int
    happening: Happening = field(compare=False)
    flow: Flow = field(compare=False)
    tenant: str = field(compare=False)
    correlation_id: str = field(compare=False)


Begin = Callable[[float, float], tuple[str, Flow]]
"""Begins a flow, given the time and the share of the history told so far (0 to 1): its tenant, and the flow."""


def simulate(
    begin: Begin, count: int, events_each: float, ends_at: dt.datetime, days: float, chance: random.Random
) -> Iterator[RecordedEvent]:
    """About `count` events of the days before `ends_at`, oldest first; flows come to `events_each` on average.

    Memory holds the flows that are under way, whatever the count.
    """
    end = ends_at.timestamp()
    at, told, begun, due = end - days * _day, 0, 0, list[_Due]()
    liveliness = _Liveliness(at, end)
    pace = 0.0
    while True:
        while due and due[0].at <= at:
            item = heapq.heappop(due)
            event = _record(item, chance)
            yield event
            told += 1
            _advance(due, item.flow, uuid.UUID(event.id), item)
        if at >= end:
            return
        tenant, flow = begin(at, told / count)
        begun += 1
        correlation_id = str(_make_id(at, chance))
        _start(due, flow, at, tenant, correlation_id, begun)
        if liveliness.share_left > 0.03 or not pace:
            # As many flows as the rest of the events takes. Flows under way now weigh as much as those cut off by the
            # end, so neither counts. The last days go on at the pace found, so that they end like any other.
            pace = liveliness.left / max(1.0, (count - told) / events_each)
        at = liveliness.after(at, pace * chance.uniform(0.2, 1.8))


def _start(due: list[_Due], flow: Flow, at: float, tenant: str, correlation_id: str, number: int) -> None:
    happening = next(flow)
    heapq.heappush(due, _Due(at + happening.after, number, happening, flow, tenant, correlation_id))


def _advance(due: list[_Due], flow: Flow, event_id: uuid.UUID, item: _Due) -> None:
    try:
        happening = flow.send(event_id)
    except StopIteration:
        return
    heapq.heappush(due, _Due(item.at + happening.after, item.number, happening, flow, item.tenant, item.correlation_id))


def _record(item: _Due, chance: random.Random) -> RecordedEvent:
    happening = item.happening
    causation_id = None if happening.because is None else str(happening.because)
    metadata = describe(happening, item.tenant, item.correlation_id, _moment(item.at - chance.uniform(0.002, 0.9)))
    return RecordedEvent(
        happening.log, 0, happening.aggregate_type, happening.aggregate_id, None, happening.type,
        _make_id(item.at, chance), _moment(item.at), item.correlation_id, causation_id, happening.by,
        json.dumps(happening.data, ensure_ascii=False), json.dumps(metadata, ensure_ascii=False),
    )  # fmt: skip


def describe(happening: Happening, tenant: str, correlation_id: str, occurred_at: dt.datetime) -> dict[str, Any]:
    """The metadata of the event that a happening becomes."""
    metadata = {
        "actor": happening.by,
        "tenant": tenant,
        "correlation_id": correlation_id,
        "causation_id": None if happening.because is None else str(happening.because),
        "occurred_at": occurred_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "revision": happening.revision,
    }
    if happening.because is None:
        del metadata["causation_id"]
    return metadata


def _moment(at: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(at, dt.UTC)


def _make_id(at: float, chance: random.Random) -> uuid.UUID:
    """A UUIDv7 of that moment, the same in every run."""
    bits = int(at * 1000) << 80 | 0x7 << 76 | chance.getrandbits(12) << 64 | 0b10 << 62 | chance.getrandbits(62)
    return uuid.UUID(int=bits)


class _Liveliness:
    """Time as the shop feels it: nights and Sundays are short. `left` is what is left of it until the end."""

    def __init__(self, start: float, end: float) -> None:
        self.end = end
        first, last = int(start // 3600), int(end // 3600)
        self.left = sum(self._of(hour) for hour in range(first, last + 1))
        self.left -= (start / 3600 - first) * self._of(first) + (last + 1 - end / 3600) * self._of(last)
        self.whole = self.left

    def _of(self, hour: int) -> float:
        days, hour_of_day = divmod(hour, 24)
        return _week[(days + 3) % 7] * _hours[hour_of_day]  # day 0 was a Thursday

    @property
    def share_left(self) -> float:
        """1 at the start, 0 at the end."""
        return self.left / self.whole

    def after(self, at: float, wanted: float) -> float:
        """The time at which so much more liveliness has passed, at most the end."""
        while at < self.end:
            hour_ends = min((int(at // 3600) + 1) * 3600.0, self.end)
            here = (hour_ends - at) / 3600 * self._of(int(at // 3600))
            if here > wanted:
                self.left -= wanted
                return at + (hour_ends - at) * wanted / here
            wanted -= here
            self.left -= here
            at = hour_ends
        return self.end
