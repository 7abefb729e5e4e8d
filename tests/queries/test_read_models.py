"""The rows of a read model's table: paged by key both ways, every value fit for a page, on all four databases."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa

from webapp.errors import InvalidRequest
from webapp.queries.keys import decode_key, encode_key
from webapp.queries.read_models import Place, RowsPage, page_rows
from webapp.store import EventStore
from webapp.store.columns import LongText, Name, UtcDateTime

words = ["ü", "日本", "a b", "a b ", "A", "a", "'; DROP TABLE x; --", "%", "<script>", "z"]


def fill(store: EventStore, number: int) -> list[tuple[int, str]]:
    """A table with a compound key and every kind of value; returns its keys in the database's order."""
    table = sa.Table(
        "mixed", sa.MetaData(),
        sa.Column("part", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", Name(60), primary_key=True),
        sa.Column("text", LongText()), sa.Column("at", UtcDateTime), sa.Column("is_on", sa.Boolean),
        sa.Column("amount", sa.Numeric(20, 4)), sa.Column("raw", sa.LargeBinary), sa.Column("order", sa.Float),
        mysql_charset="utf8mb4", mariadb_charset="utf8mb4",
    )  # fmt: skip
    rows = [
        {
            "part": n // 7, "name": f"{words[n % len(words)]}{n}", "text": None if n % 3 else "é" * 100_000,
            "at": None if n % 2 else dt.datetime(2026, 10, 1, 12, 30, 0, 1, tzinfo=dt.UTC), "is_on": n % 2 == 0,
            "amount": n * 1_000_000_000, "raw": None if n % 2 else bytes(range(256)), "order": n / 8,
        }
        for n in range(number)
    ]  # fmt: skip
    with store.database.writing() as connection:
        table.create(connection)
        connection.execute(sa.insert(table), rows)
        query = sa.select(table.c.part, table.c.name).order_by(table.c.part, table.c.name)
        return [(row.part, row.name) for row in connection.execute(query)]


def keys_of(page: RowsPage) -> list[tuple[int, str]]:
    assert page.problem is None
    return [(int(str(row[0].text)), str(row[1].text)) for row in page.rows]


def test_every_row_is_met_once_in_either_direction(store: EventStore) -> None:
    keys = fill(store, 3 * page_rows + 20)
    page = RowsPage.load(store, "mixed", Place())
    assert page.previous is None
    seen, pages = keys_of(page), [page]
    while page.next is not None:
        page = RowsPage.load(store, "mixed", Place(**page.next))
        seen += keys_of(page)
        pages.append(page)
    assert seen == keys
    assert len(pages) == 4
    for earlier in reversed(pages[:-1]):
        assert page.previous is not None
        page = RowsPage.load(store, "mixed", Place(**page.previous))
        assert keys_of(page) == keys_of(earlier)
    assert page.previous is None
    assert page.next == pages[0].next


def test_values_are_cut_and_told_apart(store: EventStore) -> None:
    fill(store, 2)
    page = RowsPage.load(store, "mixed", Place())
    named = [{column.name: cell for column, cell in zip(page.columns, row, strict=True)} for row in page.rows]
    first, second = named
    assert first["text"].is_cut
    assert str(first["text"].text) == "é" * 199 + "…"
    assert second["text"].kind == second["at"].kind == second["raw"].kind == "null"
    assert str(first["at"].text).startswith("2026-10-01 12:30:00.000001")
    assert (first["is_on"].text, second["is_on"].text) == ("true", "false")
    assert second["amount"].kind == second["order"].kind == "number"
    assert str(second["amount"].text).startswith("1000000000")
    assert second["order"].text == "0.125"
    assert str(first["raw"].text).startswith("0x000102")
    assert first["raw"].is_cut
    assert [column.name for column in page.columns if column.is_key] == ["part", "name"]


def test_a_table_without_a_key_has_one_page(sqlite_store: EventStore) -> None:
    with sqlite_store.database.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE loose (a)")
        connection.exec_driver_sql(
            "INSERT INTO loose WITH RECURSIVE n(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM n LIMIT 90) SELECT a FROM n"
        )
    page = RowsPage.load(sqlite_store, "loose", Place())
    assert (len(page.rows), page.has_key, page.next, page.previous) == (page_rows, False, None, None)


def test_a_table_that_is_gone_is_a_sentence(sqlite_store: EventStore) -> None:
    assert "isn't there" in str(RowsPage.load(sqlite_store, "gone", Place()).problem)


@pytest.mark.parametrize(
    "text", ["", "x", "!!", "W10", "WyJpMSJd", "WyJpOTk5OTk5OTk5OTk5OTk5OTk5OTk5OSIsInNhIl0", "bnVsbA", "e30"]
)
def test_a_place_that_is_none_is_refused(sqlite_store: EventStore, text: str) -> None:
    with pytest.raises(InvalidRequest, match="not a place"):
        decode_key(text, 2, "after")


def test_keys_come_back_as_they_went() -> None:
    import decimal
    import uuid

    key = [True, -5, "ü'日", 1.5, decimal.Decimal("1.50"), dt.datetime(2026, 1, 1, tzinfo=dt.UTC), dt.date(2026, 1, 1),
           uuid.UUID(int=7), b"\x00\xff"]  # fmt: skip
    text = encode_key(key)
    assert text is not None
    assert decode_key(text, len(key), "after") == key
    assert encode_key([object()]) is None
