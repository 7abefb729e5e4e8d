"""What the publishers of a store gave up on, as any source lists dead letters."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa

from webapp.errors import NotFound
from webapp.store.deliveries import read_error
from webapp.store.events import RecordedEvent, can_be_stored
from webapp.store.source import DeadLetter
from webapp.store.tables import deliveries, events, logs, publishers, types

_id = re.compile(r"(?P<publisher>.+):(?P<position>[0-9]{1,18})", re.DOTALL)


def list_letters(connection: sa.Connection, before: str | None, limit: int) -> list[DeadLetter]:
    """The newest letters, or those after the one with id `before`; raises NotFound if that one is gone."""
    query = _query()
    if before is not None:
        edge = _find(connection, before)
        if edge is None:
            raise NotFound("dead letter", before, "It may have been retried or discarded; start from the newest.")
        key = sa.tuple_(deliveries.c.dead_at, deliveries.c.publisher, deliveries.c.position)
        place = (edge.dead_at, edge.publisher, edge.position)
        query = query.where(
            key < sa.tuple_(*(sa.literal(value, column.type) for value, column in zip(place, key, strict=True)))
        )
    newest = (deliveries.c.dead_at.desc(), deliveries.c.publisher.desc(), deliveries.c.position.desc())
    return [_letter(row, None) for row in connection.execute(query.order_by(*newest).limit(limit))]


def find_letter(connection: sa.Connection, id: str) -> Any:
    """The row of one letter, with its log and position; raises NotFound."""
    row = _find(connection, id)
    if row is None:
        raise NotFound("dead letter", id)
    return row


def whole_letter(row: Any, event: RecordedEvent) -> DeadLetter:
    """A letter with its event's payload and metadata, and the traceback."""
    return _letter(row, event)


def _query() -> sa.Select[Any]:
    at = sa.and_(events.c.log_id == logs.c.id, events.c.position == deliveries.c.position)
    return (
        sa.select(deliveries, publishers.c.log, events.c.correlation_id, types.c.name.label("type"))
        .join_from(deliveries, publishers, publishers.c.name == deliveries.c.publisher)
        .join(logs, logs.c.name == publishers.c.log).join(events, at).join(types, types.c.id == events.c.type_id)
        .where(deliveries.c.dead_at.is_not(None), deliveries.c.discarded_at.is_(None))
    )  # fmt: skip


def _find(connection: sa.Connection, id: str) -> Any:
    found = _id.fullmatch(id)
    if found is None or not can_be_stored(id):
        return None
    mine = sa.and_(deliveries.c.publisher == found["publisher"], deliveries.c.position == int(found["position"]))
    row = connection.execute(_query().where(mine)).one_or_none()
    return None if row is None or _id_of(row) != id else row


def _id_of(row: Any) -> str:
    return f"{row.publisher}:{row.position}"


def _letter(row: Any, event: RecordedEvent | None) -> DeadLetter:
    error_class, message, trace = read_error(row.error)
    return DeadLetter(
        _id_of(row), row.dead_at, row.type, f"outbox {row.publisher}", message, error_class, row.correlation_id,
        trace if event else None, event.data_text if event else None, event.metadata_text if event else None,
    )  # fmt: skip
