"""One batch: events go through their handlers in memory, then rows, derived events and checkpoint commit together."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Sequence
from typing import Any

from webapp.errors import InvalidDefinition, LeaseLost, NeedsMigration, ProjectionFailed, StoreUnavailable, TimedOut
from webapp.projections import checkpoints
from webapp.projections.checkpoints import Checkpoint
from webapp.projections.emitting import find_derived_log
from webapp.projections.projection import Projection
from webapp.projections.targets import TableWriter
from webapp.store.events import Append, NewEvent, RecordedEvent
from webapp.store.native import EventStore


_attempts = 6


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
        self.emitted: list[tuple[str, str, NewEvent]] = []

    def table(self, name: str) -> TableWriter:
        """The writer of one of the projection's tables."""
        try:
            return self._writers[name]
        except KeyError:
            raise InvalidDefinition(f"The projection {self._projection.name} has no table {name}.") from None

    def emit(self, aggregate_type: str, aggregate_id: str, event: NewEvent) -> None:
        """Records a derived event in the projection's own log, in the batch's transaction; nothing in a replay."""
        if not self._projection.emits:
            raise InvalidDefinition(f"The projection {self._projection.name} emits, so define it with emits=True.")
        if not self.is_replay:
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

    def apply(self, events: Sequence[RecordedEvent], reached: dict[str, int], *, is_replay: bool) -> None:
        """Applies the events and moves the checkpoint to `reached`, in one transaction.

        At an event that fails, what came before it is applied and kept; then raises ProjectionFailed with the failure
        recorded (on the projection, if this generation serves). Raises LeaseLost with nothing written.
        """
        try:
            self._apply_patiently(events, reached, is_replay)
            return
        except (LeaseLost, StoreUnavailable, NeedsMigration, TimedOut):
            raise  # no event is at fault
        except HandlerFailed as error:
            failed = error
        except Exception as error:
            if len(events) == 1:
                failed = HandlerFailed(0, events[0], error)
            else:
                # The database refused the rows: go one by one to find which event they came from.
                for event in events:
                    self.apply([event], self.checkpoint.positions | {event.log: event.position}, is_replay=is_replay)
                self._apply([], reached, is_replay)
                return
        before = events[: failed.index]
        if before:
            stands_at = dict(self.checkpoint.positions)
            for event in before:
                stands_at[event.log] = event.position
            self._apply(before, stands_at, is_replay)
        raise self._record(failed)

    def _apply_patiently(self, events: Sequence[RecordedEvent], reached: dict[str, int], is_replay: bool) -> None:
        """Runs the whole batch again after a deadlock or a lock timeout: it leaves nothing behind when it fails."""
        for attempt in range(1, _attempts + 1):
            try:
                return self._apply(events, reached, is_replay)
            except StoreUnavailable as error:
                if attempt == _attempts or not self.store.database.is_retryable(error):
                    raise
                self.store.database.dialect.wait_before_retry(attempt)

    def _apply(self, events: Sequence[RecordedEvent], reached: dict[str, int], is_replay: bool) -> None:
        database, checkpoint, projection = self.store.database, self.checkpoint, self.projection
        writers = {
            table.name: TableWriter(
                table, table.name if self.serves else table.shadow_name(checkpoint.generation), database.reading
            )
            for table in projection.tables
        }
        context = Context(projection, writers, copy.deepcopy(checkpoint.state), is_replay)
        handler_of, skipped = projection.handler, checkpoint.skipped
        for index, event in enumerate(events):
            handler = handler_of(event.type)
            if handler is None or (skipped and (event.log, event.position) in skipped):
                continue
            try:
                handler(event, context)
            except Exception as error:
                raise HandlerFailed(index, event, error) from error
        done = checkpoint.done + len(events)

        def commit(connection: Any) -> None:
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

        with database.writing() as connection:
            commit(connection)
        checkpoint.positions, checkpoint.state, checkpoint.done = dict(reached), context.state, done

    def _check_serving(self, connection: Any) -> None:
        """Holds the projection's row until commit and makes sure that this generation is still what it was."""
        row = checkpoints.find_projection(connection, self.projection.name, lock=True)
        if row is None:
            raise LeaseLost(f"The projection {self.projection.name} was deleted.")
        if self.serves and (row.generation != self.checkpoint.generation or row.swapping_to is not None):
            raise LeaseLost(f"Another generation of {self.projection.name} serves now.")

    def _record(self, failed: HandlerFailed) -> ProjectionFailed:
        event, cause = failed.event, failed.cause
        message = f"{type(cause).__name__}: {cause}"
        error = ProjectionFailed(self.projection.name, event.log, event.position, message)
        if self.serves:
            failure = {
                "log": event.log,
                "position": event.position,
                "message": message,
                "traceback": "".join(traceback.format_exception(cause)),
            }
            database = self.store.database
            with database.writing() as connection:
                failure["at"] = database.dialect.clock(connection).isoformat()
                checkpoints.change_projection(
                    connection, database.dialect, self.projection.name, status="failed", failure=failure
                )
        error.__cause__ = cause
        return error
