"""How the projections of a store are doing, told from their rows."""

from __future__ import annotations

import datetime as dt

from webapp.projections import checkpoints
from webapp.projections.checkpoints import Checkpoint, ProjectionRow
from webapp.store.native import EventStore
from webapp.store.source import Count, Failure, Health, Log, Progress, ProjectionStatus


def list_statuses(store: EventStore) -> list[ProjectionStatus]:
    """Every projection started in this database, by name, with lag by log and what follows from it."""
    logs = {log.name: log for log in store.logs()}
    with store.database.reading() as connection:
        now = store.database.dialect.clock(connection)
        rows = checkpoints.list_projections(connection)
        generations: dict[str, list[Checkpoint]] = {}
        for checkpoint in checkpoints.list_checkpoints(connection):
            generations.setdefault(checkpoint.projection, []).append(checkpoint)
        skipped = checkpoints.count_skips(connection)
    return [_status(row, generations.get(row.name, []), logs, skipped.get(row.name, 0), now) for row in rows]


def list_read_model_tables(store: EventStore) -> list[str]:
    """The tables that projections of this database fill, by name."""
    with store.database.reading() as connection:
        return sorted({table for row in checkpoints.list_projections(connection) for table in row.tables})


def _status(
    row: ProjectionRow, generations: list[Checkpoint], logs: dict[str, Log], skipped: int, now: dt.datetime
) -> ProjectionStatus:
    serving = next((one for one in generations if one.generation == row.generation), None)
    building = [one for one in generations if one.generation > row.generation]
    progress = tuple(
        Progress(log, position, logs[log].settled_head if log in logs else position, Count(_lag(logs, log, position)))
        for log, position in sorted((serving.positions if serving else {}).items())
    )
    failure = None
    if row.failure:
        at = row.failure.get("at")
        failure = Failure(
            row.failure.get("log"), row.failure.get("position"), row.failure.get("message", ""),
            row.failure.get("traceback"), dt.datetime.fromisoformat(at) if at else None,
        )  # fmt: skip
    lag = sum(one.lag for one in progress)
    health, explanation = _judge(row, serving, building, lag, now)
    return ProjectionStatus(
        name=row.name,
        health=health,
        explanation=explanation,
        status=row.status,
        engine="projectionist",
        progress=progress,
        state=serving.state if serving else None,
        locked_until=serving.lease_expires_at if serving else None,
        failure=failure,
        emits_to=row.derived_log,
        updated_at=serving.updated_at if serving else row.updated_at,
        tables=row.tables,
        generation=row.generation,
        skipped=skipped,
        details={
            "fingerprint": serving.fingerprint if serving else None,
            "done": serving.done if serving else 0,
            "owner": serving.owner if serving else None,
            "generations": [one.generation for one in generations],
        },
    )


def _lag(logs: dict[str, Log], log: str, position: int) -> int:
    return max(0, logs[log].settled_head - position) if log in logs else 0


def _judge(
    row: ProjectionRow, serving: Checkpoint | None, building: list[Checkpoint], lag: int, now: dt.datetime
) -> tuple[Health, str]:
    behind = f"{lag:,} event{'' if lag == 1 else 's'} behind"
    if row.status == "failed" and row.failure:
        return Health.failed, f"failed at {row.failure['log']}:{row.failure['position']}: {row.failure['message']}"
    working = [one for one in building if one.lease_expires_at and one.lease_expires_at > now]
    if working:
        return (
            Health.rebuilding,
            f"generation {working[-1].generation} is being built; {row.generation} serves meanwhile",
        )
    if row.status == "paused":
        return Health.paused, f"paused, {behind}" if lag else "paused at the head"
    if serving is None or not serving.positions:
        return Health.not_started, "started, but no event was applied yet"
    if not lag:
        return Health.up_to_date, "stands at the head of its logs"
    if serving.lease_expires_at is None:
        return Health.waiting, f"{behind}, and no worker follows: start one with projectionist worker"
    if serving.lease_expires_at < now:
        return (
            Health.crashed,
            f"{behind}; its worker went silent, the lease expired at {serving.lease_expires_at:%H:%M:%S} UTC",
        )
    return Health.behind, behind
