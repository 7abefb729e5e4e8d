"""One log as a sequence of events of any length, in pages that fit into memory and into the time limit."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import sqlalchemy as sa

from webapp.adapters.ecotone.events import EventReader, is_looked_up
from webapp.adapters.ecotone.streams import Stream
from webapp.errors import TimedOut
from webapp.store.events import EventFilter, RecordedEvent

Reading = Callable[[], AbstractContextManager[sa.Connection]]
first_page, largest_page, page_bytes = 50, 500, 4_000_000
smallest_window, first_window = 500, 10_000


def read_pages(
    reading: Reading, reader: EventReader, stream: Stream, low: int, high: int, limit: int | None,
    newest_first: bool, where: EventFilter, with_payload: bool, seconds: float | None,
) -> Iterator[RecordedEvent]:  # fmt: skip
    """The events with low < position < high that pass, in order.

    A filter that no index serves is looked for in windows of positions. Reading that takes longer than `seconds`
    raises TimedOut with `reached`, the last position looked at; what the caller does between events doesn't count.
    """
    is_search = not where.is_empty() and not is_looked_up(stream, where)
    seen_by = where if with_payload else dataclasses.replace(where, contains=None)
    left, page, window, spent = limit, first_page, first_window, 0.0
    while low + 1 < high and (left is None or left > 0):
        if seconds is not None and spent > seconds:
            raise TimedOut("The search ran out of time.", reached=high if newest_first else low)
        size = page if left is None else min(page, left)
        start, end = low, high
        if is_search:
            start, end = (max(low, high - 1 - window), high) if newest_first else (low, min(high, low + 1 + window))
        began = time.monotonic()
        try:
            with reading() as connection:
                events = reader.read(connection, stream, start, end, size, newest_first, where, with_payload)
        except TimedOut as error:
            if is_search and window > smallest_window:
                window = max(smallest_window, window // 10)
                continue
            raise TimedOut(str(error), reached=high if newest_first else low) from error
        took = time.monotonic() - began
        spent += took
        # What lies between two pages was looked at whole if the database had no more to give.
        is_whole = len(events) < size
        if newest_first:
            high = start + 1 if is_whole else events[-1].position
        else:
            low = end - 1 if is_whole else events[-1].position
        if is_search and is_whole:
            window = window * 2 if took < 0.2 else window
        page = _next_page(page, events)
        for event in events:
            if where.is_empty() or seen_by.matches(event):
                yield event
                left = None if left is None else left - 1


def _next_page(page: int, events: list[RecordedEvent]) -> int:
    """As many events as fit into some megabytes, judged by the last ones."""
    if not events:
        return page
    size = sum(len(event.data_text or "") + len(event.metadata_text or "") for event in events) // len(events)
    return max(10, min(largest_page, page * 4, page_bytes // max(1, size)))


def read_versions(
    reading: Reading, reader: EventReader, stream: Stream, aggregate_type: str, aggregate_id: str,
    after: int, limit: int | None, with_payload: bool,
) -> Iterator[RecordedEvent]:  # fmt: skip
    """One aggregate's events with version > after, by version."""
    left, page, position = limit, first_page, 0
    while left is None or left > 0:
        size = page if left is None else min(page, left)
        with reading() as connection:
            events = reader.read_versions(
                connection, stream, aggregate_type, aggregate_id, after, position, size, with_payload
            )
        for event in events:
            if event.aggregate_type == aggregate_type and event.aggregate_id == aggregate_id:
                yield event
                left = None if left is None else left - 1
        if len(events) < size:
            return
        position = events[-1].position
        page = _next_page(page, events)
