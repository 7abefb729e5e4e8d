"""What an `EventSource` is: a suite that our own store and every adapter run.

A test of a source subclasses `EventSourceContract` and offers a fixture `source`, with no writer at work meanwhile. It
needs a log with events of several types and aggregates; the richer the data, the more is tested. What the source gives
out whole is the reference: every narrower question must get the same events, no more and no fewer.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pytest
import sqlalchemy as sa

from webapp.errors import AmbiguousLog, NotFound
from webapp.store.events import EventFilter, RecordedEvent
from webapp.store.source import EventSource, Health

Events = Sequence[RecordedEvent]
hostile_names = (
    "", " ", "no such", "%", "_", "'", '"', "\\", ";--", "' OR '1'='1", "a\x00b", "\ud800", "💥" * 100, "x" * 10_000,
)  # fmt: skip
event_fields = (
    "log", "position", "aggregate_type", "aggregate_id", "version", "type", "id", "recorded_at",
    "data", "metadata", "correlation_id", "causation_id", "actor",
)  # fmt: skip


def facts_of(events: Events) -> list[tuple[object, ...]]:
    """Everything about events but their payloads, to be compared."""
    return [
        (
            event.log, event.position, event.aggregate_type, event.aggregate_id, event.version, event.type, event.id,
            event.recorded_at, event.correlation_id, event.causation_id, event.actor,
        )
        for event in events
    ]  # fmt: skip


def whole(events: Events) -> list[tuple[object, ...]]:
    """Everything about events, to be compared."""
    return [
        (*facts, event.data_text, event.metadata_text) for facts, event in zip(facts_of(events), events, strict=True)
    ]


def other_case(name: str) -> str:
    """A name that only a comparison by bytes tells apart."""
    return name.swapcase() if name.swapcase() != name else name + " "


class EventSourceContract:
    """Subclass it, give it a fixture `source`, and a layout's own numbers are all that is left to test."""

    @pytest.fixture
    def all_events(self, source: EventSource) -> dict[str, Events]:
        """All events by log."""
        return {log.name: list(source.read_log(log.name, limit=None)) for log in source.logs()}

    @pytest.fixture
    def events(self, all_events: dict[str, Events]) -> Events:
        """The events of the log with most kinds of them."""
        return max(
            all_events.values(), key=lambda events: len({(event.type, event.aggregate_type) for event in events})
        )

    @pytest.fixture
    def statements(self, source: EventSource) -> Iterator[list[str]]:
        """What is sent to the database; nothing where the source is in memory."""
        sent: list[str] = []
        if source.dialect == "Memory":
            yield sent
            return
        engine = source.database.engine  # type: ignore[attr-defined]

        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            sent.append(statement)

        sa.event.listen(engine, "before_cursor_execute", note)
        yield sent
        sa.event.remove(engine, "before_cursor_execute", note)

    # --- what it is -------------------------------------------------------------------------------------------------

    def test_it_is_an_event_source(self, source: EventSource) -> None:
        assert isinstance(source, EventSource)
        assert re.fullmatch("[a-z]+", source.layout)
        assert source.dialect in ("PostgreSQL", "MySQL", "MariaDB", "SQLite", "Memory")
        assert isinstance(source.capabilities, frozenset)

    # --- logs -------------------------------------------------------------------------------------------------------

    def test_it_lists_logs_by_name(self, source: EventSource, all_events: dict[str, Events]) -> None:
        logs = source.logs()
        names = [log.name for log in logs]
        assert names == sorted(set(names), key=str.encode)
        assert any(log.head for log in logs)
        for log in logs:
            events = all_events[log.name]
            assert 0 <= log.settled_head <= log.head
            assert log.settled_head == (events[-1].position if events else 0)
            assert not log.count.exact or log.count.number == len(events)
            assert log.first_at == (events[0].recorded_at if events else None)
            assert log.last_at == (events[-1].recorded_at if events else None)

    def test_one_log_is_as_in_the_list_and_tells_missing_positions(
        self, source: EventSource, all_events: dict[str, Events]
    ) -> None:
        for listed in source.logs():
            log = source.log(listed.name)
            present = {event.position for event in all_events[log.name]}
            assert (log.head, log.settled_head, log.count) == (listed.head, listed.settled_head, listed.count)
            assert set(log.missing) == set(range(1, log.head + 1)) - present

    @pytest.mark.parametrize("name", hostile_names, ids=map(str, range(len(hostile_names))))
    def test_a_log_that_is_not_there_is_not_found(self, source: EventSource, name: str) -> None:
        for ask in (
            lambda: source.log(name),
            lambda: list(source.read_log(name)),
            lambda: source.event(name, 1),
            lambda: list(source.read_stream("type", "id", log=name)),
            lambda: source.aggregates("type", log=name),
        ):
            with pytest.raises(NotFound):
                ask()

    def test_names_of_logs_compare_byte_by_byte(self, source: EventSource, events: Events) -> None:
        names = {log.name for log in source.logs()}
        for name in {other_case(events[0].log), events[0].log + " ", events[0].log.upper()} - names:
            with pytest.raises(NotFound):
                source.log(name)

    # --- reading a log ----------------------------------------------------------------------------------------------

    def test_events_come_by_position(self, events: Events) -> None:
        positions = [event.position for event in events]
        assert positions == sorted(set(positions))
        assert positions[0] >= 1

    def test_ranges_leave_their_edges_out(self, source: EventSource, events: Events) -> None:
        low, high = events[len(events) // 4].position, events[-len(events) // 4].position
        for after, before in ((low, None), (0, high), (low, high), (high, low), (low, low + 1), (0, 1), (2**62, None)):
            expected = [e for e in events if after < e.position and (before is None or e.position < before)]
            found = list(source.read_log(events[0].log, after=after, before=before, limit=None))
            assert whole(found) == whole(expected)
            backwards = source.read_log(events[0].log, after=after, before=before, limit=None, newest_first=True)
            assert whole(list(backwards)) == whole(expected[::-1])

    def test_the_limit_cuts_and_none_means_all(self, source: EventSource, events: Events) -> None:
        log = events[0].log
        for limit in (0, 1, 2, len(events) - 1, len(events), len(events) + 1):
            assert whole(list(source.read_log(log, limit=limit))) == whole(events[:limit])
            newest = list(source.read_log(log, limit=limit, newest_first=True))
            assert whole(newest) == whole(events[::-1][:limit])
        assert len(list(source.read_log(log))) == min(1000, len(events))

    def test_pages_by_position_meet_without_a_seam(self, source: EventSource, events: Events) -> None:
        log, size = events[0].log, max(2, len(events) // 7)
        forwards: list[RecordedEvent] = []
        while page := list(source.read_log(log, after=forwards[-1].position if forwards else 0, limit=size)):
            forwards += page
        assert whole(forwards) == whole(events)
        backwards: list[RecordedEvent] = []
        while page := list(
            source.read_log(log, before=backwards[-1].position if backwards else None, limit=size, newest_first=True)
        ):
            backwards += page
        assert whole(backwards) == whole(events[::-1])

    def test_lists_leave_payloads_out(self, source: EventSource, events: Events, statements: list[str]) -> None:
        found = list(source.read_log(events[0].log, limit=None, with_payload=False))
        assert facts_of(found) == facts_of(events)
        assert {(event.data_text, event.metadata_text) for event in found} == {(None, None)}
        for statement in statements:
            assert not re.search(r"\b(payload|data)\b(?!_)", statement), statement

    def test_it_can_be_left_in_the_middle(self, source: EventSource, events: Events) -> None:
        for _ in range(30):  # more than there are connections
            assert len(list(islice(source.read_log(events[0].log, limit=None), 2))) == 2

    def test_one_event_is_whole(self, source: EventSource, events: Events) -> None:
        for event in (events[0], events[len(events) // 2], events[-1]):
            assert whole([source.event(event.log, event.position)]) == whole([event])

    def test_an_event_that_is_not_there_is_not_found(self, source: EventSource, events: Events) -> None:
        log = source.log(events[0].log)
        for position in (-1, 0, log.head + 1, 2**31, 2**63 - 1, 2**63, 2**70, *log.missing):
            with pytest.raises(NotFound):
                source.event(log.name, position)

    def test_events_are_told_as_json(self, events: Events) -> None:
        for event in events[:50]:
            line = event.to_json()
            assert "\n" not in line
            told = json.loads(line)
            assert tuple(told) == event_fields
            assert told["data"] == event.data
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", told["recorded_at"])
            assert event.recorded_at.utcoffset() == dt.timedelta(0)

    # --- filters ----------------------------------------------------------------------------------------------------

    def filters(self, events: Events) -> list[EventFilter]:
        """Filters that keep some of the events, each part alone and together."""
        one = events[len(events) // 2]
        types = sorted({event.type for event in events})
        named = next(event for event in events if event.actor and event.correlation_id)
        words = re.findall(r"\w{5,}", one.data_text if isinstance(one.data_text, str) else "")
        found = [
            EventFilter(types=(types[0],)),
            EventFilter(types=tuple(types[:2])),
            EventFilter(types=("no such", types[-1])),
            EventFilter(aggregate_type=one.aggregate_type),
            EventFilter(aggregate_type=one.aggregate_type, aggregate_id=one.aggregate_id),
            EventFilter(aggregate_id=one.aggregate_id),
            EventFilter(correlation_id=named.correlation_id),
            EventFilter(actor=named.actor),
            EventFilter(since=one.recorded_at),
            EventFilter(until=one.recorded_at),
            EventFilter(since=one.recorded_at, until=one.recorded_at + dt.timedelta(hours=3)),
            EventFilter(since=events[0].recorded_at, until=events[-1].recorded_at + dt.timedelta(microseconds=1)),
            EventFilter(actor=named.actor, types=(named.type,), until=named.recorded_at + dt.timedelta(days=1)),
            *(EventFilter(contains=word) for word in words[:2]),
            EventFilter(contains='{"'),
            EventFilter(event_id=one.id),
        ]
        if one.aggregate_type is not None:
            found.append(
                EventFilter(aggregate_type=one.aggregate_type, aggregate_id=one.aggregate_id, types=(one.type,))
            )
        return found

    def test_filters_keep_what_matches_and_nothing_else(self, source: EventSource, events: Events) -> None:
        log = events[0].log
        for where in self.filters(events):
            expected = [event for event in events if where.matches(event)]
            assert expected, where
            assert whole(list(source.read_log(log, limit=None, where=where))) == whole(expected), where
            newest = list(source.read_log(log, limit=3, newest_first=True, where=where, seconds=60))
            assert whole(newest) == whole(expected[::-1][:3]), where
            middle = events[len(events) // 2].position
            bare = list(source.read_log(log, after=middle, limit=5, where=where, with_payload=False))
            assert facts_of(bare) == facts_of([event for event in expected if event.position > middle][:5]), where

    @pytest.mark.parametrize("name", hostile_names, ids=map(str, range(len(hostile_names))))
    def test_filters_for_what_is_not_there_find_nothing(self, source: EventSource, events: Events, name: str) -> None:
        for where in (
            EventFilter(types=(name,)),
            EventFilter(aggregate_type=name),
            EventFilter(aggregate_id=name),
            EventFilter(aggregate_type=events[0].aggregate_type, aggregate_id=name),
            EventFilter(correlation_id=name),
            EventFilter(actor=name),
            EventFilter(event_id=name),
            EventFilter(contains=f"{name}~nowhere~"),
        ):
            assert list(source.read_log(events[0].log, where=where)) == []

    def test_filters_compare_byte_by_byte(self, source: EventSource, events: Events) -> None:
        one = next(event for event in events if event.actor and event.correlation_id)
        for change in (other_case, lambda name: name + " "):
            for where in (
                EventFilter(types=(change(one.type),)),
                EventFilter(aggregate_type=change(one.aggregate_type or "")),
                EventFilter(aggregate_type=one.aggregate_type, aggregate_id=change(one.aggregate_id or "")),
                EventFilter(correlation_id=change(one.correlation_id or "")),
                EventFilter(actor=change(one.actor or "")),
            ):
                found = list(source.read_log(one.log, limit=None, where=where))
                assert whole(found) == whole([event for event in events if where.matches(event)])

    def test_impossible_times_find_nothing_or_everything(self, source: EventSource, events: Events) -> None:
        log, first, last = events[0].log, dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC)
        assert list(source.read_log(log, where=EventFilter(until=first))) == []
        assert list(source.read_log(log, where=EventFilter(since=last))) == []
        found = source.read_log(log, limit=None, where=EventFilter(since=first, until=last))
        assert len(list(found)) == len(events)

    # --- one aggregate ----------------------------------------------------------------------------------------------

    def test_a_stream_comes_by_version_from_one(self, source: EventSource, all_events: dict[str, Events]) -> None:
        streams: dict[tuple[str, str, str], list[RecordedEvent]] = {}
        for events in all_events.values():
            for event in events:
                if event.aggregate_type is not None and event.aggregate_id is not None:
                    streams.setdefault((event.log, event.aggregate_type, event.aggregate_id), []).append(event)
        chosen = sorted(streams.items(), key=lambda item: -len(item[1]))
        for (log, type_, id_), expected in [*chosen[:5], *chosen[-5:]]:
            assert [event.version for event in expected] == list(range(1, len(expected) + 1))
            assert whole(list(source.read_stream(type_, id_, log=log))) == whole(expected)
            assert whole(list(source.read_stream(type_, id_, log=log, after=1, limit=2))) == whole(expected[1:3])
            bare = list(source.read_stream(type_, id_, log=log, with_payload=False))
            assert facts_of(bare) == facts_of(expected)
            assert {(event.data_text, event.metadata_text) for event in bare} == {(None, None)}
            for after in (len(expected), 2**63 - 1, 2**70):
                assert list(source.read_stream(type_, id_, log=log, after=after)) == []
            assert list(source.read_stream(type_, id_, log=log, limit=0)) == []
            logs = sorted({key[0] for key in streams if key[1:] == (type_, id_)})
            if len(logs) == 1:
                assert whole(list(source.read_stream(type_, id_))) == whole(expected)
                continue
            with pytest.raises(AmbiguousLog) as raised:
                list(source.read_stream(type_, id_))
            assert sorted(raised.value.logs) == logs

    @pytest.mark.parametrize("name", hostile_names, ids=map(str, range(len(hostile_names))))
    def test_streams_that_are_not_there_are_empty(self, source: EventSource, events: Events, name: str) -> None:
        one = next(event for event in events if event.aggregate_type and event.aggregate_id)
        assert list(source.read_stream(name, name)) == []
        assert list(source.read_stream(one.aggregate_type or "", name)) == []
        assert list(source.read_stream(name, one.aggregate_id or "", log=one.log)) == []

    def test_types_and_ids_compare_byte_by_byte(self, source: EventSource, events: Events) -> None:
        known = {(event.aggregate_type, event.aggregate_id) for event in events}
        one = next(event for event in events if event.aggregate_type and event.aggregate_id)
        type_, id_ = one.aggregate_type or "", one.aggregate_id or ""
        for other in ((other_case(type_), id_), (type_, other_case(id_)), (type_ + " ", id_), (type_, id_ + " ")):
            if other not in known:
                assert list(source.read_stream(*other, log=one.log)) == []

    # --- types and aggregates ---------------------------------------------------------------------------------------

    def test_types_of_events_are_counted(self, source: EventSource, all_events: dict[str, Events]) -> None:
        found = source.event_types()
        keys = [(type_.log, type_.name) for type_ in found]
        assert keys == sorted(set(keys), key=lambda key: (key[0].encode(), key[1].encode()))
        everything = [event for events in all_events.values() for event in events]
        assert set(keys) == {(event.log, event.type) for event in everything}
        for type_ in found:
            times = [event.recorded_at for event in all_events[type_.log] if event.type == type_.name]
            assert not type_.count.exact or type_.count.number == len(times)
            assert type_.first_at in (None, min(times))
            assert type_.last_at in (None, max(times))

    def test_types_of_aggregates_are_counted(self, source: EventSource, all_events: dict[str, Events]) -> None:
        ids: dict[tuple[str, str], set[str]] = {}
        for events in all_events.values():
            for event in events:
                if event.aggregate_type is not None and event.aggregate_id is not None:
                    ids.setdefault((event.log, event.aggregate_type), set()).add(event.aggregate_id)
        found = source.aggregate_types()
        keys = [(type_.log, type_.name) for type_ in found]
        assert keys == sorted(ids, key=lambda key: (key[0].encode(), key[1].encode()))
        assert all(not type_.count.exact or type_.count.number == len(ids[type_.log, type_.name]) for type_ in found)

    def test_aggregates_come_page_by_page(self, source: EventSource, all_events: dict[str, Events]) -> None:
        for type_ in {type_.name for type_ in source.aggregate_types()}:
            last: dict[tuple[str, str], RecordedEvent] = {}
            first: dict[tuple[str, str], RecordedEvent] = {}
            for events in all_events.values():
                for event in events:
                    if event.aggregate_type == type_:
                        last[event.log, event.aggregate_id or ""] = event
                        first.setdefault((event.log, event.aggregate_id or ""), event)
            found = list(source.aggregates(type_, limit=100_000))
            assert {(one.log, one.id): (one.version, one.first_at, one.last_at) for one in found} == {
                key: (event.version, first[key].recorded_at, event.recorded_at) for key, event in last.items()
            }
            ids = [one.id for one in found]
            assert len(set(ids)) < len(ids) or ids == list(dict.fromkeys(ids))
            if len(set(ids)) == len(ids):
                paged: list[str] = []
                while page := source.aggregates(
                    type_, after_id=paged[-1] if paged else None, limit=max(2, len(ids) // 5)
                ):
                    paged += [one.id for one in page]
                assert paged == ids
            prefix = ids[len(ids) // 2][:2]
            assert [one.id for one in source.aggregates(type_, prefix=prefix, limit=100_000)] == [
                id_ for id_ in ids if id_.startswith(prefix)
            ]
            for log in {one.log for one in found}:
                assert [one for one in found if one.log == log] == list(
                    source.aggregates(type_, log=log, limit=100_000)
                )

    @pytest.mark.parametrize("name", hostile_names, ids=map(str, range(len(hostile_names))))
    def test_aggregates_that_are_not_there_make_an_empty_list(
        self, source: EventSource, events: Events, name: str
    ) -> None:
        assert list(source.aggregates(name)) == []
        type_ = next(event.aggregate_type for event in events if event.aggregate_type)
        assert list(source.aggregates(type_, prefix=f"{name}~")) == []
        assert list(source.aggregates(type_, limit=0)) == []

    # --- what lies beside events ------------------------------------------------------------------------------------

    def test_projections_come_by_name_with_a_sentence_each(self, source: EventSource) -> None:
        projections = source.projections()
        assert [one.name for one in projections] == sorted((one.name for one in projections), key=str.encode)
        for one in projections:
            assert isinstance(one.health, Health)
            assert one.explanation[0].isupper() or one.explanation[0].isdigit()
            assert one.explanation.endswith(".")

    def test_dead_letters_come_page_by_page(self, source: EventSource) -> None:
        found = list(source.dead_letters(limit=10_000))
        assert [one.failed_at for one in found] == sorted((one.failed_at for one in found), reverse=True)  # type: ignore[type-var]
        paged: list[str] = []
        while page := source.dead_letters(before=paged[-1] if paged else None, limit=2):
            paged += [one.id for one in page]
        assert paged == [one.id for one in found]
        for one in found[:3]:
            assert (one.payload_text, one.traceback, one.headers_text) == (None, None, None)
            letter = source.dead_letter(one.id)
            assert (letter.id, letter.failed_at, letter.error) == (one.id, one.failed_at, one.error)

    @pytest.mark.parametrize("name", hostile_names, ids=map(str, range(len(hostile_names))))
    def test_a_dead_letter_that_is_not_there_is_not_found(self, source: EventSource, name: str) -> None:
        with pytest.raises(NotFound):
            source.dead_letter(name)

    def test_read_model_tables_come_by_name(self, source: EventSource) -> None:
        assert list(source.read_model_tables()) == sorted(source.read_model_tables())

    # --- how it behaves ---------------------------------------------------------------------------------------------

    def ask_everything(self, source: EventSource, log: str) -> list[Any]:
        """The answers to one question of each kind."""
        type_ = next((type_.name for type_ in source.aggregate_types() if type_.log == log), "none")
        aggregates = source.aggregates(type_, log=log, limit=3)
        return [
            source.logs(),
            source.log(log),
            whole(list(source.read_log(log, limit=20, newest_first=True))),
            whole(list(source.read_log(log, limit=20, where=EventFilter(contains="a"), seconds=60))),
            [whole(list(source.read_stream(type_, one.id, log=log))) for one in aggregates],
            source.event_types(),
            source.aggregate_types(),
            aggregates,
            source.projections(),
            source.dead_letters(),
            source.read_model_tables(),
            source.capabilities,
        ]

    def test_threads_share_it(self, source: EventSource, events: Events) -> None:
        expected = self.ask_everything(source, events[0].log)
        with ThreadPoolExecutor(8) as executor:
            answers = list(executor.map(lambda _: self.ask_everything(source, events[0].log), range(16)))
        assert all(answer == expected for answer in answers)

    def test_it_writes_nothing_and_locks_nothing(
        self, source: EventSource, events: Events, statements: list[str]
    ) -> None:
        self.ask_everything(source, events[0].log)
        assert statements or source.dialect == "Memory"
        for statement in statements:
            assert re.match(
                r"\s*[(]*\s*(SELECT|WITH|SHOW|SET|BEGIN|START TRANSACTION (WITH CONSISTENT SNAPSHOT, )?READ ONLY|PRAGMA)\b",
                statement,
            ), statement
            assert not re.search(
                r"FOR (UPDATE|SHARE)|LOCK IN|GET_LOCK|advisory_(xact_)?lock", statement, re.IGNORECASE
            ), statement
