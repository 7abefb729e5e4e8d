"""Feeds events to sagas, exactly once each as far as the sagas are concerned, and fires what is due."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from webapp.errors import (
    EventIdReused,
    InvalidDefinition,
    NotFound,
    ProjectionistError,
    SagaFailed,
    WrongExpectedVersion,
)
from webapp.store import sagas
from webapp.store.aggregates import Handler
from webapp.store.appendable import AppendableSource
from webapp.store.context import caused_by
from webapp.store.events import EventFilter, NewEvent, RecordedEvent, checked_name, log_limit
from webapp.store.folding import checked_time
from webapp.store.history import History, check_classes
from webapp.store.recording import EventSerializer, RawEvents, list_events, provisional, to_new_event
from webapp.store.redeciding import checked_attempts, decide_again, wait_a_little
from webapp.store.sagas import Process, SagaClass, Timeout
from webapp.store.tracking import find_tracked

S = TypeVar("S")
T = TypeVar("T")
logger = logging.getLogger(__name__)

_namespace = uuid.UUID("6f0b1f2e-52a6-5a2e-9a55-3d5d0a1c9e77")
_timer_types = (sagas.due, sagas.cancelled, sagas.fired, sagas.completed)


def utc_now() -> dt.datetime:
    """This machine's time."""
    return dt.datetime.now(dt.UTC)


