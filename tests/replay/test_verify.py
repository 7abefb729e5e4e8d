"""Comparing what readers see with a fresh fold: what is found, what is the same in spite of looks, what stays untouched."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from tests.conftest import server_url
from tests.projections.helpers import checkpoint_of, counting, fill, in_background, row_of, wait_for
from tests.store.helpers import count, execute, on_servers, run_together
from webapp.errors import Conflict, NotFound, ProjectionFailed, ReplayConflict, StoreUnavailable
from webapp.projections import (
    Context,
    Follower,
    Projection,
    Table,
    delete_projection,
    run_to_head,
    skip_failed_event,
)
from webapp.replay import rebuild
from webapp.replay.comparing import Difference
from webapp.replay.verify import Verification, Verify, VerifyPhase, verify_projection
from webapp.store import EventStore, NewEvent, RecordedEvent
from webapp.store.columns import EventId, Name, UtcDateTime


def contents(store: EventStore) -> dict[str, list[Any]]:
    """All rows of all tables in the database."""
    metadata = sa.MetaData()
    with store.database.reading(60) as connection:
        metadata.reflect(connection)
        return {
            name: sorted(map(repr, connection.execute(sa.select(table)).all()))
            for name, table in metadata.tables.items()
        }


def change(store: EventStore, table: Table, key: Any, **values: Any) -> None:
    """Changes one row beside everything, as somebody with a SQL prompt would."""
    physical = table.physical(table.name)
    with store.database.writing() as connection:
        where = physical.c[table.key[0]] == key
        assert connection.execute(sa.update(physical).where(where).values(**values)).rowcount == 1


def only(found: Verification) -> Difference:
    """The one difference that was found."""
    assert found.total == 1, found
    return found.differences[0]


def positions_of(difference: Difference) -> list[int]:
    return [cause.position for cause in difference.events]


# --- what is found --------------------------------------------------------------------------------------------------


def test_a_true_read_model_is_equal_and_nothing_is_written(store: EventStore) -> None:
    fill(store, 230)
    projection = counting(batch_size=50)
    run_to_head(store, projection)
    before = contents(store)
    found = verify_projection(store, projection)
    assert (found.is_equal, found.rows, found.events, found.total) == (True, 5, 230, 0)
    assert (found.positions, found.generation, found.skipped, found.is_older) == ({"main": 230}, 1, (), False)
    assert contents(store) == before


def test_a_row_changed_by_hand_is_found_with_both_versions_and_its_last_events(store: EventStore) -> None:
    fill(store, 40)
    run_to_head(store, counting())
    execute(store, "UPDATE counts SET total = total + 7 WHERE id = 'n3'")
    before = contents(store)
    found = verify_projection(store, counting(batch_size=7))
    one = only(found)
    assert (one.kind, one.table, one.key, one.columns) == ("different", "counts", {"id": "n3"}, ("total",))
    assert one.fresh == {"id": "n3", "seen": 8, "total": 3 + 8 + 13 + 18 + 23 + 28 + 33 + 38}
    assert one.live == one.fresh | {"total": one.fresh["total"] + 7}
    assert positions_of(one) == [18, 23, 28, 33, 38]
    assert {(cause.log, cause.type) for cause in one.events} == {("main", "noted")}
    assert not found.is_equal and contents(store) == before


def test_a_row_deleted_by_hand_is_found_with_the_events_that_made_it(store: EventStore) -> None:
    fill(store, 8)
    run_to_head(store, counting())
    execute(store, "DELETE FROM counts WHERE id = 'n1'")
    one = only(verify_projection(store, counting()))
    assert (one.kind, one.key, one.live) == ("missing", {"id": "n1"}, None)
    assert one.fresh == {"id": "n1", "seen": 2, "total": 7}
    assert positions_of(one) == [1, 6]


def test_a_row_added_by_hand_is_found_and_has_no_event_behind_it(store: EventStore) -> None:
    fill(store, 8)
    run_to_head(store, counting())
    execute(store, "INSERT INTO counts (id, seen, total) VALUES ('x', 1, 2)")
    one = only(verify_projection(store, counting()))
    assert (one.kind, one.key, one.fresh, one.events) == ("extra", {"id": "x"}, None, ())
    assert one.live == {"id": "x", "seen": 1, "total": 2}


def removing() -> Projection:
    """Keeps what was noted until it's forgotten, and remembers how often both happened."""
    projection = Projection("kept", tables=[Table("kept", sa.Column("id", Name(40), primary_key=True))], batch_size=3)

    @projection.on("noted")
    def note(event: RecordedEvent, context: Context) -> None:
        context.table("kept").upsert(event.aggregate_id)
        context.state["noted"] = context.state.get("noted", 0) + 1

    @projection.on("forgotten")
    def forget(event: RecordedEvent, context: Context) -> None:
        if context.table("kept").get(event.aggregate_id) is not None:
            context.table("kept").delete(event.aggregate_id)
            context.state["forgotten"] = context.state.get("forgotten", 0) + 1

    return projection


