"""What is known of an aggregate in memory, its version above all, kept beside the object so that classes stay plain."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Home(NamedTuple):
    """Where an aggregate was loaded from, and under what id it is stored there."""

    store: object
    log: str
    aggregate_type: str
    stored_id: str


@dataclass(slots=True)
class Tracked:
    """One aggregate in memory: the version its state stands at in the store, and what it recorded since."""

    version: int = 0
    home: Home | None = None
    serializer: Any = None
    pending: list[Any] = field(default_factory=list)
    has_old_snapshot: bool = False
    refusal: str | None = None
    """Why it can't be saved; a sentence."""


_tracked: dict[int, tuple[weakref.ref[Any], Tracked]] = {}


def find_tracked(aggregate: object) -> Tracked | None:
    """What is known of this very object, None if nothing."""
    found = _tracked.get(id(aggregate))
    # Another object may have come to the same address before the old one's callback ran.
    return found[1] if found is not None and found[0]() is aggregate else None


def can_track(aggregate: object) -> bool:
    """Whether it is of a class whose objects can be kept an eye on without keeping them alive."""
    return type(aggregate).__weakrefoffset__ != 0


def track(aggregate: object, tracked: Tracked | None = None) -> Tracked:
    """Keeps what is known of an object until the object goes; raises TypeError if can_track says no."""
    key, known = id(aggregate), tracked or find_tracked(aggregate) or Tracked()

    def forget(reference: weakref.ref[Any]) -> None:
        found = _tracked.get(key)
        if found is not None and found[0] is reference:
            del _tracked[key]

    _tracked[key] = (weakref.ref(aggregate, forget), known)
    return known
