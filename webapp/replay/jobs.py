"""Replays as rows in home: who asked for what and why, what they wish now, and what came of it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from webapp.accounts.home import Home
from webapp.accounts.tables import replays
from webapp.errors import NotFound, ReplayConflict

stale_seconds = 10.0
"""A running job without a sign of life for this long is interrupted: any worker may take it over."""

active = ("queued", "running", "paused", "failed")
"""Jobs in these states hold their projection: another one can't be asked for meanwhile. A failed verification
doesn't, as it leaves nothing half-done."""

_columns = [column for column in replays.c if column.name != "result"]
_is_active = sa.and_(replays.c.status.in_(active), sa.or_(replays.c.kind != "verify", replays.c.status != "failed"))


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """One replay: `kind` is rebuild or verify, `status` is queued, running, paused, failed, done or cancelled."""

    id: int
    store: str
    projection: str
    kind: str
    status: str
    wish: str | None
    reason: str | None
    started_by: str | None
    created_at: dt.datetime
    claimed_at: dt.datetime | None
    ended_at: dt.datetime | None
    heartbeat_at: dt.datetime | None
    runner: str | None
    generation: int | None
    batch_size: int
    total: int | None
    done: int
    rate: float | None
    phase: str | None
    message: str | None
    is_stale: bool = False

    @property
    def shown_status(self) -> str:
        """The status in the words of a page: a running job whose worker went silent is interrupted."""
        return "interrupted" if self.is_stale else self.status

    @property
    def is_active(self) -> bool:
        """Whether there is more to come."""
        return self.status in active and not (self.is_verification and self.status == "failed")

    @property
    def is_verification(self) -> bool:
        """Whether it only compares."""
        return self.kind == "verify"

    @property
    def seconds_left(self) -> float | None:
        """About how long it still takes at the present speed, None if that can't be known."""
        if self.status != "running" or not self.rate or self.total is None:
            return None
        return max(0, self.total - self.done) / self.rate


def _job(row: Any, now: dt.datetime) -> ReplayJob:
    values = dict(row._mapping)
    is_stale = row.status == "running" and (
        row.heartbeat_at is None or (now - row.heartbeat_at).total_seconds() > stale_seconds
    )
    return ReplayJob(**values, is_stale=is_stale)


def request_replay(
    home: Home,
    store: str,
    projection: str,
    *,
    started_by: str | None,
    reason: str | None = None,
    batch_size: int = 2000,
    kind: str = "rebuild",
) -> int:
    """The id of a new job, queued for any worker; raises ReplayConflict while the projection has another one."""
    with home.database.writing() as connection:
        home.database.dialect.lock_log(connection, "main")  # what all requests share, so that they come one by one
        mine = sa.and_(replays.c.store == store, replays.c.projection == projection)
        other = connection.execute(sa.select(replays.c.id).where(mine, _is_active).limit(1)).scalar_one_or_none()
        if other is not None:
            raise ReplayConflict(f"{projection} has replay {other} under way. Wait for it, or cancel it first.")
        row = sa.insert(replays).values(
            store=store, projection=projection, kind=kind, status="queued", reason=reason or None,
            started_by=started_by, created_at=home.database.dialect.clock(connection), batch_size=batch_size,
        )  # fmt: skip
        return int(connection.execute(row).inserted_primary_key[0])  # type: ignore[index]


def find_replay(home: Home, replay_id: int, store: str | None = None) -> ReplayJob:
    """One job; raises NotFound, also where it belongs to another store than the one named."""
    with home.database.reading() as connection:
        now = home.database.dialect.clock(connection)
        row = connection.execute(sa.select(*_columns).where(replays.c.id == replay_id)).one_or_none()
    if row is None or (store is not None and row.store != store):
        raise NotFound("replay", str(replay_id))
    return _job(row, now)


def find_result(home: Home, replay_id: int) -> dict[str, Any] | None:
    """What a verification found, see `Verification.record`; None before its end and for other replays."""
    with home.database.reading() as connection:
        text = connection.execute(sa.select(replays.c.result).where(replays.c.id == replay_id)).scalar_one_or_none()
    found: dict[str, Any] | None = json.loads(text) if text else None
    return found


def list_replays(
    home: Home, store: str, projection: str | None = None, *, only_active: bool = False, limit: int = 20
) -> list[ReplayJob]:
    """The newest jobs of a store or of one of its projections, newest first; `only_active` leaves the ended out."""
    query = sa.select(*_columns).where(replays.c.store == store)
    if projection is not None:
        query = query.where(replays.c.projection == projection)
    if only_active:
        query = query.where(_is_active)
    with home.database.reading() as connection:
        now = home.database.dialect.clock(connection)
        return [_job(row, now) for row in connection.execute(query.order_by(replays.c.id.desc()).limit(limit))]


