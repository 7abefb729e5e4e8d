"""Rows of streams as events, page by page along the primary key."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from webapp.adapters.ecotone.servers import Server
from webapp.adapters.ecotone.streams import Stream
from webapp.store.events import EventFilter, RecordedEvent
from webapp.store.selecting import to_uuid

highest_version = 2**63 - 1
no_event = uuid.UUID(int=0)


class EventReader:
    """Builds and runs the queries for events; `actor_keys` are the metadata keys that may name the actor."""

    def __init__(self, server: Server, actor_keys: Sequence[str]) -> None:
        self._server = server
        self._actor = f"COALESCE({', '.join(map(server.field, actor_keys))}, NULL)" if actor_keys else "NULL"

    def columns(self, stream: Stream, with_payload: bool) -> str:
        """The columns of a query, in the order in which `record` takes them; payload and metadata only if wanted."""
        server = self._server
        if stream.strategy == "simple":
            aggregate = "NULL, NULL, NULL"
        else:
            # From the metadata, for MySQL's column of fixed width loses spaces at the end.
            aggregate = f"{server.field('_aggregate_type')}, {server.field('_aggregate_id')}, {server.version}"
        columns = (
            f"no, {aggregate}, event_name, {server.event_id}, created_at, {server.field('correlationId')},"
            f" {server.field('parentId')}, {self._actor}"
        )
        return f"{columns}, {server.payload}, {server.metadata}" if with_payload else columns

    def record(self, stream: Stream, row: Any) -> RecordedEvent:
        """The event in a row of `columns`."""
        return RecordedEvent(stream.name, *row)

    def read(
        self, connection: sa.Connection, stream: Stream, low: int, high: int, limit: int,
        newest_first: bool, where: EventFilter, with_payload: bool,
    ) -> list[RecordedEvent]:  # fmt: skip
        """Up to `limit` events with low < position < high that pass the filter as the database compares."""
        conditions, parameters = self._conditions(stream, where)
        hint = "" if is_looked_up(stream, where) else self._server.along_positions
        query = (
            f"SELECT {self.columns(stream, with_payload)} FROM {stream.sql}{hint}"
            f" WHERE {' AND '.join(['no > :low', 'no < :high', *conditions])}"
            f" ORDER BY no {'DESC' if newest_first else 'ASC'} LIMIT :limit"
        )
        rows = connection.execute(sa.text(query), {"low": low, "high": high, "limit": limit, **parameters})
        return [self.record(stream, row) for row in rows]

    def read_versions(
        self, connection: sa.Connection, stream: Stream, aggregate_type: str, aggregate_id: str,
        after_version: int, after_position: int, limit: int, with_payload: bool,
    ) -> list[RecordedEvent]:  # fmt: skip
        """One aggregate's next events after a version and a position, both rising together."""
        conditions, parameters = self._conditions(
            stream, EventFilter(aggregate_type=aggregate_type, aggregate_id=aggregate_id)
        )
        query = (
            f"SELECT {self.columns(stream, with_payload)} FROM {stream.sql}"
            f" WHERE {' AND '.join([*conditions, 'no > :position', f'{self._server.version} > :version'])}"
            " ORDER BY no LIMIT :limit"
        )
        places = {"position": after_position, "version": min(after_version, highest_version), "limit": limit}
        rows = connection.execute(sa.text(query), parameters | places)
        return [self.record(stream, row) for row in rows]

    def _conditions(self, stream: Stream, where: EventFilter) -> tuple[list[str], dict[str, Any]]:
        """The filter as SQL; where the database compares more loosely than by bytes, more passes than should."""
        server = self._server
        conditions: list[str] = []
        parameters: dict[str, Any] = {}

        def add(condition: str, name: str, value: Any) -> None:
            conditions.append(condition)
            parameters[name] = value

        if where.types:
            names = [f"type_{place}" for place in range(len(where.types))]
            conditions.append(f"event_name IN ({', '.join(f':{name}' for name in names)})")
            parameters |= dict(zip(names, where.types, strict=True))
        if where.aggregate_type is not None:
            expression = server.aggregate_type if stream.is_indexed else server.field("_aggregate_type")
            add(f"{expression} = :aggregate_type", "aggregate_type", where.aggregate_type)
        if where.aggregate_id is not None:
            expression = server.aggregate_id if stream.is_indexed else server.field("_aggregate_id")
            add(f"{expression} = :aggregate_id", "aggregate_id", where.aggregate_id)
        if where.correlation_id is not None:
            add(f"{server.field('correlationId')} = :correlation_id", "correlation_id", where.correlation_id)
        if where.actor is not None:
            add(f"{self._actor} = :actor", "actor", where.actor)
        if where.since is not None:
            add("created_at >= :since", "since", without_zone(where.since))
        if where.until is not None:
            add("created_at < :until", "until", without_zone(where.until))
        if where.event_id is not None:
            event_id = to_uuid(where.event_id)
            add(server.event_id_is, "event_id", str(event_id or no_event))
        if where.contains is not None:
            add(server.payload_contains(":contains"), "contains", where.contains)
        return conditions, parameters


def without_zone(moment: dt.datetime) -> dt.datetime:
    """A moment as Ecotone's columns hold it: in UTC, without a zone."""
    return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo is not None else moment


def is_looked_up(stream: Stream, where: EventFilter) -> bool:
    """Whether an index leads to the events that a filter keeps: by their id, or by their aggregate."""
    by_aggregate = stream.is_indexed and where.aggregate_type is not None and where.aggregate_id is not None
    return where.event_id is not None or by_aggregate
