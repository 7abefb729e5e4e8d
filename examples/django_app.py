"""A shop in Django, all in one file: the stock's row and the order's event commit together, or neither does.

Within `transaction.atomic()` the store appends on Django's own connection, which `store.joining` lends it, so the model's
row and the event are one transaction. A middleware puts who did it, and under which request id, into every event.
`migrate` makes the store's tables beside Django's. Sales per product are a read model, which a projection makes.

    export SHOP_URL=postgresql://…                      without it an SQLite file, shop.db
    python examples/django_app.py migrate --run-syncdb
    python examples/django_app.py runserver
    curl -X PUT  localhost:8000/stock/tea -d '{"left": 5}'
    curl -X POST localhost:8000/orders    -d '{"id": "42", "sku": "tea", "quantity": 2}'
    curl localhost:8000/orders/42; curl localhost:8000/sales
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import django
import sqlalchemy as sa
from django.apps import AppConfig
from django.conf import settings

from webapp.errors import Conflict, InvalidRequest, NotFound, ProjectionistError, StoreUnavailable
from webapp.projections import Context, Projection, Table, init_projection, run_to_head
from webapp.store import EventStore, NewEvent, RecordedEvent, Repository, aggregate, applies, command

store = EventStore.open(os.environ.get("SHOP_URL", "sqlite:///shop.db"))  # opens no connection yet
url = store.database.url
databases = {
    "sqlite": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": url.database,
        # A transaction that begins by reading couldn't turn into a writer once somebody else has written.
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 30},
    },
    "postgresql": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.database, "USER": url.username, "PASSWORD": url.password, "HOST": url.host, "PORT": url.port,
    },
}  # fmt: skip


class Shop(AppConfig):
    """This file as an application, models included."""

    label = "shop"

    def import_models(self) -> None:
        self.models, self.models_module = self.apps.all_models[self.label], self.module


settings.configure(
    DATABASES={"default": databases[url.get_backend_name()]},
    INSTALLED_APPS=[Shop(__name__, sys.modules[__name__])],
    MIDDLEWARE=[f"{__name__}.CommandMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("SHOP_SECRET_KEY", "only-for-trying-it-out"),
    ALLOWED_HOSTS=["localhost", "127.0.0.1", "testserver"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
django.setup()

from django.core.management import execute_from_command_line  # noqa: E402 - these ask the settings when imported
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connection, models, transaction  # noqa: E402
from django.db.models.signals import post_migrate  # noqa: E402
from django.http import HttpRequest, HttpResponseBase, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.http import require_GET, require_http_methods, require_POST  # noqa: E402

statuses = {NotFound: 404, Conflict: 409, InvalidRequest: 400, StoreUnavailable: 503}

# --- tables and aggregates --------------------------------------------------------------------------------------------


class Stock(models.Model):
    """How much of a product is left."""

    sku = models.CharField(max_length=50, primary_key=True)
    left = models.IntegerField()

    class Meta:
        app_label = "shop"
        db_table = "stock"


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


orders = Repository(store, Order)
sales = Projection(
    "sales",
    tables=[
        Table("sales", sa.Column("sku", sa.String(50), primary_key=True), sa.Column("sold", sa.Integer, default=0))
    ],
)


@sales.on("order.placed")
def add(event: RecordedEvent, context: Context) -> None:
    context.table("sales").increment(event.data["sku"], sold=event.data["quantity"])


@sales.on("order.cancelled")
def take_away(event: RecordedEvent, context: Context) -> None:
    context.table("sales").increment(event.data["sku"], sold=-event.data["quantity"])


def migrate_store(**_: Any) -> None:
    """Makes the store's tables and the read model's after Django's own."""
    store.migrate()
    init_projection(store, sales)


post_migrate.connect(migrate_store)

# --- requests ---------------------------------------------------------------------------------------------------------


class CommandMiddleware:
    """Puts actor and request id into every event, and makes answers of the store's errors."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        actor = request.headers.get("X-User", "anonymous")  # a real shop asks request.user
        with command(actor=actor, correlation_id=request.headers.get("X-Request-ID")):
            return self.get_response(request)

    def process_exception(self, _request: HttpRequest, error: Exception) -> JsonResponse | None:
        if not isinstance(error, ProjectionistError):
            return None
        status = next((status for kind, status in statuses.items() if isinstance(error, kind)), 500)
        return JsonResponse({"error": str(error)}, status=status)


def field(request: HttpRequest, name: str, kind: type[Any]) -> Any:
    """A part of the request's JSON; raises InvalidRequest where it's missing or of another kind."""
    try:
        value = json.loads(request.body)[name]
    except (ValueError, KeyError, TypeError):
        value = None
    if type(value) is not kind or (kind is int and value <= 0):
        raise InvalidRequest(f"Give “{name}” in a JSON object: a {'text' if kind is str else 'number above 0'}.", name)
    return value


def describe(event: RecordedEvent) -> dict[str, Any]:
    """An event as the shop's answers show it."""
    names = ("version", "type", "data", "actor", "correlation_id", "recorded_at")
    return {name: getattr(event, name) for name in names}


def change_stock(sku: str, change: int) -> None:
    """Adds to the stock or takes from it; raises Conflict if there isn't enough."""
    if not Stock.objects.filter(sku=sku, left__gte=-change).update(left=models.F("left") + change):
        raise Conflict(f"There isn't enough {sku} left.")


def save(order: Order, event: NewEvent) -> int:
    """The order's new version, stored in the transaction that Django has open."""
    with store.joining(connection.connection) as joined:
        return orders.save(order, event, connection=joined).events[-1].version or 0


@require_http_methods(["GET", "PUT"])
def stock(request: HttpRequest, sku: str) -> JsonResponse:
    if request.method == "PUT":
        Stock.objects.update_or_create(sku=sku, defaults={"left": field(request, "left", int)})
    return JsonResponse({"sku": sku, "left": Stock.objects.filter(sku=sku).values_list("left", flat=True).first()})


@require_POST
def place(request: HttpRequest) -> JsonResponse:
    order, sku, quantity = Order(field(request, "id", str)), field(request, "sku", str), field(request, "quantity", int)
    with transaction.atomic():
        change_stock(sku, -quantity)
        version = save(order, order.place(sku, quantity))  # last, see store.append_in
    return JsonResponse({"id": order.order_id, "version": version}, status=201)


@require_POST
def cancel(_request: HttpRequest, order_id: str) -> JsonResponse:
    order = orders.load(order_id)
    with transaction.atomic():
        change_stock(order.sku, order.quantity)
        version = save(order, order.cancel())
    return JsonResponse({"id": order_id, "version": version})


@require_GET
def show(_request: HttpRequest, order_id: str) -> JsonResponse:
    order = orders.load(order_id)
    events = [describe(event) for event in store.read_stream("order", order_id)]
    return JsonResponse({"id": order_id, "is_cancelled": order.is_cancelled, "history": events})


@require_GET
def show_sales(_request: HttpRequest) -> JsonResponse:
    run_to_head(store, sales)  # or leave it to `projectionist worker`
    with connection.cursor() as cursor:
        cursor.execute("SELECT sku, sold FROM sales ORDER BY sku")
        return JsonResponse(dict(cursor.fetchall()))


urlpatterns = [
    path("stock/<str:sku>", stock),
    path("orders", place),
    path("orders/<str:order_id>/cancel", cancel),
    path("orders/<str:order_id>", show),
    path("sales", show_sales),
]
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
