"""given(projection).when(events).then_rows(…), on a real table."""

from __future__ import annotations

import datetime as dt
import gc
import itertools
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.conftest import backends
from tests.projections.test_typed import LineAdded, OrderPlaced, orders
from webapp.errors import InvalidDefinition, InvalidRequest, ProjectionFailed, ReplayConflict
from webapp.projections import Context, Projection, Table
from webapp.store import EventStore, NewEvent, RecordedEvent
from webapp.testing import given, stream, temporary_store


def make_totals() -> Projection:
    """Adds up what orders paid by customer and day; says when a customer is a good one."""
    table = Table(
        "totals",
        sa.Column("customer", sa.String(40), primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True),
        sa.Column("total", sa.Numeric(10, 2), default=Decimal(0)),
        sa.Column("orders", sa.Integer, default=0),
    )
    last = Table("last", sa.Column("customer", sa.String(40), primary_key=True), sa.Column("at", sa.String(40)))
    projection = Projection("totals", tables=[table, last], emits=True)

    @projection.on("order.paid")
    def paid(event: RecordedEvent, context: Context) -> None:
        customer, day = event.data["customer"], event.recorded_at.day
        context.table("totals").increment((customer, day), total=Decimal(event.data["amount"]), orders=1)
        context.table("last").upsert(customer, at=event.recorded_at.isoformat())
        context.state["count"] = context.state.get("count", 0) + 1
        row = context.table("totals").get((customer, day))
        if row is not None and row["orders"] == 2:
            context.emit("customer", customer, NewEvent("customer.praised", {"orders": 2}))

    @projection.on("customer.left")
    def left(event: RecordedEvent, context: Context) -> None:
        if event.aggregate_id == "1":
            raise LookupError("nobody of that name")
        context.table("last").delete(event.aggregate_id)

    return projection


def paid(customer: str, amount: str) -> NewEvent:
    return NewEvent("order.paid", {"customer": customer, "amount": amount})


def test_events_become_rows() -> None:
    (
        given(make_totals(), paid("ann", "1.50"))
        .when(paid("ann", "2.25"), paid("bob", "3"))
        .then_rows("totals", {("ann", 1): {"total": Decimal("3.75"), "orders": 2}, ("bob", 1): {"orders": 1}})
        .then_rows("last", {"ann": {"at": "2026-01-01T12:00:00+00:00"}, "bob": {}})
        .then_state({"count": 3})
        .after(days=1)
        .when(paid("bob", "1"))
        .then_rows("totals", {("ann", 1): {"orders": 2}, ("bob", 1): {"total": 3}, ("bob", 2): {"total": 1}})
        .when(stream("customer", "ann", ("customer.left", {})))
        .then_rows("last", {"bob": {}})
    )


def test_derived_events_are_claimed_with_their_aggregate() -> None:
    scenario = given(make_totals(), paid("ann", "1")).when(paid("ann", "1"))
    scenario.then_emitted(("customer.praised", {"orders": 2})).then(("customer.praised", {"orders": 2}))
    scenario.then_emitted(stream("customer", "ann", ("customer.praised", {"orders": 2})))
    with pytest.raises(AssertionError, match=r'≠ +"stream": "customer/bob" +│ +"stream": "customer/ann"'):
        scenario.then_emitted(stream("customer", "bob", ("customer.praised", {"orders": 2})))
    with pytest.raises(AssertionError, match="emitted other events than expected"):
        scenario.then_emitted()
    scenario.when(paid("ann", "1")).then_emitted().then_nothing()


def test_a_replay_writes_rows_and_emits_nothing() -> None:
    (
        given(make_totals())
        .when(paid("ann", "1"), paid("ann", "1"), is_replay=True)
        .then_emitted()
        .then_rows("totals", {("ann", 1): {"orders": 2}})
        .when(paid("bob", "1"), paid("bob", "1"), is_replay=False)
        .then_emitted(("customer.praised", {"orders": 2}))
    )


def test_a_replay_that_comes_to_something_else_is_found() -> None:
    scenario = given(make_totals(), paid("ann", "1")).when(paid("ann", "1"), paid("bob", "1"))
    scenario.then_replay_is_the_same().then_rows("last", {"ann": {}, "bob": {}}).then_replay_is_the_same()
    ticks = itertools.count()
    moody = Projection("moody", tables=[Table("moods", sa.Column("id", sa.Integer, primary_key=True))])

    @moody.on("seen")
    def seen(event: RecordedEvent, context: Context) -> None:
        context.table("moods").upsert(next(ticks))

    with pytest.raises(AssertionError, match="comes to other rows in moods when it is replayed in one batch"):
        given(moody).when(("seen", {})).then_replay_is_the_same()
    by_batch = Projection("by_batch", tables=[Table("sizes", sa.Column("id", sa.Integer, primary_key=True))])

    @by_batch.on("seen")
    def once(event: RecordedEvent, context: Context) -> None:
        if not hasattr(context, "was_here"):
            context.table("sizes").upsert(event.position)
        context.was_here = True  # type: ignore[attr-defined]

    with pytest.raises(AssertionError, match=r"replayed event by event\.\n(.*\n)*\+ .*2:\n"):
        given(by_batch).when(("seen", {}), ("seen", {})).then_replay_is_the_same()


