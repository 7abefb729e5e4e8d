"""A shop with projections for web tests: one that works, one that stumbles over an event, one that emits."""

from __future__ import annotations

import sqlalchemy as sa

from webapp.domain import Domain
from webapp.projections import Context, Projection, Table
from webapp.store import NewEvent, RecordedEvent
from webapp.store.columns import Name

domain = Domain("web tests")

orders = Projection(
    "orders",
    tables=[
        Table("orders", sa.Column("id", Name(40), primary_key=True), sa.Column("total", sa.Integer, default=0)),
    ],
    description="Orders by id",
)
fragile = Projection("fragile", tables=[Table("fragile", sa.Column("id", Name(40), primary_key=True))])
loud = Projection("loud", tables=[Table("loud", sa.Column("id", Name(40), primary_key=True))], emits=True)


@orders.on("order.placed")
def add_order(event: RecordedEvent, context: Context) -> None:
    context.table("orders").upsert(event.aggregate_id, total=event.data["total"])


@fragile.on("order.placed")
def stumble(event: RecordedEvent, context: Context) -> None:
    if event.aggregate_id == "o007":
        raise KeyError("<b>vat_id</b>")
    context.table("fragile").upsert(event.aggregate_id)


@loud.on("order.placed")
def shout(event: RecordedEvent, context: Context) -> None:
    context.table("loud").upsert(event.aggregate_id)
    context.emit("shout", event.aggregate_id, NewEvent("order.shouted", {}))


domain.add(orders, fragile, loud)
