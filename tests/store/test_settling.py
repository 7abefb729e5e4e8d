"""Nothing is missed: a reader that asks for what comes after the last position, beside writers who commit late."""

from __future__ import annotations

import random
import threading
import time

import pytest
import sqlalchemy as sa

from webapp.store import Append, EventStore, NewEvent

writers, appends_each = 4, 30


class _Rollback(Exception):
    pass


@pytest.mark.parametrize("backend", ["postgresql", "mariadb", "mysql"])  # SQLite has one writer: nothing commits late
def test_a_naive_reader_of_an_identity_column_loses_events(store: EventStore) -> None:
    table = sa.Table("naive", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer))
    engine = store.database.engine
    with engine.begin() as connection:
        table.create(connection)

    def read_after(last: int) -> list[int]:
        with engine.connect() as connection:
            return list(
                connection.execute(sa.select(table.c.id).where(table.c.id > last).order_by(table.c.id)).scalars()
            )

    with engine.connect() as late, engine.begin() as early:
        late.execute(sa.insert(table).values(n=1))
        early.execute(sa.insert(table).values(n=2))
        early.commit()
        seen = read_after(0)
        late.commit()
    seen += read_after(max(seen))
    assert len(seen) == 1
    assert len(read_after(0)) == 2  # both are there, and one of them was never seen


def test_a_follower_of_ours_misses_nothing_and_sees_nothing_twice(store: EventStore) -> None:
    store.append("note", "first", [NewEvent("noted", 0)])
    committed: list[str] = []
    is_over = threading.Event()

    def write(number: int) -> None:
        chance = random.Random(number)
        for turn in range(appends_each):
            append = Append("note", f"{number}-{turn}", [NewEvent("noted", {"turn": turn})] * chance.randint(1, 3))
            try:
                with store.database.writing() as connection:
                    recorded = store.append_in(connection, [append])
                    time.sleep(chance.uniform(0, 0.01))
                    if chance.random() < 0.2:
                        raise _Rollback
            except _Rollback:
                continue
            committed.extend(event.id for event in recorded)

    seen: list[tuple[int, str]] = []

    def follow() -> None:
        last = 0
        while True:
            was_over = is_over.is_set()
            head = store.settled_head("main")
            for event in store.read_log("main", after=last, before=head + 1, limit=None):
                seen.append((event.position, event.id))
                last = event.position
            if was_over:
                return
            time.sleep(0.001)

    follower = threading.Thread(target=follow)
    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in [follower, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    is_over.set()
    follower.join()
    assert [position for position, _ in seen] == list(range(1, len(seen) + 1))  # dense, in order, nothing twice
    assert {event_id for _, event_id in seen[1:]} == set(committed)
    assert len(committed) > writers * appends_each / 2


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_rolled_back_append_leaves_no_hole(store: EventStore, attempt: int) -> None:
    store.append("note", "1", [NewEvent("noted", 1)])
    with pytest.raises(_Rollback), store.database.writing() as connection:
        store.append_in(connection, [Append("note", "2", [NewEvent("noted", 2)] * attempt)])
        raise _Rollback
    assert store.append("note", "3", [NewEvent("noted", 3)])[0].position == 2
