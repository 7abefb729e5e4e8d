"""The rows of a read model's table, page by page along its primary key, every value cut to a length fit for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import sqlalchemy as sa

from webapp.errors import InvalidRequest, ProjectionistError
from webapp.queries.filters import Arguments
from webapp.queries.keys import decode_key, encode_key
from webapp.queries.texts import shorten
from webapp.store.database import Database

page_rows = 50
longest_value = 200
most_columns = 40
_longest_bytes = 24


@runtime_checkable
class HasTables(Protocol):
    """A source whose tables can be read by SQL."""

    database: Database


@dataclass(frozen=True)
class Column:
    """One column of a table, its type in the database's words."""

    name: str
    type: str
    is_key: bool
    is_number: bool


@dataclass(frozen=True)
class Cell:
    """One value as text, None for NULL; `kind` is text, number, bytes or null."""

    text: str | None
    kind: str = "text"
    is_cut: bool = False


@dataclass(frozen=True)
class Place:
    """Where a page begins: after or before a key, as the URL says it."""

    after: str | None = None
    before: str | None = None

    @classmethod
    def from_args(cls, args: Arguments) -> Place:
        """The place that the arguments after and before name; raises InvalidRequest."""
        after, before = args.get("after") or None, args.get("before") or None
        if after and before:
            raise InvalidRequest("Give after or before, not both: either is where a page begins.", field="after")
        return cls(after, before)


@dataclass(frozen=True)
class RowsPage:
    """Some rows of one table in order of its key; `previous` and `next` are the arguments of the pages beside it.

    `problem` says what keeps the rows from being shown. A table without a primary key has one page only.
    """

    table: str
    columns: Sequence[Column] = ()
    rows: Sequence[Sequence[Cell]] = ()
    previous: dict[str, str] | None = None
    next: dict[str, str] | None = None
    has_key: bool = True
    columns_left_out: int = 0
    problem: str | None = None

    @classmethod
    def load(cls, source: object, table: str, place: Place, where: Mapping[str, str] | None = None) -> RowsPage:
        """The rows at a place, those alone whose columns have the values of `where`. Errors come as `problem`.

        Raises InvalidRequest for a place that isn't one. The table's name must be one that the source named.
        """
        if not isinstance(source, HasTables):
            return cls(table, problem="The tables of this store can't be read from here.")
        try:
            with source.database.reading() as connection:
                return _read(connection, table, place, where or {})
        except InvalidRequest:
            raise
        except ProjectionistError as error:
            return cls(table, problem=str(error))


def _read(connection: sa.Connection, table: str, place: Place, where: Mapping[str, str]) -> RowsPage:
    inspector = sa.inspect(connection)
    if not inspector.has_table(table):
        return RowsPage(table, problem=f"The table {table} isn't there. A rebuild of the projection makes it anew.")
    described = inspector.get_columns(table)
    key = list(inspector.get_pk_constraint(table)["constrained_columns"])
    shown = described[:most_columns]
    is_forward = place.before is None
    keys: list[sa.ColumnElement[Any]] = [sa.column(name) for name in key]
    query = sa.select(
        *(_cut_in_database(column).label(f"shown_{number}") for number, column in enumerate(shown)),
        *(column.label(f"key_{number}") for number, column in enumerate(keys)),
    ).select_from(sa.table(table))
    for name, value in where.items():
        query = query.where(sa.column(name) == value)
    start = place.after or place.before
    if start is not None and key:
        values = decode_key(start, len(key), "after" if is_forward else "before")
        query = query.where(_beyond(keys, [_bound(value) for value in values], is_forward))
    query = query.order_by(*(column.asc() if is_forward else column.desc() for column in keys))
    found = list(connection.execute(query.limit(page_rows + 1)))
    if not is_forward and len(found) <= page_rows:
        return _read(connection, table, Place(), where)  # the first page, whole
    rows = found[:page_rows] if is_forward else found[:page_rows][::-1]
    columns = [
        Column(column["name"], str(column["type"]), column["name"] in key, _is_number(column["type"]))
        for column in shown
    ]
    cells = [[_cell(row[number], shown[number]["type"]) for number in range(len(shown))] for row in rows]
    has_before = bool(key) and (start is not None)
    has_after = bool(key) and (len(found) > page_rows or not is_forward)
    return RowsPage(
        table, columns, cells,
        previous=_place("before", rows[0], len(shown)) if has_before and rows else ({} if has_before else None),
        next=_place("after", rows[-1], len(shown)) if has_after and rows else None,
        has_key=bool(key), columns_left_out=len(described) - len(shown),
    )  # fmt: skip


def _place(name: str, row: Any, key_at: int) -> dict[str, str] | None:
    text = encode_key(row[key_at:])
    return None if text is None else {name: text}


def _beyond(
    columns: Sequence[sa.ColumnElement[Any]], values: Sequence[sa.ColumnElement[Any]], is_forward: bool
) -> sa.ColumnElement[bool]:
    """Rows past a key. Written out, because MySQL and MariaDB find no range of an index in (a, b) > (x, y)."""
    column, value = columns[0], values[0]
    past = column > value if is_forward else column < value
    if len(columns) == 1:
        return past
    at_least = column >= value if is_forward else column <= value
    return sa.and_(at_least, sa.or_(past, sa.and_(column == value, _beyond(columns[1:], values[1:], is_forward))))


def _bound(value: Any) -> sa.ColumnElement[Any]:
    """The value as the driver gave it, so that the column's own type and order decide."""
    return sa.bindparam(None, value, type_=sa.types.NullType(), unique=True)


def _is_number(kind: Any) -> bool:
    return isinstance(kind, sa.Integer | sa.Numeric | sa.Float) and not _is_boolean(kind)


def _is_boolean(kind: Any) -> bool:
    """Whether it holds true and false; MySQL and MariaDB say so by the width of a number."""
    return isinstance(kind, sa.Boolean) or getattr(kind, "display_width", None) == 1


def _cut_in_database(column: Any) -> sa.ColumnElement[Any]:
    """The column as it is shown: numbers as they are, of all else the beginning, so that no huge value travels."""
    kind = column["type"]
    raw: sa.ColumnElement[Any] = sa.column(column["name"])
    if isinstance(kind, sa.Integer | sa.Numeric | sa.Float | sa.Boolean):
        return raw
    is_text = isinstance(kind, sa.String | sa.LargeBinary) and not isinstance(kind, sa.Enum)
    return sa.func.substr(raw if is_text else sa.cast(raw, sa.Text), 1, longest_value + 1)


def _cell(value: Any, kind: Any) -> Cell:
    if value is None:
        return Cell(None, "null")
    if isinstance(value, bytes | bytearray | memoryview):
        content = bytes(value)
        is_cut = len(content) > _longest_bytes
        return Cell(f"0x{content[:_longest_bytes].hex()}{'…' if is_cut else ''}", "bytes", is_cut)
    if _is_boolean(kind) and value in (0, 1):
        return Cell("true" if value else "false")
    if isinstance(value, int | float) or _is_number(kind):
        return Cell(shorten(str(value), longest_value), "number")
    text = str(value)
    return Cell(shorten(text, longest_value), "text", len(text) > longest_value)
