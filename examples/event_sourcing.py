"""Event sourcing in one file: a product's events, a read model made from them, and that model thrown away and rebuilt.

A product is registered and gets another price. Nothing is overwritten: both facts stand in the store, in order, with
the version they gave the product. The projection `price_change_over_time` turns them into a table that is quick to ask.
Since it's made from the events alone, it can be dropped at any time and comes back row for row.

    python examples/event_sourcing.py [URL]      URL of an empty database; a temporary SQLite file without one
"""

from __future__ import annotations

import sys
import tempfile

import sqlalchemy as sa

from webapp.errors import ProjectionistError
from webapp.projections import Context, Projection, Table, run_to_head
from webapp.projections.status import list_statuses
from webapp.replay import rebuild
from webapp.store import EventStore, NewEvent, RecordedEvent

# --- commands: what may happen to a product ---------------------------------------------------------------------------


def register_product(store: EventStore, product_id: int, price: int) -> None:
    """A new product; expected_version=0 says that nobody may have registered it before."""
    event = NewEvent("ProductWasRegistered", {"productId": product_id, "price": price})
    store.append("Product", str(product_id), [event], expected_version=0)


def change_price(store: EventStore, product_id: int, price: int) -> None:
    """Another price for a product that exists; if somebody else changed it meanwhile, the append is refused."""
    version = max(event.version or 0 for event in store.read_stream("Product", str(product_id)))
    event = NewEvent("PriceWasChanged", {"productId": product_id, "price": price})
    store.append("Product", str(product_id), [event], expected_version=version)


# --- the read model: how the price of each product moved --------------------------------------------------------------

price_change_over_time = Projection(
    "price_change_over_time",
    tables=[
        Table(
            "price_change_over_time",
            sa.Column("product_id", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("price", sa.Integer),
            sa.Column("price_change", sa.Integer),
        )
    ],
)


@price_change_over_time.on("ProductWasRegistered")
def begin_with_a_price(event: RecordedEvent, context: Context) -> None:
    prices = context.table("price_change_over_time")
    prices.upsert((event.data["productId"], event.version), price=event.data["price"], price_change=0)


@price_change_over_time.on("PriceWasChanged")
def note_the_difference(event: RecordedEvent, context: Context) -> None:
    prices, product_id, version = context.table("price_change_over_time"), event.data["productId"], event.version or 0
    before = prices.get((product_id, version - 1)) or {"price": 0}
    price = event.data["price"]
    prices.upsert((product_id, version), price=price, price_change=price - before["price"])


def get_price_change(store: EventStore, product_id: int) -> list[tuple[int, int]]:
    """(price, change) of a product, oldest first: an ordinary query, because a read model is an ordinary table."""
    query = "SELECT price, price_change FROM price_change_over_time WHERE product_id = :id ORDER BY version"
    with store.database.reading() as connection:
        return [(row.price, row.price_change) for row in connection.execute(sa.text(query), {"id": product_id})]


# --- the story --------------------------------------------------------------------------------------------------------


def main(url: str) -> None:
    """Runs the example on an empty database."""
    store = EventStore.open(url)
    store.migrate()

    register_product(store, 1, 100)
    run_to_head(store, price_change_over_time)  # so that we read what we have just written
    assert get_price_change(store, 1) == [(100, 0)]
    print("Product was registered")

    change_price(store, 1, 120)
    run_to_head(store, price_change_over_time)
    assert get_price_change(store, 1) == [(100, 0), (120, 20)]
    print("Price of the product was changed")

    print("The stream Product/1, which is the audit trail:")
    for event in store.read_stream("Product", "1"):
        print(f"no {event.position} v{event.version} {event.type} {event.data_text!s}, recorded at {event.recorded_at}")
    print(f"position of price_change_over_time = {position(store)}")

    # The table is gone for good; the events are not, so the next build of it holds the same rows.
    with store.database.writing() as connection:
        connection.execute(sa.text("DROP TABLE price_change_over_time"))
    rebuild(store, price_change_over_time)
    assert get_price_change(store, 1) == [(100, 0), (120, 20)]
    print(f"After drop and rebuild: {get_price_change(store, 1)}, position {position(store)}")
    store.close()


def position(store: EventStore) -> int:
    """How far the projection got in the log `main`."""
    (status,) = list_statuses(store)
    (progress,) = status.progress
    return progress.position


if __name__ == "__main__":
    try:
        with tempfile.TemporaryDirectory() as folder:
            main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db")
    except ProjectionistError as error:
        sys.exit(str(error))
