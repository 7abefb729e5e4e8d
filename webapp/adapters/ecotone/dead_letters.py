"""Messages that a consumer gave up on, from Ecotone's dead letter table."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from webapp.adapters.ecotone.heads import utc
from webapp.errors import NotFound
from webapp.store.jsontext import parse_json
from webapp.store.source import DeadLetter

table = "ecotone_error_messages"


def list_letters(connection: sa.Connection, before: str | None, limit: int) -> list[DeadLetter]:
    """The newest letters, or those after the one with id `before`; raises NotFound if that one is gone."""
    condition = ""
    parameters: dict[str, Any] = {"limit": limit}
    if before is not None:
        edge = read_letter(connection, before)
        if edge is None or edge.failed_at is None:
            raise NotFound("dead letter", before, "It may have been replayed or deleted; start from the newest.")
        condition = "WHERE failed_at < :failed_at OR (failed_at = :failed_at AND message_id < :id)"
        parameters |= {"failed_at": edge.failed_at.replace(tzinfo=None), "id": before}
    query = f"SELECT message_id, failed_at, headers FROM {table} {condition} ORDER BY failed_at DESC, message_id DESC"
    rows = connection.execute(sa.text(f"{query} LIMIT :limit"), parameters)
    return [_letter(row) for row in rows]


def read_letter(connection: sa.Connection, id: str) -> DeadLetter | None:
    """One letter whole, None if it isn't there."""
    query = sa.text(f"SELECT message_id, failed_at, headers, payload FROM {table} WHERE message_id = :id")
    row = connection.execute(query, {"id": id}).one_or_none()
    return None if row is None or row.message_id != id else _letter(row, row.payload)


def _letter(row: Any, payload: str | None = None) -> DeadLetter:
    """The letter in a row; traceback and headers only with the payload."""
    headers = _decoded(row.headers)
    is_whole = payload is not None
    return DeadLetter(
        row.message_id,
        utc(row.failed_at),
        _text(headers, "__TypeId__"),
        _text(headers, "polledChannelName"),
        _text(headers, "exception-message"),
        error_class=_text(headers, "ecotone-class"),
        correlation_id=_text(headers, "correlationId"),
        traceback=_text(headers, "exception-stacktrace") if is_whole else None,
        payload_text=payload,
        headers_text=row.headers if is_whole else None,
    )


def _decoded(text: str) -> dict[str, Any]:
    try:
        headers = parse_json(text)
    except ValueError:
        return {}
    return headers if isinstance(headers, dict) else {}


def _text(headers: dict[str, Any], key: str) -> str | None:
    value = headers.get(key)
    return value if value is None or isinstance(value, str) else str(value)
