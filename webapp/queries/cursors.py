"""One page of events, read from any place in either direction: by position in one log, by cursor over all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from webapp.errors import InvalidRequest, TimedOut
from webapp.queries.filters import Arguments
from webapp.store.events import EventFilter, RecordedEvent
from webapp.store.merge import read_all
from webapp.store.source import EventSource, Log

page_rows = 50
_search_seconds = 4.0


@dataclass(frozen=True)
class Place:
    """From where a page is read and in which order it is shown; `after` and `before` are positions or cursors."""

    newest_first: bool = True
    after: str | None = None
    before: str | None = None

    @classmethod
    def from_args(cls, args: Arguments) -> Place:
        """The place that the arguments order, after and before name; raises InvalidRequest."""
        order = args.get("order") or "newest"
        if order not in ("newest", "oldest"):
            raise InvalidRequest(f"“{order}” is not an order. Write newest or oldest.", field="order")
        after, before = args.get("after") or None, args.get("before") or None
        if after and before:
            raise InvalidRequest("Give after or before, not both: either is where a page begins.", field="after")
        return cls(order == "newest", after, before)

    @property
    def goes_down(self) -> bool:
        """Whether reading goes towards older events."""
        return self.before is not None or (self.after is None and self.newest_first)

    @property
    def start(self) -> str | None:
        """The position or cursor that reading starts at, None for the end that the order begins with."""
        return self.before or self.after

    @property
    def args(self) -> dict[str, str]:
        """The argument that keeps the order, for links."""
        return {} if self.newest_first else {"order": "oldest"}


@dataclass(frozen=True)
class EventRows:
    """Events in the order shown; `previous` and `next` are the arguments of the pages beside, None where there is none.

    `stopped` says in a sentence how far a search came that ran out of time, `go_on` holds the arguments to continue.
    """

    events: list[RecordedEvent] = field(default_factory=list)
    previous: dict[str, str] | None = None
    next: dict[str, str] | None = None
    stopped: str | None = None
    go_on: dict[str, str] | None = None


def read_rows(
    source: EventSource, logs: Sequence[Log], where: EventFilter, place: Place, limit: int = page_rows
) -> EventRows:
    """The page of one log or of several merged, at a place, payloads left out.

    Raises InvalidRequest for a place that isn't one: a position where there is one log, else a cursor.
    """
    log = logs[0].name if len(logs) == 1 else None
    walk = _LogWalk(source, log, where, place, limit) if log else _MergedWalk(source, logs, where, place, limit)
    events: list[RecordedEvent] = []
    stopped = None
    end, has_more = None, False
    try:
        for event in islice(walk.events, limit):
            events.append(event)
        end = walk.end(events)
        has_more = next(walk.events, None) is not None
    except TimedOut as error:
        end = walk.end(events) if len(events) == limit else walk.reached(events, error)
        # A full page needs no word of it: the next page goes on from there and says so if need be.
        has_more = len(events) == limit
        stopped = None if has_more else _stopped(error, log, place)
    is_backwards = place.goes_down != place.newest_first
    if is_backwards and not has_more and stopped is None:
        return read_rows(source, logs, where, Place(place.newest_first), limit)
    if is_backwards:
        events.reverse()
    ahead = {"before" if place.goes_down else "after": end} if end is not None else None
    behind_place = walk.start(events)
    behind = {"after" if place.goes_down else "before": behind_place} if behind_place is not None else None
    ahead_page = ahead if has_more else None
    previous, following = (ahead_page, behind) if is_backwards else (behind, ahead_page)
    return EventRows(events, previous, following, stopped, ahead if stopped else None)


def _stopped(error: TimedOut, log: str | None, place: Place) -> str:
    direction = "back to" if place.goes_down else "up to"
    if log is not None and error.reached is not None:
        return f"Searched {direction} position {error.reached:,} before the time was up."
    return "The search ran out of time before everything was searched."


class _LogWalk:
    """Reads one log; places are positions."""

    def __init__(self, source: EventSource, log: str, where: EventFilter, place: Place, limit: int) -> None:
        self.place = place
        number = _position(place.start, "before" if place.before else "after") if place.start is not None else None
        self.number = number
        self.events: Iterator[RecordedEvent] = iter(
            source.read_log(
                log, after=0 if place.goes_down else number or 0, before=number if place.goes_down else None,
                limit=limit + 1, newest_first=place.goes_down, where=where, with_payload=False, seconds=_search_seconds,
            )
        )  # fmt: skip

    def end(self, events: list[RecordedEvent]) -> str | None:
        """The place behind the last event read."""
        return str(events[-1].position) if events else None

    def start(self, events: list[RecordedEvent]) -> str | None:
        """The place from which the other direction goes on; None at the end where the order begins."""
        if self.number is None:
            return None
        return str(max(0, self.number - 1) if self.place.goes_down else self.number + 1)

    def reached(self, events: list[RecordedEvent], error: TimedOut) -> str | None:
        """The place where a search stopped."""
        return str(error.reached) if error.reached is not None else self.end(events) or self.place.start


class _MergedWalk:
    """Reads several logs; places are cursors, which divide older from newer and so serve both directions."""

    def __init__(self, source: EventSource, logs: Sequence[Log], where: EventFilter, place: Place, limit: int) -> None:
        self.place = place
        self.events = read_all(
            source, where=where, newest_first=place.goes_down, cursor=place.start, with_payload=False,
            limit=limit, seconds=_search_seconds, known=logs,
        )  # fmt: skip

    def end(self, events: list[RecordedEvent]) -> str | None:
        """The place behind the last event read."""
        return self.events.cursor

    def start(self, events: list[RecordedEvent]) -> str | None:
        """The place from which the other direction goes on; None at the end where the order begins."""
        return self.place.start

    def reached(self, events: list[RecordedEvent], error: TimedOut) -> str | None:
        """The place where a search stopped."""
        return self.events.cursor


def _position(text: str, name: str) -> int:
    try:
        number = int(text) if text.isascii() else -1
    except ValueError:
        number = -1
    if not 0 <= number < 2**63:
        raise InvalidRequest(f"“{text}” is not a position. Positions in one log are whole numbers from 0.", field=name)
    return number


def page_args(*parts: dict[str, Any] | None) -> dict[str, Any]:
    """Arguments of a link, put together; later parts win."""
    joined: dict[str, Any] = {}
    for part in parts:
        joined |= part or {}
    return joined
