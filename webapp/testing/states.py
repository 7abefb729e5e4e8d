"""What is claimed of a state against the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webapp.testing.showing import python_lines, side_by_side

_missing: Any = object()


def compare_state(state: Any, expected: Any) -> tuple[str, str] | None:
    """None if the state is as claimed; else a sentence and both side by side. See Scenario.then_state."""
    if isinstance(expected, Mapping):
        found = {name: _part(state, name) for name in expected}
        if all(value is not _missing and value == expected[name] for name, value in found.items()):
            return None
        there = {name: value for name, value in found.items() if value is not _missing}
        return "is not in the state expected", _shown(dict(expected), there)
    if callable(expected) and not isinstance(expected, type) and not _is_plain(expected, state):
        answer = expected(state)
        if answer:
            return None
        name = getattr(expected, "__name__", repr(expected))
        return f"is not in the state expected: {name} returned {answer!r}, which isn't true, for", f"  {state!r}"
    if state == expected and type(state) is type(expected):
        return None
    return "is not in the state expected", side_by_side([repr(expected)], [repr(state)], ("expected", "actual"))


def _is_plain(expected: Any, state: Any) -> bool:
    """Whether it's a state itself, of a class whose objects can be called."""
    return state is not None and type(expected) is type(state)


def _part(state: Any, name: str) -> Any:
    if isinstance(state, Mapping):
        return state.get(name, _missing)
    return getattr(state, name, _missing)


def _shown(expected: dict[str, Any], actual: dict[str, Any]) -> str:
    """Both by name; where they are equal, as the expected one is written, so that only differences are marked."""
    alike = {name: expected[name] if value == expected[name] else value for name, value in actual.items()}
    return side_by_side(python_lines(expected), python_lines(alike), ("expected", "actual"))
