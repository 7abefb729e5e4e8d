"""Ids of aggregates, of one part or several, and the text that a stream is stored under."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from webapp.errors import InvalidDefinition, InvalidRequest

_special = re.compile(r"[\\|]")
_token = re.compile(r"\\([\\|])|([^\\|]+)|(\|)")
_known: dict[str, type] = {"str": str, "int": int, "UUID": uuid.UUID}


def join_id(id: Any) -> str:
    """The text that an id is stored under: one part as it stands, several joined by “|”.

    A “|” or “\\” inside one of several parts gets a “\\” before it, so that no two tuples share a text. Parts are
    text, whole numbers or UUIDs; raises InvalidRequest for anything else.
    """
    if not isinstance(id, tuple):
        return _part_text(id)
    if len(id) < 2:
        raise InvalidRequest(
            f"The id {id!r} is a tuple of {len(id)}. Give the part itself, or a tuple of two or more.", "id"
        )
    return "|".join(_special.sub(r"\\\g<0>", _part_text(part)) for part in id)


def split_id(text: str) -> tuple[str, ...]:
    """The parts that join_id joined; raises InvalidRequest for a text that it can't have made."""
    parts, at = [""], 0
    while at < len(text):
        found = _token.match(text, at)
        if found is None:
            raise InvalidRequest(
                f"“{text}” is no id of several parts: a “\\” may only stand before “\\” and “|”.", "id"
            )
        escaped, plain, bar = found.groups()
        if bar:
            parts.append("")
        else:
            parts[-1] += escaped or plain
        at = found.end()
    return tuple(parts)


def _part_text(part: Any) -> str:
    if isinstance(part, bool) or not isinstance(part, str | int | uuid.UUID):
        raise InvalidRequest(
            f"{part!r} can't be an id or a part of one. Ids are text, whole numbers, UUIDs, or tuples of these.", "id"
        )
    return str(part)


@dataclass(frozen=True, slots=True)
class IdShape:
    """What the id of one type of aggregates is made of: the attributes that hold its parts, each with its type.

    A type of None takes text, whole numbers and UUIDs, and comes back from the store as text.
    """

    aggregate_type: str
    names: tuple[str, ...]
    types: tuple[type | None, ...]

    @classmethod
    def of(cls, aggregate_type: str, names: Sequence[str], hints: dict[str, Any]) -> IdShape:
        """The shape of these attributes with the types that annotations give them; raises InvalidDefinition."""
        return cls(aggregate_type, tuple(names), tuple(_type_of(aggregate_type, name, hints) for name in names))

    def join(self, id: Any) -> str:
        """The text that an id is stored under; raises InvalidRequest unless it has just these parts."""
        parts = id if isinstance(id, tuple) else (id,)
        fits = len(parts) == len(self.names) and all(
            wanted is None or (isinstance(part, wanted) and not isinstance(part, bool))
            for part, wanted in zip(parts, self.types, strict=True)
        )
        if not fits:
            raise InvalidRequest(f"{id!r} is no id of {self.aggregate_type}. {self._wanted()}", "id")
        return join_id(parts[0] if len(parts) == 1 else parts)

    def arguments(self, text: str) -> dict[str, Any]:
        """The parts by attribute, in their types, from the text that the id is stored under; raises InvalidRequest."""
        parts = (text,) if len(self.names) == 1 else split_id(text)
        try:
            if len(parts) != len(self.names):
                raise ValueError
            return {
                name: part if kind is None else kind(part)
                for name, kind, part in zip(self.names, self.types, parts, strict=True)
            }
        except ValueError as error:
            raise InvalidRequest(f"“{text}” is no id of {self.aggregate_type}. {self._wanted()}", "id") from error

    def _wanted(self) -> str:
        parts = ", ".join(
            name if kind is None else f"{name}: {kind.__name__}"
            for name, kind in zip(self.names, self.types, strict=True)
        )
        return f"It is made of one part, {parts}." if len(self.names) == 1 else f"It is a tuple of ({parts})."


def _type_of(aggregate_type: str, name: str, hints: dict[str, Any]) -> type | None:
    hint: Any = hints.get(name)
    while hasattr(hint, "__supertype__"):  # a NewType stands for the type it was made of
        hint = hint.__supertype__
    if isinstance(hint, str):  # annotations that couldn't be evaluated
        hint = _known.get(hint.rpartition(".")[2], hint)
    if hint is None:
        return None
    if hint in _known.values():
        found: type = hint
        return found
    raise InvalidDefinition(
        f"The id of {aggregate_type} has the part {name}, which is {hint!r}. Parts of ids are str, int or uuid.UUID."
    )
