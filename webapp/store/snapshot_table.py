"""The store's own table of snapshots."""

from __future__ import annotations

import sqlalchemy as sa

from webapp.store.database import Database
from webapp.store.events import can_be_stored
from webapp.store.jsontext import encode, parse_json
from webapp.store.snapshots import Snapshot
from webapp.store.tables import logs, snapshots, streams, types


class TableSnapshots:
    """Snapshots beside the events, the last `keep` of each aggregate. Thread-safe."""

    def __init__(self, database: Database, *, keep: int = 3) -> None:
        self._database = database
        self._keep = keep

    def load(self, log: str, aggregate_type: str, aggregate_id: str, up_to: int | None) -> Snapshot | None:
        """The latest one with version <= up_to, None if there is none."""
        if not can_be_stored(log, aggregate_type, aggregate_id):
            return None
        query = (
            sa.select(snapshots.c.version, snapshots.c.fingerprint, snapshots.c.state)
            .join(streams, streams.c.id == snapshots.c.stream_id)
            .where(streams.c.id == _stream_id(log, aggregate_type, aggregate_id))
            .order_by(snapshots.c.version.desc()).limit(1)
        )  # fmt: skip
        if up_to is not None:
            query = query.where(snapshots.c.version <= min(up_to, 2**63 - 1))
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        event_id, state = _unwrap(row.state)
        return Snapshot(log, aggregate_type, aggregate_id, row.version, event_id, row.fingerprint, state)

    def save(self, snapshot: Snapshot) -> None:
        """Writes one, over another of its version, and drops those of other code and all but the last few."""

        def work(connection: sa.Connection) -> None:
            dialect = self._database.dialect
            stream_id = connection.scalar(
                sa.select(_stream_id(snapshot.log, snapshot.aggregate_type, snapshot.aggregate_id))
            )
            if stream_id is None:
                return  # no such stream any more, so nothing that it could be a shortcut to
            taken_at = dialect.encode_time(dialect.clock(connection))
            text = encode({"event": snapshot.event_id, "state": snapshot.state}, "snapshot")
            row = (stream_id, snapshot.version, snapshot.fingerprint, text, taken_at)
            names = [column.name for column in snapshots.columns]
            dialect.upsert_rows(connection, snapshots.name, names, names[:2], [row])
            of_stream = snapshots.c.stream_id == stream_id
            versions = connection.scalars(
                sa.select(snapshots.c.version).where(of_stream).order_by(snapshots.c.version.desc()).limit(self._keep)
            ).all()
            is_old = (snapshots.c.fingerprint != snapshot.fingerprint) | (snapshots.c.version < min(versions))
            connection.execute(sa.delete(snapshots).where(of_stream, is_old))

        self._database.retrying(work)

    def delete(self, log: str, aggregate_type: str, aggregate_id: str) -> None:
        """Drops all of one aggregate, such as when what it holds has to be forgotten."""

        def work(connection: sa.Connection) -> None:
            stream_id = connection.scalar(sa.select(_stream_id(log, aggregate_type, aggregate_id)))
            if stream_id is not None:
                connection.execute(sa.delete(snapshots).where(snapshots.c.stream_id == stream_id))

        self._database.retrying(work)


def _stream_id(log: str, aggregate_type: str, aggregate_id: str) -> sa.ScalarSelect[int]:
    return (
        sa.select(streams.c.id)
        .join(types, types.c.id == streams.c.type_id).join(logs, logs.c.id == types.c.log_id)
        .where(
            logs.c.name == log, types.c.kind == "aggregate", types.c.name == aggregate_type,
            streams.c.aggregate_id == aggregate_id,
        )
        .scalar_subquery()
    )  # fmt: skip


def _unwrap(text: str) -> tuple[str, str]:
    """The event's id and the state from a row; nothing usable if it isn't what we write."""
    try:
        found = parse_json(text)
        return str(found["event"]), str(found["state"])
    except (ValueError, KeyError, TypeError):
        return "", text
