"""Mergers: several stored events of one stream become one when they are read, such as a street and a city an address.

Events come out in the order they came in. So what follows a part that waits for its others is held back until these
have come, at most for a window of events: then the parts come out as they are, and nothing is lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from webapp.errors import InvalidDefinition, UpcastingFailed
from webapp.store.events import RecordedEvent
from webapp.store.upcasting import UpcastEvent

Merge = Callable[[list[RecordedEvent]], Any]


@dataclass(frozen=True, slots=True)
class Merger:
    """What becomes of the parts: the data of one event of type `into`, or None as long as parts are missing."""

    types: frozenset[str]
    into: str
    revision: int
    window: int
    merge: Merge


class Mergers:
    """All mergers of a serializer, by the type of a part, as upcasters leave it."""

    def __init__(self) -> None:
        self._by_type: dict[str, Merger] = {}

    def __bool__(self) -> bool:
        return bool(self._by_type)

    def add(self, merger: Merger) -> None:
        """Adds a merger; raises InvalidDefinition where a type is a part of two, or a merged event would be a part again."""
        if len(merger.types) == 0 or merger.window < 1:
            raise InvalidDefinition("A merger needs the types of its parts, and a window of at least one event.")
        intos = {other.into for other in self._by_type.values()} | {merger.into}
        for type_ in merger.types | {merger.into}:
            if type_ in merger.types and type_ in self._by_type:
                raise InvalidDefinition(f"{type_} is a part of two mergers. Let one function merge all of them.")
            if type_ in intos and (type_ in merger.types or type_ in self._by_type):
                raise InvalidDefinition(
                    f"{type_} is merged of parts and itself a part, which would go round in a circle. "
                    "Give the merged event another name."
                )
        self._by_type |= dict.fromkeys(merger.types, merger)

    def run(
        self, events: Iterable[RecordedEvent], upcast: Callable[[UpcastEvent], list[RecordedEvent]]
    ) -> Iterator[RecordedEvent]:
        """The events in order with what can be merged merged; `upcast` brings a merged event into today's form."""
        held: deque[_Slot] = deque()
        groups: dict[tuple[Any, ...], _Group] = {}
        for number, event in enumerate(events):
            merger = self._by_type.get(event.type)
            if merger is None:
                if not held:
                    yield event
                    continue
                held.append(_Slot([event]))
            else:
                key = (event.log, event.aggregate_type, event.aggregate_id, merger.into)
                group = groups.setdefault(key, _Group(key, number + merger.window))
                group.parts.append(event)
                group.slots.append(_Slot([event], group))
                held.append(group.slots[-1])
                merged = _merge(merger, group.parts)
                if merged is not None:
                    for slot in group.slots:
                        slot.events, slot.group = [], None
                    held[-1].events = upcast(merged)
                    del groups[key]
            while held and (held[0].group is None or held[0].group.until <= number):
                slot = held.popleft()
                if slot.group is not None:  # its time is over: these parts stay what they are
                    groups.pop(slot.group.key, None)
                    for other in slot.group.slots:
                        other.group = None
                yield from slot.events
        for slot in held:
            yield from slot.events


@dataclass(slots=True)
class _Group:
    """The parts of one merger in one stream so far."""

    key: tuple[Any, ...]
    until: int
    parts: list[RecordedEvent] = field(default_factory=list)
    slots: list[_Slot] = field(default_factory=list)


@dataclass(slots=True)
class _Slot:
    """A place in the order of what is held back; with a group it waits for the other parts."""

    events: list[RecordedEvent]
    group: _Group | None = None


def _merge(merger: Merger, parts: list[RecordedEvent]) -> UpcastEvent | None:
    last = parts[-1]
    try:
        data = merger.merge(list(parts))
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise UpcastingFailed(last.type, last.log, last.position, None, cause) from error
    if data is None:
        return None
    stored = tuple(part.stored if isinstance(part, UpcastEvent) else part for part in parts)
    return UpcastEvent(stored[-1], merger.into, merger.revision, data, stored)
