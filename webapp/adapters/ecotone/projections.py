"""The projections that Ecotone knows of: those that ran at least once, of both generations."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from webapp.adapters.ecotone import health, partitions
from webapp.adapters.ecotone.heads import database_now, read_heads
from webapp.adapters.ecotone.positions import StreamPosition, parse_v1, parse_v2
from webapp.adapters.ecotone.progress import Measured, measure
from webapp.adapters.ecotone.servers import Server
from webapp.adapters.ecotone.streams import Stream, emitted
from webapp.store.jsontext import parse_json
from webapp.store.source import Health, ProjectionStatus

v1_columns = frozenset({"no", "name", "position", "state", "status", "locked_until"})
v2_table = "ecotone_projection_state"
most_projections = 1000
feeder = "event_streaming_channel_adapter_"


class ProjectionReader:
    """Reads V1's `projections` and V2's `ecotone_projection_state`, as far as they are there."""

    def __init__(self, server: Server, dialect: str, v1_table: str | None) -> None:
        self._server = server
        self._dialect = dialect
        self._v1_table = v1_table

    def read(self, connection: sa.Connection, tables: set[str], streams: Sequence[Stream]) -> list[ProjectionStatus]:
        """The status of each, by name; V1 before V2 where one name is in both."""
        by_name = {stream.name: stream for stream in streams}
        # Positions before heads, so that a projection running meanwhile can't stand past its head.
        v1_rows = self._v1_rows(connection) if self._v1_table in tables else []
        v2_rows = self._v2_rows(connection) if v2_table in tables else []
        parsed = [_parsed(row.position, parse_v1) for row in v1_rows]
        parsed += [_parsed(row.last_position, parse_v2) for row in v2_rows if row.partition_key == ""]
        positions = [at for found in parsed if isinstance(found, list) for at in found]
        named = {at.stream: by_name[at.stream] for at in positions if at.stream in by_name}
        heads = read_heads(connection, self._server, list(named.values()))
        measured = _share_out(parsed, measure(connection, named, heads, positions))
        now = database_now(connection, self._server)
        found = [self._v1_status(row, next(measured), now, by_name) for row in v1_rows]
        for row in v2_rows:
            if row.partition_key == "":
                found.append(self._v2_status(row, next(measured), by_name))
            else:
                found.append(self._partitioned_status(connection, row.projection_name, by_name))
        return sorted(found, key=lambda status: status.name.encode())

    def _v1_rows(self, connection: sa.Connection) -> Sequence[Any]:
        position, state = self._server.text_of("position"), self._server.text_of("state")
        table = self._server.quote(self._v1_table or "")
        query = f"SELECT name, {position} AS position, {state} AS state, status, locked_until FROM {table}"
        return connection.execute(sa.text(f"{query} ORDER BY no LIMIT {most_projections}")).all()

    def _v2_rows(self, connection: sa.Connection) -> list[Any]:
        """The first row of each projection, hopping along the key, since partitions may be millions."""
        metadata, state = self._server.text_of("metadata"), self._server.text_of("user_state")
        query = sa.text(
            f"SELECT projection_name, partition_key, last_position, {metadata} AS metadata, {state} AS user_state"
            f" FROM {v2_table} WHERE projection_name > :after ORDER BY projection_name, partition_key LIMIT 1"
        )
        rows: list[Any] = []
        while len(rows) < most_projections:
            row = connection.execute(query, {"after": rows[-1].projection_name if rows else ""}).one_or_none()
            if row is None:
                break
            rows.append(row)
        return rows

    def _v1_status(
        self, row: Any, measured: list[Measured] | ValueError, now: dt.datetime, streams: Mapping[str, Stream]
    ) -> ProjectionStatus:
        locked_until = _parse_lock(row.locked_until)
        details = {"judged by": "the streams that its position names; what a V1 projection reads is not stored"}
        if isinstance(measured, ValueError):
            verdict: health.Verdict = Health.unknown, f"Its position can't be read: {measured}."
            measured = []
        else:
            unread = [one.progress.log for one in measured if self._is_unreadable(one)]
            verdict = health.judge_v1(row.status.rstrip(), locked_until, now, measured, unread, self._dialect)
        return ProjectionStatus(
            row.name, *verdict, status=row.status.rstrip(), engine="Ecotone V1",
            progress=tuple(one.progress for one in measured), state=_decoded(row.state),
            emits_to=_emits_to(row.name, streams),
            locked_until=None if locked_until is None else locked_until.replace(tzinfo=dt.UTC), details=details,
        )  # fmt: skip

    def _is_unreadable(self, one: Measured) -> bool:
        """The silent case: a stream of the aggregate strategy, which MySQL's index hint keeps V1 from reading."""
        is_kept_by_aggregate = one.stream is not None and one.stream.strategy == "aggregate"
        is_at_zero = one.progress.position == 0 and one.progress.head > 0
        return self._server.skips_aggregate_streams and is_kept_by_aggregate and is_at_zero

    def _v2_status(
        self, row: Any, measured: list[Measured] | ValueError, streams: Mapping[str, Stream]
    ) -> ProjectionStatus:
        metadata = _decoded(row.metadata)
        status = metadata.get("initialization_status") if isinstance(metadata, dict) else None
        if isinstance(measured, ValueError):
            verdict = health.judge_bad_position(row.last_position, str(measured))
            measured = []
        else:
            verdict = health.judge_v2(measured, status == "initialized")
        filled = {one.progress.log: list(one.filled) for one in measured if one.filled}
        return ProjectionStatus(
            row.projection_name, *verdict, status=status,
            engine="Ecotone V2 (feeds a channel)" if row.projection_name.startswith(feeder) else "Ecotone V2",
            progress=tuple(one.progress for one in measured), state=_decoded(row.user_state),
            emits_to=_emits_to(row.projection_name, streams),
            details={"gaps that have filled": filled} if filled else {},
        )  # fmt: skip

    def _partitioned_status(
        self, connection: sa.Connection, name: str, streams: Mapping[str, Stream]
    ) -> ProjectionStatus:
        found = partitions.read_partitions(connection, self._server, name, streams)
        verdict = partitions.judge(found)
        return ProjectionStatus(
            name, *verdict, engine="Ecotone V2 (partitioned)", partitions=found.number.number,
            partitions_behind=found.behind, emits_to=_emits_to(name, streams), details=found.details(),
        )  # fmt: skip


def _parsed(text: str, parse: Any) -> list[StreamPosition] | ValueError:
    try:
        found: list[StreamPosition] = parse(text)
        return found
    except ValueError as error:
        return error


def _share_out(parsed: Sequence[list[StreamPosition] | ValueError], measured: Sequence[Measured]) -> Any:
    """Gives what was measured for all back to each projection, in order; errors stay in their places."""
    rest = iter(measured)
    for found in parsed:
        yield found if isinstance(found, ValueError) else [next(rest) for _ in found]


def _decoded(text: str | None) -> Any:
    """A JSON value, or the text itself where it isn't JSON."""
    try:
        return None if text is None else parse_json(text)
    except ValueError:
        return text


def _parse_lock(text: str | None) -> dt.datetime | None:
    try:
        return None if text is None else dt.datetime.fromisoformat(text.strip()).replace(tzinfo=None)
    except ValueError:
        return None


def _emits_to(name: str, streams: Mapping[str, Stream]) -> str | None:
    return emitted + name if emitted + name in streams else None
