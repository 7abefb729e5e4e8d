"""Times as people type them."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from webapp.errors import InvalidRequest
from webapp.queries.times import parse_time

now = dt.datetime(2026, 11, 24, 12, 30, tzinfo=dt.UTC)
berlin = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-10-01", "2026-10-01T00:00:00+00:00"),
        ("2026-10-01 14:30", "2026-10-01T14:30:00+00:00"),
        (" 2026-10-01T14:30:05.25Z ", "2026-10-01T14:30:05.250000+00:00"),
        ("2026-10-01T14:30+02:00", "2026-10-01T12:30:00+00:00"),
        ("2026-10-01T14:30 02:00", "2026-10-01T12:30:00+00:00"),  # what + becomes in a URL typed by hand
        ("-7d", "2026-11-17T12:30:00+00:00"),
        ("-90m", "2026-11-24T11:00:00+00:00"),
        ("- 2 h", "2026-11-24T10:30:00+00:00"),
        ("-1w", "2026-11-17T12:30:00+00:00"),
        ("now", "2026-11-24T12:30:00+00:00"),
        ("Yesterday", "2026-11-23T00:00:00+00:00"),
    ],
)
def test_it_understands(text: str, expected: str) -> None:
    assert parse_time(text, now=now).isoformat() == expected


def test_a_time_without_zone_is_in_the_persons_zone() -> None:
    assert parse_time("2026-07-01", zone=berlin).isoformat() == "2026-06-30T22:00:00+00:00"
    assert parse_time("today", zone=berlin, now=now).isoformat() == "2026-11-23T23:00:00+00:00"
    assert parse_time("2026-07-01T00:00Z", zone=berlin).isoformat() == "2026-07-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-13-01", "2026-02-30", "-7x", "1e9", "-999999w", "٣", "0001-01-01T00:00+23:00"]
)
def test_it_says_what_it_accepts(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"is not a time\. Write a date such as 2026-10-01") as caught:
        parse_time(text, now=now, field="since")
    assert caught.value.field == "since"
