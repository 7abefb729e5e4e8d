"""Appends that come again: found by the ids of their events, under the counters of their logs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from webapp.errors import EventIdReused
from webapp.store.catalog import Catalog
from webapp.store.dialects import Dialect
from webapp.store.events import RecordedEvent
from webapp.store.numbers import chunks
from webapp.store.reading import read_by_id

if TYPE_CHECKING:
    from webapp.store.appending import PreparedAppend


def find_repeated(
    dialect: Dialect, connection: sa.Connection, catalog: Catalog, appends: Sequence[PreparedAppend]
) -> list[RecordedEvent] | None:
    """The events that these very appends recorded earlier; None if none of them is there. Raises like match_repeated."""
    found: dict[bytes, RecordedEvent] = {}
    for chunk in chunks([event.id for append in appends for event in append.events]):
        found |= {uuid.UUID(event.id).bytes: event for event in read_by_id(dialect, connection, catalog, chunk)}
    return match_repeated(appends, found)


def match_repeated(
    appends: Sequence[PreparedAppend], found: Mapping[bytes, RecordedEvent]
) -> list[RecordedEvent] | None:
    """The events that these very appends recorded earlier, of those `found` under their ids; None if there are none.

    Raises EventIdReused if only some are there, or with other content.
    """
    if not found:
        return None
    wanted = {event.id: (append, event) for append in appends for event in append.events}
    for event_id, (append, event) in wanted.items():
        earlier = found.get(event_id)
        if earlier is None:
            raise EventIdReused(
                next(iter(found.values())).id, f"but not {uuid.UUID(bytes=event_id)} of the same append"
            )
        same = (
            (earlier.log, earlier.aggregate_type, earlier.aggregate_id, earlier.type)
            == (append.log, append.aggregate_type, append.aggregate_id, event.type)
            and earlier.data_text == event.data_text and earlier.metadata_text == event.metadata_text
        )  # fmt: skip
        if not same:
            raise EventIdReused(earlier.id, f"as {earlier.type} of {earlier.stream} with other content")
    return [found[event.id] for append in appends for event in append.events]
