"""What classes are called where they are stored: events with their revisions, aggregates with their logs, values."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from webapp.errors import InvalidDefinition, InvalidEvent, UnknownEvent
from webapp.store.codecs import Codec, ValueType, make_codec
from webapp.store.events import checked_name, log_limit, type_limit

Cls = TypeVar("Cls", bound=type)


@dataclass(slots=True)
class EventClass:
    """What is registered for a type of events."""

    name: str
    cls: type
    revision: int
    codec: Codec | None = None


class Registry:
    """Names for classes, so that these may be renamed and moved."""

    def __init__(self, *, strict: bool) -> None:
        self._is_strict = strict
        self._by_name: dict[str, EventClass] = {}
        self._by_class: dict[type, EventClass] = {}
        self._aggregates: dict[type, tuple[str, str | None]] = {}
        self._values: dict[type, ValueType] = {}

    def event(self, name: str, *, revision: int = 1) -> Callable[[Cls], Cls]:
        """Marks a class as what events of a type are; see add_event."""

        def register(cls: Cls) -> Cls:
            self.add_event(cls, name, revision=revision)
            return cls

        return register

    def add_event(self, cls: type, name: str, *, revision: int = 1) -> None:
        """Makes a dataclass, attrs class, Pydantic model or msgspec Struct the form of a type of events.

        Raises InvalidDefinition where the name or the class is taken, and for a class that couldn't be stored and read
        back (at first use, if its annotations name classes that are defined further down).
        """
        other = self._by_name.get(checked_definition(name, "event", type_limit))
        if other is not None:
            raise InvalidDefinition(
                f"Two classes are named “{name}”: {path_of(other.cls)} and {path_of(cls)}. Give one another name."
            )
        if cls in self._by_class:
            raise InvalidDefinition(
                f"{path_of(cls)} is the event “{self._by_class[cls].name}” already. Keep one name, and for events stored "
                f"under the other say serializer.rename({name!r}, {self._by_class[cls].name!r})."
            )
        if type(revision) is not int or revision < 1:
            raise InvalidDefinition(f"The revision of “{name}” must be a number from 1 on; {revision!r} is not.")
        found = EventClass(name, cls, revision)
        with contextlib.suppress(NameError):  # an annotation may name what is defined further down
            found.codec = make_codec(cls, self._values, strict=self._is_strict)
        self._by_name[name] = self._by_class[cls] = found

    def add_value(self, cls: type, *, write: Callable[[Any], Any], read: Callable[[Any], Any]) -> None:
        """Says how a type of values that isn't known otherwise becomes a JSON value and is read from one.

        Say so before the events that hold such values.
        """
        if cls in self._values:
            raise InvalidDefinition(f"The value type {path_of(cls)} is defined twice. Keep one.")
        self._values[cls] = ValueType(write, read)

    @property
    def value_types(self) -> Mapping[type, ValueType]:
        """What add_value was told, for others who store objects, such as snapshots."""
        return self._values

    def aggregate(self, name: str, *, log: str | None = None) -> Callable[[Cls], Cls]:
        """Gives an aggregate's class the name (and the log) under which its streams are stored.

        Class attributes `aggregate_type` and `log` say the same without a serializer.
        """

        def register(cls: Cls) -> Cls:
            checked_definition(name, "aggregate", type_limit)
            for other, (taken, _) in self._aggregates.items():
                if taken == name:
                    raise InvalidDefinition(
                        f"Two aggregates are named “{name}”: {path_of(other)} and {path_of(cls)}. Give one another name."
                    )
            self._aggregates[cls] = (name, None if log is None else checked_definition(log, "log", log_limit))
            return cls

        return register

    def name_of(self, cls: type) -> str:
        """The stored name of an event's or an aggregate's class; raises InvalidDefinition where it has none.

        Looked for, in this order: `event` or `add_event`, `aggregate`, the class attribute `aggregate_type`. A subclass
        of an aggregate has its name.
        """
        found = self._by_class.get(cls)
        if found is not None:
            return found.name
        for base in cls.__mro__:
            if base in self._aggregates:
                return self._aggregates[base][0]
        name = getattr(cls, "aggregate_type", None)
        if isinstance(name, str):
            return checked_definition(name, "aggregate", type_limit)
        raise InvalidDefinition(
            f"{path_of(cls)} has no name to be stored under, and its own may change. Give the class an attribute, such as "
            f'aggregate_type = "{cls.__name__.lower()}", or put @serializer.aggregate("{cls.__name__.lower()}") above it.'
        )

    def log_of(self, cls: type, default: str = "main") -> str:
        """The log of an aggregate's class: as given to `aggregate`, else its class attribute `log`, else the default."""
        for base in cls.__mro__:
            log = self._aggregates.get(base, ("", None))[1]
            if log is not None:
                return log
        log = getattr(cls, "log", None)
        return checked_definition(log, "log", log_limit) if isinstance(log, str) else default

    def class_of(self, name: str) -> type:
        """The class of a type of events; raises UnknownEvent."""
        found = self._by_name.get(name)
        if found is None:
            raise UnknownEvent(f"“{name}”", "Register its class with @serializer.event, or read it as a raw event.")
        return found.cls

    def _codec(self, found: EventClass) -> Codec:
        if found.codec is None:
            try:
                found.codec = make_codec(found.cls, self._values, strict=self._is_strict)
            except NameError as error:
                raise InvalidDefinition(
                    f"The annotations of {path_of(found.cls)} can't be read: {error}. Define what they name in its module."
                ) from error
        return found.codec


def checked_definition(name: str, what: str, limit: int) -> str:
    try:
        return checked_name(name, f"name of the {what}", limit)
    except InvalidEvent as error:
        raise InvalidDefinition(str(error)) from error


def path_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
