"""How events get in: one transaction under the log's counter, so that positions are dense and in order of commit."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from webapp.errors import Conflict, EventIdReused, InvalidEvent, WrongExpectedVersion
from webapp.store.catalog import Catalog, Names
from webapp.store.dialects import Dialect
from webapp.store.events import (
    Append,
    NewEvent,
    PreparedEvent,
    RecordedEvent,
    checked_name,
    id_limit,
    log_limit,
    prepare,
    type_limit,
)  # fmt: skip
from webapp.store.reading import StoredEvent, columns, kinds, read_by_id
from webapp.store.tables import stream_bits

_lookup_chunk = 500
stream_columns = ("id", "type_id", "aggregate_id")


@dataclass(frozen=True, slots=True)
class PreparedAppend:
    """A checked append: names within their limits, events as texts."""

    log: str
    aggregate_type: str
    aggregate_id: str
    events: Sequence[PreparedEvent]
    expected_version: int | None


def prepare_append(append: Append) -> PreparedAppend:
    """The append with everything checked that needs no database; raises InvalidEvent with a sentence."""
    expected = append.expected_version
    if expected is not None and (type(expected) is not int or expected < 0):
        raise InvalidEvent(f"The expected_version must be a number from 0 on, or None for any; {expected!r} is not.")
    events = append.events
    if not isinstance(events, Sequence) or not all(isinstance(event, NewEvent) for event in events):
        raise InvalidEvent("The events of an append must be a list of NewEvent(type, data, …).")
    return PreparedAppend(
        checked_name(append.log, "log", log_limit),
        checked_name(append.aggregate_type, "aggregate type", type_limit),
        checked_name(append.aggregate_id, "aggregate id", id_limit),
        [prepare(event) for event in append.events],
        expected,
    )


class Appender:
    """One append transaction on one connection: call `run` once, then let the transaction commit."""

    def __init__(self, dialect: Dialect, connection: sa.Connection, catalog: Catalog) -> None:
        self.dialect = dialect
        self.connection = connection
        self.catalog = catalog
        self.cursor = connection.connection.cursor()
        self.learned: list[Callable[[], None]] = []
        """What the catalog may remember once the transaction has committed."""

    def run(self, appends: Sequence[PreparedAppend], *, check_ids: bool) -> list[RecordedEvent]:
        """The recorded events, in order of the appends.

        `check_ids` looks ids up first, which only an append that failed once needs: a clash of ids or of versions makes
        the caller roll back and come again with it. Raises WrongExpectedVersion, EventIdReused.
        """
        if check_ids:
            earlier = self._recorded_before(appends)
            if earlier is not None:
                return earlier
        by_log: dict[str, list[tuple[int, PreparedAppend]]] = {}
        for index, append in enumerate(appends):
            by_log.setdefault(append.log, []).append((index, append))
        recorded: dict[int, list[RecordedEvent]] = {}
        for log in sorted(by_log):  # everybody locks in the same order, so that two appends can't wait for each other
            recorded |= self._append_to_log(log, by_log[log])
        return [event for index in range(len(appends)) for event in recorded[index]]

    def _append_to_log(self, log: str, appends: list[tuple[int, PreparedAppend]]) -> dict[int, list[RecordedEvent]]:
        log_id, head, streams, recorded_at, is_retired = self._lock(log)
        if is_retired:
            raise Conflict(f"The log {log} is retired, so nothing can be appended to it. Choose another log.")
        time = self.dialect.encode_time(recorded_at)
        event_types, aggregate_types = _first_times(appends)
        type_ids = self._type_ids(log_id, "event", event_types, time)
        aggregate_type_ids = self._type_ids(log_id, "aggregate", aggregate_types, time)
        keys = [(aggregate_type_ids[append.aggregate_type], append.aggregate_id) for _, append in appends]
        stream_ids = self._stream_ids(keys)
        versions = self._versions(set(stream_ids.values()))

        position = head
        rows: list[tuple[Any, ...]] = []
        new_streams: list[tuple[int, int, str]] = []
        spans: dict[int, tuple[int, int]] = {}
        encode_time = self.dialect.encode_time
        for (index, append), key in zip(appends, keys, strict=True):
            stream_id = stream_ids.get(key)
            version = 0 if stream_id is None else versions.get(stream_id, 0)
            if append.expected_version is not None and append.expected_version != version:
                stream = f"{append.aggregate_type}/{append.aggregate_id}"
                raise WrongExpectedVersion(stream, append.expected_version, version)
            if append.events and stream_id is None:
                streams += 1
                stream_id = stream_ids[key] = log_id << stream_bits | streams
                new_streams.append((stream_id, *key))
            start = len(rows)
            for (
                type_,
                event_id,
                data_text,
                metadata_text,
                correlation_id,
                causation_id,
                actor,
                own,
                place,
            ) in append.events:
                position = position + 1 if place is None else place
                version += 1
                if own is not None:
                    time = encode_time(own)
                rows.append(
                    (log_id, position, stream_id, version, type_ids[type_], event_id, time,
                     correlation_id, causation_id, actor, data_text, metadata_text)
                )  # fmt: skip
            spans[index] = (start, len(rows))
            if stream_id is not None:
                versions[stream_id] = version
        if rows:
            self._write(log, log_id, position, streams, time, rows, new_streams)
            self.learned.append(lambda: self.catalog.remember_streams(stream_ids))
        names = Names(
            {log_id: log},
            {number: name for known in (type_ids, aggregate_type_ids) for name, number in known.items()},
            {stream_id: key for key, stream_id in stream_ids.items()},
        )
        events = [StoredEvent(row, names) for row in rows]
        return {index: events[start:end] for index, (start, end) in spans.items()}  # type: ignore[misc]

    def _write(
        self,
        log: str,
        log_id: int,
        head: int,
        streams: int,
        time: Any,
        rows: list[tuple[Any, ...]],
        new_streams: list[tuple[int, int, str]],
    ) -> None:
        def insert() -> None:
            if new_streams:
                self.dialect.append_rows(self.connection, "projectionist_streams", stream_columns, new_streams)
            self.dialect.append_rows(self.connection, "projectionist_events", columns, rows, kinds)

        is_bulk = len(rows) >= self.dialect.bulk_rows
        with self.dialect.pipelined(self.connection):
            if new_streams:
                began_at = {row[2]: row[6] for row in reversed(rows)}
                self._count(
                    Counter(type_id for _, type_id, _ in new_streams),
                    {type_id: began_at[stream_id] for stream_id, type_id, _ in new_streams},
                )
            self._count(Counter(row[4] for row in rows), {row[4]: row[6] for row in rows})
            self._execute(
                "UPDATE projectionist_logs SET head = {p}, streams = {p}, recorded_at = {p} WHERE id = {p}",
                (head, streams, time, log_id),
            )
            self.dialect.announce_append(self.connection, log)
            if not is_bulk:
                insert()
        if is_bulk:
            insert()

    def _lock(self, log: str) -> tuple[int, int, int, dt.datetime, bool]:
        locked = self.dialect.lock_log(self.connection, log)
        if locked is None:
            self._execute(
                f"{self.dialect.insert_or_ignore} projectionist_logs (name) VALUES ({{p}}) {self.dialect.ignore_conflict}",
                (log,),
            )
            locked = self.dialect.lock_log(self.connection, log)
        if locked is None:
            raise Conflict(f"The log {log} vanished while it was being made. Try again.")
        return locked

    def _type_ids(self, log_id: int, kind: str, names: dict[str, dt.datetime | None], time: Any) -> dict[str, int]:
        known = {name: self.catalog.type_id(log_id, kind, name) for name in names}
        if None not in known.values():
            return known  # type: ignore[return-value]
        # The log's counter is ours, so nobody else makes types of this log meanwhile.
        found = self._find_types(log_id, kind)
        missing = sorted(names.keys() - found.keys())
        for name in missing:
            first = names[name]
            self._execute(
                "INSERT INTO projectionist_types (log_id, kind, name, first_at) VALUES ({p}, {p}, {p}, {p})",
                (log_id, kind, name, time if first is None else self.dialect.encode_time(first)),
            )
        if missing:
            found = self._find_types(log_id, kind)
        wanted = {name: found[name] for name in names}
        self.learned.append(lambda: self.catalog.remember_types(log_id, kind, wanted))
        return wanted

    def _find_types(self, log_id: int, kind: str) -> dict[str, int]:
        self._execute("SELECT name, id FROM projectionist_types WHERE log_id = {p} AND kind = {p}", (log_id, kind))
        return dict(self.cursor.fetchall())

    def _stream_ids(self, keys: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
        found: dict[tuple[int, str], int] = {}
        unknown: dict[int, list[str]] = {}
        for key in dict.fromkeys(keys):
            stream_id = self.catalog.stream_id(key)
            if stream_id is None:
                unknown.setdefault(key[0], []).append(key[1])
            else:
                found[key] = stream_id
        for type_id, ids in unknown.items():
            for chunk in _chunks(ids):
                rows = self._read(
                    "SELECT aggregate_id, id FROM projectionist_streams WHERE type_id = {p} AND aggregate_id IN ("
                    + ", ".join(["{p}"] * len(chunk)) + ")",
                    (type_id, *chunk),
                )  # fmt: skip
                found |= {(type_id, aggregate_id): stream_id for aggregate_id, stream_id in rows}
        return found

    def _versions(self, stream_ids: set[int]) -> dict[int, int]:
        versions: dict[int, int] = {}
        if len(stream_ids) == 1:
            (stream_id,) = stream_ids
            (row,) = self._read("SELECT max(version) FROM projectionist_events WHERE stream_id = {p}", (stream_id,))
            return {stream_id: row[0] or 0}
        for chunk in _chunks(sorted(stream_ids)):
            # A subquery each: the end of one index range, however long the stream is.
            rows = self._read(
                "SELECT s.id, (SELECT max(e.version) FROM projectionist_events e WHERE e.stream_id = s.id) "
                "FROM projectionist_streams s WHERE s.id IN (" + ", ".join(["{p}"] * len(chunk)) + ")",
                tuple(chunk),
            )
            versions |= {stream_id: version or 0 for stream_id, version in rows}
        return versions

    def _count(self, counts: Counter[int], last_at: dict[int, Any]) -> None:
        for type_id, count in sorted(counts.items()):
            self._execute(
                "UPDATE projectionist_types SET total = total + {p}, last_at = {p} WHERE id = {p}",
                (count, last_at[type_id], type_id),
            )

    def _recorded_before(self, appends: Sequence[PreparedAppend]) -> list[RecordedEvent] | None:
        """The events that these very appends recorded earlier; None if none of them is there."""
        for log in sorted({append.log for append in appends}):
            self._lock(log)
        wanted = {event.id: (append, event) for append in appends for event in append.events}
        found: dict[bytes, RecordedEvent] = {}
        for chunk in _chunks(list(wanted)):
            found |= {
                uuid.UUID(event.id).bytes: event
                for event in read_by_id(self.dialect, self.connection, self.catalog, chunk)
            }
        if not found:
            return None
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

    def _read(self, sql: str, values: tuple[Any, ...]) -> Sequence[tuple[Any, ...]]:
        return self.dialect.read_rows(self.connection, sql.replace("{p}", self.dialect.parameter), values)

    def _execute(self, sql: str, values: tuple[Any, ...]) -> None:
        self.cursor.execute(sql.replace("{p}", self.dialect.parameter), values)


def _first_times(
    appends: Sequence[tuple[int, PreparedAppend]],
) -> tuple[dict[str, dt.datetime | None], dict[str, dt.datetime | None]]:
    """The types of events and of aggregates, each with the time that its first event brings (None: now)."""
    backwards = [(append.aggregate_type, append.events) for _, append in reversed(appends)]
    return (
        {event.type: event.recorded_at for _, events in backwards for event in reversed(events)},
        {type_: events[0].recorded_at if events else None for type_, events in backwards},
    )


def _chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[at : at + _lookup_chunk] for at in range(0, len(values), _lookup_chunk))
