"""The numbers that stand for types and streams in rows, and where each stream stands: looked up under a log's counter."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from webapp.store.catalog import Catalog
from webapp.store.dialects import Dialect

_lookup_chunk = 500


class Standing(NamedTuple):
    """Where a stream stands: its last version, and the number of the stream that continues it, if it was closed."""

    version: int
    continued_by: int | None


class Numbers:
    """Looks numbers up for one append, whose log's counter is held, so that nobody else makes any meanwhile."""

    def __init__(self, dialect: Dialect, connection: sa.Connection, catalog: Catalog) -> None:
        self._dialect = dialect
        self._connection = connection
        self._catalog = catalog
        self.learned: list[Callable[[], None]] = []
        """What the catalog may remember once the transaction has committed."""

    def type_ids(self, log_id: int, kind: str, first_at: Mapping[str, dt.datetime]) -> dict[str, int]:
        """The number of each type by name; types that are new are made, first seen at the time given."""
        known = {name: self._catalog.type_id(log_id, kind, name) for name in first_at}
        if None not in known.values():
            return known  # type: ignore[return-value]
        found = self._find_types(log_id, kind)
        missing = sorted(first_at.keys() - found.keys())
        cursor = self._connection.connection.cursor()
        sql = "INSERT INTO projectionist_types (log_id, kind, name, first_at) VALUES ({p}, {p}, {p}, {p})"
        for name in missing:
            time = self._dialect.encode_time(first_at[name])
            cursor.execute(sql.replace("{p}", self._dialect.parameter), (log_id, kind, name, time))
        if missing:
            found = self._find_types(log_id, kind)
        wanted = {name: found[name] for name in first_at}
        self.learned.append(lambda: self._catalog.remember_types(log_id, kind, wanted))
        return wanted

    def see_first(self, log_id: int, taken_at: dt.datetime, first_at: dt.datetime) -> None:
        """Changes when the types that were made at a time were first seen."""
        sql = "UPDATE projectionist_types SET first_at = {p} WHERE log_id = {p} AND first_at = {p}"
        values = (self._dialect.encode_time(first_at), log_id, self._dialect.encode_time(taken_at))
        self._connection.connection.cursor().execute(sql.replace("{p}", self._dialect.parameter), values)

    def _find_types(self, log_id: int, kind: str) -> dict[str, int]:
        sql = "SELECT name, id FROM projectionist_types WHERE log_id = {p} AND kind = {p}"
        return dict(self._read(sql, (log_id, kind)))

    def stream_ids(self, keys: Iterable[tuple[int, str]]) -> dict[tuple[int, str], int]:
        """The numbers of those streams that there are, by (aggregate type's number, aggregate id)."""
        found: dict[tuple[int, str], int] = {}
        unknown: dict[int, list[str]] = {}
        for key in dict.fromkeys(keys):
            stream_id = self._catalog.stream_id(key)
            if stream_id is None:
                unknown.setdefault(key[0], []).append(key[1])
            else:
                found[key] = stream_id
        for type_id, ids in unknown.items():
            for chunk in chunks(ids):
                where, values = self._dialect.one_of("aggregate_id", chunk)
                sql = f"SELECT aggregate_id, id FROM projectionist_streams WHERE type_id = {{p}} AND {where}"
                found |= {(type_id, name): number for name, number in self._read(sql, (type_id, *values))}
        return found

    def standings(self, stream_ids: set[int]) -> dict[int, Standing]:
        """Where each of these streams stands, by its number."""
        found: dict[int, Standing] = {}
        for chunk in chunks(sorted(stream_ids)):
            where, values = self._dialect.one_of("s.id", chunk)
            # A subquery each: the end of one index range, however long the stream is.
            rows = self._read(
                "SELECT s.id, (SELECT max(e.version) FROM projectionist_events e WHERE e.stream_id = s.id), "
                f"s.continued_by FROM projectionist_streams s WHERE {where}",
                values,
            )
            found |= {stream_id: Standing(version or 0, closed) for stream_id, version, closed in rows}
        return found

    def stream_name(self, stream_id: int) -> str:
        """A stream as sentences name it."""
        sql = (
            "SELECT t.name, s.aggregate_id FROM projectionist_streams s JOIN projectionist_types t ON t.id = s.type_id "
            "WHERE s.id = {p}"
        )
        return "/".join(*self._read(sql, (stream_id,)))

    def _read(self, sql: str, values: Sequence[Any]) -> Sequence[tuple[Any, ...]]:
        return self._dialect.read_rows(self._connection, sql.replace("{p}", self._dialect.parameter), values)


def chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """The values in parts that fit in one statement."""
    return (values[at : at + _lookup_chunk] for at in range(0, len(values), _lookup_chunk))
