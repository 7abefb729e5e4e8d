"""Metadata flows from a command to its events and from these to what they cause; an event's own keys always win."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import datetime as dt
import json
import threading
import uuid
from typing import Any

import pytest

from webapp.errors import InvalidEvent, InvalidRequest
from webapp.store import (
    Append,
    EventStore,
    NewEvent,
    RecordedEvent,
    caused_by,
    command,
    current_metadata,
    metadata_context,
)
from webapp.store.context import with_current_metadata


def append(store: EventStore, metadata: Any = None, stream: str = "1", **more: Any) -> RecordedEvent:
    (event,) = store.append("thing", stream, [NewEvent("noted", {}, metadata, **more)])
    return event


def test_all_events_within_a_context_receive_it_on_every_way_of_appending(store: EventStore) -> None:
    with metadata_context(correlation_id="c1", causation_id="k1", actor="ann", tenant="acme", ip="::1", attempt=2):
        append(store)
        store.append_many([Append("thing", "2", [NewEvent("noted", {}), NewEvent("noted", {})])])
        with store.database.writing() as connection:
            store.append_in(connection, [Append("thing", "3", [NewEvent("noted", {})])])
    append(store)
    *within, after = store.read_log("main")
    assert len(within) == 4
    for event in within:
        assert (event.correlation_id, event.causation_id, event.actor) == ("c1", "k1", "ann")
        assert event.metadata == {
            "correlation_id": "c1", "causation_id": "k1", "actor": "ann", "tenant": "acme", "ip": "::1", "attempt": 2,
        }  # fmt: skip
    assert (after.metadata, after.correlation_id) == ({}, None)


def test_an_events_own_keys_win(sqlite_store: EventStore) -> None:
    with metadata_context(actor="ann", tenant="acme"):
        assert append(sqlite_store, {"actor": "bob", "note": 1}).metadata == {
            "actor": "bob",
            "tenant": "acme",
            "note": 1,
        }
        assert append(sqlite_store, {"actor": None}).actor is None


def test_contexts_nest_and_end_with_their_blocks() -> None:
    assert current_metadata() == {}
    with metadata_context(actor="ann", tenant="acme"):
        with metadata_context(actor="bob", ip=None) as inner:
            assert inner == current_metadata() == {"actor": "bob", "tenant": "acme"}
        with pytest.raises(RuntimeError), metadata_context(actor="eve"):
            raise RuntimeError
        assert current_metadata() == {"actor": "ann", "tenant": "acme"}
    assert current_metadata() == {}


def test_what_is_given_is_taken_as_it_was() -> None:
    headers = {"roles": ["a"]}
    with metadata_context(**headers):
        headers["roles"].append("b")
        current_metadata().clear()
        assert current_metadata() == {"roles": ["a"]}


def test_a_uuid_is_written_as_text() -> None:
    with metadata_context(correlation_id=uuid.UUID(int=5), ratio=1.5, tags=("a", {"b": None})):
        assert current_metadata() == {"correlation_id": str(uuid.UUID(int=5)), "ratio": 1.5, "tags": ["a", {"b": None}]}


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), dt.datetime.now(dt.UTC), b"x", {"a": object()}])
def test_a_header_that_json_has_no_word_for_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"The header “thing” is of type .*Give text, a number") as caught:
        with metadata_context(thing=value):
            pytest.fail("it must not come here")
    assert caught.value.field == "thing"
    assert current_metadata() == {}


@pytest.mark.parametrize("key", ["revision", "occurred_at"])
def test_what_belongs_to_one_event_is_refused_for_a_context(key: str) -> None:
    with pytest.raises(InvalidRequest, match=f"“{key}” belongs to one event"):
        with metadata_context(**{key: 2}):
            pytest.fail("it must not come here")


# --- ready text -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ('{ "b": 1.50, "b": 2 }', '{"actor":"ann", "b": 1.50, "b": 2 }'),
        (b' {"x":1}', '{"actor":"ann","x":1}'),
        ("{}", '{"actor":"ann"}'),
        ("{ \n}", '{"actor":"ann" \n}'),
        ('{"actor": "bob"}', '{"actor": "bob"}'),
    ],
)
def test_metadata_given_as_text_keeps_its_text_after_the_missing_keys(
    sqlite_store: EventStore, own: str | bytes, expected: str
) -> None:
    with metadata_context(actor="ann"):
        event = append(sqlite_store, own)
    assert event.metadata_text == expected
    assert event.actor == json.loads(expected)["actor"]


def test_metadata_given_as_text_is_left_as_it_is_outside_of_a_context(sqlite_store: EventStore) -> None:
    assert append(sqlite_store, '{ "a" : 1 }').metadata_text == '{ "a" : 1 }'


@pytest.mark.parametrize("own", ["[1]", "{", b"\xff", 5, ["x"]])
def test_metadata_that_is_no_object_is_refused_within_a_context_as_without(sqlite_store: EventStore, own: Any) -> None:
    for context in (metadata_context(), metadata_context(actor="ann")):
        with context, pytest.raises(InvalidEvent):
            append(sqlite_store, own)


@pytest.mark.parametrize("events", [None, "noted", [{"type": "noted"}], 5])
def test_what_are_no_events_is_refused_within_a_context_with_the_same_sentence(
    sqlite_store: EventStore, events: Any
) -> None:
    with metadata_context(actor="ann"), pytest.raises(InvalidEvent, match=r"must be a list of NewEvent"):
        sqlite_store.append("thing", "1", events)


def test_nothing_is_copied_outside_of_a_context() -> None:
    appends = [Append("thing", "1", [NewEvent("noted", {})])]
    assert with_current_metadata(appends) is appends


def test_nothing_but_the_metadata_changes() -> None:
    event = NewEvent("noted", {"n": 1}, None, uuid.UUID(int=1), dt.datetime.now(dt.UTC))
    append = Append("thing", "1", [event], 5, "other")
    assert None not in [getattr(event, field.name) for field in dataclasses.fields(event) if field.name != "metadata"]
    assert len(dataclasses.fields(append)) == 5
    with metadata_context(actor="ann"):
        (changed,) = with_current_metadata([append])
    assert changed == dataclasses.replace(append, events=[dataclasses.replace(event, metadata={"actor": "ann"})])


def test_an_occurred_at_goes_with_a_context(sqlite_store: EventStore) -> None:
    moment = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    with metadata_context(actor="ann"):
        event = append(sqlite_store, occurred_at=moment)
    assert (event.actor, event.occurred_at) == ("ann", moment)


# --- commands and causes ----------------------------------------------------------------------------------------------


def test_a_command_makes_a_correlation_id_unless_there_is_one() -> None:
    with command(actor="ann") as metadata:
        made = metadata["correlation_id"]
        assert uuid.UUID(made).version == 7
        with command(tenant="acme") as inner:
            assert inner == {"correlation_id": made, "actor": "ann", "tenant": "acme"}
        with command(correlation_id="mine") as inner:
            assert inner["correlation_id"] == "mine"
    with command() as other:
        assert other["correlation_id"] != made


def test_what_an_event_causes_has_its_correlation_its_id_as_cause_and_its_headers(store: EventStore) -> None:
    with command(actor="ann", tenant="acme", ip="::1"):
        first = append(store, {"revision": 2, "_aggregate_type": "x"}, occurred_at=dt.datetime.now(dt.UTC))
    with caused_by(first):
        second = append(store, stream="2")
    with caused_by(second, actor="robot"):
        third = append(store, stream="3")
    assert second.metadata == {
        "correlation_id": first.correlation_id, "causation_id": first.id, "actor": "ann", "tenant": "acme", "ip": "::1",
    }  # fmt: skip
    assert (third.correlation_id, third.causation_id, third.actor) == (first.correlation_id, second.id, "robot")
    assert third.metadata["tenant"] == "acme"


def test_an_event_without_correlation_begins_one_with_its_id(sqlite_store: EventStore) -> None:
    first = append(sqlite_store)
    with metadata_context(correlation_id="of something else", tenant="acme"), caused_by(first):
        second = append(sqlite_store)
    assert (second.correlation_id, second.causation_id) == (first.id, first.id)
    assert second.metadata["tenant"] == "acme"


@pytest.mark.parametrize("text", ["[1]", "{", None, b"\xff"])
def test_a_cause_whose_metadata_cannot_be_read_passes_on_its_ids(text: str | bytes | None) -> None:
    cause = RecordedEvent("main", 1, "a", "1", 1, "noted", "e1", 0, "c1", None, None, "{}", text)
    with caused_by(cause):
        assert current_metadata() == {"correlation_id": "c1", "causation_id": "e1"}


# --- threads and tasks ------------------------------------------------------------------------------------------------


def test_threads_have_a_context_of_their_own_and_may_be_handed_one() -> None:
    found: list[dict[str, Any]] = []

    def look() -> None:
        found.append(current_metadata())

    with metadata_context(actor="ann"):
        threads = [threading.Thread(target=look), threading.Thread(target=contextvars.copy_context().run, args=(look,))]
        for thread in threads:
            thread.start()
            thread.join()
    assert found == [{}, {"actor": "ann"}]


def test_tasks_inherit_a_context_and_do_not_disturb_each_other() -> None:
    async def work(name: str, meet: asyncio.Barrier) -> list[dict[str, Any]]:
        seen = []
        with metadata_context(actor=name):
            await meet.wait()
            seen.append(current_metadata())
            seen.append(await asyncio.to_thread(current_metadata))
            await meet.wait()
        return [*seen, current_metadata()]

    async def main() -> list[list[dict[str, Any]]]:
        meet = asyncio.Barrier(2)
        with metadata_context(tenant="acme"):
            return await asyncio.gather(work("ann", meet), work("bob", meet))

    ann, bob = asyncio.run(main())
    assert ann == [{"tenant": "acme", "actor": "ann"}] * 2 + [{"tenant": "acme"}]
    assert bob == [{"tenant": "acme", "actor": "bob"}] * 2 + [{"tenant": "acme"}]
