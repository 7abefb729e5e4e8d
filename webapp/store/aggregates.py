"""Aggregates as plain classes: which events they are made of, and how each one changes them.

    @aggregate("account", id="account_id")
    @dataclass
    class Account:
        account_id: str
        balance: int = 0

        def deposit(self, amount: int) -> NewEvent:             # decides, and returns what happened
            return NewEvent("account.deposited", {"amount": amount})

        @applies("account.deposited")                           # or a class that the serializer knows
        def _deposited(self, event: RecordedEvent) -> None:
            self.balance += event.data["amount"]

Dataclasses, attrs classes, Pydantic models and classes of no such kind all do. A handler gets the event as an object of
its class or, where no class is known for it, the RecordedEvent; a second parameter gets the RecordedEvent in any case.
It changes the aggregate, or returns the new one. A classmethod as handler makes the aggregate from its first event.
"""

from __future__ import annotations

import inspect
import typing
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from webapp.errors import InvalidDefinition, UnhandledEvent
from webapp.store.events import RecordedEvent, checked_name, type_limit
from webapp.store.fingerprints import fingerprint_class
from webapp.store.identifiers import IdShape, join_id

C = TypeVar("C", bound=type)
F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Settings:
    """What `@aggregate` says about a class."""

    type: str
    id: tuple[str, ...] = ()
    ignores_unknown: bool = False
    revision: int = 1
    serializer: Any = field(default=None, compare=False)


def aggregate(
    type: str,
    *,
    id: str | Sequence[str] = (),
    ignores_unknown: bool = False,
    revision: int = 1,
    serializer: Any = None,
) -> Callable[[C], C]:
    """Names the type of aggregates that a class stands for, free of the class's own name.

    `id` names the attribute that holds the id, or several for an id of several parts; they are given when an aggregate
    begins. An event without handler is an error (UnhandledEvent) unless `ignores_unknown`. Another `revision` makes
    snapshots void when code that the class only calls has changed. `serializer` is the one of its repositories, too.
    """
    names = (id,) if isinstance(id, str) else tuple(id)
    settings = Settings(checked_name(type, "aggregate type", type_limit), names, ignores_unknown, revision, serializer)

    def mark(cls: C) -> C:
        cls.__aggregate__ = settings  # type: ignore[attr-defined]
        definition_of(cls)
        return cls

    return mark


def applies(*events: str | type) -> Callable[[F], F]:
    """Marks a method as the handler of events, each given by its type's name or by its class."""
    if not events or not all(isinstance(event, str | type) and event != "" for event in events):
        raise InvalidDefinition('@applies needs types of events or their classes: @applies("account.opened").')
    return mark_method("__applies__", events)


def mark_method(mark: str, value: Any) -> Callable[[F], F]:
    """Hangs a value onto a function, whether it's wrapped as a classmethod or staticmethod already or will be."""

    def hang(method: F) -> F:
        function = method.__func__ if isinstance(method, classmethod | staticmethod) else method
        setattr(function, mark, value)
        return method

    return hang


def marked_methods(cls: type, mark: str) -> Iterator[tuple[str, Any]]:
    """Names of a class's methods with what was hung onto them, those of its bases first; an override counts instead."""
    for base in reversed(cls.__mro__):
        for name, member in list(vars(base).items()):
            function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            value = getattr(function, mark, None) if inspect.isfunction(function) else None
            if value is not None:
                yield name, value


@dataclass(frozen=True, slots=True)
class Handler:
    """A method that is called with an event, and with the RecordedEvent if it asks for it."""

    name: str
    method: Callable[..., Any]
    wanted: int
    is_maker: bool
    """Whether it's a classmethod or staticmethod, which needs no aggregate but makes one."""

    @classmethod
    def of(cls, owner: type, name: str) -> Handler:
        """The handler that a method of this name is; raises InvalidDefinition if it takes something else."""
        is_maker = isinstance(inspect.getattr_static(owner, name), classmethod | staticmethod)
        method = getattr(owner, name)
        wanted = len(inspect.signature(method).parameters) - (not is_maker)
        if wanted not in (0, 1, 2):
            raise InvalidDefinition(
                f"{owner.__qualname__}.{name} takes {wanted} parameters. A handler takes the event and, if it wants, the "
                "RecordedEvent."
            )
        return cls(name, method, wanted, is_maker)

    def __call__(self, target: Any, content: Any, recorded: RecordedEvent) -> Any:
        """What the method returns for an event."""
        arguments = (content, recorded)[: self.wanted]
        return self.method(*arguments) if self.is_maker else self.method(target, *arguments)


