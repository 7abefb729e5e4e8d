"""What every contestant offers, and ours."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import sqlalchemy as sa

from bench.workload import Given
from webapp.projections import Context, Projection, Table
from webapp.replay import rebuild
from webapp.store import Append, EventStore, NewEvent, RecordedEvent


class Contestant(ABC):
    """Somebody who stores events in a database of his own."""

    name: str
    how: str
    """A sentence that says what is measured."""

    @abstractmethod
    def append(self, call: Sequence[Given]) -> None:
        """Stores the events durably, in one transaction."""

    @abstractmethod
    def read(self) -> int:
        """The number of events, all of them read in order, position and payload text of each looked at."""

    @abstractmethod
    def rebuild(self) -> int:
        """The number of events that a projection counting them by type has handled, from nothing, durably."""

    def settle(self) -> None:  # noqa: B027 - nothing to do where statistics come by themselves
        """Lets the database learn what its tables hold, as it does by itself after a while."""

    @abstractmethod
    def close(self) -> None:
        """Gives connections back."""


counting = Projection(
    "counting",
    tables=[Table("counts", sa.Column("type", sa.String(150), primary_key=True), sa.Column("total", sa.Integer))],
)


@counting.on("*")
def count(event: RecordedEvent, context: Context) -> None:
    """One more of its type."""
    context.table("counts").increment(event.type, total=1)


class Ours(Contestant):
    """The event store of this project."""

    name = "ours"
    how = (
        "EventStore.append_many with expected versions: checks, one number for each stream, dense positions under the "
        "log's counter, counts by type, recorded events returned; EventStore.read_log, undecoded; webapp.replay.rebuild into a "
        "shadow table that is swapped in, 2,000 events a transaction, under a lease."
    )

    def __init__(self, url: str) -> None:
        self.store = EventStore.open(url)
        self.store.migrate()

    def append(self, call: Sequence[Given]) -> None:
        """One append_many."""
        self.store.append_many(
            [
                Append("order", one.aggregate_id, [NewEvent(*event) for event in one.events], one.version)
                for one in call
            ]
        )  # fmt: skip

    def read(self) -> int:
        """The whole log."""
        number = 0
        for event in self.store.read_log("main", limit=None):
            if event.position and event.data_text:
                number += 1
        return number

    def rebuild(self) -> int:
        """A whole rebuild, swap and all."""
        rebuild(self.store, counting)
        with self.store.database.reading() as connection:
            return int(connection.execute(sa.text("SELECT sum(total) FROM counts")).scalar_one())

    def settle(self) -> None:
        """ANALYZE, where that is how."""
        if self.store.dialect == "PostgreSQL":
            with self.store.database.writing() as connection:
                connection.exec_driver_sql("ANALYZE")

    def close(self) -> None:
        """Closes the store."""
        self.store.close()
