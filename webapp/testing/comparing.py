"""Expected events against those that were recorded."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Sequence
from itertools import zip_longest
from typing import Any

from webapp.store.events import NewEvent, RecordedEvent, prepare
from webapp.store.jsontext import parse_json
from webapp.testing.showing import in_order, json_lines, side_by_side

_json_types = (dict, list, tuple, str, bytes, int, float, bool, type(None))


def compare_events(
    expected: Sequence[NewEvent],
    recorded: Sequence[RecordedEvent],
    *,
    keys: Collection[str] = (),
    streams: Sequence[tuple[str, str] | None] = (),
) -> str | None:
    """None if the events are the expected ones, in order; else both side by side as JSON.

    Type and data are compared, and of the metadata the keys that an expected event brings, with `keys`; an id where one
    is expected, and a stream where `streams` has one. Numbers are the same only if JSON writes them alike.
    """
    left: list[str] = []
    right: list[str] = []
    for wanted, found, stream in zip_longest(expected, recorded, streams[: max(len(expected), len(recorded))]):
        expected_facts, recorded_facts = _facts(wanted, found, stream, keys)
        left += json_lines(expected_facts) if wanted is not None else []
        right += json_lines(recorded_facts) if found is not None else []
    if left == right:
        return None
    titles = (f"expected ({_count(expected)})", f"recorded ({_count(recorded)})")
    return side_by_side(left, right, titles)


def show_events(recorded: Iterable[RecordedEvent]) -> str:
    """Recorded events as JSON, one after the other."""
    return "\n".join(line for event in recorded for line in json_lines(_read(event)[0]))


def _count(events: Sequence[Any]) -> str:
    return "1 event" if len(events) == 1 else f"{len(events) or 'no'} events"


def _facts(
    wanted: NewEvent | None, found: RecordedEvent | None, stream: tuple[str, str] | None, keys: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is compared of an expected event, and the same of the one recorded in its place; {} for one that isn't there."""
    actual, metadata = _read(found) if found is not None else ({}, {})
    if wanted is None:
        return {}, actual
    if found is not None:
        data, more = fill_in(wanted.data, actual["data"]), fill_in(wanted.metadata, metadata)
        wanted = NewEvent(wanted.type, data, more, wanted.id, wanted.occurred_at)
    ready = prepare(wanted)
    expected: dict[str, Any] = {"type": ready.type, "data": in_order(_value(ready.data_text))}
    wanted_metadata = _value(ready.metadata_text)
    parts = sorted({*keys, *wanted_metadata})
    for facts, of in ((expected, wanted_metadata), (actual, metadata)):
        chosen = {key: in_order(of[key]) for key in parts if key in of}
        if chosen:
            facts["metadata"] = chosen
    if wanted.id is not None:
        expected["id"], actual["id"] = str(uuid.UUID(bytes=ready.id)), found.id if found is not None else None
    if stream is not None:
        expected["stream"], actual["stream"] = "/".join(stream), found.stream if found is not None else None
    return expected, actual


def _read(event: RecordedEvent) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is compared of every event, and its metadata."""
    metadata = _value(event.metadata_text)
    facts = {"type": event.type, "data": in_order(_value(event.data_text))}
    return facts, metadata if isinstance(metadata, dict) else {}


def _value(text: str | bytes | None) -> Any:
    """The decoded value; the text itself where it can't be decoded, such as when it's nested too deep."""
    try:
        value = parse_json(text or "null")
        json.dumps(value)
    except (ValueError, RecursionError):
        return text
    return value


def fill_in(expected: Any, actual: Any) -> Any:
    """The expected value with what isn't JSON but equals the actual, such as `unittest.mock.ANY`, replaced by that."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return {key: fill_in(value, actual[key]) if key in actual else value for key, value in expected.items()}
    if isinstance(expected, list | tuple) and isinstance(actual, list) and len(expected) == len(actual):
        return [fill_in(*both) for both in zip(expected, actual, strict=True)]
    if not isinstance(expected, _json_types) and bool(expected == actual):
        return actual
    return expected
