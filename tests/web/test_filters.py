"""How numbers, times, ids and stored text look to people."""

from __future__ import annotations

import datetime as dt
import html
import re

import pytest
from flask import Flask, g, render_template_string

from webapp.accounts.people import Person
from webapp.store.source import Count, Health
from webapp.web import filters


def test_numbers_are_grouped() -> None:
    assert filters.number(1234567) == "1,234,567"
    assert filters.number(1234.56) == "1,234.6"
    assert filters.number(12.0) == "12"
    assert filters.number(None) == "–"
    assert filters.count_text(Count(10_000, exact=False)) == "10,000+"
    assert filters.count_text(Count(7)) == "7"
    assert filters.count_of(1, "event") == "1 event"
    assert filters.count_of(2000, "entry", "entries") == "2,000 entries"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0123, "12 ms"), (1, "1 s"), (59.6, "1 min"), (125, "2 min 5 s"), (3600, "1 h"), (3661, "1 h 1 min"),
     (90_000, "1 d 1 h"), (86_400 * 3, "3 d"), (None, "–")],
)  # fmt: skip
def test_spans_are_told_in_two_units(seconds: float | None, text: str) -> None:
    assert filters.duration(seconds) == text


def test_times_are_in_the_persons_zone_and_exact_in_utc(app: Flask) -> None:
    at = dt.datetime(2019, 12, 31, 23, 30, 5, 123456, tzinfo=dt.UTC)
    with app.test_request_context("/"):
        g.person = Person(1, "ann", at, time_zone="Europe/Berlin")
        shown = filters.time(at)
        assert 'datetime="2019-12-31T23:30:05.123456Z"' in shown
        assert "CET" in shown
        assert ">1 Jan 2020 00:30:05</time>" in shown
        g.person = Person(1, "ann", at, time_zone="Nowhere/Atall")
        assert ">31 Dec 2019 23:30:05</time>" in filters.time(at)
        this_year = dt.datetime.now(dt.UTC).replace(month=6, day=7, hour=8, minute=9, second=1)
        assert ">7 Jun 08:09</time>" in filters.time(this_year, with_seconds=False)


def test_ids_are_shortened_in_the_middle() -> None:
    assert filters.short_id("short") == "short"
    shortened = filters.short_id("7c4fd30f-cf22-42d3-a84e-0123456789ab")
    assert shortened == "7c4fd30f-cf…789ab"


def test_a_type_has_the_same_hue_everywhere() -> None:
    assert filters.hue("order.placed") == filters.hue("order.placed") == "h4"
    assert {filters.hue(f"type {number}") for number in range(200)} == {f"h{number}" for number in range(12)}
    assert filters.hue("\ud800") in {f"h{number}" for number in range(12)}


def test_every_health_has_a_colour() -> None:
    plain = {Health.not_started, Health.unknown}
    assert {health for health in Health if not filters.health_class(health.value)} == plain


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "<b>", "c": [1, -2.5e3, true, null]}',
        '"unfinished',
        "<script>alert(1)</script>",
        '{"\\"": "\\\\"}',
        "",
        "&amp;",
        '"' + "x" * 200_000 + '"',
        "[" * 9000,
    ],
)
def test_colours_change_nothing_of_the_text_and_escape_it(text: str) -> None:
    colored = str(filters.colored(text))
    assert html.unescape(re.sub(r'<span class="\w+">|</span>', "", colored)) == text
    assert "<script" not in colored
    assert "<b>" not in colored


def test_keys_texts_numbers_and_words_are_told_apart() -> None:
    colored = filters.colored('{"a": "b", "n": -1.5, "t": true}')
    assert '<span class="key">&#34;a&#34;</span>' in colored
    assert '<span class="text">&#34;b&#34;</span>' in colored
    assert '<span class="number">-1.5</span>' in colored
    assert '<span class="word">true</span>' in colored


def test_the_payload_macro_shows_hostile_text_as_text(app: Flask) -> None:
    template = '{% import "macros.html" as ui %}{{ ui.payload(stored) }}'
    with app.test_request_context("/"):
        for stored in (
            '{"a": "<script>alert(1)</script>"}',
            "<script>alert(1)</script>",
            b"\xff<script>",
            '["' + "<x>" * 40_000,
        ):
            shown = render_template_string(template, stored=stored)
            assert "<script" not in shown
            assert "<x>" not in shown
        assert "nothing stored" in render_template_string(template, stored=None)
        assert "The first 64 KiB of 120,002 bytes" in shown


def test_browsers_are_told_in_a_few_words() -> None:
    agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36"
    assert filters.browser_words(agent) == "Chrome on Linux"
    assert filters.browser_words("curl/8.1") == "curl"
    assert filters.browser_words(None) == "unknown"


def test_an_argument_of_the_address_is_set_or_taken_out(app: Flask) -> None:
    with app.test_request_context("/?a=1&b=x%26y&a=2"):
        assert filters.with_argument("log", "m&m") == "?a=1&a=2&b=x%26y&log=m%26m"
        assert filters.with_argument("a", None) == "?b=x%26y"