def test_a_row_put_back_by_hand_shows_the_event_that_had_removed_it(sqlite_store: EventStore) -> None:
    fill(sqlite_store, 8)
    sqlite_store.append("note", "n1", [NewEvent("forgotten", {}), NewEvent("forgotten", {})])
    run_to_head(sqlite_store, removing())
    assert verify_projection(sqlite_store, removing()).is_equal
    execute(sqlite_store, "INSERT INTO kept (id) VALUES ('n1')")
    one = only(verify_projection(sqlite_store, removing()))
    assert (one.kind, positions_of(one)) == ("extra", [1, 6, 9])
    assert [cause.type for cause in one.events][-1] == "forgotten"


def test_a_state_that_is_not_what_the_events_say_is_told(sqlite_store: EventStore) -> None:
    fill(sqlite_store, 8)
    run_to_head(sqlite_store, removing())
    execute(sqlite_store, "UPDATE projectionist_checkpoints SET state = '{\"noted\": 9}'")
    found = verify_projection(sqlite_store, removing())
    assert (found.is_equal, found.total) == (False, 0)
    assert (found.live_state, found.fresh_state) == ({"noted": 9}, {"noted": 8})


def by_day() -> Projection:
    """A table with a key of two columns, one of them a number that no text would put in its order."""
    table = Table(
        "by_day",
        sa.Column("name", Name(40), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("seen", sa.Integer, default=0),
    )
    projection = Projection("by_day", tables=[table])

    @projection.on("noted")
    def note(event: RecordedEvent, context: Context) -> None:
        context.table("by_day").increment((event.aggregate_id, event.data["n"] - 700), seen=1)

    return projection


def test_tables_of_many_pages_are_compared_whole_and_differences_beyond_the_limit_are_counted(
    store: EventStore,
) -> None:
    names = ("a", "A", "ä", "z ", "z", "1", "10", "9", "\U0001f600", "\uffee")
    for at, name in enumerate(names):
        store.append("note", name, [NewEvent("noted", {"n": number}) for number in range(at * 151, at * 151 + 151)])
    run_to_head(store, by_day())
    found = verify_projection(store, by_day())
    assert (found.is_equal, found.rows) == (True, 1510)
    execute(store, "UPDATE by_day SET seen = 2 WHERE number BETWEEN -50 AND 49")
    execute(store, "DELETE FROM by_day WHERE number >= 750")
    execute(store, "INSERT INTO by_day (name, number, seen) VALUES ('a', 5000, 1), ('none', 0, 1)")
    found = verify_projection(store, by_day(), limit=30)
    assert found.counts == {"different": 100, "missing": 60, "extra": 2}
    assert (found.total, len(found.differences), found.rows) == (162, 30, 1452)
    assert verify_projection(store, by_day(), limit=0).total == 162
    every = verify_projection(store, by_day(), limit=1000).differences
    assert len({(one.key["name"], one.key["number"]) for one in every}) == 162


def test_a_skipped_event_is_left_out_on_both_sides_and_named(store: EventStore) -> None:
    fill(store, 12)

    def broken(event: RecordedEvent, context: Context) -> None:
        if event.position == 5:
            raise RuntimeError("broken")

    with pytest.raises(ProjectionFailed):
        run_to_head(store, counting(handler=broken))
    assert verify_projection(store, counting()).positions == {"main": 4}
    skip_failed_event(store, "counts", "it can't be mended")
    run_to_head(store, counting(handler=broken))
    found = verify_projection(store, counting(handler=broken))
    assert (found.is_equal, found.skipped, found.positions) == (True, (("main", 5),), {"main": 12})


def test_several_logs_are_folded_each_to_its_own_position(store: EventStore) -> None:
    projection = counting(logs=("main", "other", "empty"), batch_size=10)
    fill(store, 25)
    fill(store, 15, log="other")
    run_to_head(store, projection)
    fill(store, 5, log="other", first=100)
    found = verify_projection(store, projection)
    assert (found.is_equal, found.positions) == (True, {"main": 25, "other": 15, "empty": 0})


# --- values ---------------------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    red = "r"
    green = "g"


class Shouted(sa.types.TypeDecorator[str]):
    """Text that the database keeps in another form."""

    impl = sa.String(40)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        return None if value is None else value.upper()

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        return None if value is None else value.lower()


zone = dt.timezone(dt.timedelta(hours=2))
sorts: dict[str, tuple[Any, list[Any], Any]] = {
    "whole": (sa.Integer, [True, 7], 8),
    "big": (sa.BigInteger, [2**40], 2**40 + 1),
    "truth": (sa.Boolean, [1, False, True], False),
    "money": (sa.Numeric(12, 2), [3, 1.1, Decimal("2.345")], Decimal("2.34")),
    "fine": (sa.Numeric(24, 8), [Decimal("1234567890.12345678")], Decimal("1234567890.12445678")),
    "loose": (sa.Numeric(12, 2, asdecimal=False), [Decimal("1.25")], 1.26),
    "rough": (sa.Float, [1 / 3, 123456.789], 123467.0),
    "double": (sa.Double, [0.1, 123456.78901234], 123456.78911234),
    "text": (sa.Text, ["", "Ünïcode \U0001f600 "], "Ünïcode \U0001f600"),
    "short": (sa.String(40), ["a", "a "], "A "),
    "fixed": (sa.CHAR(8), ["abc"], "abd"),
    "day": (sa.Date, [dt.date(2026, 11, 24)], dt.date(2026, 11, 25)),
    "plain_time": (sa.DateTime, [dt.datetime(2026, 11, 24, 12, 30, 1, 600_000)], dt.datetime(2026, 11, 24, 12, 30, 4)),
    "zoned_time": (
        sa.DateTime(timezone=True),
        [dt.datetime(2026, 11, 24, 12, 30, 1, tzinfo=dt.UTC)],
        dt.datetime(2026, 11, 24, 12, 31, tzinfo=dt.UTC),
    ),
    "moment": (
        UtcDateTime,
        [dt.datetime(2026, 11, 24, 12, 30, 1, 123_456, tzinfo=zone)],
        dt.datetime(2026, 11, 24, 10, 30, 1, 123_457, tzinfo=dt.UTC),
    ),
    "hour": (sa.Time, [dt.time(12, 30, 1, 250_000)], dt.time(12, 30, 5)),
    "raw": (sa.LargeBinary, [bytearray(b"ab"), b"\x00\xff"], b"\x00\xfe"),
    "json": (sa.JSON, [None, {"b": [1, 2.5, None], "a": ("x", True)}], {"b": [1, 2.5, None], "a": ["x", False]}),
    "colour": (sa.Enum(Colour, name="colour"), [Colour.red, "green"], Colour.red),
    "uuid": (sa.Uuid, [uuid.UUID(int=77)], uuid.UUID(int=78)),
    "id": (EventId, [uuid.UUID(int=5)], uuid.UUID(int=6)),
    "shouted": (Shouted, ["Loud"], "quiet"),
}
"""By column: its type, values that handlers write one after the other, and another value, which is not the same."""


def of_all_sorts() -> Projection:
    table = Table(
        "sorts",
        sa.Column("key", Name(40), primary_key=True),
        *(sa.Column(name, kind) for name, (kind, _, _) in sorts.items()),
        sa.Column("never", sa.Text),
        sa.Column("sum", sa.Numeric(14, 4), default=0),
        sa.Column("drift", sa.Double, default=0.0),
    )
    projection = Projection("sorts", tables=[table], batch_size=4)

    @projection.on("noted")
    def note(event: RecordedEvent, context: Context) -> None:
        writer, turn = context.table("sorts"), event.data["n"]
        before = writer.get("all")
        assert before is None or isinstance(before["uuid"], uuid.UUID)
        writer.upsert("all", **{name: values[min(turn, len(values)) - 1] for name, (_, values, _) in sorts.items()})
        writer.increment("all", sum=Decimal("0.1001"), drift=0.1)

    return projection


def test_values_that_databases_give_back_in_another_form_are_the_same(store: EventStore) -> None:
    fill(store, 30, aggregates=1)
    run_to_head(store, of_all_sorts())
    found = verify_projection(store, of_all_sorts(), batch_size=7)
    assert found.is_equal, [
        (name, one.live[name], one.fresh[name]) for one in found.differences for name in one.columns
    ]


def test_another_value_is_found_in_a_column_of_any_type(store: EventStore) -> None:
    fill(store, 30, aggregates=1)
    projection = of_all_sorts()
    run_to_head(store, projection)
    others = {name: other for name, (_, _, other) in sorts.items()}
    change(store, projection.tables[0], "all", **others, never="", sum=Decimal("3.0031"))
    one = only(verify_projection(store, of_all_sorts()))
    assert set(one.columns) == {*sorts, "never", "sum"}
    change(store, projection.tables[0], "all", **dict.fromkeys(others), never=None, sum=None)
    one = only(verify_projection(store, of_all_sorts()))
    assert set(one.columns) == {*sorts, "sum"}


def keyed(name: str, kind: Any, *values: Any) -> Projection:
    projection = Projection(name, tables=[Table(name, sa.Column("key", kind, primary_key=True))])

    @projection.on("noted")
    def note(event: RecordedEvent, context: Context) -> None:
        context.table(name).upsert(values[event.data["n"] % len(values)])

    return projection


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (sa.Date, [dt.date(2026, 1, 1), dt.date(999, 1, 1)]),
        (UtcDateTime, [dt.datetime(2026, 1, 1, 2, tzinfo=zone), dt.datetime(2026, 1, 1, 0, 1, tzinfo=dt.UTC)]),
        (sa.Numeric(12, 2), [1, Decimal("1.50"), -3, Decimal(100)]),
        (sa.Uuid, [uuid.uuid4(), uuid.uuid4()]),
        (EventId, [uuid.uuid4(), uuid.uuid4()]),
        (sa.Enum(Colour, name="colour"), [Colour.green, Colour.red]),
        (sa.BigInteger, [-1, 2**60, 9, 10]),
        (sa.String(20), ["Ab", "aB", "ab ", "ä"]),
    ],
)  # fmt: skip
def test_keys_of_any_type_find_their_row(store: EventStore, kind: Any, values: list[Any]) -> None:
    fill(store, 8)
    projection = keyed("keyed", kind, *values)
    run_to_head(store, projection)
    found = verify_projection(store, projection)
    assert (found.is_equal, found.rows) == (True, len(values))


