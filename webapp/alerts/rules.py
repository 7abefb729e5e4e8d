"""What counts as a problem, and how to go on from each."""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from webapp.config import Config
from webapp.projections.delays import Delay
from webapp.store.source import Health, ProjectionStatus

most_letters = 500
"""Characters of a sentence that are kept and told: a failure's message may be as long as its event."""


class Kind(enum.StrEnum):
    """The kinds of problems, as messages and metrics name them."""

    failed = "failed"
    crashed = "crashed"
    lag = "lag"
    stalled = "stalled"
    dead_letters = "dead_letters"
    unreachable = "unreachable"

    @property
    def advice(self) -> str:
        """What a person does about it."""
        return _advice[self]


_advice = {
    Kind.failed: "Open the projection: it shows the event, the traceback and the state before it. Mend the code and "
    "resume, or skip the event with a reason.",
    Kind.crashed: "See whether its worker still runs; start one with projectionist worker. It goes on after its last "
    "batch. A projection of another framework is started there.",
    Kind.lag: "See whether it moves: if it does, wait or give it more workers; if it doesn't, look at its page for what holds it.",
    Kind.stalled: "Nothing was processed though events wait. See whether a worker runs, and what its log says.",
    Kind.dead_letters: "Read them under dead letters, mend what refused them, then retry or delete them.",
    Kind.unreachable: "Check the database and the network to it. While it can't be reached its other problems stay as they were.",
}


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits; None switches a rule off. Failed, crashed, unreachable and new dead letters are always told."""

    lag_events: int | None = None
    lag_seconds: float | None = None
    stalled_seconds: float | None = None

    @classmethod
    def from_config(cls, config: Config) -> Rules:
        """The limits of the settings."""
        return cls(config.alert_lag_events, config.alert_lag_seconds, config.alert_stalled_seconds)


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem seen now. `projection` is empty for the store's own; `mark` tells it apart from a later one.

    `is_sure` False means that it couldn't be told whether it's there: an open one stays open, none begins.
    """

    kind: Kind
    projection: str
    sentence: str = ""
    mark: str | None = None
    is_sure: bool = True

    @property
    def key(self) -> tuple[str, str]:
        """What it is of, within its store."""
        return self.kind.value, self.projection


def positions_mark(status: ProjectionStatus) -> str:
    """A short text that changes when a projection moves."""
    positions = repr([(one.log, one.position) for one in status.progress] or sorted(status.details.items()))
    return hashlib.sha256(positions.encode("utf-8", "surrogatepass")).hexdigest()


def judge(
    rules: Rules, status: ProjectionStatus, delay: Delay, still_seconds: float, stalled_mark: str | None
) -> Iterator[Finding]:
    """The problems of one projection.

    `still_seconds` is how long it was seen to stand where it is; `stalled_mark` is the mark of its open alert.
    """
    name, health = status.name, status.health
    if health in (Health.failed, Health.crashed):
        kind = Kind.failed if health is Health.failed else Kind.crashed
        yield Finding(kind, name, shorten(status.explanation), _failed_where(status))
    yield from _judge_lag(rules, name, delay)
    if rules.stalled_seconds is None or not delay.events or health is Health.paused:
        return
    mark = positions_mark(status)
    idle = max(still_seconds, delay.idle_seconds or 0.0)
    is_explained = health in (Health.failed, Health.crashed, Health.rebuilding)
    if is_explained or (delay.seconds is None and idle >= rules.stalled_seconds):
        yield Finding(Kind.stalled, name, is_sure=False)
        return
    # Events that just came to a projection that was idle for days haven't waited yet.
    stalled = min(idle, delay.seconds if delay.seconds is not None else idle)
    if stalled >= rules.stalled_seconds or mark == stalled_mark:
        waiting = f"{delay.events:,} {'event waits' if delay.events == 1 else 'events wait'}"
        yield Finding(Kind.stalled, name, f"{waiting}, and nothing was processed for {in_words(stalled)}.", mark)


def _judge_lag(rules: Rules, name: str, delay: Delay) -> Iterator[Finding]:
    reasons = []
    if rules.lag_events is not None and delay.events > rules.lag_events:
        reasons.append(f"{delay.events:,} events behind, more than {rules.lag_events:,}")
    if rules.lag_seconds is not None and (delay.seconds or 0.0) > rules.lag_seconds:
        reasons.append(
            f"the oldest waits for {in_words(delay.seconds or 0.0)}, longer than {in_words(rules.lag_seconds)}"
        )
    if reasons:
        sentence = "; ".join(reasons)
        yield Finding(Kind.lag, name, f"{sentence[0].upper()}{sentence[1:]}.")
    elif rules.lag_seconds is not None and delay.seconds is None and delay.events:
        yield Finding(Kind.lag, name, is_sure=False)


def _failed_where(status: ProjectionStatus) -> str | None:
    """Where it failed: another event that fails later is another problem."""
    failure = status.failure
    return None if failure is None or failure.log is None else f"{failure.log}:{failure.position}"


def shorten(text: str) -> str:
    """A sentence as it is kept, cut where it's too long."""
    text = text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    return text if len(text) <= most_letters else f"{text[: most_letters - 1]}…"


def in_words(seconds: float) -> str:
    """A span as people say it, in two units at most: 3 h 20 min."""
    span = dt.timedelta(seconds=int(seconds))
    hours, rest = divmod(span.seconds, 3600)
    minutes, left = divmod(rest, 60)
    parts = [(span.days, "d"), (hours, "h"), (minutes, "min"), (left, "s")]
    shown = [f"{number:,} {unit}" for number, unit in parts if number][:2]
    return " ".join(shown) or "0 s"
