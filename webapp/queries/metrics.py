"""The numbers of `/metrics` in Prometheus' text format."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from webapp import __version__
from webapp.queries.logs import LogRow
from webapp.queries.measuring import HomeNumbers, StoreNumbers, most_letters, most_replays
from webapp.store.source import Health

prefix = "projectionist"


class _Given(Collector):
    """Families that are at hand already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def write_metrics(home: HomeNumbers, stores: Sequence[StoreNumbers], seconds: float) -> bytes:
    """Everything measured, as text; `seconds` is how long that took."""
    families = [
        _gauge("build_info", "The version that answers.", ["version"], [([__version__], 1)]),
        _gauge("collection_seconds", "How long collecting these numbers took.", [], [([], seconds)]),
        *_home(home),
        *_stores(stores),
        *_logs(stores),
        *_projections(stores),
    ]
    return _write(families)


def write_process_metrics() -> bytes:
    """What the system says of the process that answers, told apart by its pid, since several may serve."""
    registry = CollectorRegistry()
    pid = str(os.getpid())
    families = []
    for family in ProcessCollector(registry=registry).collect():
        family.samples = [sample._replace(labels={**sample.labels, "pid": pid}) for sample in family.samples]
        families.append(family)
    return _write(families)


def _write(families: Iterable[Metric]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Given(list(families)))
    return generate_latest(registry)


Samples = Iterable[tuple[Sequence[str], float | None]]


def _gauge(name: str, text: str, labels: Sequence[str], samples: Samples) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"{prefix}_{name}", text, labels=labels)
    _add(family, samples)
    return family


def _add(family: GaugeMetricFamily | CounterMetricFamily, samples: Samples) -> None:
    """Adds samples, those without a value left out; of those with the same labels the first, or nobody could read any."""
    seen = set()
    for labels, value in samples:
        shown = [label.encode("utf-8", "replace").decode() for label in labels]
        if value is not None and tuple(shown) not in seen:
            seen.add(tuple(shown))
            family.add_metric(shown, value)


def _home(home: HomeNumbers) -> Iterator[Metric]:
    yield _gauge("home_up", "Whether the dashboard's own database can be read.", [], [([], home.is_up)])
    text = f"Replays by store and status; of those that ended the newest {most_replays:,} are counted."
    replays = [(key, number) for key, number in sorted(home.replays.items())]
    yield _gauge("replays", text, ["store", "status"], replays)
    alerts = [(key, number) for key, number in sorted(home.alerts.items())]
    yield _gauge("alerts", "Open alerts by store and kind.", ["store", "kind"], alerts)
    logins = CounterMetricFamily(f"{prefix}_logins", "Logins by outcome, since the first.", labels=["outcome"])
    _add(logins, [([outcome], number) for outcome, number in home.logins.items()])
    yield logins


def _stores(stores: Sequence[StoreNumbers]) -> Iterator[Metric]:
    up = [one for one in stores if one.is_up]
    label = ["store"]
    yield _gauge("store_up", "Whether the store could be read.", label, [([one.store], one.is_up) for one in stores])
    text = "How long reading the store took."
    yield _gauge("store_read_seconds", text, label, [([one.store], one.seconds) for one in stores])
    yield _gauge("store_logs", "Logs that aren't retired.", label, [([one.store], one.log_total) for one in up])
    text = "Logs, or groups of logs, that have no metrics of their own here, since there are too many."
    yield _gauge("store_logs_left_out", text, label, [([one.store], one.logs_left_out) for one in up])
    text = "Projections by health."
    by_health = [([one.store, health.value], one.health[health]) for one in up for health in Health]
    yield _gauge("store_projections", text, ["store", "health"], by_health)
    text = (
        "Projections that have no metrics of their own here, since there are too many; those with problems come first."
    )
    yield _gauge("store_projections_left_out", text, label, [([one.store], one.projections_left_out) for one in up])
    text = f"Dead letters, counted up to {most_letters}."
    yield _gauge("dead_letters", text, label, [([one.store], one.dead_letters) for one in up])


def _logs(stores: Sequence[StoreNumbers]) -> Iterator[Metric]:
    """Of a group of logs the sums: so that rates of events are right, and a head that isn't settled shows."""
    rows = [(one.store, row) for one in stores for row in one.logs]
    labels = ["store", "log", "category"]
    text = "The highest position; of the logs of one category the sum."
    yield _gauge("log_head", text, labels, [(_log(at, row), sum(log.head for log in row.logs)) for at, row in rows])
    text = "The highest position below which nothing more can appear; of the logs of one category the sum."
    settled = [(_log(at, row), sum(log.settled_head for log in row.logs)) for at, row in rows]
    yield _gauge("log_settled_head", text, labels, settled)
    text = "Events in the log, or in the logs of one category."
    yield _gauge("log_events", text, labels, [(_log(at, row), row.count.number) for at, row in rows])
    text = "Whether log_events is exact; otherwise it is estimated, or counting stopped there."
    yield _gauge("log_events_exact", text, labels, [(_log(at, row), row.count.exact) for at, row in rows])


def _log(store: str, row: LogRow) -> list[str]:
    if row.is_group:
        return [store, "", row.name]
    return [store, row.name, row.logs[0].category or ""]


def _projections(stores: Sequence[StoreNumbers]) -> Iterator[Metric]:
    rows = [
        ([one.store, status.name, status.engine or ""], status, delay)
        for one in stores
        for status, delay in one.projections
    ]
    labels = ["store", "projection", "engine"]
    text = "1 for the health that the projection has now."
    health = [([*labels_, status.health.value], 1) for labels_, status, _ in rows]
    yield _gauge("projection_health", text, [*labels, "health"], health)
    text = "Whether the projection stopped at an event that fails."
    failed = [(labels_, status.health is Health.failed) for labels_, status, _ in rows]
    yield _gauge("projection_failed", text, labels, failed)
    text = "Events after the projection's checkpoints; where they can't be counted, positions."
    yield _gauge("projection_lag_events", text, labels, [(labels_, delay.events) for labels_, _, delay in rows])
    text = "How long the oldest event waits that the projection hasn't processed; missing where that couldn't be found out."
    yield _gauge("projection_lag_seconds", text, labels, [(labels_, delay.seconds) for labels_, _, delay in rows])
    text = "How long ago the projection last processed something; missing where the layout doesn't tell."
    idle = [(labels_, delay.idle_seconds) for labels_, _, delay in rows]
    yield _gauge("projection_idle_seconds", text, labels, idle)
    text = "Events that the projection was told to leave out."
    yield _gauge("projection_skipped_events", text, labels, [(labels_, status.skipped) for labels_, status, _ in rows])
