"""Given/when/then for sagas, with time under control."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Generic, Self, TypeVar

from webapp.errors import InvalidRequest, NotFound
from webapp.store import sagas
from webapp.store.events import EventFilter, NewEvent, RecordedEvent
from webapp.store.folding import Folder
from webapp.store.recording import EventSerializer, RawEvents, to_new_event
from webapp.store.saga_runner import SagaRunner
from webapp.store.sagas import Process, SagaClass
from webapp.testing.clock import Clock
from webapp.testing.feeding import record
from webapp.testing.memory import MemoryStore
from webapp.testing.scenario import Scenario

S = TypeVar("S")
_markers = (sagas.reacted, sagas.fired)
_log = "sagas"


class SagaScenario(Scenario, Generic[S]):
    """The sagas of one class, run by a SagaRunner over a store in memory.

    A step's events are what the sagas recorded on it, as `then` takes them: Send, Due, Cancel, Complete and their own
    events. That they reacted, or that a timeout fired, goes without saying.
    """

    _keys = ("is_command",)

    def __init__(
        self,
        cls: type[S],
        events: Sequence[Any] = (),
        *,
        serializer: EventSerializer | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = cls.__name__
        self.clock = clock or Clock()
        self.store = MemoryStore(self.clock)
        self.definition = SagaClass.of(cls)
        self.serializer = serializer or self.definition.aggregate.settings.serializer or RawEvents()
        self.runner: SagaRunner[S] = SagaRunner(
            self.store, cls, into=_log, serializer=self.serializer, clock=self.clock, attempts=1
        )
        self._bases: list[dt.datetime] = []
        self._last: RecordedEvent | None = None
        self._position = 0
        self._feed(events)

    def when(self, *events: Any) -> Self:
        """Feeds events to the sagas, in this order."""
        return self._run(lambda: self._feed(events))

    def at(self, time: dt.datetime) -> Self:
        """A step as well: sets the clock, and fires what is due by then."""
        self.clock.set(time)
        return self._run(self._fire)

    def then_completed(self, id: Any = None) -> Self:
        """Claims that the saga has ended: the one that reacted last, or the one of this id."""
        __tracebackhide__ = True
        self._look_at_events()
        process = self._process(id)
        if not process.is_completed:
            waits = ", ".join(f"{one.name} at {one.at.isoformat()}" for one in process.timeouts.values())
            raise self._failed("has not ended" + (f", and waits for {waits}" if waits else ""))
        return self

    def then_state(self, expected: Any, *, id: Any = None) -> Self:
        """Like Scenario.then_state, of the saga that reacted last, or of the one of this id."""
        __tracebackhide__ = True
        self._look_at_events()
        return self._claim_state(self._process(id).state, expected)

    def _process(self, id: Any) -> Process[S]:
        """The saga of an id, or the one that reacted last, with the state that its next reaction would find."""
        if id is None and self._last is None:
            raise InvalidRequest(f"No event began any {self.name}, so there is no state of one. Give its first event.")
        stored_id = self.definition.join(id) if self._last is None or id is not None else self._last.aggregate_id or ""
        folder = Folder(self.store, self.definition, _log, self.serializer)
        process: Process[S] = folder.fold(stored_id).state
        if not process.version:
            raise NotFound(self.definition.aggregate_type, stored_id, "No event began it.")
        if process.state is None:
            process.state = self.definition.aggregate.initial(stored_id)
        return process

    # --- steps ------------------------------------------------------------------------------------------------------

    def _feed(self, events: Sequence[Any]) -> list[RecordedEvent]:
        for event in record(self.store, events, self.serializer):
            self.runner.handle(event)
        return self._recorded()

    def _fire(self) -> list[RecordedEvent]:
        self.runner.fire_due()
        return self._recorded()

    def _recorded(self) -> list[RecordedEvent]:
        """What the sagas recorded since the last step, and from which moments their time spans are counted."""
        found: list[RecordedEvent] = []
        self._bases, base = [], self.clock.now
        try:
            new = list(self.store.read_log(_log, after=self._position, limit=None))
        except NotFound:
            return []
        for event in new:
            self._position, self._last = event.position, event
            if event.type in _markers:
                base = self._base(event)
            else:
                found.append(event)
                self._bases.append(base)
        return found

    def _base(self, marker: RecordedEvent) -> dt.datetime:
        if marker.type == sagas.reacted:
            return self.store.event(marker.data["log"], marker.data["position"]).recorded_at
        (due,) = self.store.read_log(_log, where=EventFilter(event_id=marker.data["cause"]))
        return dt.datetime.fromisoformat(due.data["at"])

    def _expected(self, events: Sequence[Any]) -> list[NewEvent]:
        made = []
        for number, step in enumerate(events):
            base = self._bases[number] if number < len(self._bases) else self.clock.now
            made += [to_new_event(one, self.serializer) for one in self.definition.record_steps([step], base)]
        return made

    def _state(self) -> Any:
        return self._process(None).state
