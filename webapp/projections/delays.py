"""How far projections are behind in time: how long the oldest event waits that they haven't read yet."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable
from dataclasses import dataclass

from webapp.errors import ProjectionistError
from webapp.store.database import Database
from webapp.store.source import EventSource, ProjectionStatus

most_reads = 200
"""Events looked up for one measurement; one look-up serves all projections that stand at the same position."""
_read_seconds = 1.0


@dataclass(frozen=True, slots=True)
class Delay:
    """One projection's delay: events that wait, how long the oldest of them does, and how long ago it last moved.

    `seconds` is None where it couldn't be measured, `idle_seconds` where the source doesn't know.
    """

    events: int
    seconds: float | None
    idle_seconds: float | None = None


def database_now(source: EventSource) -> dt.datetime:
    """The time by the clock that stamped the source's events; this process's own where there is no database."""
    database = getattr(source, "database", None)
    if not isinstance(database, Database):
        return dt.datetime.now(dt.UTC)
    with database.reading() as connection:
        return database.dialect.clock(connection)


def count_waiting(status: ProjectionStatus) -> int:
    """Events after a projection's checkpoints: as counted where that is exact, else positions, of which some may be empty."""
    if status.partitions is not None:
        return int(status.details.get("events behind", 0))
    exact = [one.pending.number if one.pending and one.pending.exact else one.lag for one in status.progress]
    return sum(exact)


def measure_delays(
    source: EventSource, statuses: Iterable[ProjectionStatus], *, budget_seconds: float = 3.0
) -> list[Delay]:
    """The delay of each status, in their order.

    When the budget or `most_reads` is used up, the rest have `seconds` None. Raises StoreUnavailable.
    """
    now, ends_at = database_now(source), time.monotonic() + budget_seconds
    found: dict[tuple[str, int], float | None] = {}
    delays = []
    for status in statuses:
        events, ages = count_waiting(status), list[float | None]()
        for one in status.progress:
            place = (one.log, one.position)
            if not one.lag:
                continue
            if place not in found and len(found) < most_reads and time.monotonic() < ends_at:
                found[place] = _age(source, one.log, one.position, now)
            ages.append(found.get(place))
        known = [age for age in ages if age is not None]
        seconds = max(known) if known else (0.0 if not events and not ages else None)
        idle = None if status.updated_at is None else max(0.0, (now - status.updated_at).total_seconds())
        delays.append(Delay(events, seconds, idle))
    return delays


def _age(source: EventSource, log: str, position: int, now: dt.datetime) -> float | None:
    """How long ago the first event after a position was recorded; 0 where none of those after it is settled yet."""
    try:
        for event in source.read_log(log, after=position, limit=1, with_payload=False, seconds=_read_seconds):
            return max(0.0, (now - event.recorded_at).total_seconds())
    except ProjectionistError:
        return None
    return 0.0
