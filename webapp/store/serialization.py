"""Events as objects: names and revisions for classes, and the way from objects to stored events and back.

```python
serializer = Serializer()

@serializer.event("order.placed", revision=2)        # the name is what is stored; the class may be renamed and moved
@dataclass(frozen=True)
class OrderPlaced:
    total: Decimal
    currency: str

@serializer.upcaster("order.placed", from_revision=1)
def with_currency(data):
    return data | {"currency": "EUR"}

store.append("order", "42", [serializer.new_event(OrderPlaced(Decimal("9.90"), "EUR"))])
for event, placed in serializer.load_all(store.read_stream("order", "42")):
    ...
```
Keys of the stored data that the class doesn't have are ignored (`Serializer(strict=True)` refuses them), keys that it
misses take the field's default. Events of types without a class stay as they are. A field annotated with Any comes back
as JSON has it. How each kind of value is stored: `webapp.store.codecs`.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from webapp.errors import InvalidEvent, LoadingFailed, UnknownEvent, UpcastingFailed
from webapp.store.context import add_metadata
from webapp.store.events import NewEvent, RecordedEvent, type_limit
from webapp.store.mergers import Merge, Merger, Mergers
from webapp.store.registry import Registry, checked_definition, path_of
from webapp.store.unions import Misfit
from webapp.store.upcasting import Upcasters, UpcastEvent, revision_of

Function = TypeVar("Function", bound=Callable[..., Any])


class Serializer(Registry):
    """The names, revisions and upcasters of a system's events. Fill it at import time; after that it's thread-safe.

    `strict` refuses stored data with keys that the class doesn't have; `checked=False` leaves out reading each new
    event's data back before it may be stored.
    """

    def __init__(self, *, strict: bool = False, checked: bool = True) -> None:
        super().__init__(strict=strict)
        self._is_checked = checked
        self._upcasters = Upcasters()
        self._mergers = Mergers()
        self._upcast_types: frozenset[str] | None = None

    # --- definitions ------------------------------------------------------------------------------------------------

    def add_event(self, cls: type, name: str, *, revision: int = 1) -> None:
        """The same as `event`, as a call."""
        super().add_event(cls, name, revision=revision)
        self._upcasters.newest[name] = revision
        self._upcast_types = None

    def upcaster(
        self, name: str, *, from_revision: int, to_revision: int | None = None
    ) -> Callable[[Function], Function]:
        """Marks a function (data) or (data, stored event) as the step from a revision to the next (or to `to_revision`).

        It returns data at that revision, `Renamed(type, data)`, None to drop the event, or a list of these to split it.
        """

        def register(function: Function) -> Function:
            last = from_revision + 1 if to_revision is None else to_revision
            self._upcasters.add(checked_definition(name, "event", type_limit), from_revision, last, function)
            self._upcast_types = None
            return function

        return register

    def rename(self, old: str, new: str) -> None:
        """Makes stored events of the old name events of the new one, at the revision they have."""
        self._upcasters.rename(
            checked_definition(old, "event", type_limit), checked_definition(new, "event", type_limit)
        )
        self._upcast_types = None

    def merger(self, *names: str, into: str, revision: int = 1, window: int = 1000) -> Callable[[Merge], Merge]:
        """Marks a function (parts) as what makes one event of several of one stream, when that is read in order.

        It's called with the parts so far, in today's form, whenever one of the named types comes, and returns the data
        of the merged event, or None as long as parts are missing. The merged event stands where the last part stood.
        Parts whose others haven't come within `window` events, or at the end, come out as they are: readers that may
        stop in between, such as projections and snapshots, must know the parts too.
        """

        def register(function: Merge) -> Merge:
            self._mergers.add(Merger(frozenset(names), into, revision, window, function))
            return function

        return register

    def check(self) -> None:
        """Raises InvalidDefinition for chains of upcasters with a gap, and for classes that can't be read back.

        All this is found at first use, too; call it at the start of a program or in a test.
        """
        self._upcasters.check()
        for found in self._by_name.values():
            self._codec(found)

    # --- writing ----------------------------------------------------------------------------------------------------

    def new_event(
        self,
        value: Any,
        *,
        metadata: Mapping[str, Any] | str | bytes | None = None,
        id: uuid.UUID | str | None = None,
        occurred_at: dt.datetime | None = None,
    ) -> NewEvent:
        """An object as an event to append, under its class's name, with the revision in its metadata (left out when 1).

        Raises UnknownEvent where its class isn't registered, InvalidEvent where it can't be written, or what is written
        could not be read back (a field of another type than its annotation says).
        """
        found = self._by_class.get(type(value))
        if found is None:
            raise UnknownEvent(path_of(type(value)), 'Put @serializer.event("its.name") above the class.')
        codec = self._codec(found)
        try:
            data = codec.write(value)
            if self._is_checked:
                codec.check(data)
        except Misfit as error:
            raise InvalidEvent(
                f"{type(value).__qualname__} can't be stored as {found.name}: {error}. Give its fields what they are "
                "annotated with."
            ) from error
        event = NewEvent(found.name, data, metadata, id, occurred_at)
        return event if found.revision == 1 else _with_revision(event, found.revision)

    # --- reading ----------------------------------------------------------------------------------------------------

    def upcast(self, event: RecordedEvent) -> list[RecordedEvent]:
        """The event in today's form, as none, one or several; itself where there is nothing to do."""
        if isinstance(event, UpcastEvent) or event.type not in self._types_to_upcast():
            return [event]
        return list(self._upcasters.upcast(event, revision_of(event)))

    def upcast_all(self, events: Iterable[RecordedEvent]) -> Iterator[RecordedEvent]:
        """The events in today's form, for readers of logs; those without upcasters pass undecoded, and none is merged."""
        types = self._types_to_upcast()
        return self._upcast_some(events, types) if types else iter(events)

    def _upcast_some(self, events: Iterable[RecordedEvent], types: frozenset[str]) -> Iterator[RecordedEvent]:
        for event in events:
            if event.type in types:
                yield from self.upcast(event)
            else:
                yield event

    def upcast_stream(self, events: Iterable[RecordedEvent]) -> Iterator[RecordedEvent]:
        """Like upcast_all for a stream read in order, with parts merged as well."""
        upcast = self.upcast_all(events)
        return self._mergers.run(upcast, self._upcast_merged) if self._mergers else upcast

    def _upcast_merged(self, merged: UpcastEvent) -> list[RecordedEvent]:
        found = self._upcasters.upcast(merged.stored, merged.revision, merged.data, at=merged.type)
        for event in found:
            event.parts = merged.parts
        return list(found)

    def load(self, event: RecordedEvent) -> Any:
        """The event as an object of its class after upcasting, or the event itself where no class is known.

        Raises UpcastingFailed (also where it was split or dropped: use load_all), WrittenByNewerCode, and LoadingFailed
        where its data doesn't fit the class.
        """
        found = self.upcast(event)
        if len(found) != 1:
            what = "dropped" if not found else f"split into {len(found)}"
            raise UpcastingFailed(
                event.type, event.log, event.position, revision_of(event), f"its upcasters left it {what}; use load_all"
            )
        return self._load(found[0])

    def load_all(self, events: Iterable[RecordedEvent]) -> Iterator[tuple[RecordedEvent, Any]]:
        """Each event of a stream in today's form with its object, or with itself where no class is known.

        Split, dropped and merged as upcasters say; `event.stored` of an upcast one is what was stored.
        """
        for event in self.upcast_stream(events):
            yield event, self._load(event)

    def _load(self, event: RecordedEvent) -> Any:
        found = self._by_name.get(event.type)
        if found is None:
            return event
        revision = revision_of(event)
        if revision != found.revision:
            self._upcasters.check_revision(event, found.name, revision)
        codec = found.codec or self._codec(found)
        try:
            if isinstance(event, UpcastEvent):
                return codec.read(event.data)
            if event.data_text is None:
                raise Misfit("its data was not read", advice="Read the event with its payload.")
            return codec.read_text(event.readable_text or "")
        except Misfit as error:
            reason = f"{error}. {error.advice.format(revision=revision)}"
            raise LoadingFailed(
                event.type, event.log, event.position, found.cls.__qualname__, error.key, reason
            ) from error

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _types_to_upcast(self) -> frozenset[str]:
        types = self._upcast_types
        if types is None:
            self._upcasters.check()
            types = self._upcast_types = self._upcasters.types
        return types


def _with_revision(event: NewEvent, revision: int) -> NewEvent:
    if event.metadata is None or isinstance(event.metadata, Mapping):
        metadata = {**(event.metadata or {}), "revision": revision}
        return NewEvent(event.type, event.data, metadata, event.id, event.occurred_at)
    return add_metadata(event, {"revision": revision})
