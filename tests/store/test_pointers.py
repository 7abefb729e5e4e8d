"""Pointers with wildcards, and the values they lead to in a text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.errors import InvalidDefinition
from webapp.store.pointers import find_values, join_pointer, overlap, parse_pointer, value_at

keys = st.sampled_from(["a", "b", "", "0", "x/y", "~", 'q"', "é", "😀", "*", "\\", "{", "]:,"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=15,
)


def reached(value: Any, steps: tuple[str, ...], pointer: str = "") -> list[tuple[str, Any]]:
    """What a pattern leads to, by walking over values; slow and plain."""
    if not steps:
        return [(pointer, value)]
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [
        found
        for key, child in children
        if steps[0] in ("*", str(key))
        for found in reached(child, steps[1:], join_pointer(pointer, key))
    ]


@given(
    values,
    st.lists(st.lists(keys, max_size=3).map(tuple), min_size=1, max_size=3),
    st.sampled_from([None, 1, "\t"]),
    st.booleans(),
)
def test_what_is_found_in_the_text_is_what_walking_over_the_values_finds(
    value: Any, patterns: list[tuple[str, ...]], indent: Any, ascii_only: bool
) -> None:
    patterns = [one for index, one in enumerate(patterns) if not any(overlap(one, other) for other in patterns[:index])]
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    found = find_values(text, patterns)
    assert [span.start for span in found] == sorted(span.start for span in found)
    for number, pattern in enumerate(patterns):
        spans = [(span.pointer, json.loads(text[span.start : span.end])) for span in found if span.pattern == number]
        assert sorted(spans, key=repr) == sorted(reached(value, pattern), key=repr)


def test_a_key_that_stands_twice_is_found_twice() -> None:
    text = '{"a": 1, "b": {"a": 2}, "a" : {"c": [3]}}'
    assert [text[span.start : span.end] for span in find_values(text, [("a",)])] == ["1", '{"c": [3]}']


def test_depth_has_no_limit() -> None:
    deep = "[" * 20_000 + "]" * 20_000
    text = f'{{"deep":{deep},"email":{deep}}}'
    (span,) = find_values(text, [("email",)])
    assert text[span.start : span.end] == deep


def test_pointers_are_read_as_the_standard_says() -> None:
    assert parse_pointer("") == ()
    assert parse_pointer("/a~1b/m~0n//*") == ("a/b", "m~n", "", "*")
    assert value_at({"a": [{"b": 1}]}, ("a", "0", "b")) == 1
    for steps in (("b",), ("a", "x"), ("a", "7"), ("a", "0", "b", "c")):
        with pytest.raises(LookupError):
            value_at({"a": [{"b": 1}]}, steps)


@pytest.mark.parametrize("text", ["email", "a/b", "/a~", "/~2", None, 7])
def test_what_is_no_pointer_is_refused(text: Any) -> None:
    with pytest.raises(InvalidDefinition, match=r"is no JSON pointer\. Write one such as"):
        parse_pointer(text)
