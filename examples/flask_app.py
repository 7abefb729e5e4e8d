"""A shop in Flask: the stock's row and the order's event commit together, or neither does.

Placing an order takes from the stock, which is an ordinary table of SQLAlchemy's, and records what happened to the
order through a Repository, all in one Session. Who did it, and under which request id, comes from the request's headers
into every event. Sales per product are a read model, which a projection makes of the events.

    export SHOP_URL=postgresql://…                      without it an SQLite file, shop.db
    flask --app examples/flask_app make-tables
    flask --app examples/flask_app run
    curl -X PUT  localhost:5000/stock/tea -H "Content-Type: application/json" -d '{"left": 5}'
    curl -X POST localhost:5000/orders    -H "Content-Type: application/json" -d '{"id": "42", "sku": "tea", "quantity": 2}'
    curl localhost:5000/orders/42; curl localhost:5000/sales
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from flask import Flask, g, request
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from webapp.errors import Conflict, InvalidRequest, NotFound, ProjectionistError, StoreUnavailable
from webapp.projections import Context, Projection, Table, init_projection, run_to_head
from webapp.store import EventStore, NewEvent, RecordedEvent, Repository, aggregate, applies, command

statuses = {NotFound: 404, Conflict: 409, InvalidRequest: 400, StoreUnavailable: 503}


class Base(DeclarativeBase):
    """The shop's ordinary tables."""


class Stock(Base):
    """How much of a product is left."""

    __tablename__ = "stock"
    sku: Mapped[str] = mapped_column(sa.String(50), primary_key=True)
    left: Mapped[int]


@aggregate("order", id="order_id")
@dataclass
class Order:
    """An order as its events made it."""

    order_id: str
    sku: str = ""
    quantity: int = 0
    is_cancelled: bool = False

    def place(self, sku: str, quantity: int) -> NewEvent:
        return NewEvent("order.placed", {"sku": sku, "quantity": quantity})

    def cancel(self) -> NewEvent:
        if self.is_cancelled:
            raise Conflict(f"Order {self.order_id} is cancelled already.")
        return NewEvent("order.cancelled", {"sku": self.sku, "quantity": self.quantity})

    @applies("order.placed")
    def _placed(self, event: RecordedEvent) -> None:
        self.sku, self.quantity = event.data["sku"], event.data["quantity"]

    @applies("order.cancelled")
    def _cancelled(self, event: RecordedEvent) -> None:
        self.is_cancelled = True


def make_sales() -> Projection:
    """The read model: how much of each product is sold."""
    columns = (sa.Column("sku", sa.String(50), primary_key=True), sa.Column("sold", sa.Integer, default=0))
    sales = Projection("sales", tables=[Table("sales", *columns)])

    @sales.on("order.placed")
    def add(event: RecordedEvent, context: Context) -> None:
        context.table("sales").increment(event.data["sku"], sold=event.data["quantity"])

    @sales.on("order.cancelled")
    def take_away(event: RecordedEvent, context: Context) -> None:
        context.table("sales").increment(event.data["sku"], sold=-event.data["quantity"])

    return sales


def change_stock(session: Session, sku: str, change: int) -> None:
    """Adds to the stock or takes from it; raises Conflict if there isn't enough."""
    enough = sa.update(Stock).where(Stock.sku == sku, Stock.left + change >= 0)
    if not session.execute(enough.values(left=Stock.left + change)).rowcount:  # type: ignore[attr-defined]
        raise Conflict(f"There isn't enough {sku} left.")


def create_app(url: str | None = None) -> Flask:
    """The application on a database; no connection is opened before the first request, so workers may be forked off it."""
    app = Flask("shop")
    store = app.extensions["store"] = EventStore.open(url or os.environ.get("SHOP_URL", "sqlite:///shop.db"))
    engine = app.extensions["engine"] = sa.create_engine(store.database.url)
    sessions = sessionmaker(engine)
    orders = Repository(store, Order)
    sales = make_sales()

    @app.cli.command("make-tables")
    def make_tables() -> None:
        """Makes the store's tables, the shop's and the read model's, as far as they're missing."""
        store.migrate()
        Base.metadata.create_all(engine)
        init_projection(store, sales)

    @app.before_request
    def enter_context() -> None:
        g.context = ExitStack()
        actor = request.headers.get("X-User", "anonymous")  # a real shop asks its login
        g.context.enter_context(command(actor=actor, correlation_id=request.headers.get("X-Request-ID")))

    @app.teardown_request
    def leave_context(_error: BaseException | None) -> None:
        g.context.close()

    @app.errorhandler(ProjectionistError)
    def explain(error: ProjectionistError) -> tuple[dict[str, str], int]:
        return {"error": str(error)}, next(
            (status for kind, status in statuses.items() if isinstance(error, kind)), 500
        )

    @app.put("/stock/<sku>")
    def fill_stock(sku: str) -> dict[str, Any]:
        left = field("left", int)
        with sessions.begin() as session:
            session.merge(Stock(sku=sku, left=left))
        return {"sku": sku, "left": left}

    @app.get("/stock/<sku>")
    def show_stock(sku: str) -> dict[str, Any]:
        with sessions() as session:
            return {"sku": sku, "left": session.scalar(sa.select(Stock.left).where(Stock.sku == sku))}

    @app.post("/orders")
    def place() -> tuple[dict[str, Any], int]:
        order, sku, quantity = Order(field("id", str)), field("sku", str), field("quantity", int)
        with sessions.begin() as session:
            change_stock(session, sku, -quantity)
            saved = orders.save(order, order.place(sku, quantity), connection=session)  # last, see store.append_in
        return {"id": order.order_id, "version": saved.events[-1].version}, 201

    @app.post("/orders/<order_id>/cancel")
    def cancel(order_id: str) -> dict[str, Any]:
        order = orders.load(order_id)
        with sessions.begin() as session:
            change_stock(session, order.sku, order.quantity)
            saved = orders.save(order, order.cancel(), connection=session)
        return {"id": order_id, "version": saved.events[-1].version}

    @app.get("/orders/<order_id>")
    def show(order_id: str) -> dict[str, Any]:
        order = orders.load(order_id)
        events = [describe(event) for event in store.read_stream("order", order_id)]
        return {"id": order_id, "is_cancelled": order.is_cancelled, "history": events}

    @app.get("/sales")
    def show_sales() -> dict[str, int]:
        run_to_head(store, sales)  # or leave it to `projectionist worker`
        with sessions() as session:
            return {row.sku: row.sold for row in session.execute(sa.text("SELECT sku, sold FROM sales ORDER BY sku"))}

    return app


def describe(event: RecordedEvent) -> dict[str, Any]:
    """An event as the shop's answers show it."""
    names = ("version", "type", "data", "actor", "correlation_id", "recorded_at")
    return {name: getattr(event, name) for name in names}


def field(name: str, kind: type[Any]) -> Any:
    """A part of the request's JSON; raises InvalidRequest where it's missing or of another kind."""
    body = request.get_json(silent=True)
    value = body.get(name) if isinstance(body, dict) else None
    if type(value) is not kind or (kind is int and value <= 0):
        raise InvalidRequest(f"Give “{name}” in a JSON object: a {'text' if kind is str else 'number above 0'}.", name)
    return value
