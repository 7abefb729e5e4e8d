"""Where a projection writes: tables with write-behind, folded in memory per batch and written in bulk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from webapp.projections.projection import Table
from webapp.store.dialects import Dialect

Key = tuple[Any, ...]
_unknown: Any = object()
_chunk = 400
_takes: tuple[tuple[type[Any], tuple[type, ...]], ...] = (
    (sa.Enum, (object,)),
    (sa.String, (str,)),
    (sa.Integer, (int,)),
    (sa.Numeric, (int, float, Decimal)),
)
"""What columns take. Databases differ in what else they would turn into a number or text, some of them in silence."""


class _Row:
    """What a batch has done to one row so far."""

    __slots__ = ("adds", "base", "is_deleted", "is_written", "sets")

    def __init__(self) -> None:
        self.base: dict[str, Any] | None = _unknown  # as the database has it, None if absent
        self.sets: dict[str, Any] = {}
        self.adds: dict[str, Any] = {}
        self.is_written = False
        self.is_deleted = False


class TableWriter:
    """One table of one generation, as handlers see it.

    Nothing is written before the batch ends; `get` sees what the batch has done so far. A key is one value, or a tuple
    where the table's key has several columns.
    """

    def __init__(
        self, table: Table, physical_name: str, reading: Callable[[], AbstractContextManager[sa.Connection]]
    ) -> None:
        self._definition = table
        self._table = table.physical(physical_name)
        self._reading = reading
        self._rows: dict[Key, _Row] = {}
        self._columns = frozenset(column.name for column in table.columns) - set(table.key)
        self._key_takes = [_taken(self._table.c[name].type) for name in table.key]
        self._fresh = {
            c.name: c.default.arg if isinstance(c.default, sa.ColumnDefault) else None for c in table.columns
        }

    def get(self, key: Any) -> dict[str, Any] | None:
        """A copy of the row as it stands after the events so far, None if there is none."""
        key = self._key(key)
        row = self._row(key)
        if row.base is _unknown:
            with self._reading() as connection:
                self._load(connection, [key])
        return self._merged(key, row)

    def upsert(self, key: Any, **values: Any) -> None:
        """Makes the row if it isn't there, and sets these columns; others stay."""
        self._check(values)
        row = self._row(self._key(key))
        row.is_written = True
        row.sets.update(values)
        for column in values:
            row.adds.pop(column, None)

    def increment(self, key: Any, **amounts: Any) -> None:
        """Adds amounts to columns, making the row if it isn't there."""
        self._check(amounts)
        row = self._row(self._key(key))
        row.is_written = True
        for column, amount in amounts.items():
            if column in row.sets:
                row.sets[column] = (row.sets[column] or 0) + amount
            else:
                row.adds[column] = row.adds.get(column, 0) + amount

    def delete(self, key: Any) -> None:
        """Removes the row if it's there."""
        row = self._row(self._key(key))
        row.base, row.sets, row.adds = None, {}, {}
        row.is_written, row.is_deleted = False, True

    def flush(self, dialect: Dialect, connection: sa.Connection) -> int:
        """Writes what the batch came to, in bulk; returns how many rows were written or removed."""
        self._load(connection, [key for key, row in self._rows.items() if row.base is _unknown and row.is_written])
        columns = self._encoders(connection.dialect)
        written, removed = [], []
        for key, row in self._rows.items():
            merged = self._merged(key, row) if row.is_written else None
            if merged is not None:
                written.append(tuple([column.encode(merged[column.name]) for column in columns]))
            elif row.is_deleted:
                removed.append(key)
        if removed:
            for at in range(0, len(removed), _chunk):
                connection.execute(sa.delete(self._table).where(self._key_in(removed[at : at + _chunk])))
        if written:
            names = [column.name for column in columns]
            dialect.upsert_rows(connection, self._table.name, names, self._definition.key, written)
        self._rows.clear()
        return len(written) + len(removed)

    def _encoders(self, driver: sa.Dialect) -> list[_Encoder]:
        return [_Encoder(column, driver) for column in self._table.columns]

    def _key(self, key: Any) -> Key:
        parts: Key = key if isinstance(key, tuple) else (key,)
        if len(parts) != len(self._definition.key):
            raise ValueError(f"The key of {self._definition.name} is {self._definition.key}, not {key!r}")
        for name, part, taken in zip(self._definition.key, parts, self._key_takes, strict=True):
            if not isinstance(part, taken) or part is None:
                raise _refused(self._table.c[name], part)
        return parts

    def _check(self, values: Mapping[str, Any]) -> None:
        if not values.keys() <= self._columns:
            wrong = ", ".join(sorted(values.keys() - self._columns))
            raise ValueError(f"The table {self._definition.name} has no column {wrong} beside its key")

    def _row(self, key: Key) -> _Row:
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = _Row()
        return row

    def _merged(self, key: Key, row: _Row) -> dict[str, Any] | None:
        if row.base is None and not row.is_written:
            return None
        merged = dict(row.base) if row.base is not None else self._fresh | self._named(key)
        merged.update(row.sets)
        for column, amount in row.adds.items():
            merged[column] = (merged[column] or 0) + amount
        return merged

    def _named(self, key: Key) -> dict[str, Any]:
        return dict(zip(self._definition.key, key, strict=True))

    def _load(self, connection: sa.Connection, keys: Sequence[Key]) -> None:
        for at in range(0, len(keys), _chunk):
            chunk = keys[at : at + _chunk]
            found = {
                tuple(row._mapping[name] for name in self._definition.key): dict(row._mapping)
                for row in connection.execute(sa.select(self._table).where(self._key_in(chunk)))
            }
            for key in chunk:
                self._rows[key].base = found.pop(key, None)
            if found:
                # The database takes two keys for one (case, a number given as text): merging would lose a row.
                raise ValueError(
                    f"The table {self._definition.name} finds {next(iter(found))!r} for another key of this batch. "
                    "Give keys the column's own type, and name columns the type Name, which compares byte by byte."
                )

    def _key_in(self, keys: Iterable[Key]) -> sa.ColumnElement[bool]:
        columns = [self._table.c[name] for name in self._definition.key]
        if len(columns) == 1:
            return columns[0].in_([key[0] for key in keys])
        return sa.tuple_(*columns).in_(list(keys))


