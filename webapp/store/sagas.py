"""Sagas: processes that run for hours or months, whose every step is recorded as events of a stream of their own.

    @saga("fulfilment", key=lambda event: event.data["order"])
    @dataclass
    class Fulfilment:
        is_paid: bool = False

        @starts("order.placed")
        def placed(self, event):
            yield Send("billing.charge", {"order": event.data["order"]})
            yield Due("payment", after=timedelta(days=3))

        @reacts("order.paid")
        def paid(self, event):
            return [NewEvent("fulfilment.paid", {}), Cancel("payment"), Send("warehouse.ship", {...}), Complete()]

        @times_out("payment")
        def not_paid(self):
            return [Send("order.cancel", {...}), Complete()]

        @applies("fulfilment.paid")
        def _paid(self, event):
            self.is_paid = True

A reaction decides and returns; what it is to remember it returns as an event, which a handler marked `@applies` folds
into the saga (events without one are recorded all the same). `SagaRunner` feeds it and fires what is due.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from webapp.errors import InvalidDefinition, InvalidEvent
from webapp.store.aggregates import AggregateClass, Handler, Settings, definition_of, mark_method, marked_methods
from webapp.store.events import NewEvent, RecordedEvent, checked_name, type_limit, utc
from webapp.store.folding import checked_time

C = TypeVar("C", bound=type)
F = TypeVar("F")
S = TypeVar("S")
Key = Callable[[Any], Any]

reacted, due, cancelled, fired, completed = "saga.reacted", "saga.due", "saga.cancelled", "saga.fired", "saga.completed"
"""The types of the events that keep the books of every saga."""

# --- what a reaction may return, beside events -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """A command for somebody else: recorded as an event of its type, for a publisher or subscriber to carry out."""

    type: str
    data: Any = None


@dataclass(frozen=True, slots=True)
class Due:
    """Asks for the `@times_out` handler of that name at a moment, or some time after the event that led here.

    One saga has one moment for a name; asking again moves it.
    """

    name: str
    at: dt.datetime | None = None
    after: dt.timedelta | None = None
    data: Any = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Takes a Due back; nothing if there is none of that name."""

    name: str


@dataclass(frozen=True, slots=True)
class Complete:
    """Ends the saga for good: it reacts to nothing any more, and nothing is due."""


# --- how a class says what it reacts to --------------------------------------------------------------------------------


def saga(
    type: str, *, key: Key | None = None, id: str | Sequence[str] = (), serializer: Any = None
) -> Callable[[C], C]:
    """Names the type of sagas that a class stands for; `key` tells from an event which saga it's for, None for none.

    `id` names the attributes that the saga's id is given to when one begins, as with `@aggregate`.
    """
    names = (id,) if isinstance(id, str) else tuple(id)
    settings = Settings(checked_name(type, "saga type", type_limit), names, True, 1, serializer)

    def mark(cls: C) -> C:
        cls.__aggregate__ = settings  # type: ignore[attr-defined]
        cls.__saga_key__ = key  # type: ignore[attr-defined]
        SagaClass.of(cls)
        return cls

    return mark


def starts(*events: str | type, key: Key | None = None) -> Callable[[F], F]:
    """Marks a reaction that begins a saga, if there is none of that id yet; otherwise it reacts like any other."""
    return _react(events, key, is_start=True)


def reacts(*events: str | type, key: Key | None = None) -> Callable[[F], F]:
    """Marks a reaction to events, by their types' names or classes; those for a saga that hasn't begun pass by."""
    return _react(events, key, is_start=False)


def _react(events: Sequence[str | type], key: Key | None, *, is_start: bool) -> Callable[[F], F]:
    if not events or not all(isinstance(event, str | type) and event != "" for event in events):
        raise InvalidDefinition('@starts and @reacts need types of events or their classes: @starts("order.placed").')
    return mark_method("__reacts__", (events, key, is_start))


def times_out(name: str) -> Callable[[F], F]:
    """Marks what happens when a Due of that name has come; it may take the Timeout."""
    return mark_method("__times_out__", checked_name(name, "name of a timeout", type_limit))


@dataclass(frozen=True, slots=True)
class Reaction:
    """One reaction: what is called, how the saga is found, and whether it may begin one."""

    handler: Handler
    key: Key
    is_start: bool


@dataclass(frozen=True, slots=True)
class Timeout:
    """A Due as it was recorded: `event` is that record."""

    name: str
    at: dt.datetime
    data: Any
    event: RecordedEvent = field(repr=False)


@dataclass(slots=True)
class Process(Generic[S]):
    """One saga as it stands: its own state, the moments that are due, whether it has ended, and what it reacted to."""

    state: S | None = None
    version: int = 0
    is_completed: bool = False
    timeouts: dict[str, Timeout] = field(default_factory=dict)
    handled: set[str] = field(default_factory=set)


