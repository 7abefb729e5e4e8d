"""Moving house: logs copied from any source into a store of ours, resumable, and compared event by event afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from webapp.errors import CopyDiffers, NotFound
from webapp.store.events import RecordedEvent
from webapp.store.native import EventStore
from webapp.store.reading import take_batch
from webapp.store.source import EventSource, Log

_batch = 1_000
loose_id = "-"
"""The aggregate id under which events are filed that belong to no aggregate; its type is the name of their log."""


@dataclass(frozen=True, slots=True)
class LogCopy:
    """What came of one log: events copied this time, the position it is equal up to, and the hash of all up to there.

    `renumbered` counts events whose version in their stream could not be kept, because it was not the next one.
    """

    log: str
    copied: int
    head: int
    renumbered: int
    sha256: str


Progress = Callable[[str, str, int, int], None]
"""Told (what is done, log, position reached, position of the end), after each batch."""


def copy_store(
    source: EventSource, target: EventStore, *, logs: Sequence[str] | None = None, on_progress: Progress | None = None
) -> list[LogCopy]:
    """What came of each log, copied up to the head that was settled when its turn came.

    Positions, ids, times, texts and everything else that the source knows of an event are kept, except that events of
    no aggregate are filed under one named after their log. Run it again, after a kill or later, and it goes on
    where it stood. Raises CopyDiffers where the target holds something else, or differs when compared at the end.
    """
    tell = on_progress or (lambda *_: None)
    return [_copy_log(source, target, log, tell) for log in _wanted(source, logs)]


def _wanted(source: EventSource, names: Sequence[str] | None) -> list[Log]:
    logs = {log.name: log for log in source.logs()}
    for name in names or ():
        if name not in logs:
            raise NotFound("log", name, f"There are {', '.join(sorted(logs)) or 'none'}.")
    return [logs[name] for name in (logs if names is None else dict.fromkeys(names))]


def _copy_log(source: EventSource, target: EventStore, log: Log, tell: Progress) -> LogCopy:
    end = log.settled_head
    start = _reached(source, target, log.name)
    copied = renumbered = 0
    events = iter(source.read_log(log.name, after=start, before=end + 1, limit=None))
    while batch := [filed(event) for event in take_batch(events, _batch)]:
        recorded = target.import_events(batch, keep_positions=True)
        copied += len(recorded)
        renumbered += sum(
            event.version is not None and event.version != new.version
            for event, new in zip(batch, recorded, strict=True)
        )
        tell("copying", log.name, batch[-1].position, end)
    return LogCopy(log.name, copied, end, renumbered, _compare(source, target, log.name, end, tell))


def _reached(source: EventSource, target: EventStore, log: str) -> int:
    """The position that an earlier run came to, 0 for a log that is new in the target."""
    try:
        head = target.head(log)
    except NotFound:
        return 0
    if head == 0:
        return 0
    try:
        there, here = source.event(log, head), target.event(log, head)
    except NotFound:
        raise CopyDiffers(log, head, "the source has no event at this position") from None
    if there.id != here.id:
        raise CopyDiffers(log, head, f"the source has {there.type} {there.id} there, the target {here.type} {here.id}")
    return head


def filed(event: RecordedEvent) -> RecordedEvent:
    """The event as our store can hold it: those of no aggregate belong to one named after their log."""
    if event.aggregate_type is not None and event.aggregate_id is not None:
        return event
    return event.copied(aggregate_type=event.log, aggregate_id=loose_id, version=None)


def _compare(source: EventSource, target: EventStore, log: str, end: int, tell: Progress) -> str:
    """The SHA-256 of all events up to `end`, equal on both sides; raises CopyDiffers at the first that isn't."""
    digest = hashlib.sha256()
    for number, (there, here) in enumerate(zip_longest(_lines(source, log, end), _lines(target, log, end)), 1):
        if there is None or here is None:
            position, _ = there or here
            raise CopyDiffers(log, position, f"only the {'source' if here is None else 'target'} has it")
        if there != here:
            raise CopyDiffers(log, min(there[0], here[0]), "its fields are not the same on both sides")
        digest.update(there[1] + b"\n")
        if number % _batch == 0:
            tell("comparing", log, there[0], end)
    return digest.hexdigest()


def _lines(source: EventSource, log: str, end: int) -> Iterator[tuple[int, bytes]]:
    """Each event's position and its JSON line, versions left out, for they may have to be numbered anew."""
    for event in source.read_log(log, before=end + 1, limit=None):
        kept = filed(event)
        plain = kept.copied(version=None, metadata_text=kept.metadata_text or "{}")
        yield kept.position, plain.to_json().encode()
