"""Timing several contestants in turns, so that whatever the machine does meanwhile, it does to all."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass
class Speeds:
    """Events per second of one contestant, round by round."""

    rounds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """What is reported."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """The slowest and the fastest round: how much the machine's noise is."""
        return min(self.rounds), max(self.rounds)


def in_turns(tasks: Mapping[str, Callable[[int], int]], rounds: int) -> dict[str, Speeds]:
    """Speeds by name. A task gets the round's number and returns how many events it handled; the order rotates."""
    speeds = {name: Speeds() for name in tasks}
    names = list(tasks)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            gc.collect()
            began = time.perf_counter()
            handled = tasks[name](number)
            speeds[name].rounds.append(handled / (time.perf_counter() - began))
    return speeds


def ratio(speeds: Mapping[str, Speeds], one: str, other: str) -> float | None:
    """Median of the rounds' ratios, which a slow moment of the machine hardly moves; None if one isn't there."""
    if one not in speeds or other not in speeds:
        return None
    return statistics.median(a / b for a, b in zip(speeds[one].rounds, speeds[other].rounds, strict=True))
