"""The library `eventsourcing`, by its recorders' public interface, with its own defaults."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Sequence
from typing import Any

import orjson
from eventsourcing.persistence import InfrastructureFactory, StoredEvent, Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.sqlite import SQLiteTrackingRecorder
from eventsourcing.utils import Environment

from bench.contestants import Contestant
from bench.workload import Given
from webapp.store.database import parse_url

PAGE = 2_000


COUNTED = 3_000
"""Events that its rebuild handles; at one transaction each, all of them would take minutes."""
COUNT = "INSERT INTO counts VALUES ({mark}, 1) ON CONFLICT (type) DO UPDATE SET total = counts.total + 1"
TABLE = "CREATE TABLE IF NOT EXISTS counts (type TEXT PRIMARY KEY, total BIGINT NOT NULL)"


class PostgresCounts(PostgresTrackingRecorder):
    """A view that counts by type, made as its documentation makes them."""

    def forget(self) -> None:
        """Begins from nothing."""
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(TABLE)
            cursor.execute("TRUNCATE counts")
            cursor.execute(f"DELETE FROM {self.tracking_table_name} WHERE application_name = 'bench'".encode())

    def count(self, topic: str, tracking: Tracking) -> None:
        """One more of a type."""
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(COUNT.format(mark="%s").encode(), (topic,), prepare=True)


class SQLiteCounts(SQLiteTrackingRecorder):
    """The same on SQLite."""

    def forget(self) -> None:
        """Begins from nothing."""
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(TABLE)
            cursor.execute("DELETE FROM counts")
            cursor.execute("DELETE FROM tracking WHERE application_name = 'bench'")

    def count(self, topic: str, tracking: Tracking) -> None:
        """One more of a type."""
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking)
            cursor.execute(COUNT.format(mark="?"), (topic,))


class Peer(Contestant):
    """Its application recorder, which orders all events of an application."""

    name = "eventsourcing"
    how = (
        "eventsourcing 9.5: ApplicationRecorder.insert_events of StoredEvent (id, version, topic, state), where state is "
        "the same JSON of data and metadata; select_notifications, 2,000 at a time; a view that counts each event with its "
        "tracking in a transaction, as its projections do (over the first 3,000 events). It stores four columns under one "
        "key (PostgreSQL: two), has no event ids, times or correlations to index, and no triggers. PostgreSQL: table lock, "
        "NOTIFY and INSERT … unnest in a pipeline; SQLite: WAL, a statement for each event."
    )

    def __init__(self, url: str) -> None:
        place = parse_url(url)
        if place.get_backend_name() == "sqlite":
            settings = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(place.database)}
        else:
            settings = {
                "PERSISTENCE_MODULE": "eventsourcing.postgres",
                "POSTGRES_DBNAME": str(place.database),
                "POSTGRES_HOST": str(place.host),
                "POSTGRES_PORT": str(place.port),
                "POSTGRES_USER": str(place.username),
                "POSTGRES_PASSWORD": str(place.password),
            }
        self.is_postgresql = place.get_backend_name() == "postgresql"
        self.factory = InfrastructureFactory.construct(Environment("bench", settings))
        self.recorder = self.factory.application_recorder()

    @functools.cached_property
    def view(self) -> PostgresCounts | SQLiteCounts:
        """The view, made once."""
        kind: Any = PostgresCounts if self.is_postgresql else SQLiteCounts
        view: PostgresCounts | SQLiteCounts = self.factory.tracking_recorder(kind)
        return view

    def rebuild(self) -> int:
        """Counts the first events one by one, each with its tracking in a transaction: that is how its projections do."""
        view = self.view
        view.forget()
        for notification in self.recorder.select_notifications(1, COUNTED):
            view.count(notification.topic, Tracking("bench", notification.id))
        return COUNTED

    def settle(self) -> None:
        """ANALYZE, where that is how."""
        if self.is_postgresql:
            with self.factory.datastore.get_connection() as connection:
                connection.execute("ANALYZE")

    def append(self, call: Sequence[Given]) -> None:
        """One insert_events."""
        dumps = orjson.dumps
        self.recorder.insert_events(
            [
                StoredEvent(originator_id, version, type_, dumps({"data": data, "metadata": metadata}))
                for one in call
                for originator_id in [uuid.UUID(one.aggregate_id)]
                for version, (type_, data, metadata) in enumerate(one.events, one.version + 1)
            ]
        )

    def read(self) -> int:
        """The notification log from the start."""
        number, start = 0, 1
        while found := self.recorder.select_notifications(start, PAGE):
            for notification in found:
                if notification.id and notification.state:
                    number += 1
            start = found[-1].id + 1
        return number

    def close(self) -> None:
        """Closes its connections."""
        self.factory.close()
