"""Values that nobody expects pass through the adapter as they are."""

from __future__ import annotations

import json

import pytest

from tests.adapters.conftest import Opened
from tests.adapters.writing import Writer, Written, table_of
from webapp.adapters.ecotone import EcotoneSource
from webapp.errors import AmbiguousLog, InvalidRequest
from webapp.store.database import Database
from webapp.store.events import EventFilter, RecordedEvent, utc

ids = ("a/b c", "ž/お茶/💥", "'; DROP TABLE x; --", "%_\\%s:name", "Ab", "aB", '"quoted"', "..", "<b>", "a:b:c")


@pytest.fixture
def writer(empty_url: str, server: str) -> Writer:
    writer = Writer(empty_url, server)
    writer.create()
    return writer


def read_one(source: EcotoneSource, log: str, position: int = 1) -> RecordedEvent:
    (event,) = [event for event in source.read_log(log) if event.position == position]
    assert event.to_json() == source.event(log, position).to_json()
    return event


def test_ids_and_names_of_any_characters(writer: Writer, empty_url: str, opened: Opened, server: str) -> None:
    type_, log = "App\\Ding: %s :x", "Shop\\お茶 100%: 'x' \"y\""
    writer.add_streams([log])
    writer.append(log, [Written(no, (type_, id_, 1), type="a:b %s \\ é'") for no, id_ in enumerate(ids, 1)])
    source = opened(empty_url)
    assert [found.name for found in source.logs()] == [log]
    for no, id_ in enumerate(ids, 1):
        (event,) = source.read_stream(type_, id_)
        assert (event.aggregate_type, event.aggregate_id, event.position) == (type_, id_, no)
        (filtered,) = source.read_log(log, where=EventFilter(aggregate_type=type_, aggregate_id=id_))
        assert filtered.position == no
        assert [one.id for one in source.aggregates(type_, prefix=id_)] == [id_]
        assert json.loads(event.to_json())["aggregate_id"] == id_
    paged: list[str] = []
    while page := source.aggregates(type_, after_id=paged[-1] if paged else None, limit=3):
        paged += [one.id for one in page]
    assert sorted(paged) == sorted(ids)
    assert len(list(source.read_log(log, where=EventFilter(types=("a:b %s \\ é'",))))) == len(ids)
    assert [type_.name for type_ in source.event_types()] == ["a:b %s \\ é'"]


def test_an_id_with_a_space_at_its_end_is_not_the_one_without(writer: Writer, empty_url: str, opened: Opened) -> None:
    writer.add_streams(["one"])
    writer.add_streams(["two", "wallet-42 "], "partition")
    writer.append("one", [Written(1, ("order", "42", 1))])
    writer.append("two", [Written(1, ("order", "42 ", 1))])
    source = opened(empty_url)
    assert [event.log for event in source.read_stream("order", "42")] == ["one"]
    assert [event.log for event in source.read_stream("order", "42 ")] == ["two"]
    assert list(source.read_stream("order", "42", log="two")) == []
    assert [(one.log, one.id) for one in source.aggregates("order")] == [("one", "42"), ("two", "42 ")]


def test_aggregates_of_several_identifiers_are_named_by_json(
    writer: Writer, empty_url: str, opened: Opened, server: str
) -> None:
    writer.add_streams(["seats"], "partition")
    writer.append("seats", [Written(no, ("seat", {"row": 7, "no": "A"}, no)) for no in (1, 2)])
    source = opened(empty_url)
    (aggregate,) = source.aggregates("seat")
    assert json.loads(aggregate.id) == {"row": 7, "no": "A"}
    assert aggregate.version == 2
    assert [event.version for event in source.read_stream("seat", aggregate.id)] == [1, 2]
    assert {event.aggregate_id for event in source.read_log("seats")} == {aggregate.id}


def test_one_aggregate_in_two_streams_has_to_be_chosen(writer: Writer, empty_url: str, opened: Opened) -> None:
    writer.add_streams(["orders", "archive"])
    writer.add_streams(["order-1"], "aggregate")
    for log in ("orders", "archive", "order-1"):
        writer.append(log, [Written(no, ("order", "1", no)) for no in (1, 2)])
    source = opened(empty_url)
    with pytest.raises(AmbiguousLog, match=r"order/1 has events in several logs: archive, order-1, orders\. Choose"):
        source.read_stream("order", "1")
    for log in ("orders", "archive", "order-1"):
        assert [event.log for event in source.read_stream("order", "1", log=log)] == [log, log]
    assert [one.log for one in source.aggregates("order")] == ["archive", "order-1", "orders"]


