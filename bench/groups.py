"""Many threads that append one event each at a time, with group commit and without it."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.filling import Filled, Tell
from tests.conftest import create_database
from webapp.store import EventStore, NewEvent

THREADS, ROUNDS, SECONDS = 32, 5, 3.0
TARGET = 3.0
HEADING = "Group commit"


def measure(backend: str, filled: Filled, folder: Path, tell: Tell) -> list[dict[str, Any]]:
    """One row: events per second of both, round by round, in turns, each in a database of its own."""
    tell(f"{backend}: {THREADS} threads append, with group commit and without")
    made = [create_database(backend, folder) for _ in range(2)]
    stores = [EventStore.open(url, group_commit=joins) for (url, _), joins in zip(made, (False, True), strict=True)]
    speeds: list[list[float]] = [[], []]
    try:
        for store in stores:
            store.migrate()
        for number in range(-1, ROUNDS):  # the first is a warm-up that doesn't count
            for which in (0, 1) if number % 2 else (1, 0):
                speed = append_together(stores[which], f"{number}")
                if number >= 0:
                    speeds[which].append(round(speed, 1))
    finally:
        for store, (_, drop) in zip(stores, made, strict=True):
            store.close()
            drop()
    return [{"database": backend, "threads": THREADS, "alone": speeds[0], "together": speeds[1]}]


def append_together(store: EventStore, name: str) -> float:
    """Events per second: each thread appends to aggregates of its own, ten events to each, with expected versions."""
    ends_at = time.perf_counter() + SECONDS
    counts, failures = [0] * THREADS, []

    def work(thread: int) -> None:
        try:
            while time.perf_counter() < ends_at:
                aggregate, version = divmod(counts[thread], 10)
                event = NewEvent("order.noted", {"text": "leave it at the door, please"}, {"actor": "ann"})
                store.append("order", f"{name}-{thread}-{aggregate}", [event], expected_version=version)
                counts[thread] += 1
        except Exception as error:
            failures.append(error)

    began, head = time.perf_counter(), _head(store)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if failures:
        raise failures[0]
    if _head(store) - head != sum(counts):
        raise AssertionError(f"{sum(counts)} appends were acknowledged, {_head(store) - head} events are there")
    return sum(counts) / seconds


def _head(store: EventStore) -> int:
    return sum(log.head for log in store.logs())


def _ratio(row: Mapping[str, Any]) -> float:
    return statistics.median(b / a for a, b in zip(row["alone"], row["together"], strict=True))


def markdown(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The section as lines."""
    lines = [
        f"The target is {TARGET:.0f} times the speed without it, on the servers.",
        "",
        "| database | threads | ratio | events/s with | events/s without |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        shown = [f"{statistics.median(row[key]):,.0f}" for key in ("together", "alone")]
        lines.append(f"| {row['database']} | {row['threads']} | {_ratio(row):.1f} | {shown[0]} | {shown[1]} |")
    return [
        *lines,
        "",
        f"- {THREADS} threads of one process append one event at a time, {SECONDS:.0f} seconds a round, {ROUNDS} rounds in "
        "turns; medians. “With” is EventStore.open(url, group_commit=True), “without” the same but for that.",
    ]


def missed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each server on which it brings too little."""
    return [
        f"{row['database']}, group commit: {_ratio(row):.1f} times, the target is {TARGET:.0f}"
        for row in rows
        if row["database"] != "sqlite" and _ratio(row) < TARGET
    ]
