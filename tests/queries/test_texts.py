"""Stored text made fit to be looked at."""

from __future__ import annotations

import time

import pytest

from webapp.queries.texts import lay_out, longest_shown, printable, show_text


def test_it_lays_out_json_and_keeps_every_token() -> None:
    shown = show_text('{"b":1.50,"a":[1e400,{}],"a":[],"s":"x, {y}: \\"z\\""}')
    assert shown is not None
    assert shown.text == (
        '{\n  "b": 1.50,\n  "a": [\n    1e400,\n    {}\n  ],\n  "a": [],\n  "s": "x, {y}: \\"z\\""\n}'
    )
    assert shown.is_laid_out
    assert shown.problem is None


def test_as_stored_changes_nothing() -> None:
    shown = show_text('{"b": 1,\n"a":2}', as_stored=True)
    assert shown is not None
    assert shown.text == '{"b": 1,\n"a":2}'
    assert not shown.is_laid_out


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": }', "expecting value at line 1, column 7"),
        ("{'a': 1}", "expecting property name"),
        ("", "empty"),
        ('{"a": NaN}', "NaN"),
        ("plain words", "not JSON"),
        ("[" * 20_000, "not JSON"),
    ],
)
def test_it_says_what_is_wrong_and_shows_it_all_the_same(text: str, problem: str) -> None:
    shown = show_text(text)
    assert shown is not None
    assert shown.problem is not None
    assert problem in shown.problem
    assert shown.text == text


def test_bytes_that_are_not_text_are_shown_as_escapes() -> None:
    shown = show_text(b'{"a":"\xff\xfe"}')
    assert shown is not None
    assert "not UTF-8" in (shown.problem or "")
    assert shown.text == '{"a":"\\xff\\xfe"}'
    assert shown.size == 10


def test_ten_thousand_levels_are_shown_in_no_time_and_little_space() -> None:
    started = time.monotonic()
    shown = show_text('{"a":' * 10_000 + "1" + "}" * 10_000)
    assert time.monotonic() - started < 2
    assert shown is not None
    assert shown.problem is None
    assert len(shown.text) < 400_000
    assert shown.text.replace("\n", "").replace(" ", "").count('{"a":') == 10_000


def test_a_megabyte_is_cut() -> None:
    shown = show_text('{"text":"' + "é" * 500_000 + '"}')
    assert shown is not None
    assert shown.is_cut
    assert shown.problem is None
    assert shown.size == 1_000_011
    assert len(shown.text) == longest_shown


def test_text_that_would_become_far_too_long_stays_as_it_is() -> None:
    text = "[" * 39 + ",".join("1" * 12_000) + "]" * 39
    assert lay_out(text) is None
    shown = show_text(text)
    assert shown is not None
    assert shown.text == text


def test_it_shows_marks_that_would_hide_or_turn_what_is_around_them() -> None:
    assert printable("a\u202eb\x00c\x1bd\ud800e\nf\tg") == "a\\u202eb\\u0000c\\u001bd\\ud800e\nf\tg"
    assert show_text(None) is None
