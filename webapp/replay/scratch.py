"""Tables of a fold that nobody else sees: in a private file that is gone with its connection."""

from __future__ import annotations

import pickle
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from webapp.errors import StoreUnavailable
from webapp.projections.projection import Table
from webapp.projections.targets import Key, TableWriter
from webapp.replay.values import ColumnValues, encode_key
from webapp.store.database import Database
from webapp.store.dialects import Dialect
from webapp.store.events import RecordedEvent

events_kept = 5
"""How many of the last events of a row are remembered."""
_chunk = 400


@dataclass(frozen=True, slots=True)
class Cause:
    """An event that wrote a row."""

    log: str
    position: int
    type: str


@dataclass(frozen=True, slots=True)
class ScratchRow:
    """A row as the fold left it, None if it was removed, and the last events that wrote it, oldest first."""

    values: dict[str, Any] | None
    events: tuple[Cause, ...]


class Scratch:
    """A database of one connection, kept in memory while it's small and in a nameless file when it isn't."""

    def __init__(self) -> None:
        # An empty name makes SQLite delete the file with the connection, also after a kill.
        self._engine = sa.create_engine(
            "sqlite://", creator=lambda: sqlite3.connect("", check_same_thread=False), poolclass=sa.StaticPool
        )
        self.connection = self._engine.connect()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """The connection in a transaction that commits at the end, or rolls back if the block raises."""
        try:
            with self.connection.begin():
                yield self.connection
        except sa.exc.OperationalError as error:
            raise StoreUnavailable(
                f"The fold can't be kept on this host: {error.orig}. Make room, or set TMPDIR to a folder that has some."
            ) from error

    def close(self) -> None:
        """Removes everything; may be called twice."""
        self.connection.close()
        self._engine.dispose()


class ScratchTable(TableWriter):
    """A table as handlers see it, with its rows in a scratch instead of the store.

    Values come back as the store's own database would give them, and each row knows the last events that wrote it:
    set `event` before a handler runs.
    """

    def __init__(self, definition: Table, database: Database, scratch: Scratch) -> None:
        super().__init__(definition, definition.name, lambda: nullcontext(scratch.connection))
        driver = database.engine.dialect
        self.definition = definition
        self.live = self._table
        self.columns = [ColumnValues(column, database.dialect, driver) for column in self._table.columns]
        self.event: RecordedEvent | None = None
        self._touched: dict[Key, deque[Cause]] = {}
        self._key_columns = [column for column in self.columns if column.name in definition.key]
        self._kept = sa.Table(
            f"rows_of_{definition.name}",
            sa.MetaData(),
            sa.Column("key", sa.LargeBinary, primary_key=True),
            sa.Column("row", sa.LargeBinary),
            sa.Column("events", sa.LargeBinary, nullable=False),
        )
        with scratch.writing() as connection:
            self._kept.create(connection)

    # --- what handlers do -------------------------------------------------------------------------------------------

    def upsert(self, key: Any, **values: Any) -> None:
        """Makes the row if it isn't there, and sets these columns; others stay."""
        super().upsert(key, **values)
        self._touch(key)

    def increment(self, key: Any, **amounts: Any) -> None:
        """Adds amounts to columns, making the row if it isn't there."""
        super().increment(key, **amounts)
        self._touch(key)

    def delete(self, key: Any) -> None:
        """Removes the row if it's there."""
        super().delete(key)
        self._touch(key)

    def _touch(self, key: Any) -> None:
        if self.event is not None:
            cause = Cause(self.event.log, self.event.position, self.event.type)
            self._touched.setdefault(self._key(key), deque(maxlen=events_kept)).append(cause)

    # --- what becomes of it -----------------------------------------------------------------------------------------

    def flush(self, dialect: Dialect, connection: sa.Connection) -> int:
        """Keeps what the batch came to; returns how many rows it wrote or removed."""
        keys = {key: self._encode(key) for key in self._touched}
        found = self._find(connection, keys.values())
        kept = []
        for key, encoded in keys.items():
            row, before = self._rows[key], found.get(encoded)
            if not row.is_deleted:
                row.base = before.values if before is not None else None
            merged = self._merged(key, row)
            values = None if merged is None else [column.stored(merged[column.name]) for column in self.columns]
            causes = [*(before.events if before is not None else ()), *self._touched[key]][-events_kept:]
            events = [(cause.log, cause.position, cause.type) for cause in causes]
            kept.append((encoded, None if values is None else pickle.dumps(values), pickle.dumps(events)))
        if kept:
            sql = f"INSERT OR REPLACE INTO {self._kept.name} (key, row, events) VALUES (?, ?, ?)"
            connection.exec_driver_sql(sql, kept)
        self.forget_batch()
        return len(kept)

    def forget_batch(self) -> None:
        """Leaves out what handlers did since the last flush."""
        self._rows.clear()
        self._touched.clear()

    def _load(self, connection: sa.Connection, keys: Sequence[Key]) -> None:
        found = self._find(connection, [self._encode(key) for key in keys])
        for key in keys:
            row = found.get(self._encode(key))
            self._rows[key].base = row.values if row is not None else None

    def _encode(self, key: Key) -> bytes:
        return encode_key(tuple([column.stored(part) for column, part in zip(self._key_columns, key, strict=True)]))

    # --- comparing --------------------------------------------------------------------------------------------------

    def take(self, connection: sa.Connection, keys: Sequence[bytes]) -> dict[bytes, ScratchRow]:
        """The rows of these encoded keys, removed, so that in the end those stay for which nobody asked."""
        found = self._find(connection, keys)
        if found:
            connection.exec_driver_sql(f"DELETE FROM {self._kept.name} WHERE key = ?", [(key,) for key in found])
        return found

    def count_left(self, connection: sa.Connection) -> int:
        """How many rows were not taken."""
        query = sa.select(sa.func.count()).where(self._kept.c.row.is_not(None))
        return int(connection.execute(query).scalar_one())

    def list_left(self, connection: sa.Connection, limit: int) -> list[ScratchRow]:
        """The first rows that were not taken."""
        query = sa.select(self._kept).where(self._kept.c.row.is_not(None)).order_by(self._kept.c.key).limit(limit)
        return [self._row_of(row) for row in connection.execute(query)]

    def _find(self, connection: sa.Connection, keys: Iterable[bytes]) -> dict[bytes, ScratchRow]:
        wanted, found = list(keys), {}
        for at in range(0, len(wanted), _chunk):
            query = sa.select(self._kept).where(self._kept.c.key.in_(wanted[at : at + _chunk]))
            found.update({row.key: self._row_of(row) for row in connection.execute(query)})
        return found

    def _row_of(self, row: Any) -> ScratchRow:
        # Nobody but this process can have written what is unpickled here.
        values = None if row.row is None else pickle.loads(row.row)  # noqa: S301
        events = tuple(Cause(*cause) for cause in pickle.loads(row.events))  # noqa: S301
        named = None if values is None else dict(zip([one.name for one in self.columns], values, strict=True))
        return ScratchRow(named, events)
