"""Any value as rows of path and text, and what changed between two of them."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from webapp.queries.texts import shorten

_names_of_floats = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}
most_rows = 300
_deepest = 5
_deepest_plain = 40


def to_plain(value: Any, depth: int = 0) -> Any:
    """The value in the words of JSON, whatever classes a state is made of; what is too deep becomes “…”."""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, float) and not math.isfinite(value):
        return _names_of_floats[str(value)]  # what 1e400 decodes to; JSON has no number for it
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth >= _deepest_plain:
        return "…"
    fields = _fields(value)
    if fields is not None:
        return {str(key): to_plain(one, depth + 1) for key, one in fields.items()}
    if isinstance(value, Set):
        value = sorted(value, key=repr)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [to_plain(one, depth + 1) for one in value]
    return str(value)


def _fields(value: Any) -> Mapping[Any, Any] | None:
    """The named parts of a mapping or an object, None if it's neither or has a text of its own."""
    if isinstance(value, Mapping):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name, None) for one in dataclasses.fields(value)}
    has_own_text = "__str__" in {name for kind in type(value).__mro__[:-1] for name in vars(kind)}
    return None if has_own_text or not hasattr(value, "__dict__") else vars(value)


def to_rows(value: Any) -> dict[str, str]:
    """Every scalar of a plain value under its path (`lines[0].price`), as JSON text; at most 300 of them."""
    rows: dict[str, str] = {}
    _collect(value, "", 0, rows)
    return rows


def _collect(value: Any, path: str, depth: int, rows: dict[str, str]) -> None:
    if len(rows) >= most_rows:
        return
    if depth < _deepest and isinstance(value, dict) and value:
        for key, one in value.items():
            _collect(one, f"{path}.{key}" if path else str(key), depth + 1, rows)
    elif depth < _deepest and isinstance(value, list) and value:
        for number, one in enumerate(value[:most_rows]):
            _collect(one, f"{path}[{number}]", depth + 1, rows)
    elif path or value not in (None, {}, []):
        rows[path or "state"] = as_json(value)


def as_json(value: Any, most: int = 500) -> str:
    """The value as JSON on one line, shortened and printable."""
    try:
        return shorten(json.dumps(value, ensure_ascii=False, default=str), most)
    except (ValueError, RecursionError):
        return "…"


@dataclass(frozen=True)
class ChangedRow:
    """One path of a state: kind is same, added or removed (a changed value is one removed and one added)."""

    kind: str
    path: str
    text: str
    by: Any = None


def compare(
    before: Mapping[str, str], after: Mapping[str, str], by_before: Mapping[str, Any], by_after: Mapping[str, Any]
) -> list[ChangedRow]:
    """What changed from one state's rows to another's, in the order of paths; `by` is who wrote each value."""
    rows = []
    for path in dict.fromkeys([*before, *after]):
        old, new = before.get(path), after.get(path)
        if old is not None and old == new:
            rows.append(ChangedRow("same", path, old, by_after.get(path)))
            continue
        if old is not None:
            rows.append(ChangedRow("removed", path, old, by_before.get(path)))
        if new is not None:
            rows.append(ChangedRow("added", path, new, by_after.get(path)))
    return rows
