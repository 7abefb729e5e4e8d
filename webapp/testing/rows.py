"""Expected rows of a table against those that are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webapp.testing.showing import python_lines, side_by_side

Rows = Mapping[Any, Mapping[str, Any]]


def compare_rows(found: Rows, expected: Rows, titles: tuple[str, str] = ("expected", "actual")) -> str | None:
    """None if these are the rows, by key; else both side by side. Of each row the columns expected are compared."""
    if found.keys() == expected.keys() and all(
        all(found[key][column] == value for column, value in row.items()) for key, row in expected.items()
    ):
        return None
    left: list[str] = []
    right: list[str] = []
    for key in sorted({*expected, *found}, key=repr):
        if key in expected:
            left += _lines(key, expected[key])
        if key in found:
            right += _lines(key, _like(found[key], expected.get(key)))
    return side_by_side(left or ["(no rows)"], right or ["(no rows)"], titles)


def _like(row: Mapping[str, Any], expected: Mapping[str, Any] | None) -> dict[str, Any]:
    """The columns expected, and where they are equal, written as expected; the whole row where none is expected."""
    if expected is None:
        return dict(row)
    return {column: value if row[column] == value else row[column] for column, value in expected.items()}


def _lines(key: Any, row: Mapping[str, Any]) -> list[str]:
    return [f"{key!r}:", *python_lines(row, "  ")]
