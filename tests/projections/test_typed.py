"""Handlers that take events as objects, in today's form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa

from webapp.errors import InvalidDefinition, ProjectionFailed
from webapp.projections import Context, Projection, Table, run_to_head
from webapp.replay.rebuild import rebuild
from webapp.replay.verify import verify_projection
from webapp.store import EventStore, NewEvent, RecordedEvent, Serializer
from webapp.store.columns import Name

serializer = Serializer()


@serializer.event("order.placed", revision=2)
@dataclass
class OrderPlaced:
    total: int
    currency: str


@serializer.event("line.added")
@dataclass
class LineAdded:
    product: str


@serializer.upcaster("order.placed", from_revision=1)
def with_currency(data: Any) -> Any:
    return data | {"currency": "EUR"}


@serializer.upcaster("lines.added", from_revision=1)
def one_by_one(data: Any) -> Any:
    from webapp.store import Renamed

    return [Renamed("line.added", {"product": product}) for product in data["products"]]


serializer.rename("order.made", "order.placed")


def orders() -> Projection:
    projection = Projection(
        "orders",
        serializer=serializer,
        tables=[
            Table("orders", sa.Column("id", Name(36), primary_key=True), sa.Column("total", sa.Integer),
                  sa.Column("currency", Name(3)), sa.Column("parts", sa.Integer, default=0)),
        ],
    )  # fmt: skip

    @projection.on(OrderPlaced)
    def placed(event: OrderPlaced, context: Context) -> None:
        assert context.event is not None
        context.table("orders").upsert(context.event.aggregate_id, total=event.total, currency=event.currency)

    @projection.on("line.added")
    def added(event: RecordedEvent, context: Context) -> None:
        assert event.data["product"]
        context.table("orders").increment(event.aggregate_id, parts=1)

    return projection


def rows(store: EventStore) -> list[Any]:
    with store.database.reading() as connection:
        return [
            tuple(row)
            for row in connection.execute(sa.text("SELECT id, total, currency, parts FROM orders ORDER BY id"))
        ]


def test_events_come_as_objects_in_their_newest_form(store: EventStore) -> None:
    store.append(
        "order",
        "1",
        [
            NewEvent("order.placed", {"total": 5}),
            NewEvent("lines.added", {"products": ["a", "b"]}),
            NewEvent("noise", 1),
        ],
    )
    store.append("order", "2", [serializer.new_event(OrderPlaced(7, "USD")), NewEvent("order.made", {"total": 8})])
    assert run_to_head(store, orders()) == 5
    expected = [("1", 5, "EUR", 2), ("2", 8, "EUR", 0)]
    assert rows(store) == expected
    rebuild(store, orders())
    assert rows(store) == expected
    assert verify_projection(store, orders()).is_equal


def test_an_event_that_does_not_fit_its_class_stops_the_projection(sqlite_store: EventStore) -> None:
    sqlite_store.append("order", "1", [NewEvent("order.placed", {"total": "many"})])
    with pytest.raises(ProjectionFailed, match=r"orders failed at main:1: LoadingFailed: .*total"):
        run_to_head(sqlite_store, orders())


def test_classes_need_a_serializer_and_a_name() -> None:
    with pytest.raises(InvalidDefinition, match="has no serializer"):
        Projection("plain").on(OrderPlaced)(lambda event, context: None)
    with pytest.raises(InvalidDefinition, match="has no name"):
        Projection("typed", serializer=serializer).on(int)(lambda event, context: None)
    with pytest.raises(InvalidDefinition, match="two handlers"):
        orders().on("order.placed")(lambda event, context: None)
