"""Deciders: an aggregate as three values and functions, with no class and nothing that changes.

counter = Decider(
    initial=0,
    decide=lambda command, state: [("counted", {"by": command})],
    evolve=lambda state, event: state + event.data["by"],
)
counters = DeciderRepository(store, counter, "counter")
counters.handle("a", 5).state                      # 5
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from webapp.errors import AlreadyEnded, InvalidDefinition
from webapp.store.appendable import AppendableSource
from webapp.store.events import RecordedEvent, checked_name, log_limit, type_limit
from webapp.store.fingerprints import fingerprint_functions
from webapp.store.folding import Folded
from webapp.store.history import History
from webapp.store.identifiers import join_id
from webapp.store.recording import EventSerializer, RawEvents, list_events, provisional, to_new_event
from webapp.store.redeciding import checked_attempts, decide_again, wait_a_little
from webapp.store.snapshots import SnapshotPolicy

C = TypeVar("C")
S = TypeVar("S")


@dataclass(frozen=True)
class Decider(Generic[C, S]):
    """What may happen and what it comes to.

    `initial` is the state before anything happened, or a function that makes it. `decide(command, state)` returns the
    events, one, many or none, or raises. `evolve(state, event)` returns the state after an event: an object where the
    serializer knows its class, else the RecordedEvent. Nothing can be decided about a state that `is_terminal`.
    `state_type` is what snapshots are read back into; without it they hold plain JSON values. Another `revision` makes
    snapshots void.
    """

    initial: S | Callable[[], S]
    decide: Callable[[C, S], Any]
    evolve: Callable[[S, Any], S]
    is_terminal: Callable[[S], bool] | None = None
    state_type: type | None = None
    revision: int = 1

    def __post_init__(self) -> None:
        for name in ("decide", "evolve"):
            if not callable(getattr(self, name)):
                raise InvalidDefinition(f"The {name} of a Decider must be a function; {getattr(self, name)!r} is not.")

    def first_state(self) -> S:
        """The state before anything happened; each time another object, where it could be changed."""
        return self.initial() if callable(self.initial) else copy.deepcopy(self.initial)


@dataclass(frozen=True, eq=False)
class DeciderDefinition:
    """A decider under a type of aggregates: what repositories, snapshots and the dashboard work with."""

    decider: Decider[Any, Any]
    aggregate_type: str

    def __post_init__(self) -> None:
        checked_name(self.aggregate_type, "aggregate type", type_limit)

    @property
    def name(self) -> str:
        """The name of its evolve function, for people."""
        evolve = self.decider.evolve
        return f"{getattr(evolve, '__module__', '')}.{getattr(evolve, '__qualname__', type(evolve).__name__)}"

    @property
    def state_type(self) -> type | None:
        """What snapshots are read back into."""
        return self.decider.state_type

    def join(self, id: Any) -> str:
        """The text that an id is stored under; raises InvalidRequest."""
        return join_id(id)

    def blank(self) -> Any:
        """The state before anything happened."""
        return self.decider.first_state()

    def evolve(self, state: Any, content: Any, recorded: RecordedEvent) -> Any:
        """The state after one more event."""
        return self.decider.evolve(state, content)

    def fingerprint(self) -> str:
        """Changes with the code of its functions, or its `revision`."""
        decider = self.decider
        return fingerprint_functions(decider.initial, decider.evolve, decider.state_type, decider.revision)


@dataclass(frozen=True, slots=True)
class Decided(Generic[S]):
    """A state with the version it stands at, and the events that were recorded last (none if nothing happened)."""

    state: S
    version: int
    events: Sequence[RecordedEvent] = ()


class DeciderRepository(Generic[C, S]):
    """Runs a decider over the streams of one type of aggregates. Thread-safe."""

    def __init__(
        self,
        store: AppendableSource,
        decider: Decider[C, S],
        aggregate_type: str,
        *,
        serializer: EventSerializer | None = None,
        log: str = "main",
        snapshots: SnapshotPolicy | None = None,
        attempts: int = 8,
        wait: Callable[[int], None] = wait_a_little,
    ) -> None:
        self.store = store
        self.decider = decider
        self.log = checked_name(log, "log", log_limit)
        self.definition = DeciderDefinition(decider, aggregate_type)
        self.serializer = serializer or RawEvents()
        self.attempts = checked_attempts(attempts)
        self._wait = wait
        self._policy = snapshots
        self._history = History(store, self.definition, self.log, self.serializer, snapshots)

    def load(self, id: Any) -> Decided[S]:
        """The state as it stands; the initial one at version 0 if nothing ever happened."""
        return self._decided(self._fold(id))

    def load_at(self, id: Any, version: int) -> Decided[S]:
        """The state after a version; raises NotFound if it hasn't come so far."""
        return self._decided(self._history.load_at(id, version))

    def load_as_of(self, id: Any, time: dt.datetime) -> Decided[S]:
        """The state as known at a time; raises NotFound if nothing was known."""
        return self._decided(self._history.load_as_of(id, time))

    def load_true_at(self, id: Any, time: dt.datetime, *, known_at: dt.datetime | None = None) -> Decided[S]:
        """The state as true at a time, see Repository.load_true_at; raises NotFound if nothing had occurred."""
        return self._decided(self._history.load_true_at(id, time, known_at))

    def handle(self, id: Any, *commands: C) -> Decided[S]:
        """Decides each command on the state after the ones before it, and appends all events, all or none.

        If somebody else was quicker, all is decided again on the state as it is then. Raises AlreadyEnded, and
        WrongExpectedVersion when the attempts are used up.
        """
        return decide_again(lambda: self._handle(id, commands), self.attempts, self._wait)

    def _fold(self, id: Any) -> Folded:
        return self._history.find(id) or Folded(self.decider.first_state())

    def _handle(self, id: Any, commands: Iterable[C]) -> Decided[S]:
        folded, stored_id = self._fold(id), self.definition.join(id)
        like, new = (self.log, self.definition.aggregate_type, stored_id), []
        state = folded.state
        for command in commands:
            if self.decider.is_terminal is not None and self.decider.is_terminal(state):
                raise AlreadyEnded(self._history.stream(stored_id))
            for event in list_events(self.decider.decide(command, state)):
                new.append(to_new_event(event, self.serializer))
                version = folded.version + len(new)
                _, content = provisional(new[-1], event, self.serializer, like, version)
                state = self.decider.evolve(state, content)  # so that nothing is stored that it can't fold
        if not new:
            return Decided(state, folded.version)
        recorded = self.store.append(
            self.definition.aggregate_type, stored_id, new, expected_version=folded.version, log=self.log
        )
        if recorded[0].version != folded.version + 1:
            return Decided(self._fold(id).state, self._fold(id).version, recorded)
        version = folded.version + len(recorded)
        if self._policy is not None and (folded.has_old_snapshot or self._policy.is_due(folded.version, version)):
            self._history.folder.take_snapshot(stored_id)
        return Decided(state, version, recorded)

    def _decided(self, folded: Folded) -> Decided[S]:
        return Decided(folded.state, folded.version)


def run(decider: Decider[C, S], commands: Iterable[C], history: Iterable[Any] = ()) -> tuple[S, list[Any]]:
    """The state and the new events when commands are decided after a history of events, all in memory.

    Events are what the decider itself makes of them: what `decide` returns goes to `evolve` as it is.
    """
    state, events = decider.first_state(), []
    for event in history:
        state = decider.evolve(state, event)
    for command in commands:
        if decider.is_terminal is not None and decider.is_terminal(state):
            raise AlreadyEnded("It")
        for event in list_events(decider.decide(command, state)):
            state = decider.evolve(state, event)
            events.append(event)
    return state, events