# --- while the world goes on ----------------------------------------------------------------------------------------


def test_it_holds_while_writers_append_and_the_projection_goes_on(store: EventStore) -> None:
    fill(store, 300)
    projection = counting(batch_size=40)
    run_to_head(store, projection)
    follower = Follower(store, projection)
    reached: list[int] = []

    def verify() -> bool:
        found = verify_projection(store, projection)
        assert found.is_equal, found.differences
        reached.append(found.positions["main"])
        return len(set(reached)) > 4

    with in_background(lambda: fill(store, 5), lambda: fill(store, 3), follower.step, pause_seconds=0.005):
        wait_for(verify, 60)
    assert reached == sorted(reached)
    follower.release()


def test_it_holds_while_rebuilds_swap_the_tables(store: EventStore) -> None:
    fill(store, 200)
    projection = counting(batch_size=50)
    run_to_head(store, projection)

    def build() -> None:
        for _ in range(3):
            rebuild(store, projection)

    def check() -> list[Verification]:
        return [verify_projection(store, projection) for _ in range(6)]

    built, found = run_together(build, check)
    assert built is None, built
    assert isinstance(found, list), found
    assert all(one.is_equal for one in found), found
    assert row_of(store).generation == 4


def until(work: Verify, phase: VerifyPhase) -> None:
    while work.phase is not phase:
        work.step()