def test_large_and_deep_payloads(writer: Writer, empty_url: str, opened: Opened, server: str) -> None:
    depth = {"postgresql": 3000, "mysql": 90, "mariadb": 28}[server]  # what each server takes
    large = json.dumps({"text": "お<script>\"'" * 100_000}, ensure_ascii=False)
    deep = "[" * depth + "]" * depth
    writer.add_streams(["page_views"], "simple")
    writer.append("page_views", [Written(1, payload=large), Written(2, payload=deep), Written(3, payload="null")])
    source = opened(empty_url)
    assert len(large) > 1_000_000
    assert read_one(source, "page_views").data == json.loads(large)
    assert read_one(source, "page_views", 2).data_text == deep
    assert read_one(source, "page_views", 3).data is None
    assert [event.position for event in source.read_log("page_views", where=EventFilter(contains="<script>"))] == [1]
    assert [event.position for event in source.read_log("page_views", where=EventFilter(contains="<SCRIPT>"))] == []
    assert [event.position for event in source.read_log("page_views", where=EventFilter(contains="[[["))] == [2]


def test_payloads_keep_what_their_server_keeps(writer: Writer, empty_url: str, opened: Opened, server: str) -> None:
    written = (
        '{"b": 2.0,  "a":"\\u0000\\ud83d\\ude00", "b": 1e400}' if server != "mysql" else '{"b": 2.5, "a": "\\u0000😀"}'
    )
    writer.add_streams(["page_views"], "simple")
    writer.append("page_views", [Written(1, payload=written)])
    event = read_one(opened(empty_url), "page_views")
    if server == "mysql":  # which keeps JSON as values
        assert event.data == {"a": "\0😀", "b": 2.5}
    else:
        assert event.data_text == written


def test_the_actor_is_the_first_key_that_is_there(writer: Writer, empty_url: str, opened: Opened, server: str) -> None:
    writer.add_streams(["things"], "simple")
    people = [
        {"actor": None, "executorId": "", "userId": "u"},
        {"userId": 42},
        {"executorId": "e", "userId": "u"},
        {"actor": {"id": 1}},
        {"actor": None},
        {"ActOr": "x"},
        {},
        {"actor": "null"},
    ]
    writer.append("things", [Written(no, metadata=metadata) for no, metadata in enumerate(people, 1)])
    source = opened(empty_url)
    found = [event.actor for event in source.read_log("things")]
    assert json.loads(found[3] or "") == {"id": 1}
    assert [*found[:3], *found[4:]] == ["", "42", "e", None, None, None, "null"]
    assert [event.position for event in source.read_log("things", where=EventFilter(actor="null"))] == [8]
    other = EcotoneSource(Database(empty_url), actor_keys=("userId", "user.name/@ü"))
    assert [event.actor for event in other.read_log("things", limit=3)] == ["u", "42", "u"]
    other.close()
    for key in ('a"b', "a'b", "a\\b", "a:b", "", "x" * 101):
        with pytest.raises(InvalidRequest, match="can't name the actor"):
            EcotoneSource(Database(empty_url), actor_keys=(key,))


def test_broken_headers_of_a_dead_letter_do_not_hide_it(
    writer: Writer, empty_url: str, opened: Opened, server: str
) -> None:
    writer.run(
        "CREATE TABLE ecotone_error_messages (message_id VARCHAR(255) PRIMARY KEY, failed_at TIMESTAMP NOT NULL,"
        " payload TEXT NOT NULL, headers TEXT NOT NULL)",
        *(
            f"INSERT INTO ecotone_error_messages VALUES ('{id_}', '2026-10-01 00:00:0{second}', '<b>', '{headers}')"
            for id_, second, headers in (
                ("a", 1, "{not json"),
                ("B", 1, "[]"),
                ("c", 1, '{"__TypeId__": 5}'),
                ("d", 0, ""),
            )
        ),
    )
    source = opened(empty_url)
    paged: list[str] = []
    while page := source.dead_letters(before=paged[-1] if paged else None, limit=1):
        paged += [letter.id for letter in page]
    assert sorted(paged) == ["B", "a", "c", "d"]
    assert paged[-1] == "d"
    assert source.dead_letter("c").type == "5"
    letter = source.dead_letter("a")
    assert (letter.error, letter.payload_text, letter.headers_text) == (None, "<b>", "{not json")


def test_times_are_told_in_utc(writer: Writer, empty_url: str, opened: Opened, server: str) -> None:
    writer.add_streams(["things"], "simple")
    writer.append("things", [Written(1)])
    if server == "postgresql":
        name = Database(empty_url).url.database
        writer.run(f"ALTER DATABASE {name} SET timezone TO 'Asia/Kathmandu'")
    source = opened(empty_url)
    assert utc(source.event("things", 1).recorded_at) == "2026-10-01T00:00:01.000000Z"
    assert table_of("things").startswith("_")
    assert [log.settled_head for log in source.logs()] == [1]
