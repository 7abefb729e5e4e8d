"""Group commit: appends of many threads join in one transaction, so that one wait for the log's counter does for all.

Who finds nobody at work leads: takes what waits for the log, and carries it out together. Who comes meanwhile waits, and
goes with the next group. A thread that is alone waits for nobody.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence

from webapp.errors import Conflict
from webapp.store.appending import PreparedAppend
from webapp.store.events import RecordedEvent

_logger = logging.getLogger(__name__)
most_members = 100
most_events = 2000
_look_seconds = 1.0
"""How often a waiting thread looks whether the leader's thread is still there."""

Outcome = list[RecordedEvent] | Conflict | None
"""What came of a member: its events, why it was refused, or None where only it alone can tell."""
Together = Callable[[str, Sequence[Sequence[PreparedAppend]]], Sequence[Outcome]]
"""Appends of several members to one log in one transaction, with an outcome for each."""


class Member:
    """The appends of one call, which are carried out all or none."""

    def __init__(self, appends: Sequence[PreparedAppend]) -> None:
        self.appends = appends
        self.size = sum(len(append.events) for append in appends)
        self.thread = threading.current_thread()
        self.leader: Member | None = None
        self.outcome: Outcome = None
        self.is_done = False
        self.called = threading.Event()
        """Set when it's done, or has to lead."""


class Group:
    """Those who append to one log, one of whom leads."""

    def __init__(self, log: str, together: Together) -> None:
        self._log = log
        self._together = together
        self._lock = threading.Lock()
        self._waiting: deque[Member] = deque()
        self._leader: Member | None = None

    def append(self, appends: Sequence[PreparedAppend]) -> Outcome:
        """What came of these appends, once they were carried out by whoever led."""
        member = Member(appends)
        try:
            self._join(member)
            while not member.is_done:
                if self._leader is member:
                    self._lead()
                elif not member.called.wait(_look_seconds) and self._is_forsaken(member):
                    break
            return member.outcome
        finally:  # also if this thread was interrupted, leading or waiting
            self._leave(member)

    def _join(self, member: Member) -> None:
        with self._lock:
            self._waiting.append(member)
            if self._leader is None:
                self._leader = member

    def _lead(self) -> None:
        members = self._take()
        outcomes: Sequence[Outcome] = [None] * len(members)
        try:
            outcomes = self._together(self._log, [member.appends for member in members])
        except Exception as error:
            # Each goes on alone, and meets the error itself if it was his.
            _logger.info("%d appends to %s that went together go on one by one: %s", len(members), self._log, error)
        finally:
            for member, outcome in zip(members, outcomes, strict=True):
                member.outcome, member.is_done = outcome, True
                member.called.set()

    def _take(self) -> list[Member]:
        """Those who go together; the leader was there first, so is among them."""
        with self._lock:
            members = [self._waiting.popleft()]
            size = members[0].size
            while self._waiting and len(members) < most_members and size + self._waiting[0].size <= most_events:
                members.append(self._waiting.popleft())
                size += members[-1].size
            for member in members:
                member.leader = self._leader
            return members

    def _leave(self, member: Member) -> None:
        with self._lock:
            if member in self._waiting:
                self._waiting.remove(member)
            if self._leader is member:
                self._choose_leader()

    def _is_forsaken(self, member: Member) -> bool:
        """Whether the thread that had taken a member along is gone; if it was still to do so, another one leads."""
        with self._lock:
            if member.leader is not None:
                return not member.leader.thread.is_alive()
            if self._leader is not None and not self._leader.thread.is_alive():
                self._choose_leader()
            return False

    def _choose_leader(self) -> None:
        while self._waiting and not self._waiting[0].thread.is_alive():
            self._waiting.popleft()
        self._leader = self._waiting[0] if self._waiting else None
        if self._leader is not None:
            self._leader.called.set()


class Groups:
    """A group for each log. Thread-safe."""

    def __init__(self, together: Together) -> None:
        self._together = together
        self._groups: dict[str, Group] = {}

    def append(self, log: str, appends: Sequence[PreparedAppend]) -> Outcome:
        """What came of these appends, which are all for this log."""
        group = self._groups.get(log) or self._groups.setdefault(log, Group(log, self._together))
        return group.append(appends)
