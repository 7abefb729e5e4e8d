"""One process's turn at publishing a log: the lease, batch after batch, and the record of what became of each event."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import sqlalchemy as sa

from webapp.errors import DuplicateKey, InvalidDefinition, LeaseLost, NotFound, ProjectionistError
from webapp.store import deliveries, leases
from webapp.store.deliveries import Delivery, Failure, Outcome
from webapp.store.events import EventFilter, RecordedEvent
from webapp.store.native import EventStore
from webapp.store.reading import StoredEvent
from webapp.store.retrying import RetryPolicy
from webapp.store.tables import publishers

_positions_at_once = 50_000
_streams_at_once = 500
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """What a publisher is to do, as `Publisher` was given it."""

    name: str
    publish: Callable[[RecordedEvent], object]
    log: str
    where: EventFilter
    retry: RetryPolicy
    blocks_stream: bool
    after: int
    batch_size: int
    lease_seconds: float


class Turn:
    """Publishes while it holds the lease; one thread at a time. `is_stopping` ends a batch before its next event."""

    def __init__(self, store: EventStore, task: Task, is_stopping: Callable[[], bool]) -> None:
        self.store, self.task, self._is_stopping = store, task, is_stopping
        self._owner = leases.worker_name()
        self._row = publishers.c.name == task.name
        self._epoch: int | None = None
        self._position = 0
        self._renew_at = 0.0

    @property
    def has_lease(self) -> bool:
        """Whether it may publish, as far as it knows."""
        return self._epoch is not None

    def step(self) -> int:
        """The number of events that a batch published or set aside; 0 when none is due or another process publishes."""
        try:
            if not self._hold_lease():
                return 0
            done = self._publish_due()
            is_at_head = False
            while not done and not is_at_head and not self._is_stopping():  # past what doesn't pass the filter
                done, is_at_head = self._publish_new()
            return done
        except LeaseLost as error:
            self._epoch = None
            _logger.warning("%s", error)
            return 0
        except BaseException:
            self._epoch = None  # the next batch reads anew how far this one got
            raise

    def seconds_to_next(self) -> float | None:
        """How long until an event is to be tried again, None if none is or another process will."""
        if not self.has_lease:
            return None
        with self.store.database.reading() as connection:
            return deliveries.seconds_to_next(connection, self.store.database.dialect, self.task.name)

    def release(self) -> None:
        """Gives the lease back; raises StoreUnavailable, after which it ends by itself."""
        epoch, self._epoch = self._epoch, None
        if epoch is not None:
            with self.store.database.writing() as connection:
                leases.release_lease(connection, publishers, self._row, self._owner, epoch)

    # --- the lease --------------------------------------------------------------------------------------------------

    def _hold_lease(self) -> bool:
        if self._epoch is None:
            return self._claim()
        if time.monotonic() > self._renew_at:
            self._record(Outcome(self._position))
        return True

    def _claim(self) -> bool:
        database, task = self.store.database, self.task
        with database.reading() as connection:
            row = deliveries.find_publisher(connection, task.name)
            now = database.dialect.clock(connection)
        if row is None:
            with contextlib.suppress(DuplicateKey), database.writing() as connection:  # another process was quicker
                deliveries.add_publisher(connection, database.dialect, task.name, task.log, task.after)
        else:
            self._check_log(row.log)
            if row.owner not in (None, self._owner) and row.lease_expires_at >= now:
                return False
        began_at = time.monotonic()
        with database.writing() as connection:
            epoch = leases.claim_lease(
                connection, database.dialect, publishers, self._row, self._owner, task.lease_seconds
            )
            row = deliveries.find_publisher(connection, task.name)
            self._check_log(row.log)
        if epoch is None:
            return False
        self._epoch, self._position = epoch, row.position
        self._renew_at = began_at + task.lease_seconds / 3
        if not task.blocks_stream:
            self._let_go_on()
        return True

    def _check_log(self, log: str) -> None:
        if log != self.task.log:
            raise InvalidDefinition(
                f"The publisher {self.task.name} publishes the log {log}, not {self.task.log}. "
                "Give the one for another log another name."
            )

    def _let_go_on(self) -> None:
        """Lets streams go on that dead letters blocked while the publisher still blocked streams."""
        database, name, after = self.store.database, self.task.name, -1
        while True:
            with database.writing() as connection:
                deliveries.find_publisher(connection, name, lock=True)
                streams = deliveries.streams_with_dead(connection, name, after, _streams_at_once)
                deliveries.release_streams(connection, database.dialect, name, streams, by_dead=False)
            if len(streams) < _streams_at_once:
                return
            after = streams[-1]

    # --- a batch ----------------------------------------------------------------------------------------------------

    def _publish_due(self) -> int:
        """Tries events again whose time has come, and what is held up behind those that succeed."""
        database, outcome, size = self.store.database, Outcome(self._position), self.task.batch_size
        with database.reading() as connection:
            due = deliveries.list_due(connection, database.dialect, self.task.name, size)
        if not due:
            return 0
        done = 0
        with self._recording(outcome):
            for first in due:
                for delivery in self._with_following(first, size):
                    if self._must_record(done, size):
                        return done
                    done += 1
                    error = self._try(self.store.event(self.task.log, delivery.position))
                    if error is not None:
                        outcome.failed.append(self._failure(delivery, error))
                        break
                    outcome.delivered.append((delivery.position, delivery.stream_id))
        return done

    def _with_following(self, first: Delivery, limit: int) -> Iterator[Delivery]:
        """A delivery that is due, then what is held up behind it, up to the next that isn't just held."""
        yield first
        with self.store.database.reading() as connection:
            following = deliveries.list_following(connection, self.task.name, first.stream_id, first.position, limit)
        for delivery in following:
            if delivery.dead_at is not None and not self.task.blocks_stream:
                continue
            if delivery.dead_at is not None or delivery.retry_at is not None:
                return
            yield delivery

    def _publish_new(self) -> tuple[int, bool]:
        """Publishes what comes next in the log, what can't be being set aside with all that follows it in its stream.

        Returns how many events that were, and whether nothing more is there.
        """
        task, start = self.task, self._position
        try:
            head = self.store.settled_head(task.log)
        except NotFound:
            return 0, True  # the log's first event is still to come
        if start >= head:
            return 0, True
        edge = min(head, start + _positions_at_once)
        outcome, done = Outcome(start), 0
        blocked = _Blocked(self.store, task)
        with self._recording(outcome):
            for event in self.store.read_log(
                task.log, after=start, before=edge + 1, limit=task.batch_size, where=task.where
            ):
                if self._must_record(done, task.batch_size):
                    return done, False
                done += 1
                stream_id = cast(StoredEvent, event)._row[2]
                if stream_id in blocked:
                    outcome.held.append((event.position, stream_id))
                else:
                    error = self._try(event)
                    if error is not None:
                        failure = self._failure(Delivery(event.position, stream_id), error)
                        outcome.failed.append(failure)
                        if task.blocks_stream or failure.retry_seconds is not None:
                            blocked.add(stream_id)
                outcome.position = event.position
            if done < task.batch_size:
                outcome.position = edge  # nothing else up to there passes the filter
        return done, outcome.position >= head

    def _must_record(self, done: int, size: int) -> bool:
        """Whether the batch ends here; one event at least is dealt with under each renewal, however short the lease."""
        return self._is_stopping() or done >= size or (done > 0 and time.monotonic() > self._renew_at)

    def _try(self, event: RecordedEvent) -> Exception | None:
        try:
            self.task.publish(event)
        except Exception as error:
            return error
        return None

    def _failure(self, delivery: Delivery, error: Exception) -> Failure:
        attempts = delivery.attempts + 1
        pause = self.task.retry.pause_seconds(attempts)
        fate = "is a dead letter" if pause is None else f"is tried again in {pause:g} s"
        _logger.warning(
            "Publisher %s: %s:%d %s after attempt %d: %s: %.500s",
            self.task.name, self.task.log, delivery.position, fate, attempts, type(error).__name__, error,
        )  # fmt: skip
        return Failure(delivery.position, delivery.stream_id, attempts, deliveries.error_text(error), pause)

    @contextlib.contextmanager
    def _recording(self, outcome: Outcome) -> Iterator[None]:
        """Records the outcome at the end of the block, also of one that is broken off."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(ProjectionistError):
                self._record(outcome)
            raise
        self._record(outcome)

    def _record(self, outcome: Outcome) -> None:
        """Commits what was done under the lease's epoch and renews it; raises LeaseLost."""
        database, task = self.store.database, self.task
        epoch, began_at = self._epoch, time.monotonic()
        if epoch is None:
            raise LeaseLost(f"Another worker has taken the publisher {task.name} over.")
        for_whom = f"the publisher {task.name}"

        def work(connection: sa.Connection) -> None:
            leases.renew_lease(
                connection, database.dialect, publishers, self._row, self._owner, epoch, task.lease_seconds, for_whom,
                position=outcome.position,
            )  # fmt: skip
            deliveries.record(connection, database.dialect, task.name, outcome, by_dead=task.blocks_stream)

        database.retrying(work)
        self._position = outcome.position
        self._renew_at = began_at + task.lease_seconds / 3


class _Blocked:
    """The streams of which something was set aside, looked up when they first come."""

    def __init__(self, store: EventStore, task: Task) -> None:
        self._store, self._task = store, task
        self._known: dict[int, bool] = {}
        self._is_any = self._look(None)

    def __contains__(self, stream_id: int) -> bool:
        if stream_id not in self._known:
            self._known[stream_id] = self._is_any and self._look(stream_id)
        return self._known[stream_id]

    def add(self, stream_id: int) -> None:
        """Holds up what follows in a stream."""
        self._known[stream_id] = True

    def _look(self, stream_id: int | None) -> bool:
        with self._store.database.reading() as connection:
            return deliveries.is_blocked(connection, self._task.name, stream_id, by_dead=self._task.blocks_stream)
