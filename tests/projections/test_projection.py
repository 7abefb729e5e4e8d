"""What a definition refuses, and when it counts as another one."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import sqlalchemy as sa

from webapp.errors import InvalidDefinition
from webapp.projections import Context, Projection, Table
from webapp.store import RecordedEvent
from webapp.store.columns import Name


def key() -> sa.Column[Any]:
    return sa.Column("id", Name(40), primary_key=True)


@pytest.mark.parametrize("name", ["", "9lives", "a b", "a.b", "x" * 51, "é"])
def test_it_refuses_a_name_that_pages_and_tables_cannot_carry(name: str) -> None:
    with pytest.raises(InvalidDefinition, match="can't name a projection: use at most 50"):
        Projection(name)


@pytest.mark.parametrize("name", ["", "Orders", "a-b", "9", "x" * 46, "projectionist_events", 'a"; drop'])
def test_it_refuses_a_table_name_that_is_not_plain(name: str) -> None:
    with pytest.raises(InvalidDefinition, match="can't name a read model's table"):
        Table(name, key())


def test_it_refuses_a_table_without_key() -> None:
    with pytest.raises(InvalidDefinition, match="has no key"):
        Table("orders", sa.Column("id", sa.Integer))


@pytest.mark.parametrize(
    "column",
    [
        sa.Column("made_at", sa.DateTime, default=dt.datetime.now),
        sa.Column("made_at", sa.DateTime, server_default=sa.func.now()),
        sa.Column("made_at", sa.DateTime, onupdate=dt.datetime.now),
    ],
)
def test_it_refuses_values_that_a_rebuild_could_not_repeat(column: sa.Column[Any]) -> None:
    with pytest.raises(InvalidDefinition, match=r"orders\.made_at is filled by a function or by the database"):
        Table("orders", key(), column)


def test_it_refuses_two_handlers_for_one_type() -> None:
    projection = Projection("orders")
    projection.on("placed", "*")(lambda event, context: None)
    for type_ in ("placed", "*"):
        with pytest.raises(InvalidDefinition, match="two handlers"):
            projection.on(type_)(lambda event, context: None)


def test_it_refuses_a_table_twice_and_no_log() -> None:
    with pytest.raises(InvalidDefinition, match="names a table twice"):
        Projection("orders", tables=[Table("orders", key()), Table("orders", key())])
    with pytest.raises(InvalidDefinition, match="reads no log"):
        Projection("orders", logs=[])


def test_the_handler_for_all_takes_only_what_no_other_takes() -> None:
    projection = Projection("orders")

    @projection.on("placed")
    def placed(event: RecordedEvent, context: Context) -> None: ...

    assert projection.handler("placed") is placed
    assert projection.handler("paid") is None

    @projection.on("*")
    def rest(event: RecordedEvent, context: Context) -> None: ...

    assert projection.handler("placed") is placed
    assert projection.handler("paid") is rest


def define(amount: int = 1, **options: Any) -> Projection:
    columns = options.pop("columns", [sa.Column("n", sa.Integer)])
    projection = Projection("orders", tables=[Table("orders", key(), *columns)], **options)
    if amount == 1:

        @projection.on("placed")
        def placed(event: RecordedEvent, context: Context) -> None:
            context.table("orders").increment(event.aggregate_id, n=1)

    else:

        @projection.on("placed")
        def placed_twice(event: RecordedEvent, context: Context) -> None:
            context.table("orders").increment(event.aggregate_id, n=2)

    return projection


def test_the_fingerprint_changes_with_what_a_rebuild_would_change() -> None:
    print_ = define().fingerprint()
    assert define().fingerprint() == print_
    assert define(description="other words", batch_size=7).fingerprint() == print_
    others = [
        define(amount=2),
        define(logs=["main", "side"]),
        define(emits=True),
        define(columns=[sa.Column("n", sa.BigInteger)]),
        define(columns=[sa.Column("n", sa.Integer, default=1)]),
        define(columns=[sa.Column("n", sa.Integer), sa.Column("m", sa.Integer)]),
    ]
    assert len({print_, *(other.fingerprint() for other in others)}) == 7


def test_a_handler_without_source_has_a_fingerprint_too() -> None:
    def made(code: str) -> str:
        space: dict[str, Any] = {}
        exec(code, space)
        projection = Projection("orders")
        projection.on("placed")(space["handle"])
        return projection.fingerprint()

    assert made("def handle(event, context): return 1") == made("def handle(event, context): return 1")
    assert made("def handle(event, context): return 1") != made("def handle(event, context): return 2")
