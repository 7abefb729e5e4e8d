"""What is personal data: which fields of which events, about whom, and by which of them one may search."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from webapp.errors import InvalidDefinition
from webapp.store.pointers import Steps, any_step, overlap, parse_pointer


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What classes of events may have in a personal field: `email: str | Forgotten`; holds when that was."""

    forgotten: dt.datetime


Subject = str | Callable[[Any], Any] | None
Normalize = Callable[[Any], Any]
_plain_metadata = ("correlation_id", "causation_id", "actor", "occurred_at", "revision")
"""Metadata that has columns, or that every reader needs."""


@dataclass(frozen=True, slots=True)
class Field:
    """One declared place; `normalize` is there where it can be searched, and makes equal what should be found alike."""

    pointer: str
    steps: Steps
    in_metadata: bool
    normalize: Normalize | None = None


@dataclass(frozen=True, slots=True)
class Declaration:
    """Fields of one type of event that are about one subject: `subject` leads to its id, None is the aggregate's id."""

    event_type: str
    subject: Steps | Callable[[Any], Any] | None
    fields: tuple[Field, ...]
    parts: tuple[tuple[str, tuple[Field, ...], tuple[Steps, ...]], ...]
    """The fields by part of the event, with their steps by themselves."""


class PersonalData:
    """Declarations by type of event. Declare at start, before a vault uses it."""

    def __init__(self) -> None:
        self._declarations: dict[str, tuple[Declaration, ...]] = {}

    def declare(
        self,
        event_type: str,
        *,
        fields: Iterable[str] = (),
        metadata_fields: Iterable[str] = (),
        subject: Subject = None,
        searchable: Iterable[str] | Mapping[str, Normalize] = (),
    ) -> None:
        """Makes fields of a type personal data of a subject; call again for another subject in the same events.

        `fields` are JSON pointers into the data, `*` stands for any key or index. `subject` is a pointer to the
        subject's id in the data, or a function of the decoded data, or None for the aggregate's id. `searchable` names
        fields that can be found by value, perhaps with a function that makes values alike (`{"/email": str.casefold}`).
        Raises InvalidDefinition for what contradicts itself.
        """
        normalizers = searchable if isinstance(searchable, Mapping) else dict.fromkeys(_listed(searchable), _unchanged)
        pointers = _listed(fields)
        for pointer in normalizers:
            if pointer not in pointers:
                raise InvalidDefinition(f"{pointer} of {event_type} is searchable but no field. Add it to fields too.")
        new = [Field(pointer, parse_pointer(pointer), False, normalizers.get(pointer)) for pointer in pointers]
        new += [Field(pointer, parse_pointer(pointer), True) for pointer in _listed(metadata_fields)]
        if not new:
            raise InvalidDefinition(
                f"The personal data of {event_type} has no field. Name at least one, such as /email."
            )
        earlier = self._declarations.get(event_type, ())
        _refuse_overlaps(event_type, [field for each in earlier for field in each.fields], new)
        steps: Steps | Callable[[Any], Any] | None
        if isinstance(subject, str):
            steps = parse_pointer(subject)
            if any_step in steps:
                raise InvalidDefinition(
                    f"The subject {subject} of {event_type} must be one value, so * can't be in it."
                )
        else:
            steps = subject
        self._declarations[event_type] = (*earlier, Declaration(event_type, steps, tuple(new), _by_part(new)))

    def of_type(self, event_type: str) -> tuple[Declaration, ...]:
        """What is declared for a type, nothing for most."""
        return self._declarations.get(event_type, ()) if isinstance(event_type, str) else ()

    def searchable_field(self, event_type: str, pointer: str) -> Field:
        """The field of a type to search by; raises InvalidDefinition where it wasn't declared so."""
        for declaration in self.of_type(event_type):
            for field in declaration.fields:
                if field.pointer == pointer and field.normalize is not None:
                    return field
        raise InvalidDefinition(
            f"{pointer} of {event_type} can't be searched. Declare it as searchable; that holds for events from then on."
        )


def _by_part(fields: list[Field]) -> tuple[tuple[str, tuple[Field, ...], tuple[Steps, ...]], ...]:
    parts = {
        "data": tuple(field for field in fields if not field.in_metadata),
        "metadata": tuple(field for field in fields if field.in_metadata),
    }
    return tuple((part, found, tuple(field.steps for field in found)) for part, found in parts.items() if found)


def subject_text(value: Any) -> str | None:
    """A subject's id as text: itself, or a number's or UUID's; None for what can't be one."""
    if isinstance(value, uuid.UUID) or type(value) is int:
        return str(value)
    return value if isinstance(value, str) and value else None


def _listed(pointers: Iterable[str]) -> list[str]:
    return [pointers] if isinstance(pointers, str) else list(pointers)


def _unchanged(value: Any) -> Any:
    return value


def _refuse_overlaps(event_type: str, earlier: list[Field], new: list[Field]) -> None:
    known = list(earlier)
    for field in new:
        name = field.steps[0] if field.in_metadata and field.steps else ""
        if field.in_metadata and (not field.steps or name in (*_plain_metadata, any_step)):
            raise InvalidDefinition(
                f"The metadata field “{field.pointer}” of {event_type} can't be encrypted: {', '.join(_plain_metadata)} are "
                "columns or needed by every reader. Keep persons' names out of them, and use ids."
            )
        for other in known:
            if other.in_metadata == field.in_metadata and overlap(other.steps, field.steps):
                raise InvalidDefinition(
                    f"{other.pointer} and {field.pointer} of {event_type} overlap. Declare each value once."
                )
        known.append(field)
