"""The event store: appends under a dense counter per log, and the reference EventSource over its own tables."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import URL

from webapp.errors import NotFound
from webapp.store import dead_letters
from webapp.store import migrate as migrations
from webapp.store.aggregates_list import list_aggregates
from webapp.store.catalog import Catalog
from webapp.store.closing import StreamLinks, close_stream, stream_links
from webapp.store.creating import create_log
from webapp.store.database import Database, page_seconds
from webapp.store.events import Append, EventFilter, NewEvent, RecordedEvent, can_be_stored
from webapp.store.joining import CallersConnection
from webapp.store.notifying import Notifier
from webapp.store.overview import list_logs, list_types
from webapp.store.reader import Reader
from webapp.store.settling import find_missing, last_position, settle
from webapp.store.source import (
    Aggregate,
    AggregateType,
    Capability,
    Count,
    DeadLetter,
    EventType,
    Log,
    ProjectionStatus,
    no_filter,
)
from webapp.store.subscriptions import Subscription, subscribe
from webapp.store.tables import logs
from webapp.store.writer import Writer


class EventStore:
    """Events in PostgreSQL, MySQL, MariaDB or SQLite. Thread-safe. `open` touches no table; `close` when done."""

    layout = "projectionist"

    def __init__(self, database: Database, *, group_commit: bool = False) -> None:
        self.database = database
        catalog = Catalog()
        database.when_lost(catalog.forget)
        self.notifier = Notifier(database)
        self._reader = Reader(database, catalog)
        self._writer = Writer(database, catalog, self.notifier, group_commit=group_commit)

    @classmethod
    def open(
        cls, url: str | URL, *, pool_size: int = 5, page_seconds: float = page_seconds, group_commit: bool = False
    ) -> Self:  # fmt: skip
        """The store at a SQLAlchemy URL or its short form; SQLite files are made when first written.

        With `group_commit`, appends that threads make at the same time go together in one transaction, and each still
        succeeds or fails by itself.
        """
        database = Database(url, may_create=True, pool_size=pool_size, page_seconds=page_seconds)
        return cls(database, group_commit=group_commit)

    @property
    def dialect(self) -> str:
        """The server's kind, for people to read."""
        return self.database.dialect.name

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this source can do beyond reading events."""
        return frozenset({Capability.append, Capability.rebuild, Capability.payload_search, Capability.dead_letters})

    def migrate(self, *, with_triggers: bool = True) -> None:
        """Makes or upgrades our tables; safe to repeat and to run from several processes at once."""
        migrations.migrate(self.database, with_triggers=with_triggers)

    def check(self) -> None:
        """Raises NeedsMigration unless our tables are there in this version's form."""
        migrations.check(self.database)

    def close(self) -> None:
        """Ends all subscriptions and gives the connections back; the store can't be used after."""
        self.notifier.close()
        self.database.close()

    # --- appending --------------------------------------------------------------------------------------------------

    def append(
        self,
        aggregate_type: str,
        aggregate_id: str,
        events: Sequence[NewEvent],
        *,
        expected_version: int | None = None,
        log: str = "main",
    ) -> list[RecordedEvent]:
        """The events as recorded, all or none, in one transaction.

        `expected_version` None means any, 0 that the stream must be new; raises WrongExpectedVersion. Events whose ids
        are all stored already with equal content come back as they are, whatever version is expected; raises
        EventIdReused where only some are, or with other content. Deadlocks and lock timeouts are retried.
        """
        return self.append_many([Append(aggregate_type, aggregate_id, events, expected_version, log)])

    def append_many(self, appends: Sequence[Append]) -> list[RecordedEvent]:
        """Like append, for many streams of any logs in one transaction."""
        return self._writer.append_many(appends)

    def append_in(self, connection: CallersConnection, appends: Sequence[Append]) -> list[RecordedEvent]:
        """Like append_many inside the caller's own transaction, with whose other rows the events commit or roll back.

        `connection` is a SQLAlchemy Connection or Session (flushed first) on the store's database, or what `joining`
        makes of a driver's own. Append last: each log's counter is held until the transaction ends. All or none are
        stored even if the caller goes on after an error; nothing is retried, so StoreUnavailable may mean to run the
        whole transaction again. Raises InvalidRequest for a connection that leads elsewhere or commits by itself.
        """
        return self._writer.append_in(connection, appends)

    def joining(self, connection: Any) -> AbstractContextManager[sa.Connection]:
        """A block with a SQLAlchemy connection over a driver's own, to append in that one's transaction.

        For psycopg, PyMySQL and sqlite3, so also for Django: `connection.connection` within `transaction.atomic()`. It
        never begins, commits, rolls back or closes; whoever owns the driver's connection does.
        """
        return self._writer.joining.join(connection)

    def close_stream(
        self,
        aggregate_type: str,
        aggregate_id: str,
        closing_events: Sequence[NewEvent],
        *,
        into: str,
        opening_events: Sequence[NewEvent],
        expected_version: int | None = None,
        log: str = "main",
    ) -> list[RecordedEvent]:
        """The events that close a stream and those that open the one it goes on in, recorded in one transaction.

        Their metadata names the other stream, as `continued_by` and `continues`. From then on appends to the closed one
        raise StreamClosed, which says where to append; it reads as before. Raises like append; `into` must be new.
        """
        return close_stream(
            self, aggregate_type, aggregate_id, closing_events, into=into, opening_events=opening_events,
            expected_version=expected_version, log=log,
        )  # fmt: skip

    def stream_links(self, aggregate_type: str, aggregate_id: str, *, log: str | None = None) -> StreamLinks:
        """Which stream an aggregate's continues, and which one continues it; raises NotFound and AmbiguousLog."""
        return stream_links(self, aggregate_type, aggregate_id, log)

    def import_events(self, events: Sequence[RecordedEvent], *, keep_positions: bool = False) -> list[RecordedEvent]:
        """Events that another store recorded, appended with their own times, ids and actors, all or none.

        Give them oldest first, in batches of a thousand or so; logs may be mixed. Positions are made here; a version
        that an event brings must be its stream's next one, or WrongExpectedVersion is raised. Time order stays position
        order: InvalidEvent for a time before the log's last or after the database's clock. A batch that was imported
        already comes back as it is.

        With `keep_positions` they keep positions and times whatever these are, while versions are made here; raises
        Conflict for a position at or below the log's head.
        """
        return self._writer.import_events(events, keep_positions=keep_positions)

    def create_log(self, name: str, ordering: str = "dense") -> None:
        """Makes a log, unless it's there; an append makes dense ones by itself.

        A `parallel` log has many writers at once, who don't wait for each other; its positions have holes, and aren't in
        order of time. On SQLite, where there is one writer anyway, and in a log that was copied, it's `dense` just the same.
        Raises Conflict if the log has the other ordering, InvalidRequest where the server can't keep such a log.
        """
        create_log(self.database, name, ordering)

    # --- logs -------------------------------------------------------------------------------------------------------

    def head(self, log: str) -> int:
        """The highest position of a log; raises NotFound."""
        with self.database.reading() as connection:
            row = self._reader.log_row(connection, log)
            return int(row.head) if row.ordering != "parallel" else last_position(connection, row.id)

    def settled_head(self, log: str) -> int:
        """The highest position at or below which nothing more can appear: with a dense counter, the head.

        For followers: on MySQL and MariaDB it claims positions of a parallel log that writers left empty, so that they
        stay empty.
        """
        with self.database.reading() as connection:
            row = self._reader.log_row(connection, log)
        return int(row.head) if row.ordering != "parallel" else settle(self.database, row)

    def log_id(self, connection: sa.Connection, log: str) -> int:
        """The number of a log; raises NotFound."""
        return int(self._reader.log_row(connection, log).id)

    def logs(self) -> Sequence[Log]:
        """All logs by name."""
        return self._logs(sa.true())

    def log(self, name: str) -> Log:
        """One log; raises NotFound."""
        found = self._logs(logs.c.name == name) if can_be_stored(name) else []
        if not found:
            raise NotFound("log", name)
        if found[0].strategy != "parallel":
            return found[0]
        with self.database.reading() as connection:
            missing = find_missing(self.database.dialect, connection, self.log_id(connection, name))
        return replace(found[0], missing=missing)

    def _logs(self, where: sa.ColumnElement[bool]) -> list[Log]:
        with self.database.reading(at_one_moment=True) as connection:
            return list_logs(self.database.dialect, connection, where)

    # --- reading ----------------------------------------------------------------------------------------------------

    def read_log(
        self,
        log: str,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int | None = 1000,
        newest_first: bool = False,
        where: EventFilter = no_filter,
        with_payload: bool = True,
        seconds: float | None = None,
    ) -> Iterator[RecordedEvent]:
        """Events with after < position < before that pass the filter, by position; see EventSource.read_log.

        With `seconds` a search for which there is no index raises TimedOut after about that long, with `reached`.
        """
        return self._reader.read_log(
            log, after=after, before=before, limit=limit, newest_first=newest_first, where=where,
            with_payload=with_payload, seconds=seconds,
        )  # fmt: skip

    def read_stream(
        self,
        aggregate_type: str,
        aggregate_id: str,
        *,
        log: str | None = None,
        after: int = 0,
        limit: int | None = None,
        with_payload: bool = True,
    ) -> Iterator[RecordedEvent]:
        """One aggregate's events with version > after, by version; raises AmbiguousLog if several logs hold it."""
        return self._reader.read_stream(
            aggregate_type, aggregate_id, log=log, after=after, limit=limit, with_payload=with_payload
        )

    def event(self, log: str, position: int) -> RecordedEvent:
        """One event whole; raises NotFound."""
        return self._reader.event(log, position)

    def subscribe(
        self,
        log: str | None = None,
        *,
        after: int | str = 0,
        types: Sequence[str] = (),
        aggregate_type: str | None = None,
        aggregate_id: str | None = None,
        where: EventFilter = no_filter,
        stop: threading.Event | None = None,
    ) -> Subscription:
        """The events of a log (None: of all but retired ones) after a position or cursor, then those to come, live.

        An iterator that ends when `stop` is set or its `close` is called; a log that isn't there yet is waited for.
        Several logs are merged by time as far as they are known; each comes in order of its positions.
        """
        return subscribe(
            self, log, after=after, types=types, aggregate_type=aggregate_type, aggregate_id=aggregate_id, where=where,
            stop=stop,
        )  # fmt: skip

    # --- types and aggregates ---------------------------------------------------------------------------------------

    def event_types(self) -> Sequence[EventType]:
        """All types of events by log and name, counted."""
        with self.database.reading(at_one_moment=True) as connection:
            found = list_types(self.database.dialect, connection, "event")
        return [EventType(one.log, one.name, Count(one.total), one.first_at, one.last_at) for one in found]

    def aggregate_types(self) -> Sequence[AggregateType]:
        """All types of aggregates by log and name, counted."""
        with self.database.reading(at_one_moment=True) as connection:
            found = list_types(self.database.dialect, connection, "aggregate")
        return [AggregateType(one.log, one.name, Count(one.total), one.last_at) for one in found]

    def aggregates(
        self,
        aggregate_type: str,
        *,
        log: str | None = None,
        after_id: str | None = None,
        prefix: str = "",
        limit: int = 50,
    ) -> Sequence[Aggregate]:
        """Aggregates of a type in byte order of id (then log), after one id, by prefix."""
        with self.database.reading() as connection:
            if log is not None:
                self._reader.log_row(connection, log)
            if not can_be_stored(aggregate_type, after_id, prefix):
                return []
            return list_aggregates(self.database.dialect, connection, aggregate_type, log, after_id, prefix, limit)

    # --- what lies beside events ------------------------------------------------------------------------------------

    def projections(self) -> Sequence[ProjectionStatus]:
        """Every projection that has a checkpoint in this database, by name."""
        return []

    def dead_letters(self, *, before: str | None = None, limit: int = 50) -> Sequence[DeadLetter]:
        """What publishers of the outbox gave up on (a projection stops at an event that fails instead)."""
        with self.database.reading() as connection:
            return dead_letters.list_letters(connection, before, limit)

    def dead_letter(self, id: str) -> DeadLetter:
        """One dead letter with its event's payload and metadata; raises NotFound."""
        with self.database.reading() as connection:
            row = dead_letters.find_letter(connection, id)
        return dead_letters.whole_letter(row, self.event(row.log, row.position))

    def read_model_tables(self) -> Sequence[str]:
        """Tables in this database that projections fill, by name."""
        return []

    def overview_facts(self) -> Sequence[tuple[str, Count]]:
        """None: all there is shows under logs, types and projections."""
        return []
