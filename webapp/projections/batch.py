"""One batch: events go through their handlers in memory, then rows, derived events and checkpoint commit together."""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from webapp.errors import InvalidDefinition, LeaseLost, NeedsMigration, ProjectionFailed, StoreUnavailable, TimedOut
from webapp.projections import checkpoints
from webapp.projections.checkpoints import Checkpoint
from webapp.projections.emitting import find_derived_log
from webapp.projections.projection import Projection
from webapp.projections.targets import TableWriter
from webapp.store.context import add_metadata, caused_by, current_metadata
from webapp.store.events import Append, NewEvent, RecordedEvent
from webapp.store.native import EventStore

_attempts = 6
not_the_events_fault = (LeaseLost, StoreUnavailable, NeedsMigration, TimedOut)


class Context:
    """What a handler may do.

    `state` is a dict kept with the checkpoint; `is_replay` says that events are run again, which is when nothing may
    leave the house: no mail, no call to others. Derived events are left out by themselves then.
    """

    def __init__(
        self, projection: Projection, writers: dict[str, TableWriter], state: dict[str, Any], is_replay: bool
    ) -> None:
        self._projection = projection
        self._writers = writers
        self.state = state
        self.is_replay = is_replay
        self.event: RecordedEvent | None = None
        """The event that is being handled."""
        self.emitted: list[tuple[str, str, NewEvent]] = []

    def table(self, name: str) -> TableWriter:
        """The writer of one of the projection's tables."""
        try:
            return self._writers[name]
        except KeyError:
            raise InvalidDefinition(f"The projection {self._projection.name} has no table {name}.") from None

    def emit(self, aggregate_type: str, aggregate_id: str, event: NewEvent) -> None:
        """Records a derived event in the projection's own log, in the batch's transaction; nothing in a replay.

        It's recorded as caused by the event that is being handled (see `caused_by`); its own metadata wins.
        """
        if not self._projection.emits:
            raise InvalidDefinition(f"The projection {self._projection.name} emits, so define it with emits=True.")
        if not self.is_replay:
            if self.event is not None:
                with caused_by(self.event):
                    event = add_metadata(event, current_metadata())
            self.emitted.append((aggregate_type, aggregate_id, event))


class HandlerFailed(Exception):
    """A handler raised at one event; those before it in the batch were fine."""

    def __init__(self, index: int, event: RecordedEvent, cause: BaseException) -> None:
        self.index = index
        self.event = event
        self.cause = cause
        super().__init__(str(cause))


class Batch:
    """Applies events to one generation of a projection, under the checkpoint's owner and epoch."""

    def __init__(self, store: EventStore, projection: Projection, checkpoint: Checkpoint, *, serves: bool) -> None:
        self.store = store
        self.projection = projection
        self.checkpoint = checkpoint
        self.serves = serves
        """Whether this generation is the one that readers see, under the tables' own names."""

    def apply(self, events: Sequence[RecordedEvent], *, is_replay: bool) -> None:
        """Applies the events and moves the checkpoint past them, in one transaction.

        At an event that fails, what came before it is applied and kept; then raises ProjectionFailed with the failure
        recorded (on the projection, if this generation serves). Raises LeaseLost with nothing written.
        """
        try:
            self._apply_patiently(events, is_replay)
        except not_the_events_fault:
            raise
        except HandlerFailed as failed:
            if failed.index:
                self.apply(events[: failed.index], is_replay=is_replay)
            raise self._record(failed.event, failed.cause) from failed.cause
        except Exception as error:  # the database refused the rows: find which event they came from
            if len(events) == 1:
                raise self._record(events[0], error) from error
            middle = len(events) // 2
            self.apply(events[:middle], is_replay=is_replay)
            self.apply(events[middle:], is_replay=is_replay)

    def _apply_patiently(self, events: Sequence[RecordedEvent], is_replay: bool) -> None:
        """Runs the whole batch again after a deadlock or a lock timeout: it leaves nothing behind when it fails."""
        for attempt in range(1, _attempts + 1):
            try:
                self._apply(events, is_replay)
                break
            except StoreUnavailable as error:
                if attempt == _attempts or not self.store.database.is_retryable(error):
                    raise
                self.store.database.dialect.wait_before_retry(attempt)

    def _apply(self, events: Sequence[RecordedEvent], is_replay: bool) -> None:
        database, checkpoint, projection = self.store.database, self.checkpoint, self.projection
        writers = {
            table.name: TableWriter(
                table, table.name if self.serves else table.shadow_name(checkpoint.generation), database.reading
            )
            for table in projection.tables
        }
        state = json.loads(json.dumps(checkpoint.state))  # as a worker that starts here would find it
        context = Context(projection, writers, state, is_replay)
        handle, skipped = projection.handle, checkpoint.skipped
        for index, event in enumerate(events):
            if skipped and (event.log, event.position) in skipped:
                continue
            try:
                handle(event, context)
            except not_the_events_fault:
                raise
            except Exception as error:
                raise HandlerFailed(index, event, error) from error
        reached = checkpoint.positions | {event.log: event.position for event in events}
        done = checkpoint.done + len(events)
        with database.writing() as connection:
            dialect = database.dialect
            self._check_serving(connection)
            checkpoints.move_checkpoint(connection, dialect, checkpoint, reached, context.state, done)
            for writer in writers.values():
                writer.flush(dialect, connection)
            if context.emitted:
                # Last, because it holds the derived log's counter until commit.
                log = find_derived_log(connection, dialect, projection)
                self.store.append_in(
                    connection, [Append(type_, id_, [event], log=log) for type_, id_, event in context.emitted]
                )
        checkpoint.positions, checkpoint.state, checkpoint.done = reached, context.state, done

    def _check_serving(self, connection: sa.Connection) -> None:
        """Makes sure that the generation that readers see still is, holding the projection's row until commit."""
        if not self.serves:
            return
        row = checkpoints.find_projection(connection, self.projection.name, lock=True)
        if row is None:
            raise LeaseLost(f"The projection {self.projection.name} was deleted.")
        if row.generation != self.checkpoint.generation or row.swapping_to is not None:
            raise LeaseLost(f"Another generation of {self.projection.name} serves now.")

    def _record(self, event: RecordedEvent, cause: BaseException) -> ProjectionFailed:
        """The error to raise, noted on the projection if this generation serves and the lease is still ours."""
        database, checkpoint, name = self.store.database, self.checkpoint, self.projection.name
        message = f"{type(cause).__name__}: {cause}"
        if self.serves:
            with database.writing() as connection:
                self._check_serving(connection)
                checkpoints.move_checkpoint(
                    connection, database.dialect, checkpoint, checkpoint.positions, checkpoint.state, checkpoint.done
                )
                failure = {
                    "log": event.log,
                    "position": event.position,
                    "message": message,
                    "traceback": "".join(traceback.format_exception(cause)),
                    "at": database.dialect.clock(connection).isoformat(),
                }
                checkpoints.change_projection(connection, database.dialect, name, status="failed", failure=failure)
        return ProjectionFailed(name, event.log, event.position, message)
