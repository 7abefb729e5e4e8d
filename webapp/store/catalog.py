"""What the store has numbers for, logs, types and streams, remembered per process once committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from webapp.store.dialects import Dialect

_streams_remembered = 100_000
_lookup_chunk = 500
_log, _stream, _type = itemgetter(0), itemgetter(2), itemgetter(4)


class Catalog:
    """A cache of names and numbers that never change once committed. Thread-safe, for dict operations are atomic."""

    def __init__(self) -> None:
        self._type_ids: dict[tuple[int, str, str], int] = {}
        self._stream_ids: dict[tuple[int, str], int] = {}
        self.parallel: dict[str, int | None] = {}
        """The number of each log that has many writers at once, None for a log that hasn't."""
        self.log_names: dict[int, str] = {}
        self.type_names: dict[int, str] = {}
        self.streams: dict[int, tuple[int, str]] = {}
        """Aggregate type's number and aggregate id by stream number."""

    def forget(self) -> None:
        """Forgets everything: a server that crashed may have lost what it had committed a moment before.

        So do servers that are told not to wait for their disk (synchronous_commit=off and the like).
        """
        self._type_ids, self._stream_ids, self.parallel = {}, {}, {}
        self.log_names, self.type_names, self.streams = {}, {}, {}

    def is_parallel(self, log: str) -> bool:
        """Whether a log is known to have many writers at once."""
        return self.parallel.get(log) is not None

    def type_id(self, log_id: int, kind: str, name: str) -> int | None:
        """The number of a type, None if it isn't known here (it may still be in the database)."""
        return self._type_ids.get((log_id, kind, name))

    def stream_id(self, key: tuple[int, str]) -> int | None:
        """The number of a stream by (aggregate type's number, aggregate id), None if it isn't known here."""
        return self._stream_ids.get(key)

    def remember_types(self, log_id: int, kind: str, ids: Mapping[str, int]) -> None:
        """Keeps committed numbers of types."""
        for name, type_id in ids.items():
            self._type_ids[log_id, kind, name] = type_id
            self.type_names[type_id] = name

    def remember_streams(self, ids: Mapping[tuple[int, str], int]) -> None:
        """Keeps committed numbers of streams; starts over when there are too many."""
        if len(self._stream_ids) > _streams_remembered:
            self._stream_ids = {}
        self._stream_ids.update(ids)

    def learn_names(self, dialect: Dialect, connection: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> Names:
        """All that is needed to name the logs, types and streams in rows of events."""
        if len(self.streams) > _streams_remembered:
            self.streams = {}
        # Held here, since another thread may have them forgotten meanwhile.
        log_names, type_names, streams = self.log_names, self.type_names, self.streams
        unknown = sorted(set(map(_stream, rows)).difference(streams))
        cursor = connection.connection.cursor()
        for at in range(0, len(unknown), _lookup_chunk):
            chunk = unknown[at : at + _lookup_chunk]
            marks = ", ".join([dialect.parameter] * len(chunk))
            sql = f"SELECT id, type_id, aggregate_id FROM projectionist_streams WHERE id IN ({marks})"
            for stream_id, type_id, aggregate_id in dialect.read_rows(connection, sql, chunk):
                streams[stream_id] = (type_id, aggregate_id)
        if not set(map(_log, rows)) <= log_names.keys():
            cursor.execute("SELECT id, name FROM projectionist_logs")
            self.log_names = log_names = dict(cursor.fetchall())
        if not (set(map(_type, rows)) | {streams[stream][0] for stream in unknown}) <= type_names.keys():
            cursor.execute("SELECT id, name FROM projectionist_types")
            self.type_names = type_names = dict(cursor.fetchall())
        return Names(log_names, type_names, streams)


class Names:
    """Names by number, shared by the events of one page."""

    __slots__ = ("logs", "streams", "types")

    def __init__(self, logs: dict[int, str], types: dict[int, str], streams: dict[int, tuple[int, str]]) -> None:
        self.logs = logs
        self.types = types
        self.streams = streams
