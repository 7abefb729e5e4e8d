"""Whose turn it is to watch and tell: one row in home, claimed by one process at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from webapp.accounts.home import Home
from webapp.accounts.tables import watches
from webapp.errors import DuplicateKey
from webapp.store.leases import claim_lease, release_lease, renew_lease

lease_seconds = 60.0
_row = watches.c.name == "alerts"


@dataclass(frozen=True, slots=True)
class Watch:
    """The right to watch and tell, as claimed; `memory` is what looks remember, by store."""

    owner: str
    epoch: int
    memory: Mapping[str, Any]
    attempts: int
    wait_seconds: float
    """How long to wait before the next try to tell."""


def claim_watch(home: Home, owner: str) -> Watch | None:
    """The right to watch for a minute, None while another process has it."""

    def claim(connection: sa.Connection) -> Watch | None:
        dialect = home.database.dialect
        epoch = claim_lease(connection, dialect, watches, _row, owner, lease_seconds)
        if epoch is None:
            return None
        row = connection.execute(sa.select(watches).where(_row)).one()
        wait = 0.0 if row.retry_at is None else (row.retry_at - dialect.clock(connection)).total_seconds()
        return Watch(owner, epoch, json.loads(row.memory or "{}"), row.attempts, max(0.0, wait))

    with home.database.reading() as connection:
        is_there = connection.execute(sa.select(watches.c.name).where(_row)).one_or_none() is not None
    if not is_there:
        with suppress(DuplicateKey):  # where another process was quicker
            home.database.retrying(lambda connection: connection.execute(sa.insert(watches).values(name="alerts")))
    return home.database.retrying(claim)


def release_watch(home: Home, watch: Watch) -> None:
    """Gives the right back, so that another process needn't wait for its end."""
    home.database.retrying(lambda connection: release_lease(connection, watches, _row, watch.owner, watch.epoch))


def renew_watch(home: Home, watch: Watch, **values: Any) -> None:
    """Lets the right run anew; raises LeaseLost where another process has it."""
    home.database.retrying(lambda connection: renew_in(connection, home, watch, **values))


def renew_in(connection: sa.Connection, home: Home, watch: Watch, **values: Any) -> None:
    """Like renew_watch, within a transaction at hand, which commits only while the right is held."""
    what, dialect = "watching", home.database.dialect
    renew_lease(connection, dialect, watches, _row, watch.owner, watch.epoch, lease_seconds, what, **values)
