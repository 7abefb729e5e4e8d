"""What an outbox remembers: how far each publisher got, and the events that it passed without delivering them."""

from __future__ import annotations

import datetime as dt
import json
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from webapp.errors import NotFound
from webapp.store.dialects import Dialect
from webapp.store.jsontext import parse_json
from webapp.store.tables import deliveries, publishers

_longest_message, _longest_traceback = 4_000, 16_000
_streams_at_once = 500
columns = deliveries.c


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that wasn't delivered: how often it was tried, what went wrong last, and what is to become of it.

    With neither `retry_at` nor `dead_at` it is held up behind an earlier event of its stream.
    """

    position: int
    stream_id: int
    attempts: int = 0
    error: str | None = None
    error_class: str | None = None
    traceback: str | None = None
    retry_at: dt.datetime | None = None
    dead_at: dt.datetime | None = None
    discarded_at: dt.datetime | None = None
    discarded_by: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that failed; the event is tried again after `retry_seconds`, or is dead where that is None."""

    position: int
    stream_id: int
    attempts: int
    error: str
    retry_seconds: float | None


@dataclass(slots=True)
class Outcome:
    """What became of one batch, to be recorded in one transaction; `position` is how far the log is dealt with."""

    position: int
    delivered: list[tuple[int, int]] = field(default_factory=list)
    """(position, stream) of events that had been set aside and are delivered now."""
    failed: list[Failure] = field(default_factory=list)
    held: list[tuple[int, int]] = field(default_factory=list)
    """(position, stream) of events that wait for an earlier one of their stream."""


def error_text(error: Exception) -> str:
    """An exception as it is kept: its class, message and traceback as JSON."""
    trace = "".join(traceback.format_exception(error))
    try:
        message = str(error)
    except Exception:
        message = ""
    cut = {
        "class": type(error).__name__,
        "message": message[:_longest_message],
        "traceback": trace[-_longest_traceback:],
    }
    return json.dumps(cut)  # in ASCII: what databases refuse is escaped


def read_error(text: str | None) -> tuple[str | None, str | None, str | None]:
    """Class, message and traceback of a kept exception."""
    try:
        kept = parse_json(text) if text else {}
        return kept.get("class"), kept.get("message"), kept.get("traceback")
    except (ValueError, AttributeError):
        return None, text, None


def _delivery(row: Any) -> Delivery:
    error_class, message, trace = read_error(row.error)
    return Delivery(
        row.position, row.stream_id, row.attempts, message, error_class, trace, row.retry_at, row.dead_at,
        row.discarded_at, row.discarded_by, row.reason,
    )  # fmt: skip


def find_publisher(connection: sa.Connection, name: str, *, lock: bool = False) -> Any:
    """The row of a publisher, None if it never ran here; `lock` holds it until commit."""
    query = sa.select(publishers).where(publishers.c.name == name)
    return connection.execute(query.with_for_update() if lock else query).one_or_none()


def add_publisher(connection: sa.Connection, dialect: Dialect, name: str, log: str, position: int) -> None:
    """Records a publisher that stands after a position; raises DuplicateKey if there is one of that name."""
    values = {"name": name, "log": log, "position": position, "updated_at": dialect.clock(connection)}
    connection.execute(sa.insert(publishers).values(values))


def list_due(connection: sa.Connection, dialect: Dialect, name: str, limit: int) -> list[Delivery]:
    """Events whose time to be tried again has come, the longest due first; at most one of a stream."""
    due = sa.and_(columns.publisher == name, columns.retry_at <= dialect.clock(connection))
    query = sa.select(deliveries).where(due).order_by(columns.retry_at, columns.position).limit(limit)
    return [_delivery(row) for row in connection.execute(query)]


def seconds_to_next(connection: sa.Connection, dialect: Dialect, name: str) -> float | None:
    """How long until the next event is due, None if none waits."""
    waiting = sa.and_(columns.publisher == name, columns.retry_at.is_not(None))
    first = connection.execute(
        sa.select(columns.retry_at).where(waiting).order_by(columns.retry_at).limit(1)
    ).scalar_one_or_none()
    return None if first is None else max(0.0, (first - dialect.clock(connection)).total_seconds())


def list_following(connection: sa.Connection, name: str, stream_id: int, after: int, limit: int) -> list[Delivery]:
    """What was set aside of a stream after a position, by position."""
    rest = sa.and_(
        columns.publisher == name, columns.stream_id == stream_id, columns.position > after,
        columns.discarded_at.is_(None),
    )  # fmt: skip
    query = sa.select(deliveries).where(rest).order_by(columns.position).limit(limit)
    return [_delivery(row) for row in connection.execute(query)]


