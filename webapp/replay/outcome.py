"""What a verification found, as JSON: for programs, and to be kept with its job."""

from __future__ import annotations

import base64
import datetime as dt
import enum
import math
from collections.abc import Mapping
from typing import Any

from webapp.replay.comparing import Difference
from webapp.replay.verify import Verification
from webapp.store.events import utc

_longest_kept = 1000


def difference_record(one: Difference, longest: int | None = None) -> dict[str, Any]:
    """One difference; texts of more than `longest` characters are cut."""
    return {
        "table": one.table, "difference": one.kind, "key": to_json(one.key, longest), "columns": list(one.columns),
        "live": to_json(one.live, longest), "fresh": to_json(one.fresh, longest),
        "events": [{"log": cause.log, "position": cause.position, "type": cause.type} for cause in one.events],
    }  # fmt: skip


def summary_record(found: Verification) -> dict[str, Any]:
    """All but the differences; both states only where they differ."""
    states = {} if found.has_same_state else {"live_state": found.live_state, "fresh_state": found.fresh_state}
    return {
        "equal": found.is_equal, "generation": found.generation, "positions": found.positions,
        "events": found.events, "rows": found.rows, **found.counts, "state_differs": not found.has_same_state, **states,
        "skipped": [{"log": log, "position": position} for log, position in found.skipped],
        "built_by_older_code": found.is_older,
    }  # fmt: skip


def kept_record(found: Verification) -> dict[str, Any]:
    """The summary with the differences, texts cut, to be kept and shown on a page."""
    shown = [difference_record(one, _longest_kept) for one in found.differences]
    return {**summary_record(found), "differences": shown}


def to_json(value: Any, longest: int | None = None) -> Any:
    """A column's value, or a row of them, in the words of JSON: times in UTC, bytes as base64, decimals as text."""
    if isinstance(value, Mapping):
        return {str(name): to_json(one, longest) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(one, longest) for one in value]
    if isinstance(value, enum.Enum):
        value = value.name
    if isinstance(value, bytes):
        return {"base64": to_json(base64.b64encode(value).decode(), longest)}
    if isinstance(value, dt.datetime):
        return utc(value) if value.tzinfo is not None else value.isoformat()
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = value if isinstance(value, str) else str(value)
    return text if longest is None or len(text) <= longest else f"{text[:longest]}…"
