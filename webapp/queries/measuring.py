"""What is measured for `/metrics`: each store's numbers, read side by side within a time limit."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import sqlalchemy as sa

from webapp.accounts.home import Home
from webapp.accounts.tables import alerts, replays
from webapp.errors import ProjectionistError
from webapp.projections.delays import Delay, measure_delays
from webapp.queries.logs import LogRow, group_logs
from webapp.replay.jobs import stale_seconds
from webapp.store.source import EventSource, Health, ProjectionStatus

most_logs = 100
most_projections = 300
most_letters = 100
most_replays = 10_000
most_alerts = 10_000
collect_seconds = 8.0
"""How long a collection waits for its stores: Prometheus itself gives up after ten."""


@dataclass
class StoreNumbers:
    """One store as it was found; `is_up` False leaves the rest empty. `logs` and `projections` hold the first of all."""

    store: str
    is_up: bool = False
    log_total: int = 0
    logs: Sequence[LogRow] = ()
    logs_left_out: int = 0
    health: Counter[Health] = field(default_factory=Counter)
    projections: Sequence[tuple[ProjectionStatus, Delay]] = ()
    projections_left_out: int = 0
    dead_letters: int = 0
    seconds: float = 0.0

    @classmethod
    def load(cls, store: str, open_source: Callable[[str], EventSource]) -> StoreNumbers:
        """The numbers of a store; one that can't be read is not up, and that is not an error."""
        started = time.monotonic()
        try:
            found = cls._read(store, open_source(store))
        except ProjectionistError:
            found = cls(store)
        found.seconds = time.monotonic() - started
        return found

    @classmethod
    def _read(cls, store: str, source: EventSource) -> StoreNumbers:
        logs = [log for log in source.logs() if not log.is_retired]
        rows = group_logs(logs, opened=False)
        statuses = sorted(source.projections(), key=lambda one: (not one.health.is_problem, one.lag == 0, one.name))
        shown = statuses[:most_projections]
        return cls(
            store, True, len(logs), rows[:most_logs], max(0, len(rows) - most_logs),
            Counter(status.health for status in statuses),
            list(zip(shown, measure_delays(source, shown, budget_seconds=2.0), strict=True)),
            max(0, len(statuses) - most_projections), len(source.dead_letters(limit=most_letters)),
        )  # fmt: skip


@dataclass
class HomeNumbers:
    """What home knows: replays by store and status, open alerts by store and kind, logins that failed."""

    is_up: bool = False
    replays: dict[tuple[str, str], int] = field(default_factory=dict)
    alerts: dict[tuple[str, str], int] = field(default_factory=dict)
    logins: dict[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, home: Home) -> HomeNumbers:
        """The numbers of home; empty where it can't be reached."""
        try:
            return cls(True, *cls._count(home), cls._logins(home))
        except ProjectionistError:
            return cls()

    @staticmethod
    def _count(home: Home) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], int]]:
        newest = sa.select(replays.c.store, replays.c.status, replays.c.heartbeat_at)
        newest = newest.order_by(replays.c.id.desc()).limit(most_replays)
        open_now = sa.select(alerts.c.store, alerts.c.kind).where(alerts.c.ended_at.is_(None))
        open_now = open_now.order_by(alerts.c.id).limit(most_alerts)
        with home.database.reading(2.0) as connection:
            now = home.database.dialect.clock(connection)
            by_status: Counter[tuple[str, str]] = Counter()
            for row in connection.execute(newest):
                silent = row.heartbeat_at is None or (now - row.heartbeat_at).total_seconds() > stale_seconds
                status = "interrupted" if row.status == "running" and silent else row.status
                by_status[row.store, status] += 1
            by_kind = Counter((row.store, row.kind) for row in connection.execute(open_now))
        return by_status, by_kind

    @staticmethod
    def _logins(home: Home) -> dict[str, int]:
        outcomes = {"person.logged_in": "succeeded", "person.login_failed": "failed"}
        counted = dict.fromkeys(outcomes.values(), 0)
        for kind in home.events.event_types():
            if kind.name in outcomes:
                counted[outcomes[kind.name]] += kind.count.number
        return counted


@dataclass
class Measurer:
    """Measures all stores; thread-safe. A store that is still at work from last time isn't asked again meanwhile."""

    home: Home
    names: Sequence[str]
    open_source: Callable[[str], EventSource]
    _under_way: dict[str, Future[StoreNumbers]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def measure(self) -> tuple[HomeNumbers, list[StoreNumbers]]:
        """Home, and the stores in order; one that doesn't answer in time counts as not up."""
        with self._lock:
            threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="projectionist metrics")
            for name in self.names:
                if name not in self._under_way or self._under_way[name].done():
                    self._under_way[name] = threads.submit(StoreNumbers.load, name, self.open_source)
            asked = dict(self._under_way)
            threads.shutdown(wait=False)
        ends_at = time.monotonic() + collect_seconds
        home = HomeNumbers.load(self.home)
        wait(asked.values(), timeout=max(0.0, ends_at - time.monotonic()))
        found = []
        for name in self.names:
            future = asked[name]
            found.append(future.result() if future.done() else StoreNumbers(name, seconds=collect_seconds))
        return home, found
