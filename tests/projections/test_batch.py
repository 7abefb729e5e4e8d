"""One batch: rows and checkpoint together or not at all, and a failure pinned to the event that it came from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from tests.projections.helpers import checkpoint_of, counted, counting, expected, expire_leases, fill, row_of
from tests.store.helpers import count as rows_in
from tests.store.helpers import on_servers
from webapp.errors import InvalidDefinition, LeaseLost, NeedsMigration, ProjectionFailed, StoreUnavailable
from webapp.projections import Context, Follower, Projection, Table, run_to_head, skip_failed_event
from webapp.projections import checkpoints as rows_of
from webapp.projections.batch import Batch
from webapp.projections.lifecycle import init_projection
from webapp.store import Append, EventStore, NewEvent, RecordedEvent
from webapp.store.columns import Name


class OutOfLuck(Exception):
    """What handlers raise here."""


def failing_at(*positions: int) -> Callable[[RecordedEvent, Context], None]:
    def handler(event: RecordedEvent, context: Context) -> None:
        if event.position in positions:
            raise OutOfLuck(f"no luck with {event.position}")

    return handler


def claimed(store: EventStore, projection: Projection, owner: str = "me") -> Batch:
    """A batch of the serving generation under a lease of its own."""
    init_projection(store, projection)
    with store.database.writing() as connection:
        assert rows_of.claim_lease(connection, store.database.dialect, projection.name, 1, owner)
        checkpoint = rows_of.find_checkpoint(connection, projection.name, 1)
    assert checkpoint is not None
    return Batch(store, projection, checkpoint, serves=True)


def events(store: EventStore) -> list[RecordedEvent]:
    return list(store.read_log("main", limit=None))


def test_rows_and_checkpoint_commit_together(store: EventStore) -> None:
    fill(store, 70, aggregates=60)
    batch = claimed(store, counting())
    batch.apply(events(store)[:65], is_replay=False)
    assert counted(store) == expected(store, up_to=65)
    assert (checkpoint_of(store).positions, checkpoint_of(store).done) == ({"main": 65}, 65)
    assert batch.checkpoint.positions == {"main": 65}


def test_a_batch_of_an_owner_whose_lease_went_to_another_leaves_nothing(store: EventStore) -> None:
    fill(store, 10)
    projection = counting()
    stalled = claimed(store, projection, "stalled")
    expire_leases(store)
    rival = claimed(store, projection, "rival")
    with pytest.raises(LeaseLost, match="has taken counts over, so this batch was rolled back"):
        stalled.apply(events(store), is_replay=False)
    assert counted(store) == {} and checkpoint_of(store).positions == {}
    rival.apply(events(store), is_replay=False)
    assert counted(store) == expected(store)


def test_a_failure_of_an_owner_whose_lease_went_to_another_is_not_recorded(store: EventStore) -> None:
    fill(store, 3)
    stalled = claimed(store, counting(handler=failing_at(1)), "stalled")
    expire_leases(store)
    claimed(store, counting(), "rival").apply(events(store), is_replay=False)
    with pytest.raises(LeaseLost):
        stalled.apply(events(store), is_replay=False)
    assert row_of(store).status == "running" and row_of(store).failure is None


def test_what_came_before_the_event_that_fails_is_kept(store: EventStore) -> None:
    fill(store, 20)
    projection = counting(handler=failing_at(13))
    with pytest.raises(
        ProjectionFailed, match=r"counts failed at main:13: OutOfLuck: no luck with 13\. Mend"
    ) as failed:
        run_to_head(store, projection)
    assert (failed.value.log, failed.value.position) == ("main", 13)
    assert isinstance(failed.value.__cause__, OutOfLuck)
    assert counted(store) == expected(store, up_to=12)
    row = row_of(store)
    assert row.status == "failed" and row.failure is not None
    assert (row.failure["log"], row.failure["position"]) == ("main", 13)
    assert row.failure["message"] == "OutOfLuck: no luck with 13"
    assert "in failing_at" in row.failure["traceback"] or "in handler" in row.failure["traceback"]
    assert checkpoint_of(store).owner is None  # nobody has to wait for its lease


def test_a_skipped_event_is_left_out_and_stays_visible(store: EventStore) -> None:
    fill(store, 20)
    projection = counting(handler=failing_at(13, 17))
    for position in (13, 17):
        with pytest.raises(ProjectionFailed):
            run_to_head(store, projection)
        assert skip_failed_event(store, "counts", f" no stock at {position} ", "ann") == ("main", position)
    run_to_head(store, projection)
    seen = sum(count for count, _ in counted(store).values())
    assert (seen, checkpoint_of(store).positions) == (18, {"main": 20})
    with store.database.reading() as connection:
        debts = rows_of.list_skips(connection, "counts")
        assert rows_of.count_skips(connection) == {"counts": 2}
    assert [(debt.position, debt.reason, debt.skipped_by) for debt in debts] == [
        (13, "no stock at 13", "ann"), (17, "no stock at 17", "ann"),
    ]  # fmt: skip


def labelling(name: str) -> Projection:
    """Writes an event's text into narrow columns, from a log of its own."""
    projection = Projection(
        name,
        logs=[name],
        batch_size=50,
        tables=[
            Table(
                name,
                sa.Column("id", Name(40), primary_key=True),
                sa.Column("label", sa.String(10), nullable=False, default=""),
                sa.Column("small", sa.SmallInteger),
            )
        ],
    )

    @projection.on("named")
    def label(event: RecordedEvent, context: Context) -> None:
        context.table(name).upsert(event.aggregate_id, **event.data)

    return projection


