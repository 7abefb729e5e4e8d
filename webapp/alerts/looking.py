"""One look at a store: what is wrong there now, compared with what was seen before."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from webapp.alerts.rules import Finding, Kind, Rules, judge, positions_mark, shorten
from webapp.errors import ProjectionistError
from webapp.projections.delays import measure_delays
from webapp.store.source import DeadLetter, EventSource

letters_seen = 100
Marks = Mapping[tuple[str, str], str | None]
"""The marks of a store's open alerts, by kind and projection."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was found in a store. Kinds in `blind` couldn't be looked for: what is open of them stays open.

    `memory` is what to remember for the next look, by this process or another.
    """

    store: str
    findings: Sequence[Finding] = ()
    blind: frozenset[Kind] = frozenset()
    memory: Any = None


@dataclass
class Looker:
    """Looks at stores; remembers, as long as the process lives, since when each projection stands where it is."""

    rules: Rules
    open_source: Callable[[str], EventSource]
    _standing: dict[tuple[str, str | None, str], tuple[str, float]] = field(default_factory=dict)

    def look(self, store: str, marks: Marks, memory: Any) -> Look:
        """What is wrong in a store; a store that can't be reached is itself what is wrong."""
        try:
            source = self.open_source(store)
            found = self._projections(store, source, marks)
        except ProjectionistError as error:
            everything_else = frozenset(Kind) - {Kind.unreachable}
            return Look(store, [Finding(Kind.unreachable, "", shorten(str(error)))], everything_else, memory)
        try:
            letters = source.dead_letters(limit=letters_seen)
        except ProjectionistError:
            return Look(store, found, frozenset({Kind.dead_letters}), memory)
        memory, grew = judge_letters(letters, memory, marks.get((Kind.dead_letters.value, "")))
        return Look(store, [*found, *([grew] if grew else [])], memory=memory)

    def _projections(self, store: str, source: EventSource, marks: Marks) -> list[Finding]:
        statuses = list(source.projections())
        random.shuffle(statuses)  # where time runs out before all delays are measured, others are left out next time
        found: dict[tuple[str, str], Finding] = {}
        standing = {}
        for status, delay in zip(statuses, measure_delays(source, statuses), strict=True):
            key, mark = (store, status.engine, status.name), positions_mark(status)
            before = self._standing.get(key)
            since = before[1] if before is not None and before[0] == mark else time.monotonic()
            standing[key] = (mark, since)
            stalled_mark = marks.get((Kind.stalled.value, status.name))
            for finding in judge(self.rules, status, delay, time.monotonic() - since, stalled_mark):
                if finding.is_sure or finding.key not in found:  # two engines may have projections of one name
                    found[finding.key] = finding
        self._standing = {key: value for key, value in self._standing.items() if key[0] != store} | standing
        return list(found.values())


def judge_letters(letters: Sequence[DeadLetter], memory: Any, mark: str | None) -> tuple[Any, Finding | None]:
    """What to remember, and the problem if letters came since the last look, or some of those told of are still there.

    The first look only takes note: what lay there before anybody watched is no news.
    """
    ids = [letter.id for letter in letters]
    times = [letter.failed_at for letter in letters if letter.failed_at is not None]
    newest_at = max(times).isoformat() if times else ""
    before = memory if isinstance(memory, dict) else None
    remembered = {"ids": ids, "newest_at": max(newest_at, before["newest_at"]) if before else newest_at}
    if before is None:
        return remembered, None
    new = [letter for letter in letters if _is_new(letter, before)]
    told = set(json.loads(mark)) if mark else set()
    concerned = [letter for letter in letters if letter.id in told or letter in new]
    if not concerned:
        return remembered, None
    many = f"{len(concerned)}{' or more' if len(concerned) == letters_seen else ''}"
    first = concerned[0]
    why = first.error or first.error_class or first.type or "no reason is kept"
    words = "new dead letter" if len(concerned) == 1 else "new dead letters, the newest"
    sentence = shorten(f"{many} {words}: {why}")
    return remembered, Finding(Kind.dead_letters, "", sentence, json.dumps([letter.id for letter in concerned]))


def _is_new(letter: DeadLetter, before: Mapping[str, Any]) -> bool:
    """Not seen before, and not older than those: when many are deleted, older ones come into sight."""
    if letter.id in before["ids"]:
        return False
    return letter.failed_at is None or letter.failed_at.isoformat() >= before["newest_at"]
