"""Given/when/then for deciders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Self, TypeVar

from webapp.store.deciders import Decider, DeciderRepository
from webapp.store.events import NewEvent
from webapp.store.recording import EventSerializer, to_new_event
from webapp.testing.clock import Clock
from webapp.testing.memory import MemoryStore
from webapp.testing.scenario import Scenario

C = TypeVar("C")
S = TypeVar("S")


class DeciderScenario(Scenario, Generic[C, S]):
    """One stream of a decider, on a DeciderRepository over a store in memory."""

    def __init__(
        self,
        decider: Decider[C, S],
        events: Sequence[Any] = (),
        *,
        id: Any = "1",
        serializer: EventSerializer | None = None,
        clock: Clock | None = None,
        aggregate_type: str = "decided",
    ) -> None:
        self.name = "The decider"
        self.id = id
        self.clock = clock or Clock()
        self.store = MemoryStore(self.clock)
        self.repository = DeciderRepository(self.store, decider, aggregate_type, serializer=serializer, attempts=1)
        if events:
            stored_id = self.repository.definition.join(id)
            self.store.append(aggregate_type, stored_id, self._expected(events), log=self.repository.log)

    def when(self, *commands: C) -> Self:
        """Decides each command on the state after the ones before it, all or none."""
        self.repository.load(self.id)  # what was given must fold; else the test is wrong, not the decision
        return self._run(lambda: self.repository.handle(self.id, *commands).events)

    def _expected(self, events: Sequence[Any]) -> list[NewEvent]:
        return [to_new_event(event, self.repository.serializer) for event in events]

    def _state(self) -> S:
        return self.repository.load(self.id).state
