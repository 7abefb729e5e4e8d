"""What a decision comes to: events returned, or recorded on the aggregate, in whatever form they are written."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from webapp.errors import InvalidDefinition, InvalidEvent
from webapp.store.aggregates import AggregateClass, known_definition
from webapp.store.events import NewEvent, RecordedEvent, prepare
from webapp.store.tracking import Tracked, find_tracked, track


class EventSerializer(Protocol):
    """What is needed of a `Serializer`: objects to new events, and recorded events to objects."""

    def new_event(self, event: Any, /) -> NewEvent:
        """An object as an event to store; raises UnknownEvent if its class isn't known."""
        ...

    def load_all(self, events: Iterable[RecordedEvent], /) -> Iterator[tuple[RecordedEvent, Any]]:
        """Each event in today's form with its object, or with itself where no class is known."""
        ...


class RawEvents:
    """The serializer of those who have none: events are NewEvent or (type, data), and come back as RecordedEvent."""

    def new_event(self, event: Any, /) -> NewEvent:
        """Raises InvalidEvent: an object says no type."""
        raise InvalidEvent(
            f"{event!r:.80} is no event by itself. Give NewEvent(type, data) or (type, data), or give the repository a "
            f"serializer that knows {type(event).__name__}."
        )

    def load_all(self, events: Iterable[RecordedEvent], /) -> Iterator[tuple[RecordedEvent, Any]]:
        """Every event with itself."""
        for event in events:
            yield event, event


def list_events(outcome: Any) -> list[Any]:
    """The events that a decision returned: none, one, or those of a list, tuple or generator."""
    if outcome is None:
        return []
    if isinstance(outcome, tuple) and (hasattr(outcome, "_fields") or _is_pair(outcome)):
        return [outcome]
    return list(outcome) if isinstance(outcome, list | tuple | Iterator) else [outcome]


def to_new_event(event: Any, serializer: EventSerializer) -> NewEvent:
    """An event in any form as the NewEvent to store; raises InvalidEvent, or what the serializer raises."""
    if isinstance(event, NewEvent):
        return event
    if isinstance(event, tuple) and not hasattr(event, "_fields") and _is_pair(event):
        return NewEvent(event[0], event[1])
    if event is None or isinstance(event, str | bytes | int | float | dict | list | tuple | set):
        raise InvalidEvent(
            f"{event!r:.80} is no event. Give NewEvent(type, data), (type, data), or an object of a known class."
        )
    return serializer.new_event(event)


def _is_pair(value: tuple[Any, ...]) -> bool:
    return len(value) == 2 and isinstance(value[0], str)


def provisional(
    new: NewEvent, event: Any, serializer: EventSerializer, like: tuple[str, str, str], version: int
) -> tuple[RecordedEvent, Any]:
    """A new event as it will be read back, before it's stored: position 0, recorded now by this machine's clock.

    `like` is its log, aggregate type and aggregate id. What comes with it is what handlers get: the object itself, else
    what the serializer makes of it.
    """
    ready = prepare(new)
    log, aggregate_type, aggregate_id = like
    recorded = RecordedEvent(
        log, 0, aggregate_type, aggregate_id, version, ready.type, uuid.UUID(bytes=ready.id), dt.datetime.now(dt.UTC),
        ready.correlation_id, ready.causation_id, ready.actor, ready.data_text, ready.metadata_text,
    )  # fmt: skip
    if event is not new and not isinstance(event, tuple):
        return recorded, event
    loaded = list(serializer.load_all([recorded]))
    return loaded[0] if len(loaded) == 1 else (recorded, recorded)


def record_event(aggregate: Any, event: Any, definition: AggregateClass, tracked: Tracked) -> Any:
    """The aggregate after an event that isn't stored yet; raises what its handler raises, before anything is noted."""
    serializer = tracked.serializer or definition.settings.serializer or RawEvents()
    home = tracked.home
    stored_id = home.stored_id if home is not None else definition.id_of(aggregate) or ""
    like = (home.log if home is not None else "", definition.aggregate_type, stored_id)
    version = tracked.version + len(tracked.pending) + 1
    if isinstance(serializer, RawEvents) and definition.find_handler(None, event) is not None:
        # A handler by class is enough to go on with; the type is known once a repository saves it.
        new = NewEvent(type(event).__qualname__, None)
    else:
        new = to_new_event(event, serializer)
    recorded, content = provisional(new, event, serializer, like, version)
    return definition.evolve(aggregate, content, recorded)


class Aggregate:
    """A base for aggregates that record their events rather than return them; nothing else is in it.

    `record` changes the aggregate at once, by the event's handler, and keeps the event for `Repository.save`.
    """

    __slots__ = ("__weakref__",)

    def record(self, *events: Any) -> None:
        """Applies events and keeps them to be saved; raises UnhandledEvent, or what a handler raises.

        Events before the one that fails stay recorded.
        """
        definition = known_definition(type(self))
        tracked = track(self)
        for event in events:
            if record_event(self, event, definition, tracked) is not self:
                raise InvalidDefinition(
                    f"The handlers of {type(self).__name__} return new ones, so its decisions have to return events, not record them."
                )
            tracked.pending.append(event)

    @property
    def pending_events(self) -> tuple[Any, ...]:
        """The events recorded since it was loaded or saved, as they were given."""
        tracked = find_tracked(self)
        return () if tracked is None else tuple(tracked.pending)