class _Encoder:
    """One column's values as the driver wants them."""

    def __init__(self, column: sa.Column[Any], dialect: sa.Dialect) -> None:
        self.name = column.name
        self._column = column
        self._takes = (*_taken(column.type), type(None))
        self._is_ours_to_check = not isinstance(column.type, sa.types.TypeDecorator)  # which may take anything
        self._process = column.type.dialect_impl(dialect).bind_processor(dialect)

    def encode(self, value: Any) -> Any:
        if self._is_ours_to_check and not isinstance(value, self._takes):
            raise _refused(self._column, value)
        if self._process is not None:
            value = self._process(value)
        if isinstance(value, (dict, list, tuple, set)):
            raise _refused(self._column, value)
        return value


def _taken(type_: sa.types.TypeEngine[Any]) -> tuple[type, ...]:
    plain = type_.impl_instance if isinstance(type_, sa.types.TypeDecorator) else type_
    return next((taken for kind, taken in _takes if isinstance(plain, kind)), (object,))


def _refused(column: sa.Column[Any], value: Any) -> ValueError:
    where = f"{column.table.name}.{column.name}"
    return ValueError(f"{where} is a column of type {column.type!r}, which doesn't take {value!r:.100}")


def create_tables(connection: sa.Connection, tables: Iterable[Table], generation: int) -> None:
    """Makes the empty tables of a new generation; those that a killed attempt left are made anew."""
    for table in tables:
        physical = table.physical(table.shadow_name(generation))
        physical.drop(connection, checkfirst=True)
        physical.create(connection)


def create_missing_tables(connection: sa.Connection, tables: Iterable[Table]) -> None:
    """Makes the tables of a first generation, under their own names; what is there already stays as it is."""
    for table in tables:
        physical = table.physical(table.name)
        physical.create(connection, checkfirst=True)
        for index in physical.indexes:  # a killed attempt may have made the table alone
            index.create(connection, checkfirst=True)


def drop_tables(connection: sa.Connection, names: Iterable[str]) -> None:
    """Removes tables that are there."""
    for name in names:
        sa.Table(name, sa.MetaData()).drop(connection, checkfirst=True)
