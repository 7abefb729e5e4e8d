"""How long it takes to load an aggregate of 10,000 events, with and without a snapshot."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.filling import Filled, Tell
from tests.conftest import create_database
from webapp.store import EventStore, NewEvent, Repository, Serializer, SnapshotPolicy, aggregate, applies

HEADING = "Aggregates"
EVENTS, AFTER, ROUNDS, WARM_UP = 10_000, 50, 15, 2


@dataclass(frozen=True)
class Moved:
    """An event as an object."""

    amount: int
    note: str


serializer = Serializer()
serializer.add_event(Moved, "wallet.moved")


@aggregate("wallet", id="number")
@dataclass
class Wallet:
    """Folds raw events."""

    number: str
    balance: int = 0
    movements: int = 0

    @applies("wallet.moved")
    def _moved(self, event: Any) -> None:
        self.balance += event.data["amount"]
        self.movements += 1


@aggregate("wallet", id="number", serializer=serializer)
@dataclass
class ObjectWallet:
    """Folds objects."""

    number: str
    balance: int = 0
    movements: int = 0

    @applies(Moved)
    def _moved(self, event: Moved) -> None:
        self.balance += event.amount
        self.movements += 1


def measure(backend: str, filled: Filled, folder: Path, tell: Tell) -> list[dict[str, Any]]:
    """A row for each way to load, its times in milliseconds by round; ways take turns, so that noise hits all."""
    tell(f"{backend}: loading an aggregate of {EVENTS:,} events")
    url, drop = create_database(backend, folder)
    stores = [EventStore.open(url) for _ in range(3)]
    try:
        stores[0].migrate()
        ways = _ways(*stores)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(WARM_UP + ROUNDS):
            gc.collect()
            for name in [*ways][number % len(ways) :] + [*ways][: number % len(ways)]:
                began = time.perf_counter()
                ways[name]()
                if number >= WARM_UP:
                    times[name].append(round((time.perf_counter() - began) * 1000, 2))
    finally:
        for store in stores:
            store.close()
        drop()
    return [{"database": backend, "way": name, "milliseconds": found} for name, found in times.items()]


def _ways(store: EventStore, with_objects: EventStore, with_snapshots: EventStore) -> dict[str, Callable[[], Any]]:
    plain, objects = Repository(store, Wallet), Repository(with_objects, ObjectWallet)
    snapshots = Repository(with_snapshots, Wallet, snapshots=SnapshotPolicy(every=EVENTS - AFTER))
    events = [NewEvent("wallet.moved", {"amount": n, "note": "leave it at the door, please"}) for n in range(EVENTS)]
    for at in range(0, EVENTS - AFTER, 1000):
        store.append("wallet", "1", events[at : min(at + 1000, EVENTS - AFTER - 1)])
    snapshots.save(snapshots.load("1"), events[-AFTER - 1 : -AFTER])
    snapshots.save(snapshots.load("1"), events[-AFTER:])
    ways: dict[str, Callable[[], Any]] = {
        "its events, read": lambda: sum(1 for _ in store.read_stream("wallet", "1", log="main")),
        "folded from raw events": lambda: plain.load("1").movements,
        "folded from objects": lambda: objects.load("1").movements,
        f"from a snapshot and {AFTER} events": lambda: snapshots.load("1").movements,
    }
    for name, way in ways.items():
        if way() != EVENTS:
            raise AssertionError(f"{name}: {way()} events, not {EVENTS}")
    return ways


def markdown(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The section as lines."""
    lines = [
        f"An aggregate of {EVENTS:,} events, loaded {ROUNDS} times each way, in turns; milliseconds, median (fastest–slowest).",
        "",
        "| database | loaded | milliseconds |",
        "| --- | --- | --- |",
    ]
    for row in rows:
        found = row["milliseconds"]
        cells = f"{statistics.median(found):.1f} ({min(found):.1f}–{max(found):.1f})"
        lines.append(f"| {row['database']} | {row['way']} | {cells} |")
    return lines


def missed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """No target was set."""
    return []
