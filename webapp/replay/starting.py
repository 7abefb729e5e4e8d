"""Where stepping through events begins: after which positions, and with which rows."""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from webapp.errors import Conflict, InvalidRequest, NotFound
from webapp.projections.checkpoints import Checkpoint, ProjectionRow
from webapp.projections.projection import Projection
from webapp.replay.fold import FreshFold
from webapp.replay.moment import held_moment, read_serving
from webapp.replay.steps import StepsFrom, places_in_words
from webapp.replay.watching import WatchedTable
from webapp.store.events import EventFilter, RecordedEvent
from webapp.store.native import EventStore

After = int | Mapping[str, int] | None


@dataclass
class Beginning:
    """After which positions a slice comes, what stands before it, and what a person should know of that."""

    heads: dict[str, int]
    before: dict[str, int]
    started_from: StepsFrom
    row: ProjectionRow | None = None
    checkpoint: Checkpoint | None = None
    notes: list[str] = field(default_factory=list)


def begin(
    store: EventStore,
    fold: FreshFold,
    stack: ExitStack,
    *,
    after: After,
    log: str | None,
    wanted: StepsFrom | None,
    most_folded: int,
) -> Beginning:
    """The beginning of a slice; `fold` stands there, or at the checkpoint of the rows that readers see.

    What they see is held as of one moment until the stack closes. Where nothing is `wanted`, it is chosen so that at
    most `most_folded` events are applied first. Raises InvalidRequest, NotFound and Conflict.
    """
    projection = fold.projection
    heads = {name: _settled_head(store, name) for name in projection.logs}
    row, checkpoint = _find_serving(store, projection)
    before = _positions(store, projection, heads, after, log, checkpoint)
    found = Beginning(heads, before, wanted or _choose(before, checkpoint, most_folded), row, checkpoint)
    if found.started_from is StepsFrom.live:
        try:
            _begin_live(store, fold, stack, found, after, log)
        except Conflict as error:
            if wanted is not None:
                raise
            found.notes.append(f"The rows that readers see can't be where it starts. {error}")
            found.started_from = _choose(found.before, None, most_folded)
    for name, head in heads.items():
        if found.before[name] > head:
            found.notes.append(f"The log {name} ends at {head:,}, so nothing comes after {found.before[name]:,} yet.")
    if wanted is None and found.started_from is StepsFrom.nothing:
        many = sum(found.before.values())
        found.notes.append(
            f"{many:,} events come before, too many to apply them all for a look. Choose to start from the start if it "
            "may take its time."
        )
    if found.started_from is StepsFrom.nothing:
        fold.positions = dict(found.before)
    return found


def _settled_head(store: EventStore, log: str) -> int:
    """The head as pages know it: a follower's may claim empty positions of a parallel log, which is a write."""
    try:
        return store.log(log).settled_head
    except NotFound:
        return 0


def _find_serving(store: EventStore, projection: Projection) -> tuple[ProjectionRow | None, Checkpoint | None]:
    with store.database.reading() as connection:
        try:
            return read_serving(connection, projection.name)
        except NotFound:
            return None, None


def _choose(before: Mapping[str, int], checkpoint: Checkpoint | None, most_folded: int) -> StepsFrom:
    if checkpoint is not None and _is_reached(checkpoint, before):
        beyond = sum(position - checkpoint.positions.get(log, 0) for log, position in before.items())
        if beyond <= most_folded:
            return StepsFrom.live
    return StepsFrom.start if sum(before.values()) <= most_folded else StepsFrom.nothing


def _is_reached(checkpoint: Checkpoint, positions: Mapping[str, int]) -> bool:
    """Whether the positions are those of the checkpoint or later ones."""
    return all(position >= checkpoint.positions.get(log, 0) for log, position in positions.items())


