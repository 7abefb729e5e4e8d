"""Stepping through events: what each would do, from where it starts, where it stops, and that nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from tests.projections.helpers import checkpoint_of, counted, counting, fill
from tests.replay.test_verify import change, contents, of_all_sorts, reading_user
from tests.store.helpers import execute
from webapp.errors import Conflict, InvalidRequest, NotFound, ProjectionFailed, TimedOut
from webapp.projections import Context, Projection, Table, run_to_head, skip_failed_event
from webapp.replay import stepper
from webapp.replay.starting import find_previous
from webapp.replay.stepper import step_projection
from webapp.replay.steps import Step, Steps, StepsFrom
from webapp.replay.watching import RowChange
from webapp.store import EventStore, NewEvent, RecordedEvent, Serializer
from webapp.store.columns import Name
from webapp.store.upcasting import Renamed


def positions_of(found: Steps) -> list[int]:
    return [step.event.position for step in found.steps]


def totals(found: Steps) -> list[tuple[Any, Any]]:
    """Before and after of the only row of each step."""
    assert all(len(step.rows) == 1 for step in found.steps), found
    return [(row.before and row.before["total"], row.after and row.after["total"]) for row in map(only, found.steps)]


def only(step: Step) -> RowChange:
    (row,) = step.rows
    return row


def raising(position: int, error: Exception | None = None) -> Projection:
    """Counts, keeps a state, looks at a row and changes another, then fails at one event."""

    def stumble(event: RecordedEvent, context: Context) -> None:
        context.state["seen"] = event.position
        if event.position == position:
            context.table("counts").get("n1")
            context.table("counts").upsert("n2", total=5)
            raise error or KeyError("vat")

    return counting(handler=stumble)


# --- from the rows that readers see ---------------------------------------------------------------------------------


def test_from_a_checkpoint_each_event_shows_its_rows_before_and_after_and_nothing_is_written(store: EventStore) -> None:
    fill(store, 20)
    run_to_head(store, counting())
    execute(store, "UPDATE counts SET total = 1000 WHERE id = 'n1'")
    fill(store, 6, first=21)
    before = contents(store)
    found = step_projection(store, counting())
    assert (found.started_from, found.generation, found.folded) == (StepsFrom.live, 1, 0)
    assert (found.after, found.reached, found.has_more) == ({"main": 20}, {"main": 26}, False)
    assert positions_of(found) == [21, 22, 23, 24, 25, 26]
    first = found.steps[0]
    assert (first.outcome, first.forms[0].type, first.forms[0].handler) == ("handled", "noted", "count")
    assert only(first) == RowChange(
        "changed", "counts", {"id": "n1"}, {"id": "n1", "seen": 4, "total": 1000},
        {"id": "n1", "seen": 5, "total": 1021}, ("seen", "total"),
    )  # fmt: skip
    assert only(found.steps[5]).before == {"id": "n1", "seen": 5, "total": 1021}
    assert only(found.steps[5]).after == {"id": "n1", "seen": 6, "total": 1047}
    assert contents(store) == before
    assert store.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_the_steps_come_to_what_running_it_writes(store: EventStore) -> None:
    fill(store, 23)
    run_to_head(store, counting(batch_size=10))
    fill(store, 30, aggregates=7, first=24)
    found = step_projection(store, counting(), limit=200)
    run_to_head(store, counting())
    last = {row.key["id"]: row.after for step in found.steps for row in step.rows}
    assert last == {id: {"id": id, "seen": seen, "total": total} for id, (seen, total) in counted(store).items()}


def test_only_the_rows_that_handlers_touch_are_read(sqlite_store: EventStore) -> None:
    fill(sqlite_store, 300, aggregates=300)
    run_to_head(sqlite_store, counting())
    fill(sqlite_store, 2, aggregates=300, first=301)
    sent: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FROM counts" in statement:
            sent.append((statement, parameters))

    sa.event.listen(sqlite_store.database.engine, "before_cursor_execute", note)
    assert [only(step).key["id"] for step in step_projection(sqlite_store, counting()).steps] == ["n1", "n2"]
    rows = [parameters for statement, parameters in sent if "WHERE" in statement]
    assert [tuple(one) for one in rows] == [("n1",), ("n2",)]
    assert all("WHERE" in statement or "LIMIT" in statement for statement, _ in sent)


def test_a_later_place_is_reached_by_applying_what_lies_between(store: EventStore) -> None:
    fill(store, 10)
    run_to_head(store, counting())
    execute(store, "UPDATE counts SET total = 100 WHERE id = 'n1'")
    fill(store, 20, first=11)
    found = step_projection(store, counting(batch_size=4), after=20, limit=1)
    assert (found.started_from, found.folded, found.has_more) == (StepsFrom.live, 10, True)
    assert totals(found) == [(100 + 11 + 16, 100 + 11 + 16 + 21)]
    assert "10 events applied to them" in found.beginning
    told: list[tuple[int, int]] = []
    step_projection(store, counting(batch_size=4), after=20, on_progress=lambda *amounts: told.append(amounts))
    assert told == [(4, 10), (8, 10), (10, 10)]


def test_rows_that_a_worker_writes_meanwhile_do_not_show(store: EventStore) -> None:
    fill(store, 10)
    run_to_head(store, counting())
    fill(store, 5, first=11)
    done: list[int] = []

    def meanwhile(event: RecordedEvent, context: Context) -> None:
        if not done:
            done.append(run_to_head(store, counting()))

    found = step_projection(store, counting(handler=meanwhile))
    assert done == [5] and checkpoint_of(store).positions == {"main": 15}
    assert totals(found)[0] == (1 + 6, 1 + 6 + 11)
    assert totals(found)[4] == (5 + 10, 5 + 10 + 15)


# --- from elsewhere -------------------------------------------------------------------------------------------------


def test_before_the_checkpoint_it_starts_from_all_events_before(store: EventStore) -> None:
    fill(store, 30)
    run_to_head(store, counting())
    execute(store, "UPDATE counts SET total = -1")
    found = step_projection(store, counting(), after=10, limit=2)
    assert (found.started_from, found.folded, positions_of(found)) == (StepsFrom.start, 10, [11, 12])
    assert totals(found) == [(7, 18), (9, 21)]
    assert found.beginning == "It starts from 10 events before these, folded anew."


def test_where_too_many_events_come_before_it_starts_from_nothing_and_says_so(sqlite_store: EventStore) -> None:
    fill(sqlite_store, 30)
    run_to_head(sqlite_store, counting())
    found = step_projection(sqlite_store, counting(), after=12, limit=6, most_folded=11)
    assert (found.started_from, found.folded) == (StepsFrom.nothing, 0)
    assert totals(found) == [(None, 13), (None, 14), (None, 15), (None, 16), (None, 17), (13, 31)]
    assert "as if nothing came before" in found.beginning and "12 events come before, too many" in found.notes[0]
    chosen = step_projection(sqlite_store, counting(), after=12, limit=1, most_folded=11, started_from=StepsFrom.start)
    assert totals(chosen) == [(3 + 8, 3 + 8 + 13)]
    bare = step_projection(sqlite_store, counting(), after=12, limit=1, started_from=StepsFrom.nothing)
    assert totals(bare) == [(None, 13)] and not bare.notes


def test_a_projection_that_never_ran_is_tried_out_from_the_first_event(store: EventStore) -> None:
    fill(store, 5)
    before = contents(store)
    found = step_projection(store, counting(), limit=3)
    assert (found.started_from, found.generation, positions_of(found)) == (StepsFrom.start, None, [1, 2, 3])
    assert found.beginning == "It starts before the first event, from empty tables and no state."
    assert [only(step).kind for step in found.steps] == ["added"] * 3
    assert only(found.steps[0]).columns == ("seen", "total")
    assert contents(store) == before
    with pytest.raises(NotFound, match="never ran here"):
        step_projection(store, counting(), started_from=StepsFrom.live)


def test_live_rows_that_are_past_the_place_are_refused_when_asked_for(sqlite_store: EventStore) -> None:
    fill(sqlite_store, 9)
    run_to_head(sqlite_store, counting())
    with pytest.raises(Conflict, match=r"stand at main:9, which is past main:4\. Start from"):
        step_projection(sqlite_store, counting(), after=4, started_from=StepsFrom.live)


def test_new_code_with_another_column_is_tried_out_on_a_fold_instead(store: EventStore) -> None:
    fill(store, 9)
    run_to_head(store, counting())
    execute(store, "ALTER TABLE counts DROP COLUMN total")
    fill(store, 1, first=10)
    found = step_projection(store, counting())
    assert (found.started_from, totals(found)) == (StepsFrom.start, [(5, 15)])
    assert "The table counts has no column total" in found.notes[0]
    with pytest.raises(Conflict, match="has no column total"):
        step_projection(store, counting(), started_from=StepsFrom.live)


def test_rows_of_older_code_are_said_to_be_so(sqlite_store: EventStore) -> None:
    fill(sqlite_store, 3)
    run_to_head(sqlite_store, counting())
    fill(sqlite_store, 1, first=4)
    projection = counting()
    projection.on("unheard_of")(lambda event, context: None)
    assert "built by older code" in step_projection(sqlite_store, projection).notes[0]
    assert not step_projection(sqlite_store, counting()).notes


# --- where it fails -------------------------------------------------------------------------------------------------


def test_a_failed_projection_shows_the_state_and_the_rows_before_the_event(store: EventStore) -> None:
    fill(store, 12)
    with pytest.raises(ProjectionFailed):
        run_to_head(store, raising(8))
    before = contents(store)
    found = step_projection(store, raising(8))
    assert (positions_of(found), found.reached, found.has_more) == ([8], {"main": 7}, False)
    step, error = found.steps[0], found.steps[0].error
    assert error is not None and found.failed is step and step.outcome == "failed" and step.rows == ()
    assert error.message == "KeyError: 'vat'" and error.state == {"seen": 7}
    assert error.traceback.startswith("Traceback") and 'raise error or KeyError("vat")' in error.traceback
    assert "During handling" not in error.traceback and "direct cause" not in error.traceback
    looked, wrote = error.rows
    assert (looked.kind, looked.key, looked.before) == ("unchanged", {"id": "n1"}, {"id": "n1", "seen": 2, "total": 7})
    assert (wrote.kind, wrote.columns) == ("changed", ("total",))
    assert wrote.before == {"id": "n2", "seen": 2, "total": 9} and wrote.after == {"id": "n2", "seen": 2, "total": 5}
    assert contents(store) == before


def test_a_mended_handler_passes_where_it_failed_and_that_is_said(sqlite_store: EventStore) -> None:
    fill(sqlite_store, 12)
    with pytest.raises(ProjectionFailed):
        run_to_head(sqlite_store, raising(8))
    found = step_projection(sqlite_store, raising(0))
    assert positions_of(found) == [8, 9, 10, 11, 12] and found.failed is None
    assert "It failed at main:8 when it ran (KeyError: 'vat'), and does not fail here" in found.notes[-1]


def test_events_after_one_that_fails_are_reached_only_without_it(store: EventStore) -> None:
    fill(store, 12)
    with pytest.raises(ProjectionFailed):
        run_to_head(store, raising(8))
    found = step_projection(store, raising(8), after=10)
    assert positions_of(found) == [8] and found.reached == {"main": 7}
    assert "doesn't come as far as main:10: it fails at main:8" in found.notes[0]
    error = found.steps[0].error
    assert error is not None and "direct cause" not in error.traceback and error.state == {"seen": 7}
    found = step_projection(store, raising(8), without=[("main", 8)])
    assert [step.outcome for step in found.steps] == ["left out", *["handled"] * 4]
    assert found.steps[0].rows == () and positions_of(found) == [8, 9, 10, 11, 12]
    found = step_projection(store, raising(8), after=10, without=[("main", 8)])
    assert totals(found) == [(7, 18), (9, 21)]


def test_events_that_were_skipped_are_left_out(store: EventStore) -> None:
    fill(store, 12)
    with pytest.raises(ProjectionFailed):
        run_to_head(store, raising(8))
    skip_failed_event(store, "counts", "it can't be mended")
    found = step_projection(store, raising(8), limit=2)
    assert [(step.event.position, step.outcome) for step in found.steps] == [(8, "left out"), (9, "handled")]
    run_to_head(store, raising(8))
    found = step_projection(store, raising(8), after=6, limit=3)
    assert [step.outcome for step in found.steps] == ["handled", "left out", "handled"]
    assert found.started_from is StepsFrom.start


def writing(write: Callable[[Context], Any]) -> Projection:
    """Does something at its third event."""

    def handle(event: RecordedEvent, context: Context) -> None:
        if event.position == 3:
            write(context)

    return counting(handler=handle, emits=True)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (
            lambda context: context.table("counts").upsert("x", total="5"),
            "ValueError: counts.total is a column of type",
        ),
        (lambda context: context.table("counts").upsert("x", total={"a": 1}), "doesn't take"),
        (lambda context: context.table("counts").upsert(5), "ValueError: counts.id is a column of type"),
        (lambda context: context.table("counts").upsert("x", vat=5), "has no column vat"),
        (lambda context: context.table("cuonts"), "InvalidDefinition: The projection counts has no table cuonts"),
        (lambda context: context.state.update(at={1, 2}), "TypeError: Object of type set"),
        (lambda context: int("many"), "ValueError: invalid literal"),
    ],
)
def test_what_would_fail_in_earnest_fails_here(store: EventStore, write: Callable[[Context], Any], words: str) -> None:
    fill(store, 5)
    found = step_projection(store, writing(write))
    assert positions_of(found) == [1, 2, 3]
    error = found.steps[2].error
    assert error is not None and words in error.message
    after = step_projection(store, writing(write), after=4).steps
    assert [step.event.position for step in after] == [3] and after[0].error is not None
    with pytest.raises(ProjectionFailed):
        run_to_head(store, writing(write))


@pytest.mark.parametrize("event", [NewEvent("", {}), NewEvent("x", {"a": {1}}), NewEvent("x", {}, ["no", "mapping"])])
def test_a_derived_event_that_can_not_be_recorded_fails_here(sqlite_store: EventStore, event: NewEvent) -> None:
    fill(sqlite_store, 5)
    projection = writing(lambda context: context.emit("a", "1", event))
    error = step_projection(sqlite_store, projection).steps[2].error
    assert error is not None and error.message.startswith("InvalidEvent: ")
    with pytest.raises(ProjectionFailed, match="main:3: InvalidEvent"):
        run_to_head(sqlite_store, projection)


class Unreadable(Exception):
    """An error that can't say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_error_without_words_and_one_without_end_are_told(sqlite_store: EventStore) -> None:
    fill(sqlite_store, 3)
    error = step_projection(sqlite_store, raising(2, Unreadable())).steps[-1].error
    assert error is not None and error.message == "Unreadable: its message can't be read"

    def deep(event: RecordedEvent, context: Context) -> None:
        deep(event, context)

    error = step_projection(sqlite_store, counting(handler=deep)).steps[-1].error
    assert error is not None and "RecursionError" in error.message and len(error.traceback) < 20_001


