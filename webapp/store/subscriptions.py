"""Following logs live: first what is there already, in pages, then each event as it is committed."""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from webapp.errors import InvalidRequest, NotFound, ProjectionistError, StoreUnavailable, TimedOut
from webapp.store.cuts import Cut
from webapp.store.events import EventFilter, RecordedEvent, checked_name, log_limit
from webapp.store.merge import MergedEvents
from webapp.store.notifying import close_with
from webapp.store.source import Count, Log, no_filter

if TYPE_CHECKING:
    from webapp.store.native import EventStore

_positions_at_once = 50_000
"""How far one read goes, so that a rare type in a large log doesn't keep it from looking whether it shall stop."""
_most_retry_seconds = 5.0
_logger = logging.getLogger(__name__)


def subscribe(
    store: EventStore,
    log: str | None = None,
    *,
    after: int | str = 0,
    types: Sequence[str] = (),
    aggregate_type: str | None = None,
    aggregate_id: str | None = None,
    where: EventFilter = no_filter,
    stop: threading.Event | None = None,
) -> Subscription:
    """What `EventStore.subscribe` returns; raises InvalidRequest with a sentence for what can't be followed."""
    if log is not None:
        checked_name(log, "log", log_limit)
    if isinstance(types, str) or not all(isinstance(name, str) for name in types):
        raise InvalidRequest(
            f'The types to follow must be a list of names, such as ["order.placed"], not {types!r}.', "types"
        )
    if aggregate_id is not None and aggregate_type is None:
        raise InvalidRequest(f"Say of which aggregate_type {aggregate_id} is, to follow its stream.", "aggregate_id")
    if stop is not None and not callable(getattr(stop, "is_set", None)):
        raise InvalidRequest(f"The stop of a subscription must be a threading.Event, not {stop!r}.", "stop")
    wanted: dict[str, Any] = {"types": tuple(types), "aggregate_type": aggregate_type, "aggregate_id": aggregate_id}
    where = dataclasses.replace(where, **{name: value for name, value in wanted.items() if value})
    return Subscription(store, log, where, after, stop)


class Subscription(Iterator[RecordedEvent]):
    """Iterates over events for ever: each once, in order of position in its log, none left out; ends when stopped.

    Made by `EventStore.subscribe`. One thread iterates; any other may `close` it. A lost connection is waited for, and
    reading goes on where it stood; only a database that can't be read at the start raises.
    """

    def __init__(
        self, store: EventStore, log: str | None, where: EventFilter, after: int | str, stop: threading.Event | None
    ) -> None:
        self._store, self._log, self._where = store, log, where
        self._positions = _read_cursor(after, log)
        self._waiter = store.notifier.join(log, stop)
        close_with(self, self._waiter)
        self._events: Iterator[RecordedEvent] | None = None
        self._reached: Mapping[str, int] = {}
        self._has_looked = False
        self._failures = 0

    @property
    def cursor(self) -> str:
        """Where it stands, as text to be given as `after` later: what was given out, and what was passed over since.

        With one log the `position` of the last event does as well, though what its filter passed over is read again.
        """
        return json.dumps(self._positions, separators=(",", ":"), sort_keys=True, ensure_ascii=False)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RecordedEvent:
        while not self._waiter.is_over:
            try:
                event = self._next()
            except (StoreUnavailable, TimedOut) as error:
                if not self._has_looked:
                    self.close()
                    raise
                self._wait_after(error)
                continue
            except ProjectionistError:
                self.close()
                raise
            self._failures = 0
            if event is not None:
                self._positions[event.log] = event.position
                return event
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Ends the iteration at once, also while it waits in another thread; may be called twice."""
        self._waiter.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _next(self) -> RecordedEvent | None:
        """The next event, or None after looking, and waiting if there was nothing to read."""
        if self._events is None:
            self._waiter.clear()
            heads = self._heads()
            self._has_looked = True
            behind = {log: head for log, head in heads.items() if self._positions.get(log, 0) < head}
            if not behind:
                self._waiter.wait()
                return None
            self._waiter.hurry()
            self._events = self._read(behind)
        event = next(self._events, None)
        if event is None:
            # Everything up to there was given out or doesn't pass the filter.
            self._positions.update(self._reached)
            self._events = None
        return event

    def _heads(self) -> dict[str, int]:
        """The settled heads of the logs that are followed; a log that isn't there yet has none."""
        if self._log is None:
            found = [log for log in self._store.logs() if not log.is_retired]
            # What a parallel log leaves empty is claimed by those who follow it.
            return {
                log.name: log.settled_head if log.settled_head == log.head else self._store.settled_head(log.name)
                for log in found
            }
        try:
            return {self._log: self._store.settled_head(self._log)}
        except NotFound:
            return {}

    def _read(self, behind: Mapping[str, int]) -> Iterator[RecordedEvent]:
        starts = {log: self._positions.get(log, 0) for log in behind}
        self._reached = {log: min(head, starts[log] + _positions_at_once) for log, head in behind.items()}
        if len(behind) == 1:
            ((log, edge),) = self._reached.items()
            return iter(self._store.read_log(log, after=starts[log], before=edge + 1, limit=None, where=self._where))
        logs = [Log(log, edge, edge, Count(edge)) for log, edge in sorted(self._reached.items())]
        return MergedEvents(
            self._store, logs, where=self._where, newest_first=False, cut=_Positions(None, None, starts),
            with_payload=True, limit=None, seconds=None,
        )  # fmt: skip

    def _wait_after(self, error: ProjectionistError) -> None:
        self._events = None
        seconds = min(0.05 * 2**self._failures, _most_retry_seconds)
        self._failures = min(self._failures + 1, 20)
        _logger.warning("Following %s is interrupted, next try in %.2f s: %s", self._log or "all logs", seconds, error)
        self._waiter.doze(seconds)


class _Positions(Cut):
    """A cut by exact positions of logs by name, with nothing left to be found by time."""

    def position_of(self, log: str) -> int:
        return self.positions[log]


def _read_cursor(after: int | str, log: str | None) -> dict[str, int]:
    """Positions by log."""
    if type(after) is int and after >= 0:
        if after == 0:
            return {}
        if log is None:
            raise InvalidRequest(
                f"The position {after} doesn't say of which log. Name the log, or give the `cursor` of a subscription.",
                field="after",
            )
        return {log: after}
    if isinstance(after, str):
        try:
            positions = json.loads(after)
        except ValueError:
            positions = None
        if isinstance(positions, dict) and all(type(value) is int and value >= 0 for value in positions.values()):
            return positions
    raise InvalidRequest(
        f"A subscription can't begin after {after!r}. Give a position from 0 on, or the `cursor` of a subscription.",
        field="after",
    )
