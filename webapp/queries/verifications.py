"""What a verification found, as a page shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webapp.queries.texts import shorten

_longest = 200
_kinds = {
    "missing": "missing: readers lack this row",
    "extra": "extra: the events make no such row",
    "different": "different",
}


@dataclass(frozen=True)
class DifferenceLine:
    """One row that differs: what readers see and what the events say, by column, and the last events that wrote it."""

    title: str
    kind: str
    rows: Sequence[tuple[str, str, str]]
    events: Sequence[Mapping[str, Any]]

    @classmethod
    def make(cls, record: Mapping[str, Any]) -> DifferenceLine:
        """A difference as `webapp.replay.outcome` wrote it."""
        live, fresh = record["live"], record["fresh"]
        names = record["columns"] or [name for name in live or fresh or {} if name not in record["key"]]
        rows = [(name, _text(live, name), _text(fresh, name)) for name in names]
        key = ", ".join(f"{name}={_text(record['key'], name)}" for name in record["key"])
        return cls(f"{record['table']} {key}", _kinds[record["difference"]], rows, record["events"])


@dataclass(frozen=True)
class VerificationPart:
    """The part of a replay's page that says what was found."""

    found: Mapping[str, Any]
    lines: Sequence[DifferenceLine]

    @classmethod
    def make(cls, found: Mapping[str, Any]) -> VerificationPart:
        """What was kept with the job."""
        return cls(found, [DifferenceLine.make(one) for one in found["differences"]])

    @property
    def is_equal(self) -> bool:
        """Whether readers see what the events say."""
        return bool(self.found["equal"])

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        found = self.found
        at = ", ".join(f"{log}:{position:,}" for log, position in sorted(found["positions"].items()))
        where = f"Generation {found['generation']} at {at}"
        if self.is_equal:
            return f"{where}: {found['rows']:,} rows are what {found['events']:,} events say."
        counts = [f"{found[kind]:,} {kind}" for kind in _kinds if found[kind]] or ["no row differs"]
        if found["state_differs"]:
            counts.append("its state differs")
        compared = f"compared {found['rows']:,} rows with what {found['events']:,} events say"
        return f"{where}: {compared}: {', '.join(counts)}. Nothing was changed; a rebuild mends it."

    @property
    def hidden(self) -> int:
        """How many differences are counted only."""
        return sum(int(self.found[kind]) for kind in _kinds) - len(self.lines)

    @property
    def states(self) -> tuple[str, str] | None:
        """The projection's state now and by the events, where they differ."""
        if not self.found["state_differs"]:
            return None
        return _text(self.found, "live_state"), _text(self.found, "fresh_state")


def _text(row: Mapping[str, Any] | None, name: str) -> str:
    if row is None:
        return "–"
    value = row[name]
    if value is None:
        return "NULL"
    return shorten(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), _longest)