@dataclass(frozen=True, eq=False)
class SagaClass:
    """A class as the definition of a type of sagas, and how their streams are folded."""

    aggregate: AggregateClass
    reactions: dict[str | type, Reaction]
    timeouts: dict[str, Handler]

    @classmethod
    def of(cls, saga_class: type) -> SagaClass:
        """What a class marked `@saga` says; raises InvalidDefinition if it contradicts itself."""
        name = getattr(saga_class, "__qualname__", repr(saga_class))
        if not isinstance(saga_class, type) or "__saga_key__" not in vars(saga_class):
            raise InvalidDefinition(f'{name} is no saga. Put @saga("its type", key=…) over the class.')
        default_key: Key | None = vars(saga_class)["__saga_key__"]
        reactions: dict[str | type, Reaction] = {}
        for method, (events, key, is_start) in marked_methods(saga_class, "__reacts__"):
            found = key or default_key
            if found is None:
                raise InvalidDefinition(
                    f"{name}.{method} doesn't say which saga an event is for. Give it key=, or give @saga one."
                )
            for event in events:
                other = reactions.get(event)
                if other is not None and other.handler.name != method:
                    shown = event if isinstance(event, str) else event.__qualname__
                    raise InvalidDefinition(
                        f"{name} reacts to {shown} twice: {other.handler.name} and {method}. Keep one."
                    )
                reactions[event] = Reaction(Handler.of(saga_class, method), found, is_start)
        if not any(reaction.is_start for reaction in reactions.values()):
            raise InvalidDefinition(f"No event begins {name}. Mark the reaction that does with @starts.")
        timeouts: dict[str, Handler] = {}
        for method, timeout in marked_methods(saga_class, "__times_out__"):
            if timeouts.get(timeout, method) != method and timeouts[timeout].name != method:
                raise InvalidDefinition(f"{name} has two handlers of the timeout {timeout}. Keep one.")
            timeouts[timeout] = Handler.of(saga_class, method)
        return cls(definition_of(saga_class), reactions, timeouts)

    @property
    def name(self) -> str:
        """The class's own name, for people."""
        return self.aggregate.name

    @property
    def aggregate_type(self) -> str:
        """The type under which its events are stored."""
        return self.aggregate.aggregate_type

    @property
    def state_type(self) -> None:
        """Sagas are folded whole."""
        return

    def join(self, id: Any) -> str:
        """The text that an id is stored under; raises InvalidRequest."""
        return self.aggregate.join(id)

    def fingerprint(self) -> str:
        """Changes with the class's code."""
        return self.aggregate.fingerprint()

    def find_reaction(self, event_type: str, content: Any) -> Reaction | None:
        """The reaction by the event's type, else by the class of its object or the nearest base of that."""
        keys: list[Any] = [event_type, *type(content).__mro__]
        return next((self.reactions[key] for key in keys if key in self.reactions), None)

    def blank(self) -> Process[Any]:
        """A saga that hasn't begun."""
        return Process()

    def evolve(self, process: Process[Any], content: Any, recorded: RecordedEvent) -> Process[Any]:
        """The saga after one more event of its stream."""
        process.version = recorded.version or process.version
        if recorded.type == reacted:
            process.handled.add(recorded.data["cause"])
        elif recorded.type == due:
            data = recorded.data
            at = dt.datetime.fromisoformat(data["at"])
            process.timeouts[data["name"]] = Timeout(data["name"], at, data["data"], recorded)
        elif recorded.type in (cancelled, fired):
            process.timeouts.pop(recorded.data["name"], None)
            if recorded.type == fired:
                process.handled.add(recorded.data["cause"])
        elif recorded.type == completed:
            process.is_completed = True
            process.timeouts.clear()
        else:
            process.state = self.aggregate.evolve(process.state, content, recorded)
        return process

    def record_steps(self, steps: Sequence[Any], base: dt.datetime) -> Iterator[Any]:
        """What a reaction returned as events; times are counted from `base`. Raises InvalidDefinition, InvalidEvent."""
        for step in steps:
            if isinstance(step, Send):
                yield NewEvent(step.type, step.data, {"is_command": True})
            elif isinstance(step, Due):
                yield NewEvent(
                    due, {"name": self._checked(step.name), "at": utc(_moment(step, base)), "data": step.data}
                )
            elif isinstance(step, Cancel):
                yield NewEvent(cancelled, {"name": self._checked(step.name)})
            elif isinstance(step, Complete):
                yield NewEvent(completed, {})
            else:
                yield step

    def _checked(self, name: str) -> str:
        if name not in self.timeouts:
            known = ", ".join(sorted(self.timeouts)) or "none"
            raise InvalidDefinition(
                f"{self.aggregate.cls.__qualname__} has no handler of the timeout {name!r} (it has {known}). Mark one with @times_out."
            )
        return name


def _moment(step: Due, base: dt.datetime) -> dt.datetime:
    if (step.at is None) == (step.after is None):
        raise InvalidEvent(f"Due({step.name!r}) needs either at=, a moment, or after=, a time span.")
    if isinstance(step.at, dt.timedelta):
        raise InvalidEvent(f"Due({step.name!r}, …) was given a time span as its moment. Write after={step.at!r}.")
    if step.at is not None:
        return checked_time(step.at, f"moment of Due({step.name!r})")
    if not isinstance(step.after, dt.timedelta):
        raise InvalidEvent(f"The after= of Due({step.name!r}) must be a timedelta; {step.after!r} is not.")
    return base + step.after
