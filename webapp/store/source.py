"""What any store offers to read: the seam that our own store and every adapter fill.

Pages, exports and projections are written against `EventSource` and know nothing of tables. What only some sources can
do is a `Capability`; what a source can't do isn't drawn.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from webapp.store.events import EventFilter, RecordedEvent

no_filter = EventFilter()


class Capability(enum.Enum):
    """What only some sources can do; pages ask before they draw a button."""

    append = "append"
    rebuild = "rebuild"
    payload_search = "search inside payloads"
    dead_letters = "dead letters"


@dataclass(frozen=True, slots=True)
class Count:
    """A number of things; `exact` is False where counting stopped early (`number` or more) or was estimated."""

    number: int
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Log:
    """One ordered sequence of events.

    `head` is the highest position, 0 if empty; `settled_head` the highest at or below which nothing more can appear.
    `missing` are positions without an event below the head, as far as they are known (the source says how it looks).
    `derived_from` names the projection that emits into it; `strategy` is a layout's own word for its kind.
    """

    name: str
    head: int
    settled_head: int
    count: Count
    category: str | None = None
    strategy: str | None = None
    derived_from: str | None = None
    is_retired: bool = False
    first_at: dt.datetime | None = None
    last_at: dt.datetime | None = None
    missing: tuple[int, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of events in one log, with how many there are and when the first and the last were recorded."""

    log: str
    name: str
    count: Count
    first_at: dt.datetime | None = None
    last_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class AggregateType:
    """One type of aggregates in one log, with how many there are."""

    log: str
    name: str
    count: Count
    last_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One aggregate in a list: where its stream stands."""

    log: str
    type: str
    id: str
    version: int
    first_at: dt.datetime | None = None
    last_at: dt.datetime | None = None


class Health(enum.Enum):
    """How a projection is doing, in the words that pages and commands show."""

    up_to_date = "up to date"
    behind = "behind"
    running = "running"
    rebuilding = "rebuilding"
    paused = "paused"
    failed = "failed"
    crashed = "crashed"
    waiting = "waiting for a runner"
    not_started = "not started"
    unknown = "unknown"

    @property
    def is_problem(self) -> bool:
        """Whether a person should look; lists show these first."""
        return self in (Health.failed, Health.crashed, Health.waiting)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a projection got in one log: the last position done and how many positions are after it."""

    log: str
    position: int
    head: int
    pending: Count | None = None
    gaps: tuple[int, ...] = ()

    @property
    def lag(self) -> int:
        """Positions after the checkpoint, which is at least the number of events (rolled-back writers burn numbers)."""
        return max(0, self.head - self.position)


@dataclass(frozen=True, slots=True)
class Failure:
    """What stopped a projection: where, why, and the traceback if one is known."""

    log: str | None
    position: int | None
    message: str
    traceback: str | None = None
    at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class ProjectionStatus:
    """One projection as its source knows it.

    `status` is the source's own word; `health` is what follows from status, lock and lag, and `explanation` says it in
    a sentence. `partitions` counts per-aggregate checkpoints of a partitioned projection, `partitions_behind` those
    that are behind. `state` is whatever the source keeps as the projection's state (any JSON value).
    """

    name: str
    health: Health
    explanation: str
    status: str | None = None
    engine: str | None = None
    progress: tuple[Progress, ...] = ()
    state: Any = None
    locked_until: dt.datetime | None = None
    failure: Failure | None = None
    partitions: int | None = None
    partitions_behind: int | None = None
    emits_to: str | None = None
    updated_at: dt.datetime | None = None
    tables: tuple[str, ...] = ()
    generation: int | None = None
    is_stale: bool = False
    skipped: int = 0
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def lag(self) -> int:
        """Positions after the checkpoints, all logs together."""
        return sum(progress.lag for progress in self.progress)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that its consumer gave up on, as the framework keeps it."""

    id: str
    failed_at: dt.datetime | None
    type: str | None
    channel: str | None
    error: str | None
    error_class: str | None = None
    correlation_id: str | None = None
    traceback: str | None = None
    payload_text: str | bytes | None = None
    headers_text: str | bytes | None = None


@runtime_checkable
class EventSource(Protocol):
    """A store of events to read. Every method runs in a read-only transaction with a time limit, and is thread-safe.

    Logs, types and ids compare byte by byte. Methods that name a log raise NotFound for one that isn't there.
    """

    @property
    def layout(self) -> str:
        """`projectionist`, `ecotone`, …: whose tables these are."""
        ...

    @property
    def dialect(self) -> str:
        """`PostgreSQL`, `MySQL`, `MariaDB`, `SQLite`, or `Memory` where there is no database; for people to read."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this source can do beyond reading events."""
        ...

    def logs(self) -> Sequence[Log]:
        """All logs by name, cheap even for large ones: no count scans more than 10,000 rows."""
        ...

    def log(self, name: str) -> Log:
        """One log, with `missing` filled in where the layout knows gaps; raises NotFound."""
        ...

    def read_log(
        self,
        log: str,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int | None = 1000,
        newest_first: bool = False,
        where: EventFilter = no_filter,
        with_payload: bool = True,
        seconds: float | None = None,
    ) -> Iterable[RecordedEvent]:
        """Events with after < position < before that pass the filter, only settled ones, in order of position.

        No upper bound on `limit`, None means all; rows come in pages of keyset reads, so memory stays flat. Without
        `with_payload` the events carry no data_text (metadata_text neither). A search that takes longer than
        `seconds` raises TimedOut with `reached` set to the last position looked at; None lets it take its time.
        """
        ...

    def read_stream(
        self,
        aggregate_type: str,
        aggregate_id: str,
        *,
        log: str | None = None,
        after: int = 0,
        limit: int | None = None,
        with_payload: bool = True,
    ) -> Iterable[RecordedEvent]:
        """One aggregate's events with version > after, by version; empty if there are none.

        Raises AmbiguousLog when no log is named and several hold that (type, id). Without `with_payload` the events
        carry no data_text and no metadata_text.
        """
        ...

    def event(self, log: str, position: int) -> RecordedEvent:
        """One event whole; raises NotFound."""
        ...

    def event_types(self) -> Sequence[EventType]:
        """All types of events by log and name."""
        ...

    def aggregate_types(self) -> Sequence[AggregateType]:
        """All types of aggregates by log and name."""
        ...

    def aggregates(
        self,
        aggregate_type: str,
        *,
        log: str | None = None,
        after_id: str | None = None,
        prefix: str = "",
        limit: int = 50,
    ) -> Sequence[Aggregate]:
        """Aggregates of a type in order of id (byte order as the database sorts it), after one id, by prefix."""
        ...

    def projections(self) -> Sequence[ProjectionStatus]:
        """Every projection that the source knows of, by name."""
        ...

    def dead_letters(self, *, before: str | None = None, limit: int = 50) -> Sequence[DeadLetter]:
        """Dead letters, newest first, after the one with id `before`; payloads left out."""
        ...

    def dead_letter(self, id: str) -> DeadLetter:
        """One dead letter whole; raises NotFound."""
        ...

    def read_model_tables(self) -> Sequence[str]:
        """Tables in this database that projections fill, as far as known, by name."""
        ...

    def overview_facts(self) -> Sequence[tuple[str, Count]]:
        """What else a person wants to know of this database, as label and number; none is counted past 10,000."""
        ...

    def close(self) -> None:
        """Gives the connections back; the source can't be used after."""
        ...