class SagaRunner(Generic[S]):
    """Runs the sagas of one class on the events of a log; they stand in the log `into`, the same unless given.

    An event may be fed again, by several runners at once, and after a crash: what a saga made of it is recorded in one
    append under ids that follow from saga and event, and the second time nothing happens. `clock` tells the time for
    what is due. A runner is for one thread.
    """

    def __init__(
        self,
        store: AppendableSource,
        cls: type[S],
        *,
        log: str = "main",
        into: str | None = None,
        serializer: EventSerializer | None = None,
        clock: Callable[[], dt.datetime] = utc_now,
        attempts: int = 8,
        wait: Callable[[int], None] = wait_a_little,
    ) -> None:
        self.store = store
        self.log = checked_name(log, "log", log_limit)
        self.into = checked_name(into or log, "log", log_limit)
        self.definition = SagaClass.of(cls)
        self.serializer = serializer or self.definition.aggregate.settings.serializer or RawEvents()
        self._clock = clock
        self._attempts = checked_attempts(attempts)
        self._wait = wait
        for events in (self.definition.reactions, self.definition.aggregate.handlers):
            check_classes(self.definition.name, events, self.serializer)
        self._history = History(store, self.definition, self.into, self.serializer, None)
        self._position: int | None = None
        self._timers: dict[tuple[str, str], dt.datetime] = {}
        self._timers_position = 0

    def find(self, id: Any) -> Process[S] | None:
        """One saga as it stands, None if it never began."""
        found = self._history.find(id)
        return None if found is None else found.state

    # --- events -----------------------------------------------------------------------------------------------------

    def handle(self, event: RecordedEvent) -> list[RecordedEvent]:
        """What a saga recorded on an event; nothing if it isn't for one, came before, or comes after the end.

        Raises SagaFailed where the reaction raises; nothing is recorded then, and the event may be fed again.
        """
        found: list[RecordedEvent] = []
        for number, (recorded, content) in enumerate(self.serializer.load_all([event])):
            cause = event.id if number == 0 else f"{event.id}/{number}"  # an upcaster may have split it
            found += self._react(recorded, content, cause)
        return found

    def run(self, feed: Iterable[RecordedEvent]) -> int:
        """Handles all events of a feed; returns how many were recorded on them."""
        return sum(len(self.handle(event)) for event in feed)

    def catch_up(self) -> int:
        """Handles what the log holds after the last event that a saga reacted to; returns how many were recorded.

        Whoever uses this leaves all feeding to it, since it takes everything before that event as done.
        """
        recorded = 0
        if self._position is None:
            self._position = self._last_reacted()
        for event in self._read(self.log, after=self._position, limit=None):
            recorded += len(self.handle(event))
            self._position = event.position
        return recorded

    def _last_reacted(self) -> int:
        where = EventFilter(types=(sagas.reacted,), aggregate_type=self.definition.aggregate_type)
        for event in self._read(self.into, limit=None, newest_first=True, where=where):
            if event.data["log"] == self.log:
                return int(event.data["position"])
        return 0

    def _react(self, recorded: RecordedEvent, content: Any, cause: str) -> list[RecordedEvent]:
        reaction = self.definition.find_reaction(recorded.type, content)
        if reaction is None:
            return []
        try:
            id = reaction.key(content)
        except Exception as error:
            raise self._failed(self.definition.aggregate_type, recorded, error) from error
        if id is None:
            return []
        stored_id = self.definition.join(id)
        place = {"cause": cause, "log": recorded.log, "position": recorded.position, "type": recorded.type}

        def attempt() -> list[RecordedEvent]:
            process = self._load(stored_id)
            if process.is_completed or cause in process.handled or not (process.version or reaction.is_start):
                return []
            steps = self._call(reaction.handler, stored_id, process, content, recorded)
            marker = NewEvent(sagas.reacted, place)
            return self._record(stored_id, process, cause, [marker, *steps], recorded, recorded.recorded_at)

        return self._again(attempt)

    # --- time -------------------------------------------------------------------------------------------------------

    def fire_due(self) -> int:
        """Fires all timeouts whose moment has come by the clock; returns how many. None is ever fired twice.

        One that fails doesn't hold up the others; the first failure is raised at the end, and is tried again next time.
        """
        now = checked_time(self._clock(), "clock's time")
        count, failures = 0, []
        self._learn_timers()
        for key in sorted(
            (key for key, at in self._timers.items() if at <= now), key=lambda key: (self._timers[key], key)
        ):
            try:
                count += self._fire(*key, now)
            except ProjectionistError as error:
                logger.warning("%s", error)
                failures.append(error)
        if failures:
            raise failures[0]
        return count

    def next_due_at(self) -> dt.datetime | None:
        """The earliest moment that something is due, None if nothing is."""
        self._learn_timers()
        return min(self._timers.values(), default=None)

    def _learn_timers(self) -> None:
        """Reads what was recorded of timeouts since the last time; the first time, all of it."""
        where = EventFilter(types=_timer_types, aggregate_type=self.definition.aggregate_type)
        for event in self._read(self.into, after=self._timers_position, limit=None, where=where):
            self._timers_position = event.position
            stored_id = event.aggregate_id or ""
            if event.type == sagas.completed:
                for key in [key for key in self._timers if key[0] == stored_id]:
                    del self._timers[key]
            elif event.type == sagas.due:
                self._timers[stored_id, event.data["name"]] = dt.datetime.fromisoformat(event.data["at"])
            else:
                self._timers.pop((stored_id, event.data["name"]), None)

    def _fire(self, stored_id: str, name: str, now: dt.datetime) -> int:
        def attempt() -> int:
            process = self._load(stored_id)
            timeout = process.timeouts.get(name)
            if timeout is None or timeout.at > now:
                return 0
            handler = self.definition.timeouts.get(name)
            if handler is None:
                raise InvalidDefinition(
                    f"{self._history.stream(stored_id)} waits for the timeout {name}, which {self.definition.name} has no "
                    "handler of any more. Mark one with @times_out."
                )
            cause = timeout.event.id
            steps = self._call(handler, stored_id, process, timeout, timeout.event)
            marker = NewEvent(sagas.fired, {"name": name, "cause": cause})
            self._record(stored_id, process, cause, [marker, *steps], timeout.event, timeout.at)
            return 1

        return self._again(attempt)

    # --- both -------------------------------------------------------------------------------------------------------

    def step(self) -> int:
        """Catches up and fires what is due; returns how much was done."""
        return self.catch_up() + self.fire_due()

    def follow(self, stop: threading.Event, *, pause_seconds: float = 1.0) -> None:
        """Steps until `stop` is set, looking again after a pause when there was nothing to do; raises what they raise."""
        while not stop.is_set():
            if not self.step():
                stop.wait(pause_seconds)

    def _load(self, stored_id: str) -> Process[S]:
        process: Process[S] = self._history.folder.fold(stored_id).state
        return process

    def _call(
        self,
        handler: Handler,
        stored_id: str,
        process: Process[S],
        content: RecordedEvent | Timeout | Any,
        recorded: RecordedEvent,
    ) -> list[Any]:
        if process.state is None:
            process.state = self.definition.aggregate.initial(stored_id)
        try:
            returned = list_events(handler(process.state, content, recorded))
        except Exception as error:
            raise self._failed(self._history.stream(stored_id), recorded, error) from error
        tracked = find_tracked(process.state)
        return [*(tracked.pending if tracked is not None else ()), *returned]

    def _record(
        self,
        stored_id: str,
        process: Process[S],
        cause: str,
        steps: Sequence[Any],
        event: RecordedEvent,
        base: dt.datetime,
    ) -> list[RecordedEvent]:
        """Appends a reaction as a whole, once it's known that the saga can be folded with it."""
        expected, like = process.version, (self.into, self.definition.aggregate_type, stored_id)
        check, new = self._load(stored_id) if len(steps) > 1 else Process(), []
        for number, step in enumerate(self.definition.record_steps(steps, base)):
            made = to_new_event(step, self.serializer)
            name = "\x1f".join((*like, cause, str(number)))
            new.append(dataclasses.replace(made, id=made.id or uuid.uuid5(_namespace, name)))
            recorded, content = provisional(new[-1], step, self.serializer, like, expected + number + 1)
            try:
                self.definition.evolve(check, content, recorded)
            except Exception as error:  # nothing may be stored that it can't be folded from
                raise self._failed(self._history.stream(stored_id), event, error) from error
        with caused_by(event):
            return self.store.append(like[1], stored_id, new, expected_version=expected, log=self.into)

    def _again(self, attempt: Callable[[], T]) -> T:
        # Reused ids mean that another runner has recorded its own reaction to this event, which a fresh look will find.
        return decide_again(attempt, self._attempts, self._wait, (WrongExpectedVersion, EventIdReused))

    def _failed(self, stream: str, event: RecordedEvent, error: Exception) -> SagaFailed:
        return SagaFailed(stream, event.type, f"{event.log}:{event.position}", error)

    def _read(self, log: str, **options: Any) -> Iterable[RecordedEvent]:
        try:
            yield from self.store.read_log(log, **options)
        except NotFound as error:
            if error.kind != "log":
                raise
