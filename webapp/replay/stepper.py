"""Stepping through events: what a projection would do at each of a slice, before and after, with nothing written."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any

from webapp.errors import InvalidRequest, ProjectionFailed, TimedOut
from webapp.projections.batch import not_the_events_fault
from webapp.projections.feed import next_events
from webapp.projections.projection import Projection
from webapp.projections.targets import TableWriter
from webapp.replay.fold import FreshFold
from webapp.replay.starting import After, Beginning, begin
from webapp.replay.steps import Form, Step, StepError, Steps, StepsFrom, places_in_words
from webapp.replay.watching import RowChange, WatchedContext, WatchedTable, list_state_changes, longest_kept
from webapp.store.events import EventFilter, RecordedEvent
from webapp.store.native import EventStore

most_steps = 200
most_rows = 100
"""How many rows of one step are kept."""
most_folded = 100_000


def step_projection(
    store: EventStore,
    projection: Projection,
    *,
    after: After = None,
    log: str | None = None,
    limit: int = 20,
    aggregate: tuple[str, str] | None = None,
    started_from: StepsFrom | None = None,
    without: Collection[tuple[str, int]] = (),
    is_replay: bool = True,
    most_folded: int = most_folded,
    seconds: float | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Steps:
    """What the projection would do at each of up to `limit` events (at most 200) after a position, writing nothing.

    `after` is a position, or positions by log; by default the checkpoint of what readers see. Logs that it doesn't name
    stand where they stood then. `log` and `aggregate` (type and id) choose which events are shown: others in between are
    applied as well. Events that were skipped, and those of `without`, are left out. It ends at the first event that
    fails, also where that isn't one to be shown. Handlers are told `is_replay`; what they emit goes nowhere.

    Without `started_from` it starts from what readers see, if that isn't past `after`, else from all events before it,
    as long as that takes at most `most_folded` of them, else from nothing. `seconds` is the time it may take: raises
    TimedOut where folding what comes before takes longer. `on_progress` is told how many of those are done, and of how
    many. Raises InvalidRequest, Conflict, ReplayConflict; NotFound where it shall start from rows that aren't there.
    """
    shown = _check(projection, log, limit, aggregate)
    where = EventFilter(aggregate_type=aggregate[0], aggregate_id=aggregate[1]) if aggregate else EventFilter()
    with ExitStack() as stack:
        fold = FreshFold(store, projection, WatchedTable)
        stack.callback(fold.close)
        found = begin(
            store, fold, stack, after=after, log=log, wanted=started_from, most_folded=most_folded
        )  # fmt: skip
        stepper = Stepper(store, fold, found, frozenset(without), is_replay, most_folded, seconds)
        steps, is_before = stepper.fold_up_to(found.before, on_progress), True
        folded = fold.events
        after_these = dict.fromkeys(projection.logs, 0) | fold.positions if steps else dict(found.before)
        if not steps:
            steps, is_before = stepper.run(shown, where, limit), False
        return Steps(
            projection=projection.name,
            started_from=found.started_from,
            generation=found.checkpoint.generation if found.checkpoint else None,
            after=after_these,
            reached=found.before | fold.positions,
            folded=folded,
            steps=tuple(steps),
            has_more=stepper.has_more,
            notes=(*found.notes, *_notes(found, steps, is_before, fold), *stepper.notes),
        )


def _check(projection: Projection, log: str | None, limit: int, aggregate: tuple[str, str] | None) -> tuple[str, ...]:
    """The logs whose events are shown; raises InvalidRequest for what makes no sense."""
    if not 1 <= limit <= most_steps:
        raise InvalidRequest(f"{limit} steps can't be shown at a time. Ask for 1 to {most_steps}.", "limit")
    if log is not None and log not in projection.logs:
        known = ", ".join(projection.logs)
        raise InvalidRequest(f"{projection.name} doesn't read the log {log}. It reads {known}.", "log")
    if aggregate is not None and not all(aggregate):
        raise InvalidRequest("An aggregate is named by its type and its id. Give both.", "aggregate")
    return projection.logs if log is None else (log,)


def _notes(found: Beginning, steps: Sequence[Step], is_before: bool, fold: FreshFold) -> list[str]:
    notes = []
    if is_before:
        wanted = places_in_words(found.before)
        notes.append(f"It doesn't come as far as {wanted}: it fails at {steps[-1].place}, which is shown instead.")
    failure = (found.row.failure if found.row is not None else None) or {}
    for step in steps:
        is_where_it_failed = (failure.get("log"), failure.get("position")) == (step.event.log, step.event.position)
        if is_where_it_failed and step.error is None and not step.is_skipped:
            notes.append(
                f"It failed at {step.place} when it ran ({str(failure.get('message'))[:500]}), and does not fail here: "
                "its handler is mended, or it was the database that refused the rows, which shows only when they are "
                f"written. Try it: projectionist projections resume URL {fold.projection.name}"
            )
    return notes


class Stepper:
    """Applies events to a fold one by one and tells what each did."""

    def __init__(
        self,
        store: EventStore,
        fold: FreshFold,
        found: Beginning,
        without: frozenset[tuple[str, int]],
        is_replay: bool,
        most_folded: int,
        seconds: float | None,
    ) -> None:
        self.store = store
        self.fold = fold
        self.heads = found.heads
        self.skipped = without | (found.checkpoint.skipped if found.checkpoint is not None else frozenset())
        self.is_replay = is_replay
        self.most_folded = most_folded
        self.seconds = seconds
        self.notes: list[str] = []
        self.has_more = False
        self._ends_at = None if seconds is None else time.monotonic() + seconds

    @property
    def _is_late(self) -> bool:
        return self._ends_at is not None and time.monotonic() > self._ends_at

    def fold_up_to(self, target: Mapping[str, int], on_progress: Callable[[int, int], None] | None) -> list[Step]:
        """Applies what comes before a slice; the one step that failed, if one did. Raises TimedOut."""
        fold = self.fold
        total = sum(position - fold.positions.get(log, 0) for log, position in target.items())
        while events := next_events(self.store, fold.positions, target, fold.projection.batch_size):
            if failed := self._apply(events):
                return [failed]
            if on_progress is not None:
                on_progress(fold.events, total)
            if self._is_late:
                raise TimedOut(
                    f"Folding what comes before took more than {self.seconds:g} seconds and got to "
                    f"{places_in_words(fold.positions)}. Start from nothing, or take the time on the command line: "
                    f"projectionist projections step URL {fold.projection.name}",
                    sum(fold.positions.values()),
                )
        return []

    def run(self, logs: Sequence[str], where: EventFilter, limit: int) -> list[Step]:
        """The steps of the next events in these logs that pass the filter; others in between are applied unseen."""
        fold, heads = self.fold, {log: self.heads[log] for log in logs}
        chosen = {(event.log, event.position) for event in next_events(self.store, fold.positions, heads, limit, where)}
        is_filtered = not where.is_empty() or len(logs) < len(fold.projection.logs)
        size = fold.projection.batch_size if is_filtered else limit
        steps: list[Step] = []
        unseen = 0
        while chosen and (not steps or steps[-1].error is None):
            if (self._is_late and (steps or unseen)) or unseen > self.most_folded:
                self._say_stopped(unseen)
                return steps
            events = next_events(self.store, fold.positions, self.heads, size)
            while events and chosen:
                at = next((at for at, one in enumerate(events) if (one.log, one.position) in chosen), len(events))
                failed = self._apply(events[:at]) if at else None
                unseen += at
                if failed is not None:
                    self.notes.append(f"{failed.place} is none of the events asked for, but it fails before them.")
                    return [*steps, failed]
                if at == len(events) or (steps and self._is_late):
                    break
                chosen.discard((events[at].log, events[at].position))
                steps.append(self.step(events[at]))
                if steps[-1].error is not None:
                    return steps
                events = events[at + 1 :]
        self.has_more = bool(next_events(self.store, fold.positions, heads, 1, where))
        return steps

    def _say_stopped(self, unseen: int) -> None:
        self.has_more = True
        why = f"{unseen:,} events of others in between" if unseen > self.most_folded else f"{self.seconds:g} seconds"
        self.notes.append(f"Stopped after {why}, at {places_in_words(self.fold.positions)}. Go on from there.")

    def _apply(self, events: Sequence[RecordedEvent]) -> Step | None:
        """Applies events unseen; the step of the one that failed, if one did."""
        with suppress(ProjectionFailed):  # which is met again below, one by one, to tell all of it
            self.fold.apply(events, self.skipped)
        for event in events:
            if event.position > self.fold.positions.get(event.log, 0):
                step = self.step(event)
                if step.error is not None:
                    return step
        return None

    def step(self, event: RecordedEvent) -> Step:
        """What one event does; the fold stands after it, or unmoved before it where it failed."""
        fold, projection = self.fold, self.fold.projection
        if (event.log, event.position) in self.skipped:
            self._move(event, fold.state)
            return Step(event, is_skipped=True)
        tables = [table for table in fold.tables.values() if isinstance(table, WatchedTable)]
        for table in tables:
            table.forget_batch()
            table.event = event
        writers: dict[str, TableWriter] = {table.definition.name: table for table in tables}
        context = WatchedContext(projection, writers, _copy(fold.state), self.is_replay)
        forms: tuple[Form, ...] = ()
        try:
            with fold.scratch.writing() as connection:
                try:
                    forms = self._forms(event)
                    projection.handle(event, context)
                    state, emitted = _copy(context.state), context.take_emissions()
                    rows = [row for table in tables for row in table.apply(self.store.database.dialect, connection)]
                except not_the_events_fault:
                    raise
                except Exception as error:
                    touched = [row for table in tables for row in table.list_touched(connection)]
                    raise _Stopped(error, touched) from error
        except _Stopped as stopped:
            rows = stopped.rows
            failure = StepError(stopped.message, stopped.traceback, fold.state, tuple(rows[:most_rows]))
            return Step(event, forms, hidden_rows=len(rows[most_rows:]), error=failure)
        changes = tuple(list_state_changes(fold.state, state))
        self._move(event, state)
        return Step(event, forms, False, tuple(rows[:most_rows]), len(rows[most_rows:]), changes, emitted)

    def _forms(self, event: RecordedEvent) -> tuple[Form, ...]:
        projection = self.fold.projection
        forms = [event] if projection.serializer is None else projection.serializer.upcast(event)
        handlers = [(form.type, projection.handlers.get(form.type, projection.catch_all)) for form in forms]
        return tuple(Form(type_, None if one is None else _name_of(one)) for type_, one in handlers)

    def _move(self, event: RecordedEvent, state: dict[str, Any]) -> None:
        self.fold.positions = self.fold.positions | {event.log: event.position}
        self.fold.state = state


class _Stopped(Exception):
    """An event failed; leaves the scratch as it was before."""

    def __init__(self, cause: Exception, rows: list[RowChange]) -> None:
        self.rows = rows
        try:
            words = str(cause)
        except Exception:
            words = "its message can't be read"
        self.message = f"{type(cause).__name__}: {words}"[:longest_kept]
        inner = cause.__traceback__.tb_next if cause.__traceback__ else None  # without our own frame
        self.traceback = "".join(traceback.format_exception(type(cause), cause, inner))[:longest_kept]
        super().__init__(self.message)


def _name_of(handler: Callable[..., Any]) -> str:
    return str(getattr(handler, "__name__", type(handler).__name__))


def _copy(state: Any) -> Any:
    return json.loads(json.dumps(state))