def test_rows_written_while_pages_are_compared_are_not_mistaken_for_differences(store: EventStore) -> None:
    fill(store, 60)
    projection = counting()
    run_to_head(store, projection)
    work = Verify(store, projection)
    until(work, VerifyPhase.compare)
    fill(store, 60, aggregates=9, first=61)
    run_to_head(store, projection)
    until(work, VerifyPhase.done)
    assert work.result is not None and work.result.is_equal and work.result.positions == {"main": 60}
    assert verify_projection(store, projection).positions == {"main": 120}


def test_a_projection_that_is_emptied_meanwhile_is_a_conflict(sqlite_store: EventStore) -> None:
    fill(sqlite_store, 60)
    projection = counting(batch_size=50)
    run_to_head(sqlite_store, projection)
    work = Verify(sqlite_store, projection)
    work.step()
    work.step()
    delete_projection(sqlite_store, "counts")
    fill(sqlite_store, 1, first=61)
    Follower(sqlite_store, counting(batch_size=3)).step()
    with pytest.raises(ReplayConflict, match="emptied meanwhile"):
        until(work, VerifyPhase.done)
    work.close()


# --- what it may and may not do -------------------------------------------------------------------------------------


@contextmanager
def reading_user(store: EventStore, backend: str, but_not: str = "") -> Iterator[EventStore]:
    """The store as somebody sees it who may only read, all tables but one."""
    url, name = store.database.url, f"reader_{uuid.uuid4().hex[:8]}"
    if backend == "sqlite":
        readonly = EventStore.open(url)
        writes = {9, 18, 23, 2, 11, 10}  # DELETE, INSERT, UPDATE, CREATE TABLE, DROP TABLE, DROP INDEX

        def refuse(connection: Any, _record: Any) -> None:
            connection.set_authorizer(lambda action, *_: 1 if action in writes else 0)

        sa.event.listen(readonly.database.engine, "connect", refuse)
        yield readonly
        readonly.close()
        return
    admin = sa.create_engine(server_url(backend).set(database=url.database), isolation_level="AUTOCOMMIT")
    if backend == "postgresql":
        make, drop = [f"CREATE ROLE {name} LOGIN PASSWORD 'pw'"], [f"DROP OWNED BY {name}", f"DROP ROLE {name}"]
    else:
        make, drop = [f"CREATE USER {name} IDENTIFIED BY 'pw'"], [f"DROP USER {name}"]
    with admin.connect() as connection:
        make += [
            f"GRANT SELECT ON {one} TO {name}" for one in sa.inspect(connection).get_table_names() if one != but_not
        ]
        for statement in make:
            connection.exec_driver_sql(statement)
        readonly = EventStore.open(url.set(username=name, password="pw"))
        try:
            yield readonly
        finally:
            readonly.close()
            for statement in drop:
                connection.exec_driver_sql(statement)
    admin.dispose()


