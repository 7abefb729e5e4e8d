"""Reading one log or one stream: page after page of keyset reads, each in a short transaction of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from webapp.errors import NotFound, TimedOut
from webapp.store.aggregates_list import find_stream
from webapp.store.catalog import Catalog
from webapp.store.database import Database
from webapp.store.events import EventFilter, RecordedEvent, can_be_stored
from webapp.store.reading import PageSize, fetch, fill, pages
from webapp.store.selecting import Selection
from webapp.store.settling import no_tombstone, settled_head
from webapp.store.tables import logs

_scan_rows = 20_000
"""Rows looked at per statement when a filter has no index, so that a search can stop between statements."""


class Reader:
    """Reads the events of one store. Thread-safe."""

    def __init__(self, database: Database, catalog: Catalog) -> None:
        self._database = database
        self._catalog = catalog

    def log_row(self, connection: sa.Connection, log: str) -> Any:
        """A log's id, head, ordering, and how far it is counted; raises NotFound."""
        query = sa.select(logs.c.id, logs.c.head, logs.c.ordering, logs.c.counted).where(logs.c.name == log)
        row = connection.execute(query).one_or_none() if can_be_stored(log) else None
        if row is None:
            raise NotFound("log", log)
        return row

    def read_log(
        self, log: str, *, after: int, before: int | None, limit: int | None, newest_first: bool, where: EventFilter,
        with_payload: bool, seconds: float | None,
    ) -> Iterator[RecordedEvent]:  # fmt: skip
        """See EventStore.read_log."""
        dialect, size = self._database.dialect, PageSize(with_payload)
        with self._database.reading() as connection:
            row = self.log_row(connection, log)
            texts = (where.aggregate_type, where.aggregate_id, where.correlation_id, where.actor, where.contains)
            selection = None
            if can_be_stored(*where.types, *texts):
                selection = Selection.make(
                    dialect,
                    connection,
                    row.id,
                    settled_head(dialect, connection, row),
                    after,
                    before,
                    where,
                    is_in_time_order=row.ordering == "dense",
                )
            if selection is not None and row.ordering == "parallel":
                selection.add(no_tombstone, [], is_ordered=True)
        if selection is None:
            return
        found, ends_at, reached = 0, None if seconds is None else time.monotonic() + seconds, None
        while limit is None or found < limit:
            rows = size.rows if limit is None else min(size.rows, limit - found)
            window = selection.window(_scan_rows, newest_first)
            with (
                _saying_how_far(reached),
                self._database.reading(None if seconds is None else max(1.0, seconds)) as connection,
            ):
                events = fetch(
                    dialect, connection, self._catalog, window.sql, window.values,
                    order=window.order, limit=rows, with_payload=with_payload, with_large=False,
                )  # fmt: skip
            yield from fill(self._database, self._catalog, events) if with_payload else events
            found += len(events)
            size.learn(events)
            reached = events[-1].position if len(events) == rows else window.edge
            if not selection.move(reached, newest_first):
                return
            if ends_at is not None and time.monotonic() > ends_at and (limit is None or found < limit):
                raise TimedOut(f"The search reached position {reached} before its time was up.", reached)

    def read_stream(
        self,
        aggregate_type: str,
        aggregate_id: str,
        *,
        log: str | None,
        after: int,
        limit: int | None,
        with_payload: bool,
    ) -> Iterator[RecordedEvent]:
        """See EventStore.read_stream."""
        dialect, size = self._database.dialect, PageSize(with_payload)
        with self._database.reading() as connection:
            log_id = None if log is None else self.log_row(connection, log).id
            is_possible = can_be_stored(aggregate_type, aggregate_id) and after < 2**63
            stream_id = find_stream(connection, aggregate_type, aggregate_id, log_id) if is_possible else None
        if stream_id is None:
            return
        for rows in pages(limit, size):
            with self._database.reading() as connection:
                events = fetch(
                    dialect, connection, self._catalog, "e.stream_id = {p} AND e.version > {p}", [stream_id, after],
                    order="e.version", limit=rows, with_payload=with_payload, with_large=False,
                )  # fmt: skip
            yield from fill(self._database, self._catalog, events) if with_payload else events
            if len(events) < rows:
                return
            after = events[-1].version or after
            size.learn(events)

    def event(self, log: str, position: int) -> RecordedEvent:
        """See EventStore.event."""
        if 0 < position < 2**63:
            with self._database.reading() as connection:
                row = self.log_row(connection, log)
                found = fetch(
                    self._database.dialect,
                    connection,
                    self._catalog,
                    f"e.log_id = {{p}} AND e.position = {{p}} AND {no_tombstone}",
                    [row.id, position],
                )
            if found:
                return found[0]
        raise NotFound("event", f"{log}:{position}")


@contextmanager
def _saying_how_far(reached: int | None) -> Iterator[None]:
    """Adds to a statement's TimedOut how far the statements before it came."""
    try:
        yield
    except TimedOut as error:
        raise TimedOut(str(error), reached) from error
