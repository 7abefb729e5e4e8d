"""Events: their ids, their one line of JSON, what decodes and when."""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webapp.store import EventFilter, RecordedEvent
from webapp.store.events import uuid7, uuid7_bytes

KEYS = [
    "log", "position", "aggregate_type", "aggregate_id", "version", "type", "id", "recorded_at", "data", "metadata",
    "correlation_id", "causation_id", "actor",
]  # fmt: skip
MOMENT = dt.datetime(2026, 11, 24, 8, 0, 0, 5, dt.UTC)


def event(**changed: Any) -> RecordedEvent:
    """An event as a row would make it, with some parts changed."""
    parts: dict[str, Any] = {
        "log": "main", "position": 7, "aggregate_type": "order", "aggregate_id": "42", "version": 3, "type": "placed",
        "id": uuid.UUID(int=1), "recorded_at": MOMENT, "data_text": '{"total":100}', "metadata_text": "{}",
    }  # fmt: skip
    return RecordedEvent(**(parts | changed))


def test_ids_are_time_ordered_uuids_of_version_seven() -> None:
    before = uuid.UUID(int=(int(dt.datetime.now(dt.UTC).timestamp() * 1000) - 1) << 80)
    ids = [uuid7() for _ in range(2_000)]
    assert len(set(ids)) == 2_000
    assert {(id_.version, id_.variant) for id_ in ids} == {(7, uuid.RFC_4122)}
    assert before < ids[0]
    millionths = [id_.int >> 64 for id_ in ids]
    assert millionths == sorted(millionths)
    assert len(uuid7_bytes()) == 16


def test_a_line_has_the_documented_keys_in_their_order() -> None:
    line = event(actor="ann", correlation_id="c", causation_id=None).to_json()
    assert list(json.loads(line)) == KEYS
    assert line == (
        '{"log":"main","position":7,"aggregate_type":"order","aggregate_id":"42","version":3,"type":"placed",'
        '"id":"00000000-0000-0000-0000-000000000001","recorded_at":"2026-11-24T08:00:00.000005Z","data":{"total":100},'
        '"metadata":{},"correlation_id":"c","causation_id":null,"actor":"ann"}'
    )


@pytest.mark.parametrize("value", [MOMENT, MOMENT.replace(tzinfo=None), "2026-11-24 08:00:00.000005", 1795507200000005])
def test_a_moment_is_utc_however_the_driver_gave_it(value: Any) -> None:
    assert event(recorded_at=value).recorded_at == MOMENT
    assert event(recorded_at=value).recorded_at.utcoffset() == dt.timedelta(0)


def test_a_moment_of_another_zone_is_turned_into_utc() -> None:
    kathmandu = dt.timezone(dt.timedelta(hours=5, minutes=45))
    found = event(recorded_at=MOMENT.astimezone(kathmandu))
    assert found.recorded_at.utcoffset() == dt.timedelta(0)
    assert '"recorded_at":"2026-11-24T08:00:00.000005Z"' in found.to_json()


@pytest.mark.parametrize("value", [uuid.UUID(int=1), uuid.UUID(int=1).bytes, str(uuid.UUID(int=1))])
def test_an_id_is_text_however_the_driver_gave_it(value: Any) -> None:
    assert event(id=value).id == "00000000-0000-0000-0000-000000000001"


def test_what_a_layout_does_not_have_is_null() -> None:
    line = json.loads(
        event(aggregate_type=None, aggregate_id=None, version=None, data_text=None, metadata_text=None).to_json()
    )
    assert [line[key] for key in ("aggregate_type", "aggregate_id", "version", "data", "metadata")] == [None] * 5


@pytest.mark.parametrize("broken", [b"\xff\xfe", b'"\xed\xa0\x80"', "{not json", "NaN", "", b"\x00"])
def test_what_is_not_json_stands_in_a_line_as_base64(broken: str | bytes) -> None:
    found = event(data_text=broken)
    line = json.loads(found.to_json())
    raw = broken if isinstance(broken, bytes) else broken.encode("utf-8", "surrogatepass")
    assert base64.b64decode(line["data"]["base64"]) == raw
    with pytest.raises(ValueError, match=r"."):
        _ = found.data


def test_data_is_decoded_once_and_only_when_asked_for() -> None:
    found = event(data_text='{"a": 1}', metadata_text="{broken")
    assert found.data is found.data
    with pytest.raises(ValueError, match=r"."):
        _ = found.metadata
    assert event(data_text=None, metadata_text=None).data is None
    assert event(data_text=None, metadata_text=None).metadata == {}


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=10,
)


@given(
    values, st.dictionaries(names, values, max_size=3), names, names, st.sampled_from([None, 1, "\t"]), st.booleans()
)
@settings(max_examples=300, deadline=None)
def test_a_line_is_one_line_of_valid_json_with_the_same_values(
    data: Any, metadata: dict[str, Any], log: str, actor: str, indent: Any, is_ascii: bool
) -> None:
    data_text = json.dumps(data, indent=indent, ensure_ascii=is_ascii)
    found = event(
        log=log, actor=actor, aggregate_id=actor, data_text=data_text, metadata_text=json.dumps(metadata, indent=indent)
    )
    line = found.to_json()
    assert line.splitlines() == [line] or not is_ascii or not (log + actor).isascii()
    assert "\n" not in line
    assert "\r" not in line
    again = json.loads(line)
    assert (again["data"], again["metadata"], again["log"], again["actor"]) == (data, metadata, log, actor)
    assert (found.data, found.metadata) == (data, metadata)


def test_a_filter_without_parts_is_empty() -> None:
    assert EventFilter().is_empty()
    assert not EventFilter(actor="ann").is_empty()
