"""Payloads are kept as written: what goes in as text comes out as that text."""

from __future__ import annotations

import enum
import json
import math
import time
import tracemalloc
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.helpers import count
from webapp.errors import InvalidEvent
from webapp.store import EventStore, NewEvent
from webapp.store.jsontext import encode, is_json, parse_json, scan

KEPT = [
    '{"b": 1, "a": 2, "b": 3}',
    '{ "a" :\t1 ,\r\n"b": [ ] }',
    "1e400", "-1E400", "-0.0", "-0", "1.10", "1e-400", "0.1000000000000000055511151231257827",
    "18446744073709551616", "-9223372036854775809", "1" * 400,
    r'"\u0000"', r'{"\u0000": "a\u0000b"}', r'"\ud800"', r'"\udc00\ud800"', r'"\ud83d\ude00"', r'"\/\b\f"',
    '"😀 \U0010ffff \u2028 \x7f é e\u0301"',
    '"<script>alert(1)</script>"', "\"'; DROP TABLE projectionist_events; --\"", '"%s {p} :name ? $1 \\\\ %% \'\'"',
    "null", "true", '""', "[]", "{}", " 5 ",
]  # fmt: skip

REFUSED = [
    "", " ", "hello", "{'a': 1}", "NaN", "[NaN]", "Infinity", "-Infinity", "01", "1.", ".5", "+1", "0x1", "[1,]", "{a: 1}",
    '{"a": 1,}', '{"a"}', '{"a": }', "[1 2]", "[", "]", "[1]]", "1 2", '"\t"', '"a\x00b"', r'"\x41"', r'"\u12"', '"open',
    "truE", "nul", "\ufeff1", "\xa01", '"\ud800"', "\x0c1",
]  # fmt: skip


def test_text_is_stored_and_read_as_it_was_written(store: EventStore) -> None:
    recorded = store.append("order", "1", [NewEvent("noted", text) for text in KEPT])
    recorded += store.append("order", "2", [NewEvent("noted", text.encode()) for text in KEPT])
    fresh = EventStore.open(store.database.url)
    try:
        read = list(fresh.read_log("main"))
    finally:
        fresh.close()
    assert [event.data_text for event in recorded] == KEPT * 2
    assert [event.data_text for event in read] == KEPT * 2
    for event, text in zip(read, KEPT * 2, strict=True):
        line = event.to_json()
        assert "\n" not in line
        assert "\r" not in line
        assert f'"data":{text}' in line or "\n" in text
        assert json.loads(line)["data"] == json.loads(text)


def test_metadata_is_stored_and_read_as_it_was_written(store: EventStore) -> None:
    texts = ['{"actor": "ann",  "actor": "bob"}', r'{"x": "\u0000", "n": 1e400, "actor": null}', " {} "]
    store.append("order", "1", [NewEvent("noted", 1, metadata=text) for text in texts])
    read = list(store.read_log("main"))
    assert [event.metadata_text for event in read] == texts
    assert [event.actor for event in read] == ["bob", None, None]


@pytest.mark.parametrize("text", REFUSED)
def test_text_that_is_not_json_is_refused_with_a_sentence(sqlite_store: EventStore, text: str) -> None:
    for given_text in (text, text.encode("utf-8", "surrogatepass")):
        with pytest.raises(InvalidEvent, match=r"The data of noted is .* Give JSON text"):
            sqlite_store.append("order", "1", [NewEvent("noted", given_text)])
        with pytest.raises(InvalidEvent, match=r"The metadata of noted is"):
            sqlite_store.append("order", "1", [NewEvent("noted", 1, metadata=given_text)])
    assert count(sqlite_store, "projectionist_events") == 0


@pytest.mark.parametrize("data", [b"\xff", b'"\xff"', b'"\xed\xa0\x80"', b'\xff\xfe"\x00a\x00"\x00'])
def test_bytes_that_are_not_utf8_are_refused_with_a_sentence(sqlite_store: EventStore, data: bytes) -> None:
    with pytest.raises(InvalidEvent, match=r"The data of noted is bytes that aren't UTF-8\. Give JSON text"):
        sqlite_store.append("order", "1", [NewEvent("noted", data)])


class Colour(enum.Enum):
    red = "red"


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("inf"), -math.inf, {"a": [1, math.nan]}, [None, math.nan], {1, 2}, object(), 1j, {"a": b"x"},
        {(1, 2): 3}, time.gmtime, [10**400, math.inf],
    ],
)  # fmt: skip
def test_values_that_json_has_no_word_for_are_refused_with_a_sentence(sqlite_store: EventStore, value: Any) -> None:
    with pytest.raises(InvalidEvent, match="The data of noted can't be written as JSON"):
        sqlite_store.append("order", "1", [NewEvent("noted", value)])
    with pytest.raises(InvalidEvent, match="The metadata of noted can't be written as JSON"):
        sqlite_store.append("order", "1", [NewEvent("noted", 1, metadata={"x": value})])


def test_a_value_that_holds_itself_is_refused_with_a_sentence(sqlite_store: EventStore) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidEvent, match="The data of noted can't be written as JSON"):
        sqlite_store.append("order", "1", [NewEvent("noted", loop)])


