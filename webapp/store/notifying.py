"""How a follower is woken: by an append of this process, by a notification where the database has them, else by time."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Iterable

from webapp.errors import ProjectionistError
from webapp.store.database import Database
from webapp.store.dialects.listening import CantListen, Listener

shortest_pause_seconds, longest_pause_seconds = 0.01, 1.0
"""Between two looks at a log where nothing happens; each pause is twice the one before."""
_slice_seconds = 0.05
_logger = logging.getLogger(__name__)


class Notifier:
    """Wakes the followers of one store. Thread-safe; at most one connection listens, while anybody follows.

    A wake-up is only ever a hint to look sooner: whoever follows looks by himself once a second at the latest.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.RLock()  # a waiter that is thrown away may be forgotten while this thread holds it
        self._waiters: set[Waiter] = set()
        self._thread: threading.Thread | None = None
        self._listener: Listener | None = None
        self._can_listen = True
        self._is_closed = False
        self.is_listening = False
        """Whether appends of other processes are heard of."""

    def join(self, log: str | None, stop: threading.Event | None) -> Waiter:
        """A waiter for appends to a log (None: to any), which must be closed."""
        waiter = Waiter(self, log, stop)
        with self._lock:
            self._waiters.add(waiter)
            if self._can_listen and not self._is_closed and self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="projectionist-listener", daemon=True)
                self._thread.start()
        return waiter

    @property
    def has_waiters(self) -> bool:
        """Whether anybody in this process follows."""
        return bool(self._waiters)

    def leave(self, waiter: Waiter) -> None:
        """Forgets a waiter; the connection is given back with the last one."""
        with self._lock:
            self._waiters.discard(waiter)
            if not self._waiters:
                self._stop_listening()

    def wake(self, logs: Iterable[str] | None = None) -> None:
        """Wakes those who wait for these logs, or everybody."""
        if not self._waiters:
            return
        names = None if logs is None else set(logs)
        with self._lock:
            waiters = list(self._waiters)
        for waiter in waiters:
            if names is None or waiter.log is None or waiter.log in names:
                waiter.wake()

    def close(self) -> None:
        """Ends every waiter and stops listening; returns when the connection is given back."""
        with self._lock:
            self._is_closed = True
            waiters, thread = list(self._waiters), self._thread
            self._stop_listening()
        for waiter in waiters:
            waiter.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(10)

    def _stop_listening(self) -> None:
        self._thread = None  # which tells the thread that it is no longer wanted
        if self._listener is not None:
            self._listener.stop()

    def _listen(self) -> None:
        pause = shortest_pause_seconds
        while self._is_wanted():
            try:
                listener = self._database.dialect.open_listener(self._database)
                if listener is None:
                    raise CantListen
            except CantListen:
                self._can_listen = False
                return
            except ProjectionistError as error:
                _logger.info("Not listening for appends, looking for them instead: %s", error)
                self._doze(pause)
                pause = min(pause * 2, 60.0)
                continue
            try:
                if self._take(listener):
                    pause = shortest_pause_seconds
                    while logs := listener.hear():
                        self.wake(logs)
            except ProjectionistError as error:
                _logger.info("%s", error)
            finally:
                self._give_back(listener)

    def _is_wanted(self) -> bool:
        return self._thread is threading.current_thread()

    def _doze(self, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        while self._is_wanted() and time.monotonic() < ends_at:
            time.sleep(min(_slice_seconds, seconds))

    def _take(self, listener: Listener) -> bool:
        """Whether the listener is wanted; everybody looks once, for what was announced before it heard."""
        with self._lock:
            if not self._is_wanted():
                return False
            self._listener, self.is_listening = listener, True
        self.wake()
        return True

    def _give_back(self, listener: Listener) -> None:
        with self._lock:
            if self._listener is listener:
                self._listener, self.is_listening = None, False
        listener.close()


class Waiter:
    """What one follower waits with: `clear`, look for events, and if there are none, `wait`."""

    def __init__(self, notifier: Notifier, log: str | None, stop: threading.Event | None) -> None:
        self.log = log
        self._notifier = notifier
        self._stop = stop
        self._woken = threading.Event()
        self._closed = threading.Event()
        self._pause = shortest_pause_seconds

    @property
    def is_over(self) -> bool:
        """Whether it was closed or its stop event set."""
        return self._closed.is_set() or (self._stop is not None and self._stop.is_set())

    def wake(self) -> None:
        """Ends the wait, or the next one."""
        self._woken.set()

    def clear(self) -> None:
        """Forgets earlier wake-ups; call it before looking, so that what happens meanwhile isn't lost."""
        self._woken.clear()

    def wait(self, at_most: float = longest_pause_seconds) -> None:
        """Returns when woken, closed, stopped, or after a pause, which is twice as long each time until woken."""
        pause, self._pause = min(self._pause, at_most), min(self._pause * 2, longest_pause_seconds)
        self._wait_for(self._woken, pause)
        if self._woken.is_set():
            self.hurry()  # others may commit at about the same time and say nothing

    def doze(self, seconds: float) -> None:
        """Returns after so long whatever happens, unless closed or stopped."""
        self._wait_for(self._closed, seconds)

    def _wait_for(self, event: threading.Event, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        while not self.is_over and (left := ends_at - time.monotonic()) > 0:
            # A stop event of the caller's can't wake us, so it's looked at now and then.
            if event.wait(left if self._stop is None else min(left, _slice_seconds)):
                return

    def hurry(self) -> None:
        """Starts again with short pauses: something happened."""
        self._pause = shortest_pause_seconds

    def close(self) -> None:
        """Ends the wait for good; may be called from any thread, and twice."""
        self._closed.set()
        self._woken.set()
        self._notifier.leave(self)


def close_with(owner: object, waiter: Waiter) -> None:
    """Closes a waiter when its owner is thrown away."""
    weakref.finalize(owner, waiter.close).atexit = False
