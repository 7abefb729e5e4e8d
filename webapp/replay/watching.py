"""Tables and a context that tell what each event does: rows before and after, changes of state, derived events."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from webapp.projections.batch import Context
from webapp.projections.projection import Table
from webapp.projections.targets import Key
from webapp.replay.scratch import Scratch, ScratchTable
from webapp.replay.values import encode_key
from webapp.store.database import Database
from webapp.store.dialects import Dialect
from webapp.store.events import NewEvent, PreparedEvent, prepare

Row = dict[str, Any]
longest_kept = 20_000
_chunk = 400


@dataclass(frozen=True, slots=True)
class RowChange:
    """What became of one row: `kind` is added, changed (in these `columns`), removed or unchanged.

    Texts and bytes of more than 20,000 are cut.
    """

    kind: str
    table: str
    key: Row
    before: Row | None
    after: Row | None
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StateChange:
    """One value of a projection's state, before and after as JSON text; None where there was or is none."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Emission:
    """A derived event that would be recorded, checked as an append checks it."""

    aggregate_type: str
    aggregate_id: str
    event: PreparedEvent


class WatchedContext(Context):
    """What handlers are given: derived events are noted also in a replay, and go nowhere."""

    def emit(self, aggregate_type: str, aggregate_id: str, event: NewEvent) -> None:
        """Notes a derived event."""
        told, self.is_replay = self.is_replay, False
        try:
            super().emit(aggregate_type, aggregate_id, event)
        finally:
            self.is_replay = told

    def take_emissions(self) -> tuple[Emission, ...]:
        """What was noted so far, and forgets it; raises InvalidEvent where one can't be recorded."""
        noted, self.emitted = self.emitted, []
        return tuple(Emission(type_, id_, prepare(event)) for type_, id_, event in noted)


class WatchedTable(ScratchTable):
    """A table of a fold that tells which rows an event changed.

    With `readers`, a connection to the store, a row is the one that readers see until the fold writes it. Only rows
    that handlers touch are read.
    """

    def __init__(self, definition: Table, database: Database, scratch: Scratch) -> None:
        super().__init__(definition, database, scratch)
        self.readers: sa.Connection | None = None
        self._database = database
        self._checks = self._encoders(database.engine.dialect)

    def apply(self, dialect: Dialect, connection: sa.Connection) -> list[RowChange]:
        """Keeps what one event's handlers did; returns each row that they wrote, in the order of first touch."""
        touched = {self._encode(key): key for key in self._touched}
        self._pull(connection, touched.values())
        before = self._find(connection, touched)
        self.flush(dialect, connection)
        after = self._find(connection, touched)
        return [
            self._change(key, before[encoded].values if encoded in before else None, after[encoded].values)
            for encoded, key in touched.items()
        ]

    def flush(self, dialect: Dialect, connection: sa.Connection) -> int:
        """Keeps what the batch came to; raises ValueError for what no column would be given in earnest."""
        self._pull(connection, self._touched)
        super()._load(connection, [key for key in self._touched if not self._rows[key].is_deleted])
        for key in self._touched:
            merged = self._merged(key, self._rows[key])
            if merged is not None:
                for check in self._checks:
                    check.encode(merged[check.name])
        return super().flush(dialect, connection)

    def list_touched(self, connection: sa.Connection) -> list[RowChange]:
        """The rows that the handlers of an event have read or written so far, as far as they can be told."""
        return [change for key in list(self._rows) if (change := self._tell_touched(connection, key)) is not None]

    def _tell_touched(self, connection: sa.Connection, key: Key) -> RowChange | None:
        try:
            encoded = self._encode(key)
            self._pull(connection, [key])
            found = self._find(connection, [encoded]).get(encoded)
            return self._change(key, found.values if found is not None else None, self.get(key))
        except Exception:
            return None  # the event has failed already; this row may be why

    def _load(self, connection: sa.Connection, keys: Sequence[Key]) -> None:
        self._pull(connection, keys)
        super()._load(connection, keys)

    def _pull(self, connection: sa.Connection, keys: Iterable[Key]) -> None:
        """Takes rows over as readers see them, those that the fold doesn't know yet."""
        if self.readers is None:
            return
        wanted = {self._encode(key): key for key in keys}
        for encoded in self._find(connection, wanted):
            del wanted[encoded]
        unknown = list(wanted.values())
        found: dict[bytes, bytes] = {}
        with self._database.translated():
            for at in range(0, len(unknown), _chunk):
                query = sa.select(self.live).where(self._key_in(unknown[at : at + _chunk]))
                for row in self.readers.execute(query):
                    values = {column.name: column.read(row._mapping[column.name]) for column in self.columns}
                    encoded = encode_key(tuple(values[name] for name in self.definition.key))
                    found[encoded] = pickle.dumps(list(values.values()))
        if wanted:
            sql = f"INSERT INTO {self._kept.name} (key, row, events) VALUES (?, ?, ?)"
            none = pickle.dumps([])
            connection.exec_driver_sql(sql, [(encoded, found.get(encoded), none) for encoded in wanted])

    def _change(self, key: Key, before: Row | None, after: Row | None) -> RowChange:
        named = dict(zip(self.definition.key, key, strict=True))
        rest = [column for column in self.columns if column.name not in named]
        columns: tuple[str, ...] = ()
        if before is None or after is None:
            kind = "unchanged" if before is after else "added" if before is None else "removed"
            if kind != "unchanged":
                columns = tuple(column.name for column in rest)
        else:
            columns = tuple(one.name for one in rest if not one.is_same(before[one.name], after[one.name]))
            kind = "changed" if columns else "unchanged"
        return RowChange(kind, self.definition.name, named, _cut(before), _cut(after), columns)


def list_state_changes(before: Any, after: Any, path: str = "") -> Iterator[StateChange]:
    """Each value that differs between two states of JSON, named by its path; lists count as one value."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        if before != after or type(before) is not type(after):
            yield StateChange(path, _json(before), _json(after))
        return
    for name in dict.fromkeys([*before, *after]):
        here = f"{path}.{name}" if path else name
        if name not in after:
            yield StateChange(here, _json(before[name]), None)
        elif name not in before:
            yield StateChange(here, None, _json(after[name]))
        else:
            yield from list_state_changes(before[name], after[name], here)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _cut(row: Row | None) -> Row | None:
    if row is None:
        return None
    return {name: _cut_value(value) for name, value in row.items()}


def _cut_value(value: Any) -> Any:
    if isinstance(value, str) and len(value) > longest_kept:
        return f"{value[:longest_kept]}…"
    return value[:longest_kept] if isinstance(value, bytes) and len(value) > longest_kept else value