def _begin_live(
    store: EventStore, fold: FreshFold, stack: ExitStack, found: Beginning, after: After, log: str | None
) -> None:
    tables = [table for table in fold.tables.values() if isinstance(table, WatchedTable)]
    moment = stack.enter_context(held_moment(store, fold.projection.name, tables))
    checkpoint = found.checkpoint = moment.checkpoint
    found.before = _positions(store, fold.projection, found.heads, after, log, checkpoint)
    if not _is_reached(checkpoint, found.before):
        raise Conflict(
            f"They stand at {places_in_words(checkpoint.positions)}, which is past {places_in_words(found.before)}. "
            "Start from the first event, or from nothing."
        )
    for table in tables:
        table.readers = moment.connection
    fold.positions = {name: checkpoint.positions.get(name, 0) for name in fold.projection.logs}
    fold.state = checkpoint.state
    if checkpoint.fingerprint != fold.projection.fingerprint():
        found.notes.append(
            "The rows that readers see were built by older code; what happens to them here is by the code as it is."
        )


def _positions(
    store: EventStore,
    projection: Projection,
    heads: Mapping[str, int],
    after: After,
    log: str | None,
    checkpoint: Checkpoint | None,
) -> dict[str, int]:
    """The position of each log that the slice comes after: the checkpoint's, where none is given."""
    if after is None:
        return {name: checkpoint.positions.get(name, 0) if checkpoint else 0 for name in projection.logs}
    if isinstance(after, int):
        if log is None and len(projection.logs) > 1:
            logs = ", ".join(projection.logs)
            raise InvalidRequest(
                f"{projection.name} reads several logs ({logs}), so a position needs its log: {projection.logs[0]}:{after}",
                "after",
            )
        after = {log or projection.logs[0]: after}
    for name, position in after.items():
        if name not in projection.logs:
            known = ", ".join(projection.logs)
            raise InvalidRequest(f"{projection.name} doesn't read the log {name}. It reads {known}.", "after")
        if not 0 <= position < 2**63:
            raise InvalidRequest(f"{position} is no position. Give 0, for the first event, or more.", "after")
    missing = [name for name in projection.logs if name not in after]
    return dict(after) | (_positions_then(store, heads, after, missing) if missing else {})


def _positions_then(
    store: EventStore, heads: Mapping[str, int], given: Mapping[str, int], missing: list[str]
) -> dict[str, int]:
    """Where other logs stood when the last of the given positions was recorded, as logs are merged."""
    at: tuple[dt.datetime, str] | None = None
    for log, position in given.items():
        for event in _last(store, heads, log, position + 1, EventFilter()):
            at = max(at or (event.recorded_at, log), (event.recorded_at, log))
    found = dict.fromkeys(missing, 0)
    if at is None:
        return found
    moment, last = at
    for log in missing:
        until = moment + dt.timedelta(microseconds=1) if log < last else moment
        for event in _last(store, heads, log, None, EventFilter(until=until)):
            found[log] = event.position
    return found


def _last(
    store: EventStore, heads: Mapping[str, int], log: str, before: int | None, where: EventFilter
) -> Iterator[RecordedEvent]:
    if not heads.get(log):
        return iter(())
    return store.read_log(log, before=before, newest_first=True, limit=1, where=where, with_payload=False)


def find_previous(
    store: EventStore,
    projection: Projection,
    after: Mapping[str, int],
    *,
    log: str | None = None,
    limit: int = 20,
    aggregate: tuple[str, str] | None = None,
) -> dict[str, int] | None:
    """The positions that the slice before another one comes after; None where there is no event before it."""
    where = EventFilter(aggregate_type=aggregate[0], aggregate_id=aggregate[1]) if aggregate else EventFilter()
    feeds = [
        store.read_log(
            name, before=after[name] + 1, newest_first=True, limit=limit, where=where, with_payload=False
        )
        for name in (projection.logs if log is None else (log,))
        if after.get(name)
    ]  # fmt: skip
    newest = heapq.merge(*feeds, key=lambda event: (event.recorded_at, event.log, event.position), reverse=True)
    found = None
    for _, event in zip(range(limit), newest, strict=False):
        found = (found or dict(after)) | {event.log: event.position - 1}
    return found
