"""A clock that stands until it is moved."""

from __future__ import annotations

import datetime as dt

import pytest

from webapp.errors import InvalidRequest
from webapp.testing import Clock

NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def test_it_stands_until_it_is_moved() -> None:
    clock = Clock()
    assert clock() == clock.now == NOON
    assert clock.advance(hours=1, seconds=0.5) == NOON + dt.timedelta(hours=1, seconds=0.5) == clock()
    assert clock.advance(dt.timedelta(days=1)) == clock.now == NOON + dt.timedelta(days=1, hours=1, seconds=0.5)
    assert clock.set(NOON - dt.timedelta(days=9)) == clock.now


def test_it_tells_utc_whatever_zone_it_is_set_in() -> None:
    clock = Clock(dt.datetime(2030, 6, 1, 8, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=45))))
    assert clock.now.isoformat() == "2030-06-01T02:15:00+00:00"


def test_times_without_a_zone_and_spans_that_go_back_are_refused() -> None:
    clock = Clock()
    with pytest.raises(InvalidRequest, match="must be a datetime with its zone"):
        clock.set(dt.datetime(2026, 1, 1))
    with pytest.raises(InvalidRequest, match=r"goes back\. Use clock\.set"):
        clock.advance(hours=-1)
    with pytest.raises(InvalidRequest, match="by its parts, such as days=1"):
        clock.advance(fortnights=1)
    assert clock.now == NOON
