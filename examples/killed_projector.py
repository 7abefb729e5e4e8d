"""A projector is killed in the middle of its work, and started again: no row twice, none missing.

A child process projects 5,000 orders into a table and is killed by SIGKILL, which leaves it no time to clean up. What
makes that harmless: a batch's rows and the projection's checkpoint commit in one transaction, so the table always holds
just what the checkpoint says. Whoever comes next goes on from there.

    python examples/killed_projector.py [URL]      URL of an empty database; a temporary SQLite file without one
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time

import sqlalchemy as sa

from webapp.errors import ProjectionistError
from webapp.projections import Context, Follower, Projection, Table, init_projection
from webapp.projections.status import list_statuses
from webapp.store import Append, EventStore, NewEvent, RecordedEvent

orders, pause_seconds = 5_000, 0.001
name_of_the_worker = "projector-1"
"""A lease is held by name. Started again under the same name, a worker needn't wait until its old lease runs out."""

order_list = Projection(
    "order_list",
    tables=[
        Table(
            "order_list",
            sa.Column("order_id", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("times_seen", sa.Integer, default=0),
        )
    ],
    batch_size=50,
)


@order_list.on("order.placed")
def add_order(event: RecordedEvent, context: Context) -> None:
    # Counts instead of setting, so that an event applied twice would show.
    context.table("order_list").increment(event.data["number"], times_seen=1)
    time.sleep(pause_seconds)


def project(url: str) -> None:
    """What the child process does: project until nothing is left."""
    store = EventStore.open(url)
    follower = Follower(store, order_list, owner=name_of_the_worker)
    while follower.step():
        pass
    follower.release()
    store.close()


def main(url: str) -> None:
    """Runs the example on an empty database."""
    store = EventStore.open(url)
    store.migrate()
    for start in range(0, orders, 1_000):
        numbers = range(start, start + 1_000)
        events = [(str(number), NewEvent("order.placed", {"number": number})) for number in numbers]
        store.append_many([Append("order", order_id, [event], expected_version=0) for order_id, event in events])
    init_projection(store, order_list)

    child = subprocess.Popen([sys.executable, __file__, "--project", url])
    while count_rows(store)[0] < orders // 4:
        if child.poll() is not None:
            raise SystemExit("The projector ended by itself, so there was nothing to kill.")
        time.sleep(0.01)
    child.kill()
    child.wait()
    time.sleep(0.5)  # a server may still be at the child's last commit

    rows, _ = count_rows(store)
    (status,) = list_statuses(store)
    assert rows == status.progress[0].position < orders
    print(f"Killed after {rows} of {orders} orders; the checkpoint stands at {status.progress[0].position}.")

    project(url)
    rows, times_seen = count_rows(store)
    print(f"Started again: {rows} rows for {orders} orders, seen {times_seen} times in all.")
    assert rows == times_seen == orders
    store.close()


def count_rows(store: EventStore) -> tuple[int, int]:
    """The rows of the read model, and how often their events were applied."""
    with store.database.reading() as connection:
        row = connection.execute(sa.text("SELECT count(*), coalesce(sum(times_seen), 0) FROM order_list")).one()
    return int(row[0]), int(row[1])


if __name__ == "__main__":
    try:
        if sys.argv[1:2] == ["--project"]:
            project(sys.argv[2])
        else:
            with tempfile.TemporaryDirectory() as folder:
                main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db")
    except ProjectionistError as error:
        sys.exit(str(error))