def check_pinned(store: EventStore, name: str, poison: dict[str, Any], count: int) -> None:
    at = count * 2 // 3
    named: list[dict[str, Any]] = [{"label": f"l{number}", "small": number} for number in range(1, count + 1)]
    named[at - 1] = poison
    store.append_many([Append("thing", f"t{n}", [NewEvent("named", data)], log=name) for n, data in enumerate(named)])
    projection = labelling(name)
    with pytest.raises(ProjectionFailed) as failed:
        run_to_head(store, projection)
    assert failed.value.position == at, poison
    assert checkpoint_of(store, name).positions == {name: at - 1}
    assert rows_in(store, name) == at - 1
    skip_failed_event(store, name, "too long", "ann")
    run_to_head(store, projection)
    assert rows_in(store, name) == count - 1


def test_a_value_that_cannot_be_written_is_pinned_to_its_event(store: EventStore) -> None:
    poisons: list[dict[str, Any]] = [{"small": 2**80}, {"label": None}, {"label": 5}, {"label": ["a"]}, {"lable": "a"}]
    for number, poison in enumerate(poisons):
        check_pinned(store, f"few{number}", poison, 9)
        check_pinned(store, f"many{number}", poison, 70)


@on_servers  # SQLite knows neither lengths nor ranges
def test_a_value_too_long_or_too_large_is_pinned_to_its_event(store: EventStore) -> None:
    for number, poison in enumerate([{"label": "x" * 11}, {"small": 70_000}]):
        check_pinned(store, f"few{number}", poison, 9)
        check_pinned(store, f"many{number}", poison, 70)


def test_state_is_kept_with_the_checkpoint_as_json_keeps_it(store: EventStore) -> None:
    fill(store, 6)
    kinds: list[str] = []

    def handler(event: RecordedEvent, context: Context) -> None:
        kinds.append(type(context.state.get("last")).__name__)
        context.state["seen"] = context.state.get("seen", 0) + 1
        context.state["last"] = (event.position, event.aggregate_id)

    projection = counting(handler=handler, batch_size=2)
    run_to_head(store, projection)
    fill(store, 1, first=7)
    run_to_head(store, projection)
    assert checkpoint_of(store).state == {"seen": 7, "last": [7, "n2"]}
    # A batch finds what any worker that starts there would find, whoever did the one before.
    assert kinds == ["NoneType", "tuple", "list", "tuple", "list", "tuple", "list"]


def test_state_that_cannot_be_kept_is_the_events_failure(store: EventStore) -> None:
    fill(store, 5)

    def handler(event: RecordedEvent, context: Context) -> None:
        if event.position == 4:
            context.state["worst"] = {1, 2}

    with pytest.raises(ProjectionFailed, match="main:4: TypeError: Object of type set"):
        run_to_head(store, counting(handler=handler))
    assert counted(store) == expected(store, up_to=3)


def test_state_of_a_batch_that_failed_is_forgotten(store: EventStore) -> None:
    fill(store, 5)

    def handler(event: RecordedEvent, context: Context) -> None:
        context.state.setdefault("seen", []).append(event.position)
        if event.position == 4:
            raise OutOfLuck

    with pytest.raises(ProjectionFailed):
        run_to_head(store, counting(handler=handler))
    assert checkpoint_of(store).state == {"seen": [1, 2, 3]}


def test_handlers_are_told_whether_it_is_a_replay(store: EventStore) -> None:
    fill(store, 3)
    told: list[bool] = []
    batch = claimed(store, counting(handler=lambda event, context: told.append(context.is_replay)))
    batch.apply(events(store)[:1], is_replay=False)
    batch.apply(events(store)[1:], is_replay=True)
    assert told == [False, True, True]


