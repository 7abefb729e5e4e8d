"""Events of several logs as one sequence, ordered by (recorded_at, log, position), under an opaque cursor."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from webapp.errors import NotFound, TimedOut
from webapp.store.cuts import Cut, make_cut, microseconds
from webapp.store.events import EventFilter, RecordedEvent
from webapp.store.source import EventSource, Log, no_filter

_forever = 1 << 62
_most_homes = 200


def read_all(
    source: EventSource,
    logs: Sequence[str] | None = None,
    *,
    where: EventFilter = no_filter,
    newest_first: bool = False,
    cursor: str | None = None,
    with_payload: bool = True,
    limit: int | None = None,
    seconds: float | None = None,
    known: Sequence[Log] | None = None,
) -> MergedEvents:
    """The events of the named logs (all but retired ones by default), merged; an iterator with a `cursor`.

    Only what was settled when it began is read. Memory stays flat: a few thousand events are held for all logs
    together, and a log is opened when its turn comes. A cursor leads on in either direction, under the same filter.
    `limit` tells how many will be taken, so that no more are fetched; `seconds` bounds the whole search; `known` is
    what `source.logs()` just said, to spare asking again.
    Raises NotFound for a log that isn't there, InvalidRequest for a cursor that isn't one, and while iterating
    TimedOut, after which `cursor` leads on from where the search stood.
    """
    by_name = {log.name: log for log in (source.logs() if known is None else known)}
    for name in logs or ():
        if name not in by_name:
            raise NotFound("log", name, "The page of logs lists them all.")
    names = set(logs) if logs else {log.name for log in by_name.values() if not log.is_retired}
    wanted = [by_name[name] for name in sorted(names)]
    cut = Cut.decode(cursor) if cursor else Cut(None, None, {})
    return MergedEvents(
        source, _worth_reading(source, wanted, where), where=where, newest_first=newest_first, cut=cut,
        with_payload=with_payload, limit=limit, seconds=seconds,
    )  # fmt: skip


def _worth_reading(source: EventSource, logs: list[Log], where: EventFilter) -> list[Log]:
    """The logs that can hold what is looked for, by what is known without reading them."""
    if where.since is not None:
        logs = [log for log in logs if log.last_at is None or log.last_at >= where.since]
    if where.until is not None:
        logs = [log for log in logs if log.first_at is None or log.first_at < where.until]
    if where.aggregate_type is not None and len(logs) > 1:
        holding = _logs_with(source, where.aggregate_type, where.aggregate_id)
        logs = [log for log in logs if log.name in holding]
    return [log for log in logs if log.settled_head > 0]


def _logs_with(source: EventSource, aggregate_type: str, aggregate_id: str | None) -> set[str]:
    """The names of the logs that hold an aggregate, or any aggregate of a type."""
    if aggregate_id is not None:
        # By prefix, for there is no asking for one id; those that equal it come first.
        found = source.aggregates(aggregate_type, prefix=aggregate_id, limit=_most_homes)
        if len(found) < _most_homes or found[-1].id != aggregate_id:
            return {one.log for one in found if one.id == aggregate_id}
    return {kind.log for kind in source.aggregate_types() if kind.name == aggregate_type}


@dataclass(eq=False)
class _Reader:
    """One log being read. Positions up to `fetched` are done (going up), or still to come (going down)."""

    log: Log
    rank: int
    going_down: bool
    fetched: int
    chunk: int
    envelope: int | None = None  # the time of the event before, so that times out of order never turn the merge back
    is_searching: bool = False  # still passing over events on the other side of the cut
    is_exhausted: bool = False
    stopped_by: TimedOut | None = None
    buffer: deque[RecordedEvent] = field(default_factory=deque)

    @property
    def older(self) -> int:
        """The last position on the older side of the place where reading stands."""
        if not self.buffer:
            return self.fetched
        return self.buffer[0].position if self.going_down else self.buffer[0].position - 1

    def time(self, event: RecordedEvent) -> int:
        """The event's place in time: its own, unless the log went the other way before."""
        at: int = microseconds(event.recorded_at)  # type: ignore[assignment]
        if self.envelope is None:
            return at
        return min(at, self.envelope) if self.going_down else max(at, self.envelope)