def test_a_user_who_may_only_read_can_verify(store: EventStore, backend: str) -> None:
    fill(store, 30)
    projection = counting(batch_size=10)
    run_to_head(store, projection)
    execute(store, "UPDATE counts SET seen = 0 WHERE id = 'n2'")
    with reading_user(store, backend) as readonly:
        with pytest.raises(StoreUnavailable):
            run_to_head(readonly, counting("other"))
        assert only(verify_projection(readonly, projection)).key == {"id": "n2"}


@on_servers
def test_a_user_who_may_not_read_the_read_model_is_told_so(store: EventStore, backend: str) -> None:
    fill(store, 3)
    run_to_head(store, counting())
    with (
        reading_user(store, backend, but_not="counts") as readonly,
        pytest.raises(StoreUnavailable, match=r"denied a right.*counts.*Grant it"),
    ):
        verify_projection(readonly, counting())


def test_handlers_are_told_that_it_is_a_replay_and_nothing_is_emitted(store: EventStore) -> None:
    told = []

    def emit(event: RecordedEvent, context: Context) -> None:
        told.append(context.is_replay)
        context.emit("counted", "1", NewEvent("counted", {}))

    projection = counting(handler=emit, emits=True)
    fill(store, 6)
    run_to_head(store, projection)
    assert count(store, "projectionist_events") == 12
    told.clear()
    assert verify_projection(store, projection).is_equal
    assert told == [True] * 6
    assert count(store, "projectionist_events") == 12


