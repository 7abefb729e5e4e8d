"""Time under control: a clock that stands until it is told to move."""

from __future__ import annotations

import datetime as dt

from webapp.errors import InvalidRequest
from webapp.store.folding import checked_time

start = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


class Clock:
    """Tells the same time until it's moved; calling it gives the time, so it goes wherever a function of time is wanted.

    ```python
    clock = Clock()
    store = MemoryStore(clock)
    runner = SagaRunner(store, Fulfilment, clock=clock)
    clock.advance(days=3)
    runner.fire_due()
    ```
    Without a time of its own it starts at 2026-01-01 12:00 UTC, so that what tests write is the same every day.
    """

    def __init__(self, now: dt.datetime = start) -> None:
        self.set(now)

    def __call__(self) -> dt.datetime:
        """The time it stands at."""
        return self._now

    def __repr__(self) -> str:
        return f"<Clock {self._now.isoformat()}>"

    @property
    def now(self) -> dt.datetime:
        """The time it stands at: aware, UTC."""
        return self._now

    def set(self, now: dt.datetime) -> dt.datetime:
        """Puts it to a time, also an earlier one, and returns that; raises InvalidRequest for one without a zone."""
        self._now = checked_time(now, "time of the clock").astimezone(dt.UTC)
        return self._now

    def advance(self, by: dt.timedelta = dt.timedelta(0), /, **parts: float) -> dt.datetime:
        """Moves it on by a timedelta, or by the parts of one (days=1, hours=2, seconds=0.5), and returns the new time.

        Raises InvalidRequest for a span that goes back, for which `set` is there.
        """
        try:
            span = by + dt.timedelta(**parts)
        except TypeError as error:
            raise InvalidRequest(
                f"A clock advances by a timedelta or by its parts, such as days=1: {error}.", "by"
            ) from error
        if span < dt.timedelta(0):
            raise InvalidRequest(f"A clock advances forwards; {span!r} goes back. Use clock.set(…) for that.", "by")
        return self.set(self._now + span)
