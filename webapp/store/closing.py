"""Closing the books: a stream ends, and goes on in a new one, so that none has to be loaded from the beginning of time.

```python
store.close_stream("account", "7:2026", [NewEvent("account.year_closed", {"balance": 900})], into="7:2027",
                   opening_events=[NewEvent("account.year_opened", {"balance": 900})], expected_version=31)
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from webapp.errors import InvalidEvent, InvalidRequest, NotFound
from webapp.store.aggregates_list import find_stream
from webapp.store.events import Append, NewEvent, RecordedEvent
from webapp.store.jsontext import parse_json
from webapp.store.tables import logs, streams

if TYPE_CHECKING:
    from webapp.store.native import EventStore


@dataclass(frozen=True, slots=True)
class StreamLinks:
    """The aggregate ids of the streams before and after one, None where there is none; their type is the same."""

    continues: str | None
    continued_by: str | None


def close_stream(
    store: EventStore, aggregate_type: str, aggregate_id: str, closing_events: Sequence[NewEvent], *, into: str,
    opening_events: Sequence[NewEvent], expected_version: int | None, log: str,
) -> list[RecordedEvent]:  # fmt: skip
    """See EventStore.close_stream."""
    if into == aggregate_id:
        raise InvalidRequest(f"{aggregate_type}/{aggregate_id} can't continue itself. Give `into` a new id.", "into")
    if not closing_events or not opening_events:
        raise InvalidEvent(
            "Closing a stream takes at least one event that closes it and one that opens the next: they say what was "
            "carried over."
        )
    appends = [
        Append(
            aggregate_type, aggregate_id, [_link(event, "continued_by", into) for event in closing_events],
            expected_version, log,
        ),
        Append(aggregate_type, into, [_link(event, "continues", aggregate_id) for event in opening_events], 0, log),
    ]  # fmt: skip

    def attempt(connection: sa.Connection) -> list[RecordedEvent]:
        recorded = store.append_in(connection, appends)
        log_id = connection.execute(sa.select(logs.c.id).where(logs.c.name == log)).scalar_one()
        ids = [find_stream(connection, aggregate_type, name, log_id) for name in (aggregate_id, into)]
        for stream_id, link in zip(ids, ({"continued_by": ids[1]}, {"continues": ids[0]}), strict=True):
            connection.execute(sa.update(streams).where(streams.c.id == stream_id).values(link))
        return recorded

    recorded = store.database.retrying(attempt)
    store.notifier.wake([log])
    return recorded


def stream_links(store: EventStore, aggregate_type: str, aggregate_id: str, log: str | None) -> StreamLinks:
    """See EventStore.stream_links."""
    with store.database.reading() as connection:
        log_id = None if log is None else store.log_id(connection, log)
        stream_id = find_stream(connection, aggregate_type, aggregate_id, log_id)
        if stream_id is None:
            raise NotFound("aggregate", f"{aggregate_type}/{aggregate_id}")
        row = connection.execute(
            sa.select(streams.c.continues, streams.c.continued_by).where(streams.c.id == stream_id)
        ).one()
        named = sa.select(streams.c.id, streams.c.aggregate_id).where(streams.c.id.in_([one for one in row if one]))
        names = {one.id: one.aggregate_id for one in connection.execute(named)}
    return StreamLinks(names.get(row.continues), names.get(row.continued_by))


def _link(event: NewEvent, key: str, aggregate_id: str) -> NewEvent:
    """The event with the other stream's id in its metadata; raises InvalidEvent for what isn't an event."""
    if not isinstance(event, NewEvent):
        raise InvalidEvent(f"{event!r:.80} is no event. Give NewEvent(type, data, …).")
    metadata: Any = event.metadata
    if isinstance(metadata, str | bytes):
        metadata = parse_json(metadata)
    if not isinstance(metadata or {}, Mapping):
        raise InvalidEvent(f"The metadata of {event.type} must be an object, to hold the link to the other stream.")
    return replace(event, metadata={**(metadata or {}), key: aggregate_id})
