"""Upcasters: stored events of older forms are brought into today's when they are read; nothing stored is changed.

An upcaster takes the data of one type at one revision and returns it at the next. Chains run until the newest revision.
What it returns says what becomes of the event: data of the same type, `Renamed(type, data)`, None to drop it, or a list
(or a generator) of these to split it. So data that is itself a JSON array is returned within a list.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from webapp.errors import InvalidDefinition, UpcastingFailed, WrittenByNewerCode
from webapp.store.events import RecordedEvent
from webapp.store.jsontext import encode, parse_json

Form = tuple[str, int]
"""A type at a revision."""


@dataclass(frozen=True, slots=True)
class Renamed:
    """What an upcaster returns for an event that becomes one of another type, at that type's revision."""

    type: str
    data: Any
    revision: int = 1


class UpcastEvent(RecordedEvent):
    """An event in today's form; `stored` is the event as it's stored, whose position, version, id and times it has.

    `type`, `data`, `metadata` (its `revision`) are of today; `data_text` and `metadata_text` are made of them when asked
    for. Of an event that was split each part has the same position, version and id; one that was merged of several has
    those of the last of them, and `parts` are all of them as stored.
    """

    __slots__ = ("parts", "revision", "stored")

    def __init__(
        self, stored: RecordedEvent, type_: str, revision: int, data: Any, parts: tuple[RecordedEvent, ...] = ()
    ) -> None:
        self.stored = stored
        self.type = type_
        self.revision = revision
        self._data = data
        self.parts = parts or (stored,)

    @property
    def metadata(self) -> Any:
        """The stored metadata with today's revision; raises ValueError where the stored text isn't JSON."""
        stored = self.stored.metadata
        if not isinstance(stored, dict) or stored.get("revision", 1) == self.revision:
            return stored
        rest = {key: value for key, value in stored.items() if key != "revision"}
        return rest if self.revision == 1 else rest | {"revision": self.revision}


def _as_stored(name: str) -> Callable[[UpcastEvent], Any]:
    return lambda event: getattr(event.stored, name)


for _name in ("log", "position", "aggregate_type", "aggregate_id", "version", "raw_id", "_recorded_at",
              "correlation_id", "causation_id", "actor"):  # fmt: skip
    # Set from outside, so that type checkers see the fields of RecordedEvent, which these stand in for.
    setattr(UpcastEvent, _name, property(_as_stored(_name)))
setattr(UpcastEvent, "data_text", property(lambda event: encode(event.data)))  # noqa: B010
setattr(UpcastEvent, "metadata_text", property(lambda event: encode(event.metadata)))  # noqa: B010


@dataclass(frozen=True, slots=True)
class Step:
    """One upcaster: from a revision of a type to a later one."""

    to_revision: int
    function: Callable[..., Any]
    takes_event: bool


