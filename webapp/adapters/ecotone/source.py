"""A database that Ecotone wrote, as an `EventSource`. It is only ever read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa

from webapp.adapters.ecotone import aggregates, dead_letters, facts, heads, paging, times, types
from webapp.adapters.ecotone.aggregates import Owners
from webapp.adapters.ecotone.events import EventReader
from webapp.adapters.ecotone.projections import ProjectionReader
from webapp.adapters.ecotone.servers import server_for
from webapp.adapters.ecotone.streams import Registry, Stream
from webapp.errors import AmbiguousLog, InvalidRequest, NeedsMigration, NotFound, UnknownLayout
from webapp.store.database import Database
from webapp.store.events import EventFilter, RecordedEvent, can_be_stored
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
)  # fmt: skip

actor_keys = ("actor", "executorId", "userId")
highest_position = 2**63 - 1


class EcotoneSource:
    """What Ecotone's tables tell. Thread-safe; fulfils `EventSource`.

    A hole in a log's numbers is taken to be in flight while the event after it is younger than 60 seconds, which is
    Ecotone's own rule; the settled head stands before it. Events of simple streams belong to no aggregate.
    Filters by time rely on times rising with positions, give or take ten minutes.
    """

    layout = "ecotone"

    def __init__(
        self, database: Database, *, event_streams: str = "event_streams", projections: str | None = "projections",
        actor_keys: Sequence[str] = actor_keys,
    ) -> None:  # fmt: skip
        for key in actor_keys:
            if not re.fullmatch(r"[\w.@/ -]{1,100}", key):
                raise InvalidRequest(
                    f"The metadata key {key!r} can't name the actor. Use letters, digits and _ . @ / - only.",
                    field="actor_keys",
                )
        self.database = database
        self.dialect = database.dialect.name
        self._server = server_for(database)
        self._registry = Registry(self._server, event_streams)
        self._owners = Owners(self._server)
        self._reader = EventReader(self._server, actor_keys)
        self._projections = ProjectionReader(self._server, self.dialect, projections)
        self._own_tables = {event_streams, projections}

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        try:
            with self.database.reading() as connection:
                yield connection
        except NeedsMigration as error:
            detail = str(error.__cause__ or error).partition("\n")[0]
            raise UnknownLayout(
                f"{self.database.name} lacks a table that Ecotone's registry names ({detail}): a stream was deleted "
                "meanwhile, or the tables are incomplete. Try again."
            ) from error

    def _stream(self, connection: sa.Connection, name: str) -> Stream:
        stream = self._registry.find(connection, name) if can_be_stored(name) else None
        if stream is None:
            raise NotFound("log", name, "The page of logs lists them all.")
        return stream

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Payloads can be searched, and dead letters are kept where Ecotone has made their table."""
        with self._reading() as connection:
            has_letters = dead_letters.table in facts.table_names(connection)
        return frozenset({Capability.payload_search} | ({Capability.dead_letters} if has_letters else set()))

    def logs(self) -> Sequence[Log]:
        """All streams by name; see `EventSource.logs`."""
        with self._reading() as connection:
            return self._logs(connection, self._registry.all(connection))

    def log(self, name: str) -> Log:
        """One stream, with the numbers missing among its last 10,000 events; raises NotFound."""
        with self._reading() as connection:
            return self._logs(connection, [self._stream(connection, name)], with_holes=True)[0]

    def _logs(self, connection: sa.Connection, streams: Sequence[Stream], with_holes: bool = False) -> list[Log]:
        found = heads.read_heads(connection, self._server, streams)
        counts = heads.read_counts(connection, self._server, streams, found)
        logs = []
        for stream in streams:
            head = found[stream.name]
            missing: tuple[int, ...] = ()
            details: dict[str, object] = {"table": stream.table}
            if stream.metadata not in (None, "[]", "{}"):
                details["metadata"] = stream.metadata
            if with_holes:
                holes = heads.read_holes(connection, stream, head)
                missing = holes.missing
                details["holes looked for from position"] = holes.looked_from
            log = Log(
                stream.name, head.last, head.settled, counts[stream.name], category=stream.category,
                strategy=stream.strategy, derived_from=stream.derived_from, first_at=heads.utc(head.first_at),
                last_at=heads.utc(head.last_at), missing=missing, details=details,
            )  # fmt: skip
            logs.append(log)
        return logs

    def read_log(
        self, log: str, *, after: int = 0, before: int | None = None, limit: int | None = 1000,
        newest_first: bool = False, where: EventFilter = no_filter, with_payload: bool = True,
        seconds: float | None = None,
    ) -> Iterable[RecordedEvent]:  # fmt: skip
        """Settled events of one stream in order; see `EventSource.read_log`."""
        with self._reading() as connection:
            stream = self._stream(connection, log)
            head = heads.read_heads(connection, self._server, [stream])[log]
            low, high = max(after, head.first - 1, 0), head.settled + 1
            high = high if before is None else min(before, high)
            if low + 1 < high and (where.since or where.until):
                low, high = times.narrow(connection, stream, head, where, low, high)
        texts = (where.aggregate_type, where.aggregate_id, where.correlation_id, where.actor, where.contains)
        if not can_be_stored(*where.types, *texts, where.event_id):
            return iter(())
        return paging.read_pages(
            self._reading, self._reader, stream, low, high, limit, newest_first, where, with_payload, seconds
        )

    def read_stream(
        self, aggregate_type: str, aggregate_id: str, *, log: str | None = None, after: int = 0,
        limit: int | None = None, with_payload: bool = True,
    ) -> Iterable[RecordedEvent]:  # fmt: skip
        """One aggregate's events by version; see `EventSource.read_stream`."""
        with self._reading() as connection:
            streams = [self._stream(connection, log)] if log is not None else self._registry.all(connection)
            holders: list[Stream] = []
            if can_be_stored(aggregate_type, aggregate_id):
                holders = aggregates.find_holders(
                    connection, self._server, self._owners, streams, aggregate_type, aggregate_id
                )
        if len(holders) > 1:
            raise AmbiguousLog(aggregate_type, aggregate_id, [stream.name for stream in holders])
        if not holders:
            return iter(())
        return paging.read_versions(
            self._reading, self._reader, holders[0], aggregate_type, aggregate_id, after, limit, with_payload
        )

    def event(self, log: str, position: int) -> RecordedEvent:
        """One event whole; raises NotFound."""
        with self._reading() as connection:
            stream = self._stream(connection, log)
            if 0 < position < highest_position:
                found = self._reader.read(connection, stream, position - 1, position + 1, 1, False, no_filter, True)
                if found:
                    return found[0]
        raise NotFound("event", f"{log}:{position}", "Numbers of rolled-back transactions stay empty.")

    def event_types(self) -> Sequence[EventType]:
        """Types of events by log and name; see `types` for how large logs are estimated."""
        with self._reading() as connection:
            streams = self._registry.all(connection)
            found = heads.read_heads(connection, self._server, streams)
            return types.read_event_types(connection, streams, found)

    def aggregate_types(self) -> Sequence[AggregateType]:
        """Types of aggregates by log and name; a stream of the aggregate strategy holds one aggregate."""
        with self._reading() as connection:
            streams = [stream for stream in self._registry.all(connection) if stream.strategy != "simple"]
            found = heads.read_heads(connection, self._server, streams)
            shared = [stream for stream in streams if stream.is_indexed]
            result = types.read_aggregate_types(connection, self._server, shared, found)
            result += [
                AggregateType(stream.name, owner.type, Count(1), heads.utc(found[stream.name].last_at))
                for stream, owner in self._owners.of(connection, streams).items()
            ]
            return sorted(result, key=lambda type_: (type_.log.encode(), type_.name.encode()))

    def aggregates(
        self,
        aggregate_type: str,
        *,
        log: str | None = None,
        after_id: str | None = None,
        prefix: str = "",
        limit: int = 50,
    ) -> Sequence[Aggregate]:
        """Aggregates of a type by id; see `EventSource.aggregates`."""
        with self._reading() as connection:
            streams = [self._stream(connection, log)] if log is not None else self._registry.all(connection)
            if not can_be_stored(aggregate_type, after_id, prefix) or limit < 1:
                return []
            return aggregates.list_aggregates(
                connection, self._server, self._owners, streams, aggregate_type, after_id, prefix, limit
            )

    def projections(self) -> Sequence[ProjectionStatus]:
        """Every projection that has run at least once, V1 and V2, by name; others leave no trace."""
        with self._reading() as connection:
            tables = facts.table_names(connection)
            return self._projections.read(connection, tables, self._registry.all(connection))

    def dead_letters(self, *, before: str | None = None, limit: int = 50) -> Sequence[DeadLetter]:
        """Dead letters, newest first; Ecotone keeps the time of the message, not of its failure."""
        with self._reading() as connection:
            if dead_letters.table not in facts.table_names(connection):
                return []
            return dead_letters.list_letters(connection, before, limit)

    def dead_letter(self, id: str) -> DeadLetter:
        """One dead letter whole; raises NotFound."""
        with self._reading() as connection:
            if dead_letters.table in facts.table_names(connection) and can_be_stored(id):
                letter = dead_letters.read_letter(connection, id)
                if letter is not None:
                    return letter
        raise NotFound("dead letter", id, "It may have been replayed or deleted meanwhile.")

    def read_model_tables(self) -> Sequence[str]:
        """Tables that are neither Ecotone's nor streams, by name."""
        with self._reading() as connection:
            return facts.read_model_tables(connection, self._own_tables, self._registry.all(connection))

    def overview_facts(self) -> Sequence[tuple[str, Count]]:
        """What else there is, as label and number: waiting messages by queue, dead letters, snapshots, read models."""
        with self._reading() as connection:
            models = facts.read_model_tables(connection, self._own_tables, self._registry.all(connection))
            return facts.count_facts(connection, self._server, models)

    def close(self) -> None:
        """Gives the connections back; the source can't be used after."""
        self.database.close()
