"""Two writers, one slow commit: a naive projector loses an event for good, ours doesn't.

A number taken from an identity column says where a row stands, not when its transaction commits. Here writer A takes
number 704 and is slow; writer B takes 705 and commits. A projector that asks for "numbers above the last one I saw"
goes past 704, which isn't visible yet, and never comes back for it. In our store a log has a counter that a writer
holds until it commits, so B waits for A, positions come in the order of commits, and a reader can't pass an event.

    python examples/two_writers.py [URL]      URL of an empty database on a server; SQLite has only one writer at a time
"""

from __future__ import annotations

import sys
import tempfile
import threading

import sqlalchemy as sa

from webapp.errors import ProjectionistError
from webapp.projections import Context, Projection, Table, run_to_head
from webapp.store import Append, EventStore, NewEvent, RecordedEvent

before, all_orders = 703, 705

# --- the naive way ----------------------------------------------------------------------------------------------------

naive_orders = sa.Table(
    "naive_orders",
    sa.MetaData(),
    sa.Column("no", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("order_id", sa.String(20), nullable=False),
)


class NaiveProjector:
    """Counts orders by asking for numbers above the last one seen, as is done everywhere."""

    def __init__(self) -> None:
        self.last = 0
        self.orders = 0

    def run(self, store: EventStore) -> None:
        """Counts what it takes to be new."""
        query = sa.select(naive_orders.c.no).where(naive_orders.c.no > self.last).order_by(naive_orders.c.no)
        with store.database.reading() as connection:
            for row in connection.execute(query):
                self.last = row.no
                self.orders += 1


# --- ours -------------------------------------------------------------------------------------------------------------

order_count = Projection(
    "order_count",
    tables=[
        Table(
            "order_count", sa.Column("log", sa.String(20), primary_key=True), sa.Column("orders", sa.Integer, default=0)
        )
    ],
)


@order_count.on("order.placed")
def count_order(event: RecordedEvent, context: Context) -> None:
    context.table("order_count").increment(event.log, orders=1)


def counted_orders(store: EventStore) -> int:
    """The number of orders by our projection's row."""
    with store.database.reading() as connection:
        return int(connection.execute(sa.text("SELECT orders FROM order_count")).scalar_one())


def place(number: int) -> Append:
    """The append of one order."""
    return Append("order", str(number), [NewEvent("order.placed", {"number": number})], expected_version=0)


# --- the story --------------------------------------------------------------------------------------------------------


def main(url: str) -> None:
    """Runs the example on an empty database."""
    store = EventStore.open(url)
    store.migrate()
    naive = NaiveProjector()
    with store.database.writing() as connection:
        naive_orders.create(connection)
        connection.execute(sa.insert(naive_orders), [{"order_id": str(number)} for number in range(before)])
    store.append_many([place(number) for number in range(before)])

    if store.dialect == "SQLite":
        print("SQLite has one writer at a time, so nobody can commit out of order. Give the URL of a server to see it.")
        store.append_many([place(before), place(before + 1)])
        run_to_head(store, order_count)
        print(f"ours: {counted_orders(store)} of {all_orders} orders")
    else:
        race(store, naive)
    store.close()


def race(store: EventStore, naive: NaiveProjector) -> None:
    """Writer A begins first and commits last."""
    b_is_through_naively, b_is_through = threading.Event(), threading.Event()

    def writer_b() -> None:
        with store.database.writing() as connection:
            connection.execute(sa.insert(naive_orders).values(order_id="B"))
        b_is_through_naively.set()
        store.append_many([place(before + 1)])  # waits here until A has committed
        b_is_through.set()

    b = threading.Thread(target=writer_b)
    with store.database.writing() as slow:
        slow.execute(sa.insert(naive_orders).values(order_id="A"))
        store.append_in(slow, [place(before)])
        b.start()
        assert b_is_through_naively.wait(30)
        # A's rows are there, but nobody sees them before it commits. Both projectors run now …
        naive.run(store)
        run_to_head(store, order_count)
        assert counted_orders(store) == before and not b_is_through.is_set()
    b.join(30)
    # … and again after A and B have committed.
    naive.run(store)
    run_to_head(store, order_count)

    with store.database.reading() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(naive_orders)).scalar_one() == all_orders
    print(f"naive: {naive.orders} of {all_orders} orders, and it stands at number {naive.last}: it will never notice")
    print(f"ours: {counted_orders(store)} of {all_orders} orders")
    assert naive.orders == all_orders - 1 and counted_orders(store) == all_orders


if __name__ == "__main__":
    try:
        with tempfile.TemporaryDirectory() as folder:
            main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db")
    except ProjectionistError as error:
        sys.exit(str(error))
