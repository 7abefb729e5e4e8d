"""States folded from streams: now, at a version, as known at a time, as true at a time; from a snapshot where one helps."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from webapp.errors import FoldingFailed, InvalidRequest, NotFound, ProjectionistError
from webapp.store.events import RecordedEvent
from webapp.store.recording import EventSerializer
from webapp.store.snapshots import SnapshotPolicy, Snapshots
from webapp.store.source import EventSource


class Definition(Protocol):
    """How events become a state, however it's written: as a class, or as functions."""

    @property
    def name(self) -> str:
        """The code's name, for people."""
        ...

    @property
    def aggregate_type(self) -> str:
        """The type under which events are stored."""
        ...

    @property
    def state_type(self) -> type | None:
        """What snapshots are read back into; None for plain JSON values."""
        ...

    def join(self, id: Any, /) -> str:
        """The text that an id is stored under; raises InvalidRequest."""
        ...

    def blank(self) -> Any:
        """What folding begins with; None where only the first event tells."""
        ...

    def evolve(self, state: Any, content: Any, recorded: RecordedEvent, /) -> Any:
        """The state after one more event."""
        ...

    def fingerprint(self) -> str:
        """Changes whenever the code might fold another state."""
        ...


@dataclass(slots=True)
class Folded:
    """A state after `version`, with the event that stands there; version 0 and None if nothing happened yet."""

    state: Any
    version: int = 0
    last: RecordedEvent | None = None
    has_old_snapshot: bool = False
    """Whether a snapshot was passed over, since it's broken or older code made it."""


class Folder:
    """Folds the streams of one definition in one log of a source."""

    def __init__(
        self,
        source: EventSource,
        definition: Definition,
        log: str,
        serializer: EventSerializer,
        policy: SnapshotPolicy | None = None,
    ) -> None:
        self.source = source
        self.definition = definition
        self.log = log
        self.serializer = serializer
        self.snapshots: Snapshots | None = None
        if policy is not None:
            value_types = getattr(serializer, "value_types", {})
            self.snapshots = Snapshots(source, definition, log, policy, value_types)

    def fold(self, stored_id: str, *, version: int | None = None, until: dt.datetime | None = None) -> Folded:
        """The state with the events up to a version, or with those recorded until a time (both taken in).

        A snapshot is a start only if it lies within, and if the stream still has the event that it was taken after.
        Raises FoldingFailed where a handler raises.
        """
        folded, rest = self._start(stored_id, version, until)
        events: Iterable[RecordedEvent] = rest
        if until is not None:
            # Time order is position order, so what is known at a time is always a beginning of the stream.
            events = itertools.takewhile(lambda event: event.recorded_at <= until, rest)
        self._run(folded, events)
        return folded

    def fold_true(self, stored_id: str, at: dt.datetime, known_at: dt.datetime | None = None) -> Folded:
        """The state with the events that had occurred by a time, in the order in which they occurred.

        `known_at` leaves out what was recorded after it. Snapshots are never used: what is recorded late may belong
        before them. All the stream's events are in memory at once.
        """
        folded = Folded(self.definition.blank())
        events = self._read(stored_id)
        if known_at is not None:
            events = (event for event in events if event.recorded_at <= known_at)
        pairs = [pair for pair in self._load(folded, events) if pair[0].occurred_at <= at]
        pairs.sort(key=lambda pair: pair[0].occurred_at)  # stable: of one moment, by version
        if not pairs:
            return Folded(folded.state)
        for recorded, content in pairs:
            self._evolve(folded, recorded, content)
        folded.version = max(recorded.version or 0 for recorded, _ in pairs)
        folded.last = pairs[-1][0]
        return folded

    def _start(
        self, stored_id: str, version: int | None, until: dt.datetime | None
    ) -> tuple[Folded, Iterator[RecordedEvent]]:
        """Where folding starts, and the events after that."""
        has_old = False
        if self.snapshots is not None:
            for snapshot in self.snapshots.usable(stored_id, version):
                if snapshot is None:
                    has_old = True
                    continue
                events = self._read(
                    stored_id, snapshot.version - 1, None if version is None else version - snapshot.version + 1
                )
                first = next(events, None)
                if first is None or (first.version, first.id) != (snapshot.version, snapshot.event_id):
                    has_old = True  # it's of another history, such as that of a store restored from a backup
                elif until is None or first.recorded_at <= until:
                    return Folded(snapshot.value, snapshot.version, first, has_old), events
        return Folded(self.definition.blank(), has_old_snapshot=has_old), self._read(stored_id, 0, version)

    def take_snapshot(self, stored_id: str) -> None:
        """Keeps the state as it's stored now, folded for this alone; says in the log if that can't be done."""
        if self.snapshots is not None:
            with self.snapshots.only_logging(stored_id):
                folded = self.fold(stored_id)
                if folded.last is not None and folded.state is not None:
                    self.snapshots.keep(stored_id, folded.version, folded.last.id, folded.state)

    def _run(self, folded: Folded, events: Iterable[RecordedEvent]) -> None:
        for recorded, content in self._load(folded, events):
            self._evolve(folded, recorded, content)

    def _load(self, folded: Folded, events: Iterable[RecordedEvent]) -> Iterator[tuple[RecordedEvent, Any]]:
        """The events in today's form with their objects; `folded` stands at the last stored one that went in."""

        def noting() -> Iterator[RecordedEvent]:
            for event in events:
                folded.last = event
                yield event
            if folded.last is not None:
                folded.version = folded.last.version or folded.version

        try:
            yield from self.serializer.load_all(noting())
        except (ProjectionistError, GeneratorExit):
            raise
        except Exception as error:
            if folded.last is None:
                raise
            raise self._failed(folded.last, error) from error

    def _evolve(self, folded: Folded, recorded: RecordedEvent, content: Any) -> None:
        try:
            folded.state = self.definition.evolve(folded.state, content, recorded)
        except ProjectionistError:
            raise
        except Exception as error:
            raise self._failed(recorded, error) from error

    def _failed(self, event: RecordedEvent, error: Exception) -> FoldingFailed:
        name, place = self.definition.name.rpartition(".")[2], f"{event.log}:{event.position}"
        return FoldingFailed(name, event.type, event.stream, event.version, place, error)

    def _read(self, stored_id: str, after: int = 0, limit: int | None = None) -> Iterator[RecordedEvent]:
        try:
            yield from self.source.read_stream(
                self.definition.aggregate_type, stored_id, log=self.log, after=after, limit=limit
            )
        except NotFound as error:
            if error.kind != "log":
                raise


def checked_time(value: Any, what: str) -> dt.datetime:
    """The time itself, if it's a datetime with its zone; raises InvalidRequest."""
    if not isinstance(value, dt.datetime) or value.utcoffset() is None:
        raise InvalidRequest(
            f"The {what} must be a datetime with its zone, such as datetime.now(UTC); {value!r} is not.", "time"
        )
    return value