def test_a_handler_sees_what_its_batch_has_done(store: EventStore) -> None:
    fill(store, 12, aggregates=2)
    found: list[Any] = []

    def handler(event: RecordedEvent, context: Context) -> None:
        row = context.table("counts").get(event.aggregate_id)
        found.append(row and row["seen"])

    run_to_head(store, counting(handler=handler, batch_size=5))
    assert found == [None, None, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


@pytest.mark.parametrize(
    ("handler", "sentence"),
    [
        (lambda event, context: context.table("elsewhere"), "The projection counts has no table elsewhere"),
        (lambda event, context: context.emit("a", "1", NewEvent("b", {})), "so define it with emits=True"),
    ],
)
def test_a_handler_that_contradicts_the_definition_fails(
    store: EventStore, handler: Callable[[RecordedEvent, Context], None], sentence: str
) -> None:
    fill(store, 1)
    with pytest.raises(ProjectionFailed, match=sentence) as failed:
        run_to_head(store, counting(handler=handler))
    assert isinstance(failed.value.__cause__, InvalidDefinition)


def test_a_table_that_is_gone_is_no_events_fault(store: EventStore) -> None:
    fill(store, 3)
    projection = counting()
    init_projection(store, projection)
    with store.database.writing() as connection:
        connection.execute(sa.text("ALTER TABLE counts RENAME TO hidden"))
    for handler in (None, lambda event, context: context.table("counts").get("n1")):
        follower = Follower(store, counting(handler=handler))
        with pytest.raises(NeedsMigration):
            follower.step()
    assert row_of(store).status == "running" and row_of(store).failure is None
    with store.database.writing() as connection:
        connection.execute(sa.text("ALTER TABLE hidden RENAME TO counts"))
    run_to_head(store, projection)
    assert counted(store) == expected(store)


@on_servers
def test_a_connection_that_breaks_is_no_events_fault(store: EventStore, backend: str) -> None:
    fill(store, 3)
    broken: list[int] = []

    def break_all(event: RecordedEvent, context: Context) -> None:
        """Ends every connection of the pool while the batch uses one."""
        if broken:
            return
        engine = store.database.engine
        with store.database.reading() as connection:
            if backend == "postgresql":
                query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            else:
                query = "SELECT id FROM information_schema.processlist WHERE db = DATABASE()"
            ids = connection.exec_driver_sql(query).scalars().all()
            broken.extend(ids)
            kill = "SELECT pg_terminate_backend({})" if backend == "postgresql" else "KILL {}"
            other = sa.create_engine(engine.url, poolclass=sa.pool.NullPool, isolation_level="AUTOCOMMIT")
            with other.connect() as killer:
                for id_ in ids:
                    killer.exec_driver_sql(kill.format(id_))
            context.table("counts").get("n1")
            connection.exec_driver_sql("SELECT 1")

    projection = counting(handler=break_all)
    with pytest.raises(StoreUnavailable):
        run_to_head(store, projection)
    assert broken
    assert row_of(store).status == "running" and row_of(store).failure is None
    expire_leases(store)
    run_to_head(store, projection)
    assert counted(store) == expected(store)


@on_servers
def test_a_deadlock_is_tried_again(store: EventStore, backend: str) -> None:
    fill(store, 3)
    runs: list[int] = []
    projection = counting(handler=lambda event, context: runs.append(event.position))
    init_projection(store, projection)
    with store.database.writing() as connection:
        if backend == "postgresql":
            connection.exec_driver_sql("CREATE SEQUENCE tries")  # the one thing that a rollback doesn't undo
            connection.exec_driver_sql(
                "CREATE FUNCTION deadlock_twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                "IF nextval('tries') <= 2 THEN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END IF; "
                "RETURN NEW; END $$"
            )
            connection.exec_driver_sql(
                "CREATE TRIGGER deadlock_twice BEFORE INSERT ON counts FOR EACH STATEMENT EXECUTE FUNCTION deadlock_twice()"
            )
        else:
            connection.exec_driver_sql("CREATE TABLE tries (n INT) ENGINE = MyISAM")
            connection.exec_driver_sql("INSERT INTO tries VALUES (0)")
            connection.exec_driver_sql(
                "CREATE TRIGGER deadlock_twice BEFORE INSERT ON counts FOR EACH ROW BEGIN UPDATE tries SET n = n + 1; "
                "IF (SELECT n FROM tries) <= 2 THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213; END IF; END"
            )
    run_to_head(store, projection)
    assert runs == [1, 2, 3] * 3
    assert counted(store) == expected(store)
