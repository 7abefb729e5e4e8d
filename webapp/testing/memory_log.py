"""One log of a store in memory, and what an append is about to add to it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from webapp.errors import WrongExpectedVersion
from webapp.store.appending import PreparedAppend
from webapp.store.events import RecordedEvent
from webapp.store.source import Count, Log

Stream = tuple[str, str]


@dataclass(slots=True)
class MemoryLog:
    """The events of one log, the first at position 1, and by stream where its events stand among them."""

    name: str
    events: list[RecordedEvent] = field(default_factory=list)
    streams: dict[Stream, list[int]] = field(default_factory=dict)

    @property
    def last_at(self) -> dt.datetime | None:
        """When its last event was recorded."""
        return self.events[-1].recorded_at if self.events else None

    def copy(self) -> MemoryLog:
        """The log as it stands, for a reader while others append."""
        return MemoryLog(self.name, list(self.events), {stream: list(at) for stream, at in self.streams.items()})

    def describe(self) -> Log:
        """The log as sources tell of it."""
        head = len(self.events)
        return Log(
            self.name, head, head, Count(head), strategy="dense",
            first_at=self.events[0].recorded_at if self.events else None, last_at=self.last_at,
            details={"streams": len(self.streams)},
        )  # fmt: skip


class Draft:
    """What one log gets in one append: nothing of it is in the log before `commit`."""

    def __init__(self, log: MemoryLog, now: dt.datetime) -> None:
        self.log = log
        self.time = max(now, log.last_at or now)
        self.events: list[RecordedEvent] = []
        self._versions: dict[Stream, int] = {}

    def add(self, append: PreparedAppend) -> list[RecordedEvent]:
        """The events as they will be recorded; raises WrongExpectedVersion."""
        stream = (append.aggregate_type, append.aggregate_id)
        version = self._versions.get(stream, len(self.log.streams.get(stream, ())))
        if append.expected_version not in (None, version):
            raise WrongExpectedVersion("/".join(stream), append.expected_version, version)
        start = len(self.events)
        for event in append.events:
            version += 1
            self.time = event.recorded_at or self.time  # its own, which was checked, if it's imported
            position = len(self.log.events) + len(self.events) + 1
            self.events.append(
                RecordedEvent(
                    self.log.name, position, *stream, version, event.type, event.id, self.time, event.correlation_id,
                    event.causation_id, event.actor, event.data_text, event.metadata_text,
                )
            )  # fmt: skip
        self._versions[stream] = version
        return self.events[start:]

    def commit(self) -> None:
        """Puts the events into the log."""
        for event in self.events:
            stream = (str(event.aggregate_type), str(event.aggregate_id))
            self.log.streams.setdefault(stream, []).append(event.position - 1)
        self.log.events += self.events
