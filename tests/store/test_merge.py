"""Events of several logs as one sequence: complete, in order, and paged both ways."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

import pytest

from webapp.errors import InvalidRequest, NotFound, TimedOut
from webapp.store import Append, EventStore, NewEvent
from webapp.store.cuts import Cut, make_cut
from webapp.store.events import EventFilter, RecordedEvent
from webapp.store.merge import read_all


def fill(store: EventStore, logs: int, events: int, seed: int = 7) -> None:
    chance = random.Random(seed)
    for number in range(events):
        log = f"log {chance.randrange(logs) if number >= logs else number}"
        count = chance.randint(1, 3)
        made = [NewEvent(f"kind.{chance.randrange(4)}", {"n": number}, {"actor": "ann"}) for _ in range(count)]
        store.append_many([Append("thing", str(chance.randrange(5)), made, log=log)])


def everything(store: EventStore, where: EventFilter | None = None) -> list[tuple[str, int]]:
    found = []
    for log in store.logs():
        found += [event for event in store.read_log(log.name, limit=None) if where is None or where.matches(event)]
    return [place(event) for event in sorted(found, key=lambda event: (event.recorded_at, event.log, event.position))]


def place(event: RecordedEvent) -> tuple[str, int]:
    return event.log, event.position


def pages(
    store: EventStore, size: int, *, newest_first: bool, where: EventFilter, cursor: str | None = None
) -> Iterator[list[tuple[str, int]]]:
    while True:
        reading = read_all(store, where=where, newest_first=newest_first, cursor=cursor, limit=size, with_payload=False)
        page = [place(event) for event in islice(reading, size)]
        if not page:
            return
        yield page
        cursor = reading.cursor


def test_it_reads_every_log_in_order_of_time(store: EventStore) -> None:
    fill(store, logs=5, events=60)
    expected = everything(store)
    assert [place(event) for event in read_all(store)] == expected
    assert [place(event) for event in read_all(store, newest_first=True)] == expected[::-1]


@pytest.mark.parametrize("logs", [1, 3, 90])  # more logs than a cursor has room for positions
@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_by_cursor_miss_nothing_and_repeat_nothing(
    sqlite_store: EventStore, logs: int, newest_first: bool
) -> None:
    fill(sqlite_store, logs=logs, events=160)
    for where in (EventFilter(), EventFilter(types=("kind.1",)), EventFilter(aggregate_type="thing", aggregate_id="3")):
        expected = everything(sqlite_store, where)
        for size in (1, 7, 50):
            read = [one for page in pages(sqlite_store, size, newest_first=newest_first, where=where) for one in page]
            assert read == (expected[::-1] if newest_first else expected)


@pytest.mark.parametrize("logs", [4, 90])
def test_a_cursor_leads_back_over_the_same_events(sqlite_store: EventStore, logs: int) -> None:
    fill(sqlite_store, logs=logs, events=160)
    expected = everything(sqlite_store)
    down = read_all(sqlite_store, newest_first=True)
    for taken in range(1, len(expected)):
        next(down)
        if taken % 13 == 0:
            up = read_all(sqlite_store, cursor=down.cursor)
            assert [place(event) for event in up] == expected[-taken:]
            again = read_all(sqlite_store, newest_first=True, cursor=down.cursor)
            assert [place(event) for event in again] == expected[:-taken][::-1]


@pytest.mark.parametrize("logs", [4, 90])
def test_new_arrivals_shift_no_page(sqlite_store: EventStore, logs: int) -> None:
    fill(sqlite_store, logs=logs, events=120)
    expected = everything(sqlite_store)[::-1]
    reading = read_all(sqlite_store, newest_first=True)
    first = [place(event) for event in islice(reading, 40)]
    fill(sqlite_store, logs=logs, events=100, seed=8)
    rest = read_all(sqlite_store, newest_first=True, cursor=reading.cursor)
    assert first + [place(event) for event in rest] == expected
    newer = read_all(sqlite_store, cursor=read_all(sqlite_store, cursor=reading.cursor).cursor)
    assert len(list(newer)) == len(everything(sqlite_store)) - len(expected) + 40


def test_times_out_of_order_in_one_log_lose_nothing(sqlite_store: EventStore) -> None:
    fill(sqlite_store, logs=3, events=60)
    with sqlite_store.database.writing() as connection:
        sql = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'projectionist_events'"
        for name in list(connection.exec_driver_sql(sql).scalars()):
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        # Swaps the times of neighbours, as a framework does that takes them from its writers' clocks.
        connection.exec_driver_sql(
            "UPDATE projectionist_events SET recorded_at = (SELECT o.recorded_at FROM projectionist_events o "
            "WHERE o.log_id = projectionist_events.log_id AND o.position = projectionist_events.position + 1 - 2 * "
            "(projectionist_events.position % 2 = 0)) WHERE position < 20"
        )
    expected = sorted(everything(sqlite_store))
    for newest_first in (True, False):
        read = [one for page in pages(sqlite_store, 3, newest_first=newest_first, where=EventFilter()) for one in page]
        assert sorted(read) == expected


def test_it_reads_named_logs_only_and_refuses_unknown_ones(sqlite_store: EventStore) -> None:
    fill(sqlite_store, logs=3, events=20)
    assert {event.log for event in read_all(sqlite_store, ["log 2", "log 0"])} == {"log 0", "log 2"}
    with pytest.raises(NotFound, match="no log “nope”"):
        read_all(sqlite_store, ["nope"])


def test_it_opens_no_log_whose_turn_has_not_come(sqlite_store: EventStore) -> None:
    fill(sqlite_store, logs=40, events=40)
    asked: list[str] = []

    class Watched:
        def __getattr__(self, name: str) -> object:
            return getattr(sqlite_store, name)

        def read_log(self, log: str, **rest: object) -> object:
            asked.append(log)
            return sqlite_store.read_log(log, **rest)  # type: ignore[arg-type]

    newest = list(islice(read_all(Watched(), newest_first=True, limit=3), 3))  # type: ignore[arg-type]
    assert len(newest) == 3
    assert len(set(asked)) <= 4


@pytest.mark.parametrize("text", ["x", "", "...", "zz.!!", "1.bG9n.short", "a.b.c.d", "🙂", "9" * 400])
def test_it_refuses_what_is_no_cursor(sqlite_store: EventStore, text: str) -> None:
    fill(sqlite_store, logs=2, events=4)
    if text:
        with pytest.raises(InvalidRequest, match="cursor"):
            read_all(sqlite_store, cursor=text)
    else:
        assert list(read_all(sqlite_store, cursor=text))


def test_a_cursor_fits_into_a_url_however_many_logs_there_are() -> None:
    cut = make_cut(1_790_000_000_000_000, "L" * 150, [(f"{'n' * 140}{n}", 10**9 + n, 10**9) for n in range(5_000)])
    text = cut.encode()
    assert len(text) < 1_500
    assert Cut.decode(text) == cut


def test_a_search_out_of_time_can_be_continued(sqlite_store: EventStore) -> None:
    fill(sqlite_store, logs=3, events=30)
    expected = everything(sqlite_store)
    read: list[tuple[str, int]] = []
    cursor, rounds = None, 0
    while True:
        reading = read_all(sqlite_store, cursor=cursor, seconds=-1 if rounds % 2 else 5, limit=4)
        rounds += 1
        before, stopped = len(read), False
        try:
            for event in islice(reading, 4):
                read.append(place(event))
        except TimedOut:
            stopped = True
        cursor = reading.cursor
        if len(read) == before and not stopped:
            break
    assert read == expected
    assert rounds > 10


def test_one_event_is_found_by_its_id(store: EventStore) -> None:
    fill(store, logs=2, events=30)
    wanted = list(store.read_log("log 1"))[3]
    found = list(read_all(store, where=EventFilter(event_id=wanted.id)))
    assert [(place(event), event.id) for event in found] == [(place(wanted), wanted.id)]
    assert list(read_all(store, where=EventFilter(event_id="not-an-id"))) == []