def is_blocked(connection: sa.Connection, name: str, stream_id: int | None, *, by_dead: bool) -> bool:
    """Whether something of a stream (None: of any) was set aside and holds later events up."""
    conditions = [columns.publisher == name, columns.discarded_at.is_(None)]
    if stream_id is not None:
        conditions.append(columns.stream_id == stream_id)
    if not by_dead:
        conditions.append(columns.dead_at.is_(None))
    return connection.execute(sa.select(columns.position).where(*conditions).limit(1)).first() is not None


def record(connection: sa.Connection, dialect: Dialect, name: str, outcome: Outcome, *, by_dead: bool) -> None:
    """Records a batch's outcome; the publisher's row must be held, so that nobody lets a stream go on meanwhile."""
    now = dialect.clock(connection)
    gone = [position for position, _ in outcome.delivered]
    gone += [failure.position for failure in outcome.failed]
    for at in range(0, len(gone), _streams_at_once):
        chosen = columns.position.in_(gone[at : at + _streams_at_once])
        connection.execute(sa.delete(deliveries).where(columns.publisher == name, chosen))
    rows = [
        {
            "publisher": name, "position": failure.position, "stream_id": failure.stream_id,
            "attempts": failure.attempts, "error": failure.error,
            "retry_at": None if failure.retry_seconds is None else now + dt.timedelta(seconds=failure.retry_seconds),
            "dead_at": now if failure.retry_seconds is None else None,
        }
        for failure in outcome.failed
    ]  # fmt: skip
    if rows:
        connection.execute(sa.insert(deliveries), rows)
    if outcome.held:
        held = [{"publisher": name, "position": position, "stream_id": stream} for position, stream in outcome.held]
        connection.execute(sa.insert(deliveries), held)
    touched = [stream for _, stream in (*outcome.delivered, *outcome.held)]
    touched += [failure.stream_id for failure in outcome.failed if failure.retry_seconds is None]
    release_streams(connection, dialect, name, touched, by_dead=by_dead)


def release_streams(
    connection: sa.Connection, dialect: Dialect, name: str, stream_ids: Iterable[int], *, by_dead: bool
) -> None:
    """Makes the first event that is held up in each stream due, unless one before it still holds it up."""
    now = dialect.clock(connection)
    for stream_id in sorted(set(stream_ids)):
        conditions = [columns.publisher == name, columns.stream_id == stream_id, columns.discarded_at.is_(None)]
        if not by_dead:
            conditions.append(columns.dead_at.is_(None))
        query = sa.select(columns.position, columns.retry_at, columns.dead_at).where(*conditions)
        first = connection.execute(query.order_by(columns.position).limit(1)).first()
        if first is not None and first.retry_at is None and first.dead_at is None:
            mine = sa.and_(columns.publisher == name, columns.position == first.position)
            connection.execute(sa.update(deliveries).where(mine).values(retry_at=now))


def streams_with_dead(connection: sa.Connection, name: str, after: int, limit: int) -> Sequence[int]:
    """Numbers of streams that hold a dead letter, above one."""
    dead = sa.and_(
        columns.publisher == name, columns.dead_at.is_not(None), columns.discarded_at.is_(None),
        columns.stream_id > after,
    )  # fmt: skip
    query = sa.select(columns.stream_id).where(dead).distinct().order_by(columns.stream_id).limit(limit)
    return connection.execute(query).scalars().all()


def list_dead(connection: sa.Connection, name: str, after: int, limit: int, *, discarded: bool) -> list[Delivery]:
    """Dead letters, or those that were discarded, by position."""
    is_discarded = columns.discarded_at.is_not(None) if discarded else columns.discarded_at.is_(None)
    dead = sa.and_(columns.publisher == name, columns.dead_at.is_not(None), is_discarded, columns.position > after)
    query = sa.select(deliveries).where(dead).order_by(columns.position).limit(limit)
    return [_delivery(row) for row in connection.execute(query)]


def change_dead(connection: sa.Connection, name: str, position: int, **values: Any) -> int:
    """Sets columns of a dead letter and returns its stream; raises NotFound if there is none at that position."""
    mine = sa.and_(columns.publisher == name, columns.position == position, columns.discarded_at.is_(None))
    is_dead = sa.and_(mine, columns.dead_at.is_not(None))
    stream_id = connection.execute(sa.select(columns.stream_id).where(is_dead)).scalar_one_or_none()
    if stream_id is None:
        raise NotFound("dead letter", f"{name}:{position}", "It may have been retried or discarded already.")
    connection.execute(sa.update(deliveries).where(mine).values(**values))
    return int(stream_id)
