"""States of one type of aggregates by id, each way to ask for one with what has to be said where there is none."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any

from webapp.errors import InvalidDefinition, InvalidRequest, NotFound
from webapp.store.events import utc
from webapp.store.folding import Definition, Folded, Folder, checked_time
from webapp.store.recording import EventSerializer
from webapp.store.snapshots import SnapshotPolicy
from webapp.store.source import EventSource


class History:
    """The streams of one definition in one log of a store."""

    def __init__(
        self,
        store: EventSource,
        definition: Definition,
        log: str,
        serializer: EventSerializer,
        snapshots: SnapshotPolicy | None,
    ) -> None:
        claim_type(store, log, definition.aggregate_type, definition.name)
        self.definition = definition
        self.folder = Folder(store, definition, log, serializer, snapshots)

    def stream(self, stored_id: str) -> str:
        """`type/id`, as sentences name it."""
        return f"{self.definition.aggregate_type}/{stored_id}"

    def find(self, id: Any) -> Folded | None:
        """The state as it stands, None if nothing ever happened."""
        folded = self.folder.fold(self.definition.join(id))
        return folded if folded.version else None

    def load(self, id: Any) -> Folded:
        """The state as it stands; raises NotFound."""
        found = self.find(id)
        if found is None:
            raise NotFound(self.definition.aggregate_type, self.definition.join(id))
        return found

    def load_at(self, id: Any, version: int) -> Folded:
        """The state after a version; raises NotFound if it hasn't come so far."""
        stored_id = self.definition.join(id)
        if type(version) is not int or version < 1:
            raise InvalidRequest(f"Versions are numbers from 1 on; {version!r} is none.", "version")
        folded = self.folder.fold(stored_id, version=version)
        if folded.version < version:
            hint = f"It has versions up to {folded.version}." if folded.version else "Nothing has happened to it."
            raise NotFound("version", f"{version} of {self.stream(stored_id)}", hint)
        return folded

    def load_as_of(self, id: Any, time: dt.datetime) -> Folded:
        """The state as known at a time; raises NotFound if nothing was known."""
        stored_id = self.definition.join(id)
        folded = self.folder.fold(stored_id, until=checked_time(time, "time"))
        if not folded.version:
            raise NotFound(self.definition.aggregate_type, stored_id, f"Nothing was known of it at {utc(time)}.")
        return folded

    def load_true_at(self, id: Any, time: dt.datetime, known_at: dt.datetime | None) -> Folded:
        """The state as true at a time; raises NotFound if nothing had occurred."""
        stored_id = self.definition.join(id)
        known_at = None if known_at is None else checked_time(known_at, "known_at")
        folded = self.folder.fold_true(stored_id, checked_time(time, "time"), known_at)
        if not folded.version:
            raise NotFound(self.definition.aggregate_type, stored_id, f"Nothing had happened to it at {utc(time)}.")
        return folded


_claims: weakref.WeakKeyDictionary[Any, dict[tuple[str, str], str]] = weakref.WeakKeyDictionary()
_claiming = threading.Lock()


def claim_type(store: EventSource, log: str, aggregate_type: str, name: str) -> None:
    """Notes whose type this is in a log of this store object; raises InvalidDefinition if it's somebody else's."""
    with _claiming:
        owner = _claims.setdefault(store, {}).setdefault((log, aggregate_type), name)
    if owner != name:
        raise InvalidDefinition(
            f"The aggregate type {aggregate_type} in the log {log} belongs to {owner}, so {name} can't have it too. "
            "Give one of them another type."
        )


def check_classes(name: str, events: Iterable[str | type], serializer: EventSerializer) -> None:
    """Raises InvalidDefinition for a handler of a class whose events can't come, or for two handlers of one event.

    A class may be the base of those that the serializer knows.
    """
    handled = list(events)
    for event in handled:
        if isinstance(event, str):
            continue
        types = _types_of(event, serializer)
        if not types:
            raise InvalidDefinition(
                f"{name} has a handler of {event.__qualname__}, which the serializer doesn't know, so none would ever "
                "come. Register the class, or handle the event by its type's name."
            )
        twice = types.intersection(handled)
        if twice:
            raise InvalidDefinition(
                f"{name} handles {min(twice)} twice, by name and as {event.__qualname__}. Keep one of the handlers."
            )


def _types_of(cls: type, serializer: EventSerializer) -> set[str]:
    """The types of events whose objects are of a class."""
    found: set[str] = set()
    name_of: Callable[[type], str] | None = getattr(serializer, "name_of", None)
    if name_of is not None:
        with contextlib.suppress(InvalidDefinition):
            found.add(name_of(cls))
    subclasses: list[type] = type.__subclasses__(cls)
    for subclass in subclasses:
        found |= _types_of(subclass, serializer)
    return found