class MergedEvents(Iterator[RecordedEvent]):
    """Iterates over events; `cursor` is the place after the last one given out."""

    def __init__(
        self, source: EventSource, logs: list[Log], *, where: EventFilter, newest_first: bool, cut: Cut,
        with_payload: bool, limit: int | None, seconds: float | None,
    ) -> None:  # fmt: skip
        self._source, self._where, self._with_payload = source, where, with_payload
        self._going_down, self._sign = newest_first, -1 if newest_first else 1
        self._cut, self._at, self._log = cut, cut.at, cut.log
        self._ends_at = None if seconds is None else time.monotonic() + seconds
        self._has_looked = False
        share = (2_000 if with_payload else 8_000) // max(1, len(logs))
        self._largest_chunk = min(max(share, 4), 200 if with_payload else 1_000)
        chunk = min(self._largest_chunk, 64 if limit is None else limit + 1)
        self._readers = [self._reader(log, rank, chunk) for rank, log in enumerate(logs)]
        self._heap = [entry for reader in self._readers if (entry := self._first_entry(reader)) is not None]
        heapq.heapify(self._heap)

    @property
    def cursor(self) -> str:
        """The place after the last event given out, from which reading may go on in either direction."""
        # A log still searching doesn't know where its part of the cut is, so it must be searched again.
        found = (reader for reader in self._readers if not reader.is_searching)
        places = ((reader.log.name, reader.older, reader.log.head) for reader in found)
        return make_cut(self._at, self._log, places).encode()

    def __next__(self) -> RecordedEvent:
        while self._heap:
            reader = self._heap[0][3]
            if not reader.buffer:  # only a bound stood for it here
                self._fill(reader)
                self._move(reader)
                continue
            event = reader.buffer.popleft()
            reader.envelope = self._at = reader.time(event)
            self._log = reader.log.name
            self._move(reader)
            return event
        raise StopIteration

    def _reader(self, log: Log, rank: int, chunk: int) -> _Reader:
        position = self._cut.position_of(log.name)
        if position is not None:
            return _Reader(log, rank, self._going_down, min(position, log.settled_head), chunk, self._cut.at)
        start = log.settled_head if self._going_down else 0
        return _Reader(log, rank, self._going_down, start, chunk, is_searching=self._cut.key is not None)

    def _first_entry(self, reader: _Reader) -> tuple[int, int, int, _Reader] | None:
        """A log that isn't opened yet, under the first time it can have; None if it has nothing on this side."""
        first, last, cut_at = microseconds(reader.log.first_at), microseconds(reader.log.last_at), self._cut.at
        bound, other_end = (last, first) if self._going_down else (first, last)
        if reader.fetched <= 0 if self._going_down else reader.fetched >= reader.log.settled_head:
            return None
        is_beside = other_end is not None and cut_at is not None and (other_end - cut_at) * self._sign < 0
        if reader.is_searching and is_beside:
            return None
        known = [self._sign * moment for moment in (bound, cut_at) if moment is not None]
        return max(known, default=-_forever), self._sign * reader.rank, -_forever, reader

    def _move(self, reader: _Reader) -> None:
        """Puts the log at the heap's top where its next event belongs, or takes it out if there is none."""
        if reader.buffer:
            event = reader.buffer[0]
            key = self._sign * reader.time(event), self._sign * reader.rank, self._sign * event.position, reader
            heapq.heapreplace(self._heap, key)
        elif reader.is_exhausted:
            heapq.heappop(self._heap)
        else:
            at = -_forever if reader.envelope is None else self._sign * reader.envelope
            heapq.heapreplace(self._heap, (at, self._sign * reader.rank, -_forever, reader))

    def _fill(self, reader: _Reader) -> None:
        """Fetches the next events of a log, at least one unless it is exhausted; may raise TimedOut."""
        while not reader.buffer and not reader.is_exhausted:
            if reader.stopped_by is not None:
                stopped, reader.stopped_by = reader.stopped_by, None
                raise stopped
            # One look is always taken, so that a search that is continued gets ahead however little time it has.
            if self._has_looked and self._ends_at is not None and time.monotonic() > self._ends_at:
                raise TimedOut("The search ran out of time before every log was searched.")
            self._fetch(reader)

    def _fetch(self, reader: _Reader) -> None:
        """One page of a log into its buffer; a timeout is kept until what was found before it is given out."""
        down, self._has_looked = self._going_down, True
        low, high = (0, reader.fetched) if down else (reader.fetched, reader.log.settled_head)
        found = 0
        try:
            for event in self._source.read_log(
                reader.log.name, after=low, before=high + 1, limit=reader.chunk,
                newest_first=down, where=self._where, with_payload=self._with_payload, seconds=self._seconds_left(),
            ):  # fmt: skip
                found += 1
                reader.fetched = event.position - 1 if down else event.position
                if reader.is_searching and not self._is_ahead(reader, event):
                    reader.envelope = reader.time(event)
                    continue
                reader.is_searching = False
                reader.buffer.append(event)
        except TimedOut as error:
            reader.stopped_by = error
            if error.reached is not None:
                reader.fetched = error.reached - 1 if down else error.reached
        else:
            if found < reader.chunk:
                reader.is_exhausted, reader.is_searching = True, False
                reader.fetched = low if down else high
        reader.chunk = min(reader.chunk * 2, self._largest_chunk)

    def _seconds_left(self) -> float | None:
        return None if self._ends_at is None else max(0.1, self._ends_at - time.monotonic())

    def _is_ahead(self, reader: _Reader, event: RecordedEvent) -> bool:
        """Whether an event lies on the side of the cut that is read."""
        key = self._cut.key
        is_older = key is not None and (reader.time(event), reader.log.name, event.position) <= key
        return is_older == self._going_down
