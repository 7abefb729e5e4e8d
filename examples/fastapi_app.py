"""A shop in FastAPI: the stock's row and the order's event commit together, or neither does.

Endpoints are plain functions, which FastAPI runs in threads; they append to the store in the SQLAlchemy Session of the
request. A middleware puts who did it, and under which request id, into every event. A thread beside the server follows
the events live and keeps sales per product, a read model that a projection makes.

    export SHOP_URL=postgresql://…                      without it an SQLite file, shop.db
    python examples/fastapi_app.py                      makes the tables, if they're missing
    uvicorn --app-dir examples --factory fastapi_app:create_app
    curl -X PUT  localhost:8000/stock/tea -H "Content-Type: application/json" -d '{"left": 5}'
    curl -X POST localhost:8000/orders    -H "Content-Type: application/json" -d '{"id": "42", "sku": "tea", "quantity": 2}'
    curl localhost:8000/orders/42; curl localhost:8000/sales
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from webapp.errors import Conflict, InvalidRequest, NotFound, ProjectionistError, StoreUnavailable
from webapp.projections import Context, Follower, Projection, Table, init_projection
from webapp.store import Append, EventStore, NewEvent, RecordedEvent, command

statuses = {NotFound: 404, Conflict: 409, InvalidRequest: 400, StoreUnavailable: 503}


class Base(DeclarativeBase):
    """The shop's ordinary tables."""


class Stock(Base):
    """How much of a product is left."""

    __tablename__ = "stock"
    sku: Mapped[str] = mapped_column(sa.String(50), primary_key=True)
    left: Mapped[int]


class Filling(BaseModel):
    """What PUT /stock/… takes."""

    left: int = Field(gt=0)


class Placing(BaseModel):
    """What POST /orders takes."""

    id: str = Field(min_length=1, max_length=255)
    sku: str = Field(min_length=1, max_length=50)
    quantity: int = Field(gt=0)


class Cancelling(BaseModel):
    """What POST /orders/…/cancel takes: the version of the order that the decision was made on."""

    version: int = Field(gt=0)


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


def follow(store: EventStore, projection: Projection, stop: threading.Event) -> None:
    """Keeps the projection up to date until `stop` is set; of several processes one does, the others stand by."""
    follower = Follower(store, projection)
    for _ in store.subscribe(stop=stop):
        while follower.step():
            pass
    follower.release()


def change_stock(session: Session, sku: str, change: int) -> None:
    """Adds to the stock or takes from it; raises Conflict if there isn't enough."""
    enough = sa.update(Stock).where(Stock.sku == sku, Stock.left + change >= 0)
    if not session.execute(enough.values(left=Stock.left + change)).rowcount:  # type: ignore[attr-defined]
        raise Conflict(f"There isn't enough {sku} left.")


def get_session(request: Request) -> Iterator[Session]:
    """A Session for one request; endpoints commit it by themselves, so that no answer goes out before the commit."""
    with Session(request.app.state.engine) as session:
        yield session


def get_store(request: Request) -> EventStore:
    """The event store of the application."""
    store: EventStore = request.app.state.store
    return store


OpenSession = Annotated[Session, Depends(get_session)]
OpenStore = Annotated[EventStore, Depends(get_store)]


def fill_stock(sku: str, filling: Filling, session: OpenSession) -> dict[str, Any]:
    with session.begin():
        session.merge(Stock(sku=sku, left=filling.left))
    return {"sku": sku, "left": filling.left}


def show_stock(sku: str, session: OpenSession) -> dict[str, Any]:
    return {"sku": sku, "left": session.scalar(sa.select(Stock.left).where(Stock.sku == sku))}


def place(placing: Placing, session: OpenSession, store: OpenStore) -> dict[str, Any]:
    event = NewEvent("order.placed", {"sku": placing.sku, "quantity": placing.quantity})
    with session.begin():
        change_stock(session, placing.sku, -placing.quantity)
        (recorded,) = store.append_in(session, [Append("order", placing.id, [event], expected_version=0)])  # last
    return {"id": placing.id, "version": recorded.version}


def cancel(order_id: str, cancelling: Cancelling, session: OpenSession, store: OpenStore) -> dict[str, Any]:
    placed = next(iter(history(store, order_id))).data
    event = NewEvent("order.cancelled", placed)
    with session.begin():
        change_stock(session, placed["sku"], placed["quantity"])
        (recorded,) = store.append_in(session, [Append("order", order_id, [event], cancelling.version)])
    return {"id": order_id, "version": recorded.version}


def show(order_id: str, store: OpenStore) -> dict[str, Any]:
    return {"id": order_id, "history": [describe(event) for event in history(store, order_id)]}


def show_sales(session: OpenSession) -> dict[str, int]:
    return {row.sku: row.sold for row in session.execute(sa.text("SELECT sku, sold FROM sales ORDER BY sku"))}


def history(store: EventStore, order_id: str) -> list[RecordedEvent]:
    """What happened to an order; raises NotFound if nothing did."""
    events = list(store.read_stream("order", order_id))
    if not events:
        raise NotFound("order", order_id)
    return events


def describe(event: RecordedEvent) -> dict[str, Any]:
    """An event as the shop's answers show it."""
    names = ("version", "type", "data", "actor", "correlation_id", "recorded_at")
    return {name: getattr(event, name) for name in names}


def make_tables(store: EventStore) -> None:
    """Makes the store's tables, the shop's and the read model's, as far as they're missing."""
    store.migrate()
    with store.database.writing() as connection:
        Base.metadata.create_all(connection)
    init_projection(store, make_sales())


def open_store(url: str | None = None) -> EventStore:
    """The store at a URL, else where the environment says."""
    return EventStore.open(url or os.environ.get("SHOP_URL", "sqlite:///shop.db"))


def create_app(url: str | None = None) -> FastAPI:
    """The application on a database whose tables are there."""
    store = open_store(url)
    engine = sa.create_engine(store.database.url)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        stop = threading.Event()
        follower = threading.Thread(target=follow, args=(store, make_sales(), stop), name="sales")
        follower.start()
        yield
        stop.set()
        follower.join()
        store.close()
        engine.dispose()

    app = FastAPI(title="Shop", lifespan=lifespan)
    app.state.store, app.state.engine = store, engine

    @app.middleware("http")
    async def enter_context(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        actor = request.headers.get("X-User", "anonymous")  # a real shop asks its login
        with command(actor=actor, correlation_id=request.headers.get("X-Request-ID")):
            return await answer(request)

    @app.exception_handler(ProjectionistError)
    async def explain(_request: Request, error: ProjectionistError) -> JSONResponse:
        status = next((status for kind, status in statuses.items() if isinstance(error, kind)), 500)
        return JSONResponse({"error": str(error)}, status)

    app.put("/stock/{sku}")(fill_stock)
    app.get("/stock/{sku}")(show_stock)
    app.post("/orders", status_code=201)(place)
    app.post("/orders/{order_id}/cancel")(cancel)
    app.get("/orders/{order_id}")(show)
    app.get("/sales")(show_sales)
    return app


if __name__ == "__main__":
    opened = open_store()
    make_tables(opened)
    opened.close()
