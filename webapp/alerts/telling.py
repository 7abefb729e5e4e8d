"""What is still to be told, and that it was: an alert's beginning, its end, and now and then that it lasts."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from webapp.accounts.home import Home
from webapp.accounts.tables import alerts
from webapp.alerts.rows import Alert, alert_of
from webapp.alerts.turns import Watch, renew_in

most_told = 2_000
"""Alerts in one message; more follow in the next."""
first_wait_seconds, most_wait_seconds = 5.0, 900.0


class Happening(enum.StrEnum):
    """What a message says of an alert."""

    began = "began"
    lasts = "lasts"
    ended = "ended"


@dataclass(frozen=True, slots=True)
class Telling:
    """One thing to tell of an alert."""

    alert: Alert
    happening: Happening


def list_untold(home: Home, stores: Collection[str], again_hours: float) -> list[Telling]:
    """What to tell now, oldest alerts first: that they began or ended, and that they last after so many hours.

    0 hours means that nothing is told twice; only alerts of the stores named are told again.
    """
    with home.database.reading() as connection:
        now = home.database.dialect.clock(connection)
        untold = sa.or_(alerts.c.told_at.is_(None), alerts.c.ended_at.is_not(None))
        if again_hours:
            before = now - dt.timedelta(hours=again_hours)
            untold = sa.or_(untold, sa.and_(alerts.c.told_at <= before, alerts.c.store.in_(list(stores))))
        query = sa.select(alerts).where(untold).order_by(alerts.c.id).limit(most_told)
        found = [alert_of(row) for row in connection.execute(query)]
    tellings = []
    for alert in found:
        if alert.told_at is None:
            tellings.append(Telling(alert, Happening.began))
        elif alert.ended_at is None:
            tellings.append(Telling(alert, Happening.lasts))
        if alert.ended_at is not None:
            tellings.append(Telling(alert, Happening.ended))
    return tellings


def mark_told(home: Home, watch: Watch, tellings: Sequence[Telling]) -> None:
    """Notes that they were told; those that ended are forgotten. Raises LeaseLost."""

    def mark(connection: sa.Connection) -> None:
        renew_in(connection, home, watch, attempts=0, retry_at=None)
        now, row = home.database.dialect.clock(connection), alerts.c.id == sa.bindparam("row")
        ended = {one.alert.id for one in tellings if one.happening is Happening.ended}
        lasting = {one.alert.id for one in tellings} - ended
        if ended:
            connection.execute(sa.delete(alerts).where(row), [{"row": id_} for id_ in sorted(ended)])
        if lasting:
            statement = sa.update(alerts).where(row).values(told_at=now)
            connection.execute(statement, [{"row": id_} for id_ in sorted(lasting)])

    home.database.retrying(mark)


def note_failure(home: Home, watch: Watch) -> float:
    """Notes that a message couldn't be delivered, and gives how long to wait: longer each time. Raises LeaseLost."""
    wait = min(most_wait_seconds, first_wait_seconds * 2.0 ** min(watch.attempts, 30))

    def note(connection: sa.Connection) -> None:
        retry_at = home.database.dialect.clock(connection) + dt.timedelta(seconds=wait)
        renew_in(connection, home, watch, attempts=watch.attempts + 1, retry_at=retry_at)

    home.database.retrying(note)
    return wait
