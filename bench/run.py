"""What is measured on each database."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.contestants import Contestant, Ours
from bench.measure import Speeds, in_turns
from bench.peer import Peer
from bench.raw import RAW
from bench.workload import Given, appends
from tests.conftest import create_database

ROUNDS = 5
READ = 200_000


@dataclass(frozen=True)
class Shape:
    """A way to append: so many calls a round, each of so many events over so many aggregates."""

    name: str
    calls: int
    events: int
    aggregates: int
    calls_for_each: int = 1
    """How many calls one after the other are for the same aggregate."""


SHAPES = (
    Shape("append one event", 300, 1, 1, calls_for_each=5),
    Shape("append 1,000 events of one aggregate", 15, 1000, 1),
    Shape("append 1,000 events of 100 new aggregates", 15, 1000, 100),
)


@dataclass(frozen=True)
class Result:
    """One line: what was done on which database, how fast by whom."""

    database: str
    measure: str
    speeds: Mapping[str, Speeds]


def contestants(backend: str, folder: Path) -> tuple[list[Contestant], list[Callable[[], None]]]:
    """Everybody who takes part on one database, and what drops their databases. Each has one of his own."""
    made: list[Contestant] = []
    drops = []
    makers: list[Callable[[str], Contestant]] = [
        Ours,
        lambda url: RAW[backend](url, bare=False),
        lambda url: RAW[backend](url, bare=True),
    ]
    if backend in ("sqlite", "postgresql"):
        makers.append(Peer)
    for make in makers:
        url, drop = create_database(backend, folder)
        drops.append(drop)
        made.append(make(url))
    return made, drops


def run(backend: str, folder: Path, tell: Callable[[str], None]) -> list[Result]:
    """All results of one database."""
    everybody, drops = contestants(backend, folder)
    results = []
    try:
        stored = 0
        for shape in SHAPES:
            tell(f"{backend}: {shape.name}")
            speeds = append_in_turns(everybody, shape)
            stored += (ROUNDS + 1) * shape.calls * shape.events
            results.append(Result(backend, shape.name, speeds))
        tell(f"{backend}: read {READ:,} events")
        fill(everybody, READ - stored)
        for each in everybody:
            each.settle()
        readers = {each.name: lambda _round, each=each: each.read() for each in everybody if each.name != "bare"}
        for name, read in readers.items():  # once to warm up, and to see that all is there
            number = read(0)
            if number != READ:
                raise AssertionError(f"{name} reads {number} events, not {READ}")
        results.append(Result(backend, f"read {READ:,} events in order", in_turns(readers, ROUNDS)))
        tell(f"{backend}: rebuild a projection that counts")
        counters = {each.name: lambda _round, each=each: each.rebuild() for each in everybody if each.name != "bare"}
        results.append(Result(backend, "rebuild a projection that counts by type", in_turns(counters, ROUNDS)))
    finally:
        for each in everybody:
            each.close()
        for drop in drops:
            drop()
    return results


def append_in_turns(everybody: list[Contestant], shape: Shape) -> dict[str, Speeds]:
    """Speeds of a shape; inputs are made before the clock runs, the first round is a warm-up that doesn't count."""
    seed = SHAPES.index(shape) * 100
    inputs = [
        list(appends(shape.calls, shape.events, shape.aggregates, seed + n, shape.calls_for_each))
        for n in range(ROUNDS + 1)
    ]
    gc.collect()
    gc.freeze()  # what is only here to be stored shouldn't be walked again and again meanwhile
    for each in everybody:
        store(each, inputs[-1])
    return in_turns({each.name: lambda n, each=each: store(each, inputs[n]) for each in everybody}, ROUNDS)


def store(each: Contestant, calls: list[list[Given]]) -> int:
    """The number of events stored."""
    for call in calls:
        each.append(call)
    return sum(len(one.events) for call in calls for one in call)


def fill(everybody: list[Contestant], left: int) -> None:
    """Brings everybody's log to the same length."""
    for seed in range(left // 1000 + 1):
        number = min(1000, left - seed * 1000)
        if number:
            (call,) = appends(1, number, 1, 1_000_000 + seed)
            for each in everybody:
                each.append(call)