@pytest.mark.parametrize("text", ["[" * 3000 + "]" * 3000, '"\\ud800"', '{"n": 1e400}', "null"])
def test_hostile_payloads_fail_at_their_event_and_nothing_else_does(sqlite_store: EventStore, text: str) -> None:
    fill(sqlite_store, 2)
    sqlite_store.append("note", "n9", [NewEvent("noted", text)])
    found = step_projection(sqlite_store, counting())
    assert positions_of(found) == [1, 2, 3]
    error = found.steps[2].error
    assert error is not None and error.traceback


# --- what handlers do -----------------------------------------------------------------------------------------------


def juggling() -> Projection:
    """Changes a row twice in an event, removes, counts, writes what is there already, and knows a key of two parts."""
    pairs = Table(
        "pairs",
        sa.Column("name", Name(40), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("seen", sa.Integer, default=0),
        sa.Column("word", sa.String(20), default="new"),
    )
    projection = Projection("juggling", tables=[pairs], batch_size=3)

    @projection.on("twice")
    def twice(event: RecordedEvent, context: Context) -> None:
        table = context.table("pairs")
        table.upsert(("a", 1), word="first")
        assert (table.get(("a", 1)) or {})["word"] == "first"
        table.increment(("a", 1), seen=2)
        table.upsert(("a", 1), word="second")
        table.increment(("b", -1), seen=1)

    @projection.on("removed")
    def remove(event: RecordedEvent, context: Context) -> None:
        context.table("pairs").delete(("a", 1))

    @projection.on("made_anew")
    def make_anew(event: RecordedEvent, context: Context) -> None:
        context.table("pairs").delete(("b", -1))
        context.table("pairs").upsert(("b", -1), word="anew")

    @projection.on("same")
    def same(event: RecordedEvent, context: Context) -> None:
        context.table("pairs").upsert(("b", -1), word="anew")
        context.table("pairs").get(("c", 0))

    return projection


def test_a_row_changed_several_times_in_an_event_is_shown_once_before_and_after(store: EventStore) -> None:
    store.append("x", "1", [NewEvent("twice", {}), NewEvent("twice", {})])
    run_to_head(store, juggling())
    names = ["twice", "removed", "removed", "made_anew", "same", "unheard"]
    store.append("x", "1", [NewEvent(name, {}) for name in names])
    found = step_projection(store, juggling())
    told = [[(row.kind, tuple(row.key.values()), row.columns) for row in step.rows] for step in found.steps]
    assert told == [
        [("changed", ("a", 1), ("seen",)), ("changed", ("b", -1), ("seen",))],
        [("removed", ("a", 1), ("seen", "word"))],
        [("unchanged", ("a", 1), ())],
        [("changed", ("b", -1), ("seen", "word"))],
        [("unchanged", ("b", -1), ())],
        [],
    ]
    first = found.steps[0].rows[0]
    assert first.before == {"name": "a", "number": 1, "seen": 4, "word": "second"}
    assert first.after == {"name": "a", "number": 1, "seen": 6, "word": "second"}
    assert found.steps[1].rows[0].after is None and found.steps[2].rows[0].before is None
    assert found.steps[3].rows[0].after == {"name": "b", "number": -1, "seen": 0, "word": "anew"}
    assert [step.outcome for step in found.steps] == [*["handled"] * 5, "not handled"]


def test_values_of_any_type_are_taken_over_from_the_live_rows(store: EventStore) -> None:
    fill(store, 4, aggregates=1)
    run_to_head(store, of_all_sorts())
    fill(store, 3, aggregates=1, first=5)
    found = step_projection(store, of_all_sorts())
    assert [step.outcome for step in found.steps] == ["handled"] * 3, found.failed
    assert [only(step).columns for step in found.steps] == [("sum", "drift")] * 3
    change(store, of_all_sorts().tables[0], "all", big=7, money=None)
    assert only(step_projection(store, of_all_sorts()).steps[0]).columns == ("big", "money", "sum", "drift")


def test_changes_of_state_are_told_by_their_paths(sqlite_store: EventStore) -> None:
    def keep(event: RecordedEvent, context: Context) -> None:
        by_type = context.state.setdefault("by", {})
        by_type[event.aggregate_id] = by_type.get(event.aggregate_id, 0) + 1
        context.state["last"] = [event.position]
        if event.position == 4:
            del context.state["by"]["n1"]

    fill(sqlite_store, 2)
    run_to_head(sqlite_store, counting(handler=keep))
    fill(sqlite_store, 2, aggregates=2, first=3)
    found = step_projection(sqlite_store, counting(handler=keep))
    told = [{one.path: (one.before, one.after) for one in step.state} for step in found.steps]
    assert told == [
        {"by.n1": ("1", "2"), "last": ("[2]", "[3]")},
        {"by.n0": (None, "1"), "by.n1": ("2", None), "last": ("[3]", "[4]")},
    ]


def test_derived_events_are_shown_and_go_nowhere_and_handlers_are_told_of_a_replay(store: EventStore) -> None:
    told: list[bool] = []

    def emit(event: RecordedEvent, context: Context) -> None:
        told.append(context.is_replay)
        context.emit("counted", event.aggregate_id or "", NewEvent("counted", {"at": event.position}))

    projection = counting(handler=emit, emits=True)
    fill(store, 3)
    before = contents(store)
    found = step_projection(store, projection, limit=2)
    first = found.steps[0].emitted[0]
    assert (first.aggregate_type, first.aggregate_id, first.event.type) == ("counted", "n1", "counted")
    assert first.event.data_text == '{"at":1}' and first.event.causation_id == found.steps[0].event.id
    assert [len(step.emitted) for step in found.steps] == [1, 1] and told == [True, True]
    step_projection(store, projection, after=1, limit=1, is_replay=False)
    assert told[2:] == [True, False]
    assert contents(store) == before


@dataclass
class Placed:
    """An order in one currency."""

    total: int


def typed() -> Projection:
    """Takes orders as objects; the stored form of them was split in two since."""
    serializer = Serializer()
    serializer.event("order.placed", revision=2)(Placed)

    @serializer.upcaster("order.placed", from_revision=1)
    def split(data: Any) -> Any:
        if data["total"] < 0:
            return None
        return [{"total": data["total"] * 100}, Renamed("order.tagged", {"tag": data["tag"]})]

    table = Table("sums", sa.Column("id", Name(40), primary_key=True), sa.Column("total", sa.Integer, default=0))
    projection = Projection("sums", tables=[table], serializer=serializer)

    @projection.on(Placed)
    def add(order: Placed, context: Context) -> None:
        context.table("sums").increment("all", total=order.total)

    return projection


def test_typed_events_are_shown_in_the_forms_that_they_take_today(store: EventStore) -> None:
    data = [{"total": 3, "tag": "x"}, {"total": -1}, {"total": "?", "tag": "y"}]
    store.append("order", "1", [NewEvent("order.placed", one) for one in data])
    found = step_projection(store, typed())
    split, dropped, wrong = found.steps
    assert [(form.type, form.handler) for form in split.forms] == [("order.placed", "add"), ("order.tagged", None)]
    assert only(split).after == {"id": "all", "total": 300}
    assert (dropped.forms, dropped.rows, dropped.outcome) == ((), (), "not handled")
    assert wrong.error is not None and wrong.error.message.startswith("UpcastingFailed: order.placed at main:3")


def test_of_very_many_rows_the_first_are_shown_and_long_values_are_cut(sqlite_store: EventStore) -> None:
    table = Table("texts", sa.Column("id", sa.Integer, primary_key=True), sa.Column("text", sa.Text))
    projection = Projection("texts", tables=[table])

    @projection.on("noted")
    def write(event: RecordedEvent, context: Context) -> None:
        for number in range(150):
            context.table("texts").upsert(number, text="é" * 30_000)

    fill(sqlite_store, 1)
    step = step_projection(sqlite_store, projection).steps[0]
    assert (len(step.rows), step.hidden_rows) == (100, 50)
    assert step.rows[0].after is not None and len(step.rows[0].after["text"]) == 20_001


# --- which events ---------------------------------------------------------------------------------------------------


def test_events_of_others_in_between_are_applied_unseen(store: EventStore) -> None:
    fill(store, 30)

    def shared(event: RecordedEvent, context: Context) -> None:
        context.table("counts").increment("all", seen=1)

    found = step_projection(store, counting(handler=shared), after=5, limit=2, aggregate=("note", "n3"))
    assert positions_of(found) == [8, 13] and found.reached == {"main": 13} and found.has_more
    assert [row.after and row.after["seen"] for row in found.steps[1].rows] == [13, 3]
    last = step_projection(store, counting(), after=23, aggregate=("note", "n3"))
    assert positions_of(last) == [28] and not last.has_more
    assert not step_projection(store, counting(), after=0, aggregate=("note", "unheard")).steps


def test_an_event_of_others_that_fails_on_the_way_is_shown(sqlite_store: EventStore) -> None:
    fill(sqlite_store, 30)
    found = step_projection(sqlite_store, raising(12), aggregate=("note", "n3"))
    assert positions_of(found) == [3, 8, 12] and found.failed is found.steps[2]
    assert found.notes == ("main:12 is none of the events asked for, but it fails before them.",)


def test_a_search_that_takes_too_many_events_in_between_stops_and_goes_on(sqlite_store: EventStore) -> None:
    fill(sqlite_store, 40)
    sqlite_store.append("note", "rare", [NewEvent("noted", {"n": 1})])
    wishes: dict[str, Any] = {"aggregate": ("note", "rare"), "most_folded": 20}
    found = step_projection(sqlite_store, counting(batch_size=10), **wishes)
    assert (found.steps, found.reached, found.has_more) == ((), {"main": 30}, True)
    assert "30 events of others in between, at main:30. Go on from there." in found.notes[-1]
    found = step_projection(sqlite_store, counting(batch_size=10), after=30, started_from=StepsFrom.start, **wishes)
    assert positions_of(found) == [41] and not found.has_more


def test_several_logs_are_merged_and_each_stands_where_it_stood_then(store: EventStore) -> None:
    for first in (1, 11, 21):
        fill(store, 3, log="main", first=first)
        fill(store, 2, log="other", first=first + 5)
    projection = counting(logs=("main", "other", "empty"), batch_size=4)
    found = step_projection(store, projection, limit=7)
    places = [step.place for step in found.steps]
    assert sorted(places) == sorted([f"main:{n}" for n in range(1, 6)] + ["other:1", "other:2"])
    assert found.reached == {"main": 5, "other": 2, "empty": 0}
    found = step_projection(store, projection, after={"main": 6}, limit=1)
    assert found.after == {"main": 6, "other": 2, "empty": 0} and found.steps[0].place == "other:3"
    found = step_projection(store, projection, after=6, log="main", limit=5)
    assert [step.place for step in found.steps] == ["main:7", "main:8", "main:9"]
    assert found.reached == {"main": 9, "other": 4, "empty": 0}
    run_to_head(store, projection)
    fill(store, 1, log="other", first=50)
    found = step_projection(store, projection)
    assert found.started_from is StepsFrom.live and [step.place for step in found.steps] == ["other:7"]
    with pytest.raises(InvalidRequest, match=r"reads several logs \(main, other, empty\), so a position needs its log"):
        step_projection(store, projection, after=5)


def test_the_slice_before_another_one_is_found(store: EventStore) -> None:
    for first in (1, 11):
        fill(store, 3, log="main", first=first)
        fill(store, 2, log="other", first=first + 5)
    projection = counting(logs=("main", "other"))
    middle = step_projection(store, projection, limit=4).reached
    later = step_projection(store, projection, after=middle, limit=4).reached
    assert find_previous(store, projection, later, limit=4) == middle
    assert find_previous(store, projection, middle, limit=4) == {"main": 0, "other": 0}
    assert find_previous(store, projection, {"main": 0, "other": 0}, limit=4) is None
    assert find_previous(store, projection, later, limit=1, log="other") == {**later, "other": later["other"] - 1}
    assert find_previous(store, counting(), {"main": 6}, limit=1, aggregate=("note", "n1")) == {"main": 3}


def test_a_place_beyond_the_head_has_nothing_after_it(store: EventStore) -> None:
    fill(store, 5)
    found = step_projection(store, counting(), after=500)
    assert (found.steps, found.has_more) == ((), False)
    assert "The log main ends at 5, so nothing comes after 500 yet." in found.notes


# --- rights, time, bad wishes ---------------------------------------------------------------------------------------


def test_a_user_who_may_only_read_can_step(store: EventStore, backend: str) -> None:
    fill(store, 10)
    run_to_head(store, counting())
    fill(store, 5, first=11)
    with reading_user(store, backend) as readonly:
        assert totals(step_projection(readonly, counting()))[0] == (7, 18)
        assert totals(step_projection(readonly, counting(), after=10, aggregate=("note", "n3"))) == [(11, 24)]
        assert step_projection(readonly, counting("new"), limit=1).started_from is StepsFrom.start


def test_a_log_with_many_writers_is_stepped_through_without_claiming_its_holes(store: EventStore, backend: str) -> None:
    store.create_log("busy", "parallel")
    fill(store, 6, log="busy")
    projection = counting(logs=("busy",))
    before = contents(store)
    with reading_user(store, backend) as readonly:
        if backend == "postgresql":  # where such a log's head is the last value of a sequence
            execute(store, f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {readonly.database.url.username}")
        found = step_projection(readonly, projection)
    assert [step.event.data["n"] for step in found.steps] == [1, 2, 3, 4, 5, 6] and found.failed is None
    assert contents(store) == before


def test_folding_for_longer_than_it_may_take_ends_with_what_to_do(
    sqlite_store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(stepper, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    fill(sqlite_store, 40)
    with pytest.raises(TimedOut, match=r"more than 2 seconds and got to main:15\. Start from nothing, or"):
        step_projection(sqlite_store, counting(batch_size=5), after=30, seconds=2)
    found = step_projection(sqlite_store, counting(), seconds=2, aggregate=("note", "n3"))
    assert found.steps and found.has_more and "Stopped after 2 seconds" in found.notes[-1]


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"limit": 0}, "0 steps can't be shown"),
        ({"limit": 201}, "Ask for 1 to 200"),
        ({"after": -1}, "-1 is no position"),
        ({"after": 2**63}, "is no position"),
        ({"after": {"other": 1}}, "doesn't read the log other. It reads main"),
        ({"log": "other"}, "doesn't read the log other"),
        ({"aggregate": ("note", "")}, "Give both"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(sqlite_store: EventStore, wishes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        step_projection(sqlite_store, counting(), **wishes)
