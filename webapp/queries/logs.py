"""The logs of a store, and one log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from webapp.queries.cursors import page_args
from webapp.queries.filters import Arguments
from webapp.store.source import Count, EventSource, EventType, Log

page_rows = 100
_most_missing = 50


@dataclass(frozen=True)
class LogRow:
    """One line of the list: a log, or all logs of one category together."""

    name: str
    logs: Sequence[Log]
    is_group: bool

    @property
    def count(self) -> Count:
        """How many events its logs hold."""
        return add_counts([log.count for log in self.logs])

    @property
    def last_at(self) -> Any:
        """When the last event came, None if that isn't known."""
        return max((log.last_at for log in self.logs if log.last_at is not None), default=None)

    @property
    def first_at(self) -> Any:
        """When the first event came, None if that isn't known."""
        return min((log.first_at for log in self.logs if log.first_at is not None), default=None)


def add_counts(counts: Sequence[Count]) -> Count:
    """The sum; exact only if all are."""
    return Count(sum(count.number for count in counts), all(count.exact for count in counts))


@dataclass(frozen=True)
class LogsPage:
    """Logs by name, those of one category as one line unless the category is opened."""

    rows: Sequence[LogRow]
    next: dict[str, Any] | None
    first: dict[str, Any] | None
    prefix: str
    category: str | None
    total: int

    @classmethod
    def from_args(cls, source: EventSource, args: Arguments) -> LogsPage:
        """The page for the arguments prefix, category and after (a name)."""
        prefix, category, after = (args.get(name) or "" for name in ("prefix", "category", "after"))
        logs = list(source.logs())
        total = len(logs)
        if category:
            logs = [log for log in logs if log.category == category]
        rows = group_logs([log for log in logs if log.name.startswith(prefix)], opened=bool(category or prefix))
        rows = [row for row in rows if row.name > after]
        kept = {name: value for name, value in (("prefix", prefix), ("category", category)) if value}
        shown = rows[:page_rows]
        following = page_args(kept, {"after": shown[-1].name}) if len(rows) > page_rows else None
        return cls(shown, following, kept if after else None, prefix, category or None, total)


def group_logs(logs: Sequence[Log], *, opened: bool) -> list[LogRow]:
    """Lines in order of name; a category of several logs is one of them unless it is opened."""
    by_category: dict[str, list[Log]] = {}
    rows = []
    for log in logs:
        if log.category is None or opened:
            rows.append(LogRow(log.name, [log], is_group=False))
        else:
            by_category.setdefault(log.category, []).append(log)
    for category, members in by_category.items():
        if len(members) > 1:
            rows.append(LogRow(category, members, is_group=True))
        else:
            rows.append(LogRow(members[0].name, members, is_group=False))
    return sorted(rows, key=lambda row: row.name)


@dataclass(frozen=True)
class LogPage:
    """One log with its types of events and what is missing in it."""

    log: Log
    types: Sequence[EventType]

    @classmethod
    def load(cls, source: EventSource, name: str) -> LogPage:
        """The page of a log; raises NotFound."""
        log = source.log(name)
        return cls(log, [kind for kind in source.event_types() if kind.log == name])

    @property
    def unsettled(self) -> int:
        """How many positions at the log's end may still be filled or stay empty."""
        return max(0, self.log.head - self.log.settled_head)

    @property
    def missing(self) -> str | None:
        """The missing positions in words, None if none is missing."""
        ranges = as_ranges(self.log.missing)
        if not ranges:
            return None
        more = f" and {len(ranges) - _most_missing} more" if len(ranges) > _most_missing else ""
        return ", ".join(ranges[:_most_missing]) + more


def as_ranges(positions: Sequence[int]) -> list[str]:
    """Positions as short texts, neighbours joined: 2,386–2,387, 2,389."""
    ranges: list[tuple[int, int]] = []
    for position in sorted(positions):
        if ranges and ranges[-1][1] == position - 1:
            ranges[-1] = ranges[-1][0], position
        else:
            ranges.append((position, position))
    return [f"{first:,}" if first == last else f"{first:,}–{last:,}" for first, last in ranges]
