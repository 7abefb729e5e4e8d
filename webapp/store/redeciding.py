"""A decision made again on how things are by then, when somebody else was quicker."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from webapp.errors import Conflict, InvalidRequest, WrongExpectedVersion

T = TypeVar("T")


def wait_a_little(attempt: int) -> None:
    """Sleeps longer and less predictably each time, so that rivals don't meet again; at most half a second."""
    time.sleep(random.uniform(0.5, 1.0) * min(0.5, 0.002 * 2**attempt))  # noqa: S311 - no secret, only spread


def checked_attempts(attempts: int) -> int:
    """The number itself, if it's one from 1 on; raises InvalidRequest."""
    if type(attempts) is not int or attempts < 1:
        raise InvalidRequest(f"There has to be at least one attempt; {attempts!r} is no such number.", "attempts")
    return attempts


def decide_again(
    attempt: Callable[[], T],
    attempts: int,
    wait: Callable[[int], None],
    after: tuple[type[Conflict], ...] = (WrongExpectedVersion,),
) -> T:
    """What `attempt` returns; it's called again after a conflict, `attempts` times in all, with waits between."""
    for number in range(1, attempts):
        try:
            return attempt()
        except after:
            wait(number)
    return attempt()