@dataclass(frozen=True, eq=False)
class AggregateClass:
    """A class as the definition of a type of aggregates: what repositories, snapshots and the dashboard work with."""

    cls: type
    settings: Settings
    shape: IdShape | None
    handlers: dict[str | type, Handler]
    is_made_by_handler: bool
    """Whether the first event makes it, since none can be made from an id alone."""
    _found: dict[tuple[str | None, type], Handler | None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The class's own name, for people."""
        return f"{self.cls.__module__}.{self.cls.__qualname__}"

    @property
    def aggregate_type(self) -> str:
        """The type under which its events are stored."""
        return self.settings.type

    @property
    def state_type(self) -> type:
        """The class that snapshots are read back into."""
        return self.cls

    def join(self, id: Any) -> str:
        """The text that an id is stored under; raises InvalidRequest for what is no id of this type."""
        return join_id(id) if self.shape is None else self.shape.join(id)

    def id_of(self, aggregate: Any) -> str | None:
        """The stored id of an aggregate by its own attributes, None if the class doesn't say which, or one is empty."""
        if self.shape is None:
            return None
        parts = tuple(getattr(aggregate, name, None) for name in self.shape.names)
        return None if None in parts else self.shape.join(parts[0] if len(parts) == 1 else parts)

    def blank(self) -> None:
        """Nothing: the first event makes the aggregate, or tells the id that it's made from."""

    def initial(self, stored_id: str) -> Any:
        """An aggregate before its first event; raises InvalidDefinition if it can't be made from an id alone."""
        arguments = {} if self.shape is None else self.shape.arguments(stored_id)
        try:
            return self.cls(**arguments)
        except (TypeError, ValueError) as error:
            given = f"only {', '.join(arguments)}" if arguments else "nothing"
            raise InvalidDefinition(
                f"{self.cls.__name__} can't be made from {given}: {error}. Give its other fields defaults, name the "
                "fields of its id in @aggregate(…, id=…), or make the handler of its first event a classmethod."
            ) from error

    def evolve(self, state: Any, content: Any, recorded: RecordedEvent) -> Any:
        """The aggregate after one more event; `state` None is that before the first. Raises UnhandledEvent."""
        handler = self.find_handler(recorded.type, content)
        if handler is None:
            if self.settings.ignores_unknown:
                return state
            raise UnhandledEvent(self.cls.__name__, recorded.type, recorded.stream, recorded.version)
        if state is None and not handler.is_maker:
            state = self.initial(recorded.aggregate_id or "")
        result = handler(state, content, recorded)
        if result is None and not handler.is_maker:
            return state
        if not isinstance(result, self.cls):
            raise TypeError(
                f"{handler.name} returned {type(result).__name__}, not {self.cls.__name__}"
                + (" (or nothing, if it changes the aggregate itself)" if not handler.is_maker else "")
            )
        return result

    def find_handler(self, event_type: str | None, content: Any) -> Handler | None:
        """The handler by the event's type, else by the class of its object or the nearest base of that."""
        key = (event_type, type(content))
        try:
            return self._found[key]
        except KeyError:
            keys: list[Any] = [event_type, *key[1].__mro__]
            self._found[key] = next((self.handlers[one] for one in keys if one in self.handlers), None)
            return self._found[key]

    def fingerprint(self) -> str:
        """Changes with the class's code and fields, or its `revision`."""
        return fingerprint_class(self.cls, self.settings.revision)


_definitions: weakref.WeakKeyDictionary[type, AggregateClass] = weakref.WeakKeyDictionary()


def definition_of(cls: type, aggregate_type: str | None = None) -> AggregateClass:
    """What a class says of itself by `@aggregate`; `aggregate_type` is for one that says nothing.

    A class attribute `aggregate_type` does as well. Raises InvalidDefinition if there is none of these, if two of them
    differ, or if handlers contradict each other.
    """
    settings = vars(cls).get("__aggregate__") if isinstance(cls, type) else None
    name = getattr(cls, "__qualname__", repr(cls))
    if settings is None:
        own = getattr(cls, "aggregate_type", None)
        wanted = aggregate_type or (own if isinstance(own, str) else None)
        if not isinstance(cls, type) or wanted is None:
            raise InvalidDefinition(f'{name} says no type of aggregates. Put @aggregate("its type") over the class.')
        settings = Settings(checked_name(wanted, "aggregate type", type_limit))
    elif aggregate_type not in (None, settings.type):
        raise InvalidDefinition(
            f"{name} is the aggregate type {settings.type}, so it can't be {aggregate_type} as well."
        )
    found = _definitions.get(cls)
    if found is None or found.settings != settings:
        found = _definitions[cls] = _define(cls, settings)
    return found


def known_definition(cls: type) -> AggregateClass:
    """What a class says of itself, or what the last repository said of it; raises InvalidDefinition if none did."""
    found = _definitions.get(cls)
    return definition_of(cls) if found is None or "__aggregate__" in vars(cls) else found


def _define(cls: type, settings: Settings) -> AggregateClass:
    names: dict[str | type, str] = {}
    for name, events in marked_methods(cls, "__applies__"):
        for event in events:
            if names.setdefault(event, name) != name:
                shown = event if isinstance(event, str) else event.__qualname__
                raise InvalidDefinition(
                    f"{cls.__qualname__} has two handlers of {shown}: {names[event]} and {name}. Keep one."
                )
    handlers = {name: Handler.of(cls, name) for name in set(names.values())}
    shape = IdShape.of(settings.type, settings.id, _hints(cls)) if settings.id else None
    return AggregateClass(
        cls, settings, shape, {event: handlers[name] for event, name in names.items()}, not _accepts(cls, settings.id)
    )


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except Exception:  # a name known only where the class was written, or only to type checkers
        return {
            name: hint for base in reversed(cls.__mro__) for name, hint in vars(base).get("__annotations__", {}).items()
        }


def _accepts(cls: type, names: Sequence[str]) -> bool:
    try:
        inspect.signature(cls).bind(**dict.fromkeys(names))
    except TypeError:
        return False
    except ValueError:  # a class that shows no signature: trying will tell
        return True
    return True
