"""The rows of an append, made in memory: each event's position and version, with the expected versions checked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from webapp.errors import Conflict, StreamClosed, WrongExpectedVersion
from webapp.store.dialects import Dialect
from webapp.store.dialects.base import LogCounter
from webapp.store.numbers import Numbers, Standing
from webapp.store.tables import stream_bits

if TYPE_CHECKING:
    from webapp.store.appending import PreparedAppend


class Draft:
    """What one log gets in one transaction: rows of events, rows of new streams, the counter after them."""

    def __init__(self, dialect: Dialect, numbers: Numbers, counter: LogCounter) -> None:
        self._encode_time = dialect.encode_time
        self._numbers = numbers
        self._log_id = counter.id
        self.head = counter.head
        self.streams = counter.streams
        self.time = dialect.encode_time(counter.now)
        self.rows: list[tuple[Any, ...]] = []
        self.new_streams: list[tuple[int, int, str]] = []
        self.type_ids: dict[str, int] = {}
        self.aggregate_type_ids: dict[str, int] = {}
        self.stream_ids: dict[tuple[int, str], int] = {}
        self._standings: dict[int, Standing] = {}

    @classmethod
    def make(
        cls, dialect: Dialect, numbers: Numbers, counter: LogCounter, appends: Sequence[PreparedAppend]
    ) -> Self:  # fmt: skip
        """An empty draft that knows all about the types and streams of these appends."""
        draft = cls(dialect, numbers, counter)
        event_types, aggregate_types = _first_times(appends, counter.now)
        draft.type_ids = numbers.type_ids(counter.id, "event", event_types)
        draft.aggregate_type_ids = numbers.type_ids(counter.id, "aggregate", aggregate_types)
        draft.stream_ids = numbers.stream_ids(map(draft._key, appends))
        draft._standings = numbers.standings(set(draft.stream_ids.values()))
        return draft

    def look_again(self) -> None:
        """Asks again where the streams stand, once nobody else can append to them."""
        self._standings = self._numbers.standings(set(self.stream_ids.values()))

    def add_together(self, appends: Sequence[PreparedAppend]) -> list[tuple[int, int]] | Conflict:
        """Adds all of these appends: from which row to which row each stands. Or none: why one of them is refused."""
        head, streams, time = self.head, self.streams, self.time
        rows, new_streams = len(self.rows), len(self.new_streams)
        before: dict[int, Standing] = {}
        try:
            return [self._add(append, before) for append in appends]
        except Conflict as error:
            self.head, self.streams, self.time = head, streams, time
            for _, type_id, aggregate_id in self.new_streams[new_streams:]:
                del self.stream_ids[type_id, aggregate_id]
            del self.rows[rows:], self.new_streams[new_streams:]
            self._standings |= before
            return error

    def _add(self, append: PreparedAppend, before: dict[int, Standing]) -> tuple[int, int]:
        key = self._key(append)
        stream_id = self.stream_ids.get(key)
        standing = _new if stream_id is None else self._standings.get(stream_id, _new)
        version, start = standing.version, len(self.rows)
        if standing.continued_by is not None:
            raise StreamClosed(
                f"{append.aggregate_type}/{append.aggregate_id}", self._numbers.stream_name(standing.continued_by)
            )
        if append.expected_version is not None and append.expected_version != version:
            raise WrongExpectedVersion(
                f"{append.aggregate_type}/{append.aggregate_id}", append.expected_version, version
            )
        if not append.events:
            return start, start
        if stream_id is None:
            self.streams += 1
            stream_id = self.stream_ids[key] = self._log_id << stream_bits | self.streams
            self.new_streams.append((stream_id, *key))
        log_id, position, time, type_ids, rows = self._log_id, self.head, self.time, self.type_ids, self.rows
        for type_, id_, data_text, metadata_text, correlation_id, causation_id, actor, own_time, place in append.events:
            position = position + 1 if place is None else place
            version += 1
            if own_time is not None:
                time = self._encode_time(own_time)
            rows.append(
                (log_id, position, stream_id, version, type_ids[type_], id_, time,
                 correlation_id, causation_id, actor, data_text, metadata_text)
            )  # fmt: skip
        self.head, self.time = position, time
        before.setdefault(stream_id, standing)
        self._standings[stream_id] = Standing(version, None)
        return start, len(rows)

    def _key(self, append: PreparedAppend) -> tuple[int, str]:
        return self.aggregate_type_ids[append.aggregate_type], append.aggregate_id


_new = Standing(0, None)


def _first_times(
    appends: Sequence[PreparedAppend], now: dt.datetime
) -> tuple[dict[str, dt.datetime], dict[str, dt.datetime]]:
    """The types of events and of aggregates, each with the time of its first event."""
    events: dict[str, dt.datetime] = {}
    aggregates: dict[str, dt.datetime] = {}
    for append in appends:
        if append.aggregate_type not in aggregates:
            aggregates[append.aggregate_type] = (append.events[0].recorded_at if append.events else None) or now
        for event in append.events:
            if event.type not in events:
                events[event.type] = event.recorded_at or now
    return events, aggregates
