"""Given/when/then for aggregates written as classes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, Generic, Self, TypeVar

from webapp.errors import NotFound
from webapp.store.events import NewEvent, RecordedEvent
from webapp.store.identifiers import IdShape
from webapp.store.recording import EventSerializer, to_new_event
from webapp.store.repository import Repository
from webapp.testing.clock import Clock
from webapp.testing.memory import MemoryStore
from webapp.testing.scenario import Scenario

T = TypeVar("T")


class AggregateScenario(Scenario, Generic[T]):
    """One aggregate of a class, on a Repository over a store in memory: what it decides is saved and read back."""

    def __init__(
        self,
        cls: type[T],
        events: Sequence[Any] = (),
        *,
        id: Any = None,
        serializer: EventSerializer | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = cls.__name__
        self.clock = clock or Clock()
        self.store = MemoryStore(self.clock)
        self.repository = Repository(self.store, cls, serializer=serializer, attempts=1)
        definition = self.repository.definition
        self.id = some_id(definition.shape) if id is None else id
        new = [to_new_event(event, self.repository.serializer) for event in events]
        stored_id = definition.join(self.id)
        self._version = len(
            self.store.append(definition.aggregate_type, stored_id, new, log=self.repository.log) if new else []
        )

    def when(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Self:
        """Calls function(aggregate, *arguments, **named) and saves what it returns or records.

        Where nothing has happened yet it's called as `Repository.create` calls it: a classmethod that makes the
        aggregate goes without one.
        """
        if not self._version:
            return self._save(lambda: self.repository.create(self.id, function, *arguments, **named).events)
        self.repository.load(self.id)  # what was given must fold; else the test is wrong, not the decision
        return self._save(lambda: self.repository.execute(self.id, function, *arguments, **named).events)

    def _save(self, step: Callable[[], Sequence[RecordedEvent]]) -> Self:
        self._run(step)
        if self._outcome is not None:
            self._version += len(self._outcome.events)
        return self

    def _expected(self, events: Sequence[Any]) -> list[NewEvent]:
        return [to_new_event(event, self.repository.serializer) for event in events]

    def _state(self) -> T | None:
        try:
            return self.repository.load(self.id)
        except NotFound:
            return None if self.repository.definition.is_made_by_handler else self.repository.load_or_create(self.id)


def some_id(shape: IdShape | None) -> Any:
    """An id of this shape, for tests that don't care: "1", 1, or the UUID that is 1, or a tuple of these."""
    if shape is None:
        return "1"
    parts = tuple(uuid.UUID(int=1) if kind is uuid.UUID else 1 if kind is int else "1" for kind in shape.types)
    return parts[0] if len(parts) == 1 else parts
