"""Where the rows that readers see differ from those of a fresh fold: page by page, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from webapp.replay.fold import FreshFold
from webapp.replay.scratch import Cause, ScratchRow, ScratchTable
from webapp.replay.values import encode_key

_page_rows = 500


@dataclass(frozen=True, slots=True)
class Difference:
    """One row that is not what the events say.

    `kind` is missing (readers lack it), extra (no event made it, or one removed it) or different, in these `columns`.
    `live` is the row that readers see, `fresh` the one of the fold. `events` are the last that wrote it, oldest first.
    """

    kind: str
    table: str
    key: dict[str, Any]
    live: dict[str, Any] | None
    fresh: dict[str, Any] | None
    columns: tuple[str, ...]
    events: tuple[Cause, ...]


@dataclass
class Differences:
    """The first differences found, at most `limit`, and how many there are of each kind."""

    limit: int
    shown: list[Difference] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: {"missing": 0, "extra": 0, "different": 0})
    rows: int = 0

    @property
    def total(self) -> int:
        """How many rows differ, shown or not."""
        return sum(self.counts.values())

    def note(self, difference: Difference) -> None:
        """Counts a difference, and keeps it while there's room."""
        self.counts[difference.kind] += 1
        if len(self.shown) < self.limit:
            self.shown.append(difference)


def compare_pages(live: sa.Connection, fold: FreshFold, differences: Differences) -> Iterator[int]:
    """Compares everything, yielding after each page how many rows of readers it had.

    `live` must see the tables at the very positions where the fold stands. The fold's rows are used up.
    """
    for table in fold.tables.values():
        after: Sequence[Any] | None = None
        while True:
            rows = [dict(row._mapping) for row in live.execute(_page(table, after))]
            _compare_page(table, rows, fold, differences)
            yield len(rows)
            if len(rows) < _page_rows:
                break
            after = [rows[-1][name] for name in table.definition.key]
        _note_missing(table, fold, differences)


def _page(table: ScratchTable, after: Sequence[Any] | None) -> sa.Select[Any]:
    keys = [table.live.c[name] for name in table.definition.key]
    query = sa.select(table.live).order_by(*keys).limit(_page_rows)
    if after is None:
        return query
    # Spelled out, since MySQL finds no place in an index for a comparison of tuples.
    beyond = [
        sa.and_(*(key == value for key, value in zip(keys[:at], after[:at], strict=True)), keys[at] > after[at])
        for at in range(len(keys))
    ]
    return query.where(keys[0] >= after[0], sa.or_(*beyond))


def _compare_page(
    table: ScratchTable, rows: Sequence[dict[str, Any]], fold: FreshFold, differences: Differences
) -> None:
    found = {}
    for row in rows:
        values = {column.name: column.read(row[column.name]) for column in table.columns}
        found[encode_key(tuple(values[name] for name in table.definition.key))] = values
    with fold.scratch.writing() as connection:
        fresh_rows = table.take(connection, list(found))
    differences.rows += len(rows)
    unknown = ScratchRow(None, ())
    for encoded, live in found.items():
        fresh = fresh_rows.get(encoded, unknown)
        if fresh.values is None:
            differences.note(_difference("extra", table, live, fresh))
            continue
        columns = tuple(one.name for one in table.columns if not one.is_same(live[one.name], fresh.values[one.name]))
        if columns:
            differences.note(_difference("different", table, live, fresh, columns))


def _note_missing(table: ScratchTable, fold: FreshFold, differences: Differences) -> None:
    with fold.scratch.writing() as connection:
        left, count = table.list_left(connection, differences.limit), table.count_left(connection)
    for row in left:
        differences.note(_difference("missing", table, None, row))
    differences.counts["missing"] += count - len(left)


def _difference(
    kind: str, table: ScratchTable, live: dict[str, Any] | None, fresh: ScratchRow, columns: tuple[str, ...] = ()
) -> Difference:
    values = live or fresh.values or {}
    key = {name: values[name] for name in table.definition.key}
    return Difference(kind, table.definition.name, key, live, fresh.values, columns, fresh.events)