VALUES = [
    None, True, 0, -0.0, 1e22, 2**64, -(2**80), 10**400, ["plain", "a\x00b", "\ud800", "null", "\u2028"], [None], {"a": None},
    {"nullable": "null", "b": [1.5, "😀"]}, {"z": 1, "a": 2}, {"\ud800": "\x00"}, [2**63, {"wei": [123456789012345678901]}],
]  # fmt: skip


def test_values_come_back_equal(store: EventStore) -> None:
    recorded = store.append("order", "1", [NewEvent("noted", value, {"value": value}) for value in VALUES])
    read = list(store.read_log("main"))
    for value, given_back, stored in zip(VALUES, recorded, read, strict=True):
        assert repr(given_back.data) == repr(stored.data) == repr(value)
        assert repr(stored.metadata["value"]) == repr(value)
        assert given_back.data_text == stored.data_text


def test_a_tuple_is_written_as_an_array() -> None:
    assert encode((1, (2, None))) == "[1,[2,null]]"


def test_a_uuid_or_an_enum_is_written_the_same_beside_a_null_and_alone() -> None:
    number = uuid.UUID(int=7)
    alone, beside = (
        encode({"id": number, "colour": Colour.red}),
        encode({"id": number, "colour": Colour.red, "x": None}),
    )
    assert json.loads(alone) == {"id": str(number), "colour": "red"}
    assert json.loads(beside) == {"id": str(number), "colour": "red", "x": None}


def test_no_data_is_null(store: EventStore) -> None:
    store.append("order", "1", [NewEvent("noted", None)])
    (read,) = store.read_log("main")
    assert (read.data_text, read.data, read.metadata_text, read.metadata) == ("null", None, "{}", {})


@pytest.mark.parametrize("depth", [1_025, 10_000, 20_000])
def test_deep_nesting_is_stored_and_readable(store: EventStore, depth: int) -> None:
    texts = ["[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth]
    store.append("order", "1", [NewEvent("noted", text) for text in texts])
    read = list(store.read_stream("order", "1"))
    assert [event.data_text for event in read] == texts
    for event, text in zip(read, texts, strict=True):
        assert f'"data":{text},' in event.to_json()
        if depth > 5_000:
            with pytest.raises(ValueError, match="nested too deep"):
                _ = event.data


def test_text_of_a_megabyte_is_kept(store: EventStore) -> None:
    texts = [
        json.dumps("x" * 1_000_000),
        json.dumps("😀" * 250_000, ensure_ascii=False),
        json.dumps("\ud800" * 160_000),
    ]
    store.append("order", "1", [NewEvent("noted", text) for text in texts])
    assert [event.data_text for event in store.read_log("main")] == texts


def test_a_payload_of_twenty_megabytes_is_kept(store: EventStore) -> None:
    text = json.dumps("y" * 20_000_000)
    (recorded,) = store.append("order", "1", [NewEvent("noted", text)])
    assert recorded.data_text == text
    assert store.event("main", 1).data_text == text
    assert [event.data_text == text for event in store.read_log("main")] == [True]


def test_a_scan_takes_linear_time() -> None:
    texts = [
        "[" * 500_000 + "]" * 500_000,
        json.dumps("\ud800" * 500_000),
        "[" + "1e400," * 200_000 + "1]",
        '"\\"' * 200_000,
    ]
    began = time.process_time()
    assert [scan(text) for text in texts] == [True, True, True, False]
    assert not any(scan(text[:-1]) for text in texts)
    assert time.process_time() - began < 10


def test_a_scan_of_a_long_string_takes_little_memory() -> None:
    text = json.dumps("\ud800" * 500_000)
    tracemalloc.start()
    try:
        assert scan(text)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None)),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=5), inside, max_size=4),
    max_leaves=20,
)  # fmt: skip


def loads_strictly(text: str) -> Any:
    """What json.loads makes of a text, but NaN and Infinity aren't JSON."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


@given(json_values, st.booleans(), st.sampled_from([None, 1, "\t"]))
@settings(max_examples=300, deadline=None)
def test_the_scanner_takes_all_that_is_json(value: Any, escaped: bool, indent: Any) -> None:
    assert scan(json.dumps(value, ensure_ascii=escaped, indent=indent))


@given(json_values, st.data())
@settings(max_examples=500, deadline=None)
def test_the_scanner_agrees_with_the_standard_parser_on_damaged_text(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value)
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 2))
    text = (
        text[:at]
        + data.draw(st.text('{}[],:"\\ \n\t\x0b0123456789.eE+-truefalsn\u00a0a', max_size=2))
        + text[at + cut :]
    )
    try:
        loads_strictly(text)
        expected = True
    except ValueError:
        expected = False
    assert scan(text) is expected
    assert is_json(text) is expected


@given(json_values)
@settings(max_examples=300, deadline=None)
def test_encoding_and_parsing_give_the_value_back(value: Any) -> None:
    text = encode(value)
    text.encode()
    assert is_json(text)
    assert parse_json(text) == value
    assert "\n" not in text


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "[1", b"\xff", b'"\xff"', b"\xff\xfe1\x00"])
def test_parsing_what_is_not_json_says_so(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