def test_a_failure_shows_rows_side_by_side() -> None:
    scenario = given(make_totals()).when(paid("ann", "1"), paid("bob", "2"))
    with pytest.raises(AssertionError) as raised:
        scenario.then_rows("totals", {("ann", 1): {"orders": 2, "total": 1}, ("cyd", 1): {"orders": 1}})
    shown = str(raised.value)
    assert shown.startswith("The projection totals left other rows in totals than expected.\n")
    assert "\n  ('ann', 1): " in shown and "\n≠   orders: 2 " in shown and "│   orders: 1\n" in shown
    assert "\n    total: 1 " in shown and "│   total: 1\n" in shown, "what is equal shows alike"
    assert "│   total: Decimal('2.00')\n" in shown, "a row too many shows whole"
    assert "('bob', 1)" in shown and "('cyd', 1)" in shown
    with pytest.raises(AssertionError, match=r"\(no rows\)"):
        scenario.then_rows("totals", {})


def test_a_handler_that_raises_is_expected_by_its_own_kind() -> None:
    scenario = given(make_totals()).when(paid("ann", "1"), ("customer.left", {}), paid("bob", "1"))
    scenario.then_raises(LookupError, match="nobody of that name").then_raises(ProjectionFailed, match="main:2")
    with pytest.raises(AssertionError, match="Projection totals failed at main:2"):
        scenario.then_rows("totals", {})
    with pytest.raises(ProjectionFailed):
        given(make_totals(), ("customer.left", {}))


def test_what_a_failed_step_emitted_is_not_the_next_ones() -> None:
    scenario = given(make_totals()).when(paid("ann", "1"), paid("ann", "1"), ("customer.left", {}))
    scenario.then_raises(LookupError).when(paid("bob", "1")).then_emitted()


def test_events_come_as_the_objects_that_the_projection_takes() -> None:
    scenario = given(orders()).when(stream("order", "1", OrderPlaced(5, "CHF"), LineAdded("tea")))
    scenario.then_rows("orders", {"1": {"total": 5, "currency": "CHF"}})
    old = stream("order", "2", ("order.made", {"total": 7}), ("lines.added", {"products": ["a", "b"]}))
    scenario.when(old).then_rows("orders", {"1": {}, "2": {"total": 7, "currency": "EUR", "parts": 2}})


def test_events_stand_in_the_logs_that_the_projection_reads() -> None:
    table = Table("seen", sa.Column("log", sa.String(40), primary_key=True))
    projection = Projection("seen", logs=["sales", "stock"], tables=[table])

    @projection.on("*")
    def seen(event: RecordedEvent, context: Context) -> None:
        context.table("seen").upsert(event.log)

    scenario = given(projection).when(("sold", {})).then_rows("seen", {"sales": {}})
    scenario.when(stream("box", "1", ("moved", {}), log="stock")).then_rows("seen", {"sales": {}, "stock": {}})
    scenario.when(stream("box", "1", ("moved", {}), log="main"))
    scenario.then_raises(InvalidRequest, match="of the log main never come here, only those of sales, stock")


def test_tables_and_columns_that_are_not_there_are_refused_with_a_sentence() -> None:
    scenario = given(make_totals()).when(paid("ann", "1"))
    with pytest.raises(InvalidDefinition, match="has no table orders"):
        scenario.then_rows("orders", {})
    with pytest.raises(InvalidRequest, match="The table last has no column when"):
        scenario.then_rows("last", {"ann": {"when": 1}})


@pytest.mark.parametrize("backend", backends[1:], indirect=True)
def test_it_runs_on_the_database_that_is_given(store: EventStore) -> None:
    scenario = given(make_totals(), store=store).when(paid("ann", "1.5"), paid("ann", "1"))
    scenario.then_rows("totals", {("ann", 1): {"total": Decimal("2.50")}}).then_replay_is_the_same()
    scenario.then_emitted(("customer.praised", {"orders": 2}))
    with store.database.reading() as connection:
        names = sa.inspect(connection).get_table_names()
    assert {name for name in names if not name.startswith("projectionist_")} == {"last", "totals"}
    with pytest.raises(ReplayConflict, match="has a projection totals already"):
        given(make_totals(), store=store)


def test_nothing_is_left_behind(monkeypatch: Any, tmp_path: Path) -> None:
    with temporary_store():
        pass  # the template is made where it stays
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    scenario = given(make_totals()).when(paid("ann", "1")).then_emitted()
    assert list(tmp_path.iterdir())
    with temporary_store() as store:
        store.append("order", "1", [paid("ann", "1")])
        assert store.head("main") == 1
    del scenario
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_times_come_from_the_clock_and_not_from_the_database() -> None:
    moment = dt.datetime(1999, 12, 31, 23, 59, tzinfo=dt.UTC)
    given(make_totals()).at(moment).when(paid("ann", "1")).then_rows("totals", {("ann", 31): {}})