class Upcasters:
    """All upcasters of a serializer, by type and revision."""

    def __init__(self) -> None:
        self.newest: dict[str, int] = {}
        """The revision that the code has of each type that a class is registered for."""
        self._steps: dict[str, dict[int, Step]] = {}
        self._renames: dict[str, str] = {}

    @property
    def types(self) -> frozenset[str]:
        """All types of stored events for which there is something to do."""
        return frozenset(self._steps.keys() | self._renames.keys())

    def add(self, type_: str, from_revision: int, to_revision: int, function: Callable[..., Any]) -> None:
        """Adds the step of one type from a revision to a later one; raises InvalidDefinition."""
        if not 1 <= from_revision < to_revision:
            raise InvalidDefinition(
                f"An upcaster of {type_} from revision {from_revision} to {to_revision} would go round in a circle: "
                "revisions begin at 1 and only rise."
            )
        steps = self._steps.setdefault(type_, {})
        if from_revision in steps:
            raise InvalidDefinition(f"{type_} has two upcasters from revision {from_revision}. Keep one.")
        if type_ in self._renames:
            raise InvalidDefinition(_both_ways(type_))
        steps[from_revision] = Step(to_revision, function, _takes_event(function))

    def rename(self, old: str, new: str) -> None:
        """Makes events of one type events of another, at any revision; raises InvalidDefinition for a loop."""
        if old in self._renames or self._steps.get(old):
            raise InvalidDefinition(_both_ways(old))
        name, path = new, [old, new]
        while name != old and name in self._renames:
            name = self._renames[name]
            path.append(name)
        if name == old:
            raise InvalidDefinition(
                f"{' → '.join(path)} is a loop of names. Let the old name lead to the new one only."
            )
        self._renames[old] = new

    def check(self) -> None:
        """Raises InvalidDefinition for a chain with a gap, or one that ends past or short of its class's revision."""
        for type_, steps in self._steps.items():
            revision, newest = min(steps), self._newest(type_)
            while revision in steps:
                revision = steps[revision].to_revision
            unreached = max(steps) if max(steps) >= revision else None
            if unreached is not None or (newest is not None and revision < newest):
                raise InvalidDefinition(_gap(type_, revision, newest or 0))
            if newest is not None and revision > newest:
                raise InvalidDefinition(
                    f"The upcasters of {type_} lead to revision {revision}, but its class stands at {newest}. "
                    f"Register the class with revision={revision}."
                )

    def _newest(self, type_: str) -> int | None:
        if type_ in self.newest:
            return self.newest[type_]
        steps = self._steps.get(type_)
        return max(step.to_revision for step in steps.values()) if steps else None

    def upcast(
        self, event: RecordedEvent, revision: int, data: Any = None, *, at: str | None = None
    ) -> list[UpcastEvent]:
        """The events in today's form that one event becomes, none if it's dropped.

        `at` and `data` begin elsewhere than with the event as it's stored. Raises UpcastingFailed, WrittenByNewerCode,
        and InvalidDefinition for a gap or a loop on the way.
        """
        if at is None:
            # Decoded anew, so that an upcaster that changes data in place can't change what others see as stored.
            at, data = event.type, self._decode(event, revision)
        found: list[UpcastEvent] = []
        waiting: list[tuple[Form, Any, tuple[Form, ...]]] = [((at, revision), data, ())]
        while waiting:
            form, data, path = waiting.pop()
            if form in path:
                way = " → ".join(f"{type_} ({number})" for type_, number in (*path, form))
                raise InvalidDefinition(f"The upcasters go round in a circle: {way}. Let one of them lead elsewhere.")
            outputs = self._advance(event, form, data)
            if outputs is None:
                found.append(UpcastEvent(event, *form, data))
            else:
                waiting += ((new_form, new, (*path, form)) for new_form, new in reversed(outputs))
        return found

    def _decode(self, event: RecordedEvent, revision: int) -> Any:
        if isinstance(event, UpcastEvent):
            return event.data
        try:
            if event.data_text is None:
                raise ValueError("its data was not read")
            return parse_json(event.readable_text or "")
        except ValueError as error:
            raise UpcastingFailed(event.type, event.log, event.position, revision, str(error)) from error

    def _advance(self, event: RecordedEvent, form: Form, data: Any) -> list[tuple[Form, Any]] | None:
        """What one step makes of data, in order; None where the form is today's."""
        type_, revision = form
        if type_ in self._renames:
            return [((self._renames[type_], revision), data)]
        step = self._steps.get(type_, {}).get(revision)
        if step is None:
            self.check_revision(event, type_, revision)
            return None
        try:
            given = (data, event) if step.takes_event else (data,)
            result = step.function(*given)
            outputs = list(result) if isinstance(result, list | Iterator) else [result]
            return [_output(type_, step, output) for output in outputs if output is not None]
        except Exception as error:
            cause = f"{type(error).__name__}: {error}"
            raise UpcastingFailed(type_, event.log, event.position, revision, cause) from error

    def check_revision(self, event: RecordedEvent, type_: str, revision: int) -> None:
        """Raises WrittenByNewerCode or InvalidDefinition if the code has the type at another revision than this."""
        newest = self._newest(type_)
        if newest is None or revision == newest:
            return
        if revision > newest:
            raise WrittenByNewerCode(type_, event.log, event.position, revision, newest)
        raise InvalidDefinition(_gap(type_, revision, newest))


def revision_of(event: RecordedEvent) -> int:
    """The revision that an event was stored with, 1 where its metadata says none; raises UpcastingFailed if it's no number."""
    if isinstance(event, UpcastEvent):
        return event.revision
    text = event.metadata_text
    if text is None:
        return 1
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    if "revision" not in text and "\\u" not in text:
        return 1  # as nearly all have; nothing was decoded
    try:
        metadata = event.metadata
    except ValueError:
        return 1
    revision = metadata.get("revision", 1) if isinstance(metadata, dict) else 1
    if type(revision) is not int or revision < 1:
        raise UpcastingFailed(
            event.type,
            event.log,
            event.position,
            None,
            f"its metadata says revision {revision!r}, which is no number from 1 on",
        )
    return revision


def _output(type_: str, step: Step, output: Any) -> tuple[Form, Any]:
    if isinstance(output, Renamed):
        return (output.type, output.revision), output.data
    if not isinstance(output, dict | list | str | int | float):
        raise TypeError(
            f"it returned a {type(output).__name__}; return JSON values, Renamed(…), a list of these, or None"
        )
    return (type_, step.to_revision), output


def _takes_event(function: Callable[..., Any]) -> bool:
    """Whether an upcaster wants the stored event as its second argument."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    needed = [parameter for parameter in parameters if parameter.kind in kinds and parameter.default is parameter.empty]
    return len(needed) > 1


def _both_ways(type_: str) -> str:
    return f"{type_} is renamed, and has another rename or upcasters of its own. Put those on its new name."


def _gap(type_: str, revision: int, newest: int) -> str:
    return (
        f"Nothing leads from revision {revision} of {type_} to revision {newest}. "
        f'Add @serializer.upcaster("{type_}", from_revision={revision}).'
    )
