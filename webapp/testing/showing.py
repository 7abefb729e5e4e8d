"""What was expected beside what is there: two columns of text, with a mark wherever they differ."""

from __future__ import annotations

import difflib
import itertools
import json
import pprint
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_widest = 56
Pair = tuple[str, str | None, str | None]


def json_lines(value: Any) -> list[str]:
    """A JSON value over several lines, keys in order; what JSON has no word for shows as Python writes it."""
    try:
        return json.dumps(_plain(value), indent=2, ensure_ascii=False, default=repr).split("\n")
    except RecursionError:
        return ["(nested too deep to be shown)"]


def _plain(value: Any) -> Any:
    """The value with keys of dicts as text."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else repr(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def python_lines(values: Mapping[Any, Any], indent: str = "") -> list[str]:
    """Values by name, as Python writes them, each from a line of its own on."""
    found: list[str] = []
    for name, value in values.items():
        first, *rest = pprint.pformat(value, width=_widest - 10).split("\n")
        found += [f"{indent}{name}: {first}", *(f"{indent}  {line}" for line in rest)]
    return found


def in_order(value: Any) -> Any:
    """The value with the keys of all its dicts in order, as JSON doesn't tell two orders apart."""
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value, key=str)}
    return [in_order(one) for one in value] if isinstance(value, list) else value


def side_by_side(expected: Sequence[str], actual: Sequence[str], titles: tuple[str, str]) -> str:
    """Two columns of lines, those that differ marked with “≠”, or “-” and “+” where one side has none."""
    pairs = [("", *titles), *_pairs(expected, actual)]
    longest = max(len(line) for _, *sides in pairs for line in sides if line is not None)
    width = min(max(longest, 12), _widest)
    return "\n".join(row for pair in pairs for row in _rows(pair, width))


def _pairs(expected: Sequence[str], actual: Sequence[str]) -> Iterator[Pair]:
    matcher = difflib.SequenceMatcher(None, expected, actual, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        for left, right in itertools.zip_longest(expected[a:b], actual[c:d]):
            mark = "" if kind == "equal" else "-" if right is None else "+" if left is None else "≠"
            yield mark, left, right


def _rows(pair: Pair, width: int) -> Iterator[str]:
    """The lines of a pair, wrapped where it's wider than its column: nothing is ever cut."""
    mark, *sides = pair
    columns = [_wrapped(side or "", width) for side in sides]
    for number, (left, right) in enumerate(itertools.zip_longest(*columns, fillvalue="")):
        yield f"{mark if number == 0 else '':2}{left:{width}} │ {right}".rstrip()


def _wrapped(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.wrap(
        line, width, subsequent_indent=indent, drop_whitespace=False, break_on_hyphens=False
    )  # fmt: skip
