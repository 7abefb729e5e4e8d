"""The outbox: what is committed gets published, at least once, in order per stream."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from webapp.errors import InvalidDefinition, InvalidRequest, NotFound, ProjectionistError, StoreUnavailable, TimedOut
from webapp.store import deliveries
from webapp.store.deliveries import Delivery
from webapp.store.events import EventFilter, RecordedEvent, checked_name, id_limit, log_limit
from webapp.store.native import EventStore
from webapp.store.notifying import Waiter, longest_pause_seconds
from webapp.store.publishing import Task, Turn
from webapp.store.retrying import RetryPolicy

_most_wait_seconds = 5.0
_default_retry = RetryPolicy()
_logger = logging.getLogger(__name__)


class Publisher:
    """Gives each committed event of a log to `publish`, at least once, those of one stream in order.

    An event whose `publish` raises is tried again as `retry` says; later events of its stream are held behind it while
    other streams go on. After the last attempt it's a dead letter. Its stream stays blocked until a person calls `retry`
    or `discard`; with `blocks_stream=False` the stream goes on without it.

    One process publishes at a time, under a lease of `lease_seconds` on the database's clock; others of the same name
    stand by. What was published is recorded every `batch_size` events or third of a lease: a process that is killed
    leaves at most that much to be published again. A `publish` that takes longer than a lease may be overtaken.
    A publisher that is new begins after the position `after`.
    """

    def __init__(
        self,
        store: EventStore,
        name: str,
        publish: Callable[[RecordedEvent], object],
        log: str = "main",
        *,
        types: Sequence[str] = (),
        retry: RetryPolicy = _default_retry,
        blocks_stream: bool = True,
        after: int = 0,
        batch_size: int = 100,
        lease_seconds: float = 15.0,
    ) -> None:
        self.name = checked_name(name, "name of a publisher", log_limit)
        self.log = checked_name(log, "log", log_limit)
        if not callable(publish) or inspect.iscoroutinefunction(publish):
            raise InvalidDefinition(
                f"The publisher {name} needs a plain function that takes an event, not {publish!r}."
            )
        if isinstance(types, str) or not all(isinstance(one, str) for one in types):
            raise InvalidDefinition(
                f'The types of the publisher {name} must be a list of names, such as ["order.placed"], not {types!r}.'
            )
        if batch_size < 1 or lease_seconds <= 0 or after < 0:
            raise InvalidDefinition(
                f"The publisher {name} needs a batch_size of at least 1, a lease of more than 0 seconds, and a position "
                "from 0 on to begin after."
            )
        self._store = store
        self._blocks_stream = blocks_stream
        self._lock = threading.Lock()
        self._waiter: Waiter | None = None
        where = EventFilter(types=tuple(types))
        task = Task(self.name, publish, self.log, where, retry, blocks_stream, after, batch_size, lease_seconds)
        self._turn = Turn(store, task, self._is_stopping)

    # --- running ----------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event | None = None) -> None:
        """Publishes what there is and what comes, until `stop` is set or the store closes.

        A lost connection is waited for; only a database that can't be used at the start raises.
        """
        waiter = self._waiter = self._store.notifier.join(self.log, stop)
        has_begun, failures = False, 0
        try:
            while not waiter.is_over:
                waiter.clear()
                try:
                    done = self.run_once()
                    pause = None if done else self._turn.seconds_to_next()
                except (StoreUnavailable, TimedOut) as error:
                    if not has_begun:
                        raise
                    seconds, failures = min(0.05 * 2**failures, _most_wait_seconds), min(failures + 1, 20)
                    _logger.warning("Publisher %s is interrupted, next try in %.2f s: %s", self.name, seconds, error)
                    waiter.doze(seconds)
                    continue
                has_begun, failures = True, 0
                if done:
                    waiter.hurry()
                else:
                    waiter.wait(longest_pause_seconds if pause is None else pause)
        finally:
            waiter.close()
            self._waiter = None
            self.release()

    def run_once(self) -> int:
        """The number of events that a batch published or set aside; 0 when none is due or another process publishes."""
        with self._lock:
            return self._turn.step()

    def release(self) -> None:
        """Gives the lease back, so that another process may go on at once; `run` does so at its end."""
        with self._lock:
            try:
                self._turn.release()
            except ProjectionistError as error:
                _logger.info("The lease of publisher %s ends by itself: %s", self.name, error)

    def _is_stopping(self) -> bool:
        return self._waiter is not None and self._waiter.is_over

    @property
    def position(self) -> int:
        """The position up to which everything was published or set aside; raises NotFound if it never ran."""
        with self._store.database.reading() as connection:
            row = deliveries.find_publisher(connection, self.name)
        if row is None:
            raise NotFound("publisher", self.name, "It is made when it first runs.")
        return int(row.position)

    # --- what a person does -----------------------------------------------------------------------------------------

    def dead_letters(self, *, after: int = 0, limit: int = 100) -> list[Delivery]:
        """Events that were given up on, by position, after one."""
        with self._store.database.reading() as connection:
            return deliveries.list_dead(connection, self.name, after, limit, discarded=False)

    def discarded(self, *, after: int = 0, limit: int = 100) -> list[Delivery]:
        """Dead letters that a person discarded, with who and why, by position, after one."""
        with self._store.database.reading() as connection:
            return deliveries.list_dead(connection, self.name, after, limit, discarded=True)

    def retry(self, position: int) -> None:
        """Has a dead letter tried again, at once and as often as a new event; raises NotFound."""
        self._change_dead(position, attempts=0, dead_at=None)

    def discard(self, position: int, reason: str, *, by: str | None = None) -> None:
        """Gives a dead letter up for good, so that its stream goes on; who and why is kept. Raises NotFound."""
        if not isinstance(reason, str) or not reason.strip():
            raise InvalidRequest(f"Say why the event at position {position} shall not be published.", field="reason")
        if by is not None:
            checked_name(by, "name of who discards", id_limit)
        self._change_dead(position, discarded_by=by, reason=reason.strip())

    def _change_dead(self, position: int, **values: object) -> None:
        dialect = self._store.database.dialect
        moment = "discarded_at" if "reason" in values else "retry_at"

        def work(connection: sa.Connection) -> None:
            # Held, so that the publisher doesn't meanwhile record what comes after as held up.
            deliveries.find_publisher(connection, self.name, lock=True)
            now = dialect.clock(connection)
            stream = deliveries.change_dead(connection, self.name, position, **values, **{moment: now})
            deliveries.release_streams(connection, dialect, self.name, [stream], by_dead=self._blocks_stream)

        self._store.database.retrying(work)
        self._store.notifier.wake([self.log])
