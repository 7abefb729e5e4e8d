"""Alerts as rows in home: which are open, what has been told, and whose turn it is to watch."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from webapp.accounts.home import Home
from webapp.accounts.tables import alerts
from webapp.alerts.looking import Look, Marks
from webapp.alerts.rules import Finding, Kind
from webapp.alerts.turns import Watch, renew_in

most_open = 20_000


@dataclass(frozen=True, slots=True)
class Alert:
    """One problem: when it began, and when it was told last; `ended_at` until its end is told."""

    id: int
    store: str
    kind: str
    projection: str
    sentence: str
    mark: str | None
    begun_at: dt.datetime
    clear_at: dt.datetime | None
    ended_at: dt.datetime | None
    told_at: dt.datetime | None


def list_open(home: Home, stores: Collection[str], limit: int = 200) -> list[Alert]:
    """Open alerts of some stores, oldest first."""
    query = sa.select(alerts).where(alerts.c.ended_at.is_(None), alerts.c.store.in_(list(stores)))
    with home.database.reading() as connection:
        return [alert_of(row) for row in connection.execute(query.order_by(alerts.c.id).limit(limit))]


def read_marks(home: Home, store: str) -> Marks:
    """The marks of a store's open alerts, by kind and projection."""
    return {(one.kind, one.projection): one.mark for one in list_open(home, [store], most_open)}


def reconcile(home: Home, watch: Watch, look: Look, settle_seconds: float, *, keeps_ended: bool) -> Watch:
    """Begins, keeps and ends a store's alerts by what was seen there, all under the lease; raises LeaseLost.

    One that isn't seen any more ends only after `settle_seconds`, so that what comes and goes is told once. With
    `keeps_ended` the ended stay until that is told. Gives the watch with the look's memory in it.
    """
    memory = {**watch.memory, look.store: look.memory}

    def change(connection: sa.Connection) -> None:
        renew_in(connection, home, watch, memory=json.dumps(memory))
        now = home.database.dialect.clock(connection)
        mine = sa.and_(alerts.c.store == look.store, alerts.c.ended_at.is_(None))
        present = [alert_of(row) for row in connection.execute(sa.select(alerts).where(mine).limit(most_open))]
        seen = {finding.key: finding for finding in look.findings}
        updates, ended = [], []
        for alert in present:
            finding = seen.get((alert.kind, alert.projection))
            if finding is not None and _is_the_same(alert, finding):
                del seen[finding.key]
                updates += _seen(alert, finding)
            elif finding is None and alert.kind in look.blind:
                continue
            elif finding is None and not _is_settled(alert, now, settle_seconds):
                updates += [] if alert.clear_at else [_values(alert, clear_at=now)]
            else:
                ended.append(alert)
        new = [finding for finding in seen.values() if finding.is_sure]
        _write(connection, updates, ended, now, keeps_ended)
        if new:
            rows = [
                {"store": look.store, "kind": one.kind.value, "projection": one.projection, "sentence": one.sentence,
                 "mark": one.mark, "begun_at": now} for one in new
            ]  # fmt: skip
            connection.execute(sa.insert(alerts), rows)

    home.database.retrying(change)
    return replace(watch, memory=memory)


def _is_the_same(alert: Alert, finding: Finding) -> bool:
    """A projection that fails at another event has another problem; all else goes on as it was."""
    return finding.kind is not Kind.failed or not finding.is_sure or alert.mark == finding.mark


def _is_settled(alert: Alert, now: dt.datetime, settle_seconds: float) -> bool:
    gone_seconds = (now - alert.clear_at).total_seconds() if alert.clear_at else 0.0
    return gone_seconds >= settle_seconds


def _seen(alert: Alert, finding: Finding) -> list[dict[str, Any]]:
    if not finding.is_sure:
        return []
    values = {"sentence": finding.sentence, "mark": finding.mark, "clear_at": None}
    now = {"sentence": alert.sentence, "mark": alert.mark, "clear_at": alert.clear_at}
    return [] if now == values else [_values(alert, **values)]


def _values(alert: Alert, **changes: Any) -> dict[str, Any]:
    values = {"sentence": alert.sentence, "mark": alert.mark, "clear_at": alert.clear_at} | changes
    return {"row": alert.id, **values}


def _write(
    connection: sa.Connection, updates: Sequence[dict[str, Any]], ended: Sequence[Alert], now: dt.datetime, keep: bool
) -> None:
    if updates:
        connection.execute(sa.update(alerts).where(alerts.c.id == sa.bindparam("row")), updates)
    if ended:
        row = alerts.c.id == sa.bindparam("row")
        statement = sa.update(alerts).where(row).values(ended_at=now) if keep else sa.delete(alerts).where(row)
        connection.execute(statement, [{"row": alert.id} for alert in ended])


def alert_of(row: Any) -> Alert:
    """An alert from its row."""
    return Alert(**row._mapping)