def test_a_lease_and_a_checkpoint_stay_as_they_are(store: EventStore) -> None:
    fill(store, 30)
    projection = counting(batch_size=10)
    follower = Follower(store, projection)
    follower.step()
    before = checkpoint_of(store)
    found = verify_projection(store, projection)
    assert (found.is_equal, found.positions) == (True, {"main": 10})
    assert checkpoint_of(store) == before
    assert follower.step() == 10
    follower.release()


# --- what can't be compared -----------------------------------------------------------------------------------------


def test_a_projection_that_never_ran_is_not_found(sqlite_store: EventStore) -> None:
    with pytest.raises(NotFound, match="never ran here"):
        verify_projection(sqlite_store, counting())


def test_a_handler_that_fails_names_the_event(store: EventStore) -> None:
    fill(store, 9)
    run_to_head(store, counting())

    def broken(event: RecordedEvent, context: Context) -> None:
        if event.position == 7:
            raise RuntimeError("new and wrong")

    with pytest.raises(ProjectionFailed, match="main:7: RuntimeError: new and wrong"):
        verify_projection(store, counting(handler=broken))


def test_a_value_that_can_not_be_kept_names_its_event(sqlite_store: EventStore) -> None:
    fill(sqlite_store, 9)
    run_to_head(sqlite_store, counting())

    def wrong(event: RecordedEvent, context: Context) -> None:
        if event.position == 7:
            context.table("counts").upsert("x", total="many")

    with pytest.raises(ProjectionFailed, match="main:7: ValueError"):
        verify_projection(sqlite_store, counting(handler=wrong))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("DROP TABLE counts", "The table counts is not there"),
        ("ALTER TABLE counts DROP COLUMN total", "The table counts has no column total"),
    ],
)
def test_tables_that_are_not_as_defined_are_told_in_words(store: EventStore, damage: str, words: str) -> None:
    fill(store, 9)
    run_to_head(store, counting())
    execute(store, damage)
    with pytest.raises(Conflict, match=words) as caught:
        verify_projection(store, counting())
    assert "projections rebuild URL counts" in str(caught.value)


def test_rows_that_older_code_built_are_compared_and_said_to_be_so(sqlite_store: EventStore) -> None:
    fill(sqlite_store, 9)
    run_to_head(sqlite_store, counting())

    def also(event: RecordedEvent, context: Context) -> None:
        context.table("counts").upsert("all")

    projection = counting(handler=also)
    projection.on("unheard_of")(lambda event, context: None)
    found = verify_projection(sqlite_store, projection)
    assert found.is_older and only(found).kind == "missing"


def test_progress_is_told_and_what_was_used_is_given_back(store: EventStore) -> None:
    fill(store, 50)
    projection = counting(batch_size=10)
    run_to_head(store, projection)
    seen: list[tuple[str, int, int]] = []
    tell: Callable[[Verify], None] = lambda work: seen.append((work.phase.value, work.done, work.total))  # noqa: E731
    verify_projection(store, projection, on_progress=tell)
    assert [at for phase, at, _ in seen if phase == "replay"][:6] == [0, 10, 20, 30, 40, 50]
    assert {total for _, _, total in seen} == {50} and seen[-1][0] == "done"
    assert store.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="enough"):
        verify_projection(store, projection, on_progress=lambda work: stop())
    assert store.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def stop() -> None:
    raise RuntimeError("enough")