def pause_replay(home: Home, replay_id: int) -> None:
    """Asks for a pause after the batch in hand; raises ReplayConflict if it isn't queued or running."""
    _wish(home, replay_id, {"queued": {"status": "paused"}, "running": {"wish": "pause"}}, "paused")


def resume_replay(home: Home, replay_id: int) -> None:
    """Queues a job that was paused, interrupted or has failed; raises ReplayConflict otherwise."""
    job = find_replay(home, replay_id)
    queued = {"status": "queued", "wish": None, "message": None, "runner": None, "ended_at": None}
    changes: dict[str, dict[str, Any]] = {"paused": queued, "failed": queued}
    if job.is_stale:
        changes["running"] = queued
    elif job.status == "running":
        changes["running"] = {"wish": None}
    _wish(home, replay_id, changes, "resumed")


def cancel_replay(home: Home, replay_id: int) -> None:
    """Asks for the end: what was built is dropped, what serves stays; raises ReplayConflict if it has ended."""
    # A worker does the dropping, so a job that nobody runs is queued with the wish.
    wish = {"status": "queued", "wish": "cancel"}
    _wish(home, replay_id, {"queued": wish, "paused": wish, "failed": wish, "running": {"wish": "cancel"}}, "cancelled")


def _wish(home: Home, replay_id: int, changes: dict[str, dict[str, Any]], what: str) -> None:
    with home.database.writing() as connection:
        for status, values in changes.items():
            update = sa.update(replays).where(replays.c.id == replay_id, replays.c.status == status).values(**values)
            if connection.execute(update).rowcount == 1:
                return
        found = connection.execute(sa.select(replays.c.status).where(replays.c.id == replay_id)).scalar_one_or_none()
    if found is None:
        raise NotFound("replay", str(replay_id))
    raise ReplayConflict(f"Replay {replay_id} is {found}, so it can't be {what}.")


# --- what workers do ------------------------------------------------------------------------------------------------


def claim_replay(home: Home, runner: str) -> ReplayJob | None:
    """The next job, now this runner's: queued, or left by a worker that went silent; None if there is none."""

    def claim(connection: sa.Connection) -> ReplayJob | None:
        now = home.database.dialect.clock(connection)
        last_sign = sa.func.coalesce(replays.c.heartbeat_at, replays.c.created_at)
        is_silent = last_sign < now - dt.timedelta(seconds=stale_seconds)
        is_free = sa.or_(replays.c.status == "queued", sa.and_(replays.c.status == "running", is_silent))
        candidates = sa.select(replays.c.id).where(is_free).order_by(replays.c.id).limit(10)
        for replay_id in connection.execute(candidates).scalars().all():
            claimed = connection.execute(
                sa.update(replays)
                .where(replays.c.id == replay_id, is_free)
                .values(status="running", runner=runner, claimed_at=now, heartbeat_at=now, message=None)
            )
            if claimed.rowcount == 1:
                return _job(connection.execute(sa.select(*_columns).where(replays.c.id == replay_id)).one(), now)
        return None

    return home.database.retrying(claim)


def report_progress(home: Home, job: ReplayJob, **values: Any) -> ReplayJob | None:
    """The job as it stands after noting progress, with any wish; None if another runner has it now."""

    def report(connection: sa.Connection) -> ReplayJob | None:
        now = home.database.dialect.clock(connection)
        if not _change(connection, job, heartbeat_at=now, **values):
            return None
        return _job(connection.execute(sa.select(*_columns).where(replays.c.id == job.id)).one(), now)

    return home.database.retrying(report)


def end_replay(
    home: Home, job: ReplayJob, status: str, message: str | None = None, result: Mapping[str, Any] | None = None
) -> bool:
    """Notes how this runner's work on a job ended, or that anybody may go on; False if another runner has it now."""

    def end(connection: sa.Connection) -> bool:
        now = home.database.dialect.clock(connection)
        values: dict[str, Any] = {"status": status, "message": message, "runner": None, "heartbeat_at": now}
        if status != "queued":
            values["wish"] = None  # else whoever goes on has yet to obey it
        if result is not None:
            values["result"] = json.dumps(result)
        if status in ("done", "cancelled", "failed"):
            values["ended_at"] = now
        return _change(connection, job, **values)

    return home.database.retrying(end)


def _change(connection: sa.Connection, job: ReplayJob, **values: Any) -> bool:
    mine = sa.and_(replays.c.id == job.id, replays.c.runner == job.runner, replays.c.status == "running")
    return connection.execute(sa.update(replays).where(mine).values(**values)).rowcount == 1
