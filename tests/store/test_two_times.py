"""When an event occurred, beside when it was recorded."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.errors import InvalidEvent
from webapp.store import EventIdReused, EventStore, NewEvent, RecordedEvent
from webapp.store.events import prepare, uuid7

noon = dt.datetime(2024, 2, 29, 12, 0, 0, 123456, dt.timezone(dt.timedelta(hours=5, minutes=30)))


def append(store: EventStore, **options: Any) -> RecordedEvent:
    """One event as it's read back."""
    store.append("order", "1", [NewEvent("noted", {}, **options)])
    return list(store.read_stream("order", "1"))[-1]


def test_an_event_keeps_when_it_occurred(store: EventStore) -> None:
    event = append(store, metadata={"actor": "ann"}, occurred_at=noon)
    assert event.occurred_at == noon
    assert event.occurred_at.utcoffset() == dt.timedelta(0)
    assert event.recorded_at > event.occurred_at
    assert event.metadata == {"actor": "ann", "occurred_at": "2024-02-29T06:30:00.123456Z"}
    assert event.actor == "ann"


def test_an_event_that_says_nothing_occurred_when_it_was_recorded(store: EventStore) -> None:
    event = append(store)
    assert event.occurred_at == event.recorded_at
    assert event.metadata_text == "{}"


def test_the_caller_may_write_it_into_the_metadata_too(store: EventStore) -> None:
    event = append(store, metadata='{"occurred_at": "2024-02-29T12:00:00+01:00"}')
    assert event.occurred_at == dt.datetime(2024, 2, 29, 11, tzinfo=dt.UTC)


def test_the_fields_of_an_event_as_json_are_the_same_with_it(store: EventStore) -> None:
    first, second = append(store, metadata={"a": 1}), append(store, metadata={"a": 1}, occurred_at=noon)
    first_json, second_json = json.loads(first.to_json()), json.loads(second.to_json())
    assert list(first_json) == list(second_json)
    assert second_json["metadata"]["occurred_at"] == "2024-02-29T06:30:00.123456Z"


def test_the_same_event_again_is_known_and_another_time_makes_it_another(store: EventStore) -> None:
    event = NewEvent("noted", {}, id=uuid7(), occurred_at=noon)
    (first,) = store.append("order", "1", [event])
    (again,) = store.append("order", "1", [event])
    assert again.position == first.position
    with pytest.raises(EventIdReused):
        store.append("order", "1", [dataclasses.replace(event, occurred_at=noon + dt.timedelta(microseconds=1))])


@pytest.mark.parametrize(
    "metadata",
    [
        '{"occurred_at": "yesterday"}',
        '{"occurred_at": "2024-02-29T12:00:00"}',
        '{"occurred_at": 1709208000}',
        '{"occurred_at": null}',
        '{"occurred_at": "0001-01-01T00:00:00+14:00"}',
        "[]",
        "not json",
    ],
)
def test_a_time_that_cannot_be_read_is_passed_over(metadata: str) -> None:
    recorded_at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    event = RecordedEvent("main", 1, "order", "1", 1, "noted", uuid7(), recorded_at, metadata_text=metadata)
    assert event.occurred_at == recorded_at


@pytest.mark.parametrize(
    "occurred_at", [noon.replace(tzinfo=None), "2024-02-29T12:00:00Z", 1709208000, dt.date.today()]
)
def test_a_time_without_a_zone_is_refused(occurred_at: Any) -> None:
    with pytest.raises(
        InvalidEvent, match=r"occurred_at of noted must be a datetime with its zone, such as datetime\.now"
    ):
        prepare(NewEvent("noted", {}, occurred_at=occurred_at))


@pytest.mark.parametrize("metadata", ['{"actor": "ann"}', b"{}", [1]])
def test_it_needs_metadata_that_is_a_mapping(metadata: Any) -> None:
    with pytest.raises(InvalidEvent, match=r"must be a mapping when occurred_at is given\. Decode it"):
        prepare(NewEvent("noted", {}, metadata, occurred_at=noon))


def test_it_is_given_once() -> None:
    with pytest.raises(InvalidEvent, match=r"says occurred_at already\. Give it once"):
        prepare(NewEvent("noted", {}, {"occurred_at": "2024-02-29T12:00:00Z"}, occurred_at=noon))


def test_a_time_before_the_first_year_is_refused() -> None:
    first = dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=14)))
    with pytest.raises(InvalidEvent, match="outside the years 1 to 9999"):
        prepare(NewEvent("noted", {}, occurred_at=first))


@given(st.datetimes(min_value=dt.datetime(1, 1, 3), max_value=dt.datetime(9999, 12, 29), timezones=st.timezones()))
def test_every_time_comes_back_as_the_same_moment(moment: dt.datetime) -> None:
    metadata_text = prepare(NewEvent("noted", {}, occurred_at=moment)).metadata_text
    event = RecordedEvent(
        "main", 1, "order", "1", 1, "noted", uuid7(), dt.datetime.now(dt.UTC), metadata_text=metadata_text
    )
    assert event.occurred_at == moment.astimezone(dt.UTC)  # an hour that a clock change left out equals nothing itself
