"""The events a projection reads next: its logs merged by time of recording, batch by batch."""

from __future__ import annotations

import heapq
from collections.abc import Mapping

from webapp.errors import NotFound
from webapp.projections.projection import Projection
from webapp.store.events import EventFilter, RecordedEvent
from webapp.store.native import EventStore
from webapp.store.reading import take_batch
from webapp.store.source import no_filter


def settled_heads(store: EventStore, projection: Projection) -> dict[str, int]:
    """The settled head of each log that the projection reads; 0 for one that has no event yet."""
    heads = {}
    for log in projection.logs:
        try:
            heads[log] = store.settled_head(log)
        except NotFound:
            heads[log] = 0
    return heads


def next_events(
    store: EventStore,
    positions: Mapping[str, int],
    up_to: Mapping[str, int],
    limit: int,
    where: EventFilter = no_filter,
) -> list[RecordedEvent]:
    """Up to `limit` events with position < event <= up_to, fewer where payloads are large; none at the head only.

    Only what passes the filter. Several logs are merged by (recorded_at, log, position). What can't be known yet isn't
    waited for: an event that is recorded later in one log comes later, whatever its time.
    """
    behind = [(log, positions.get(log, 0), edge) for log, edge in up_to.items() if positions.get(log, 0) < edge]
    feeds = [
        store.read_log(log, after=position, before=edge + 1, limit=limit, where=where) for log, position, edge in behind
    ]
    merged = heapq.merge(*feeds, key=lambda event: (event.recorded_at, event.log, event.position))
    return take_batch(feeds[0] if len(feeds) == 1 else merged, limit)
