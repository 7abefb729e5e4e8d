"""How events come out: keyset pages through the driver's own cursor, decoded on first use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from webapp.store.catalog import Catalog, Names
from webapp.store.database import Database
from webapp.store.dialects import Dialect
from webapp.store.events import RecordedEvent

columns = (
    "log_id", "position", "stream_id", "version", "type_id", "id", "recorded_at",
    "correlation_id", "causation_id", "actor", "data", "metadata",
)  # fmt: skip
texts = ("data", "metadata")
kinds = ("int4", "int8", "int8", "int8", "int4", "uuid", "timestamptz", "varchar", "varchar", "varchar", "text", "text")
_whole = f"SELECT {', '.join(f'e.{column}' for column in columns)} FROM projectionist_events e WHERE "
_data, _metadata = itemgetter(columns.index("data")), itemgetter(columns.index("metadata"))
_large = 32_768
"""Texts beyond this size come one event at a time, or a page of them would fill the memory."""
_without_payload = _whole.replace("e.data, e.metadata", "NULL, NULL")


class StoredEvent(RecordedEvent):
    """A recorded event over a row of our table: making one costs next to nothing, fields are looked up when asked for."""

    __slots__ = ("_names", "_row")

    def __init__(self, row: tuple[Any, ...], names: Names) -> None:
        self._row = row
        self._names = names


def _lookups() -> dict[str, Callable[[Any], Any]]:
    def at(index: int) -> Callable[[Any], Any]:
        return lambda event: event._row[index]

    return {
        "log": lambda event: event._names.logs[event._row[0]],
        "position": at(1),
        "aggregate_type": lambda event: event._names.types[event._names.streams[event._row[2]][0]],
        "aggregate_id": lambda event: event._names.streams[event._row[2]][1],
        "version": at(3),
        "type": lambda event: event._names.types[event._row[4]],
        "raw_id": at(5),
        "_recorded_at": at(6),
        "correlation_id": at(7),
        "causation_id": at(8),
        "actor": at(9),
        "data_text": at(10),
        "metadata_text": at(11),
    }


for _name, _lookup in _lookups().items():
    # Set from outside, so that type checkers see the fields of RecordedEvent, which these stand in for.
    setattr(StoredEvent, _name, property(_lookup))


def fetch(
    dialect: Dialect,
    connection: sa.Connection,
    catalog: Catalog,
    where: str,
    values: Sequence[Any],
    *,
    order: str = "",
    limit: int | None = None,
    with_payload: bool = True,
    with_large: bool = True,
) -> list[StoredEvent]:
    """The events of one statement; `where` marks its values by {p}. Those left without a large text `fill` completes."""
    select = _whole if with_payload else _without_payload
    if with_payload and not with_large:
        light = (
            f"CASE WHEN {dialect.octets(f'e.{column}')} > {_large} THEN NULL ELSE e.{column} END" for column in texts
        )
        select = _whole.replace("e.data, e.metadata", ", ".join(light))
    sql = select + where.replace("{p}", dialect.parameter)
    if order:
        sql += f" ORDER BY {order}"
    if limit is not None:
        sql += f" LIMIT {int(limit)}"
    rows = dialect.read_rows(connection, sql, values)
    if not rows:
        return []
    names = catalog.learn_names(dialect, connection, rows)
    return [StoredEvent(row, names) for row in rows]


def fill(database: Database, catalog: Catalog, events: Sequence[StoredEvent]) -> Iterable[RecordedEvent]:
    """The events, each that came without its large texts read whole when its turn comes."""
    rows = [event._row for event in events]
    if None not in map(_data, rows) and None not in map(_metadata, rows):
        return events
    return _fill_in_turn(database, catalog, events)


def _fill_in_turn(database: Database, catalog: Catalog, events: Sequence[StoredEvent]) -> Iterator[RecordedEvent]:
    for event in events:
        log_id, position, *_, data, metadata = event._row
        if data is None or metadata is None:
            with database.reading() as connection:
                whole = fetch(
                    database.dialect, connection, catalog, "e.log_id = {p} AND e.position = {p}", [log_id, position]
                )
            yield from whole  # the connection is back by then, whatever the reader does with the event
        else:
            yield event


def read_by_id(
    dialect: Dialect, connection: sa.Connection, catalog: Catalog, ids: Sequence[bytes]
) -> list[StoredEvent]:
    """The recorded events of these ids (16 bytes each), whole, in no order."""
    marks = ", ".join(["{p}"] * len(ids))
    return fetch(dialect, connection, catalog, f"e.id IN ({marks})", ids)


class PageSize:
    """How many rows the next page may have, so that a page of large payloads doesn't fill the memory."""

    smallest, largest, bytes_wanted = 4, 2000, 4_000_000

    def __init__(self, with_payload: bool = True) -> None:
        self.rows = 8 if with_payload else 250

    def learn(self, events: Sequence[RecordedEvent]) -> None:
        """Looks at the page just read, at every 16th event of it, and grows or shrinks."""
        sample = events[::16]
        size = sum(len(event.data_text or "") + len(event.metadata_text or "") for event in sample)
        mean = size / max(1, len(sample)) + 1
        self.rows = int(min(self.largest, self.rows * 4, max(self.smallest, self.bytes_wanted / mean)))


def pages(limit: int | None, size: PageSize) -> Iterator[int]:
    """Numbers of rows to ask for, page after page, until `limit` (None: for ever); the caller stops at a short page."""
    left = limit
    while left is None or left > 0:
        rows = size.rows if left is None else min(size.rows, left)
        yield rows
        if left is not None:
            left -= rows


def take_batch(events: Iterator[RecordedEvent], limit: int, characters: int = 4_000_000) -> list[RecordedEvent]:
    """The next events, at most `limit`, ending with the one that brings their texts to so many characters; [] at the end.

    For whoever holds a batch in memory as a whole, where payloads may be of any size.
    """
    batch: list[RecordedEvent] = []
    while len(batch) < limit and characters > 0 and (event := next(events, None)) is not None:
        batch.append(event)
        characters -= len(event.data_text or "") + len(event.metadata_text or "")
    return batch
