"""The state of an aggregate at a version, folded from its events, with what the last of them changed."""

from __future__ import annotations

import json
import time
import traceback
from dataclasses import dataclass, field
from typing import Any, Protocol

from webapp.queries.texts import ShownText, shorten, show_text
from webapp.queries.values import ChangedRow, compare, most_rows, to_plain, to_rows
from webapp.store.events import RecordedEvent
from webapp.store.source import EventSource

most_events = 5_000
_fold_seconds = 3.0


class Folding(Protocol):
    """How events become a state: what `webapp.domain.AggregateDefinition` offers."""

    @property
    def name(self) -> str:
        """What the code calls it, for people."""
        ...

    def initial(self) -> Any:
        """The state before the first event."""
        ...

    def evolve(self, state: Any, event: RecordedEvent) -> Any:
        """The state after one more event."""
        ...


class FieldsAsLastWritten:
    """Not a state: the top-level fields of payloads, each as the last event wrote it, for aggregates without code."""

    name = "fields as last written"

    def initial(self) -> dict[str, Any]:
        """No field."""
        return {}

    def evolve(self, state: dict[str, Any], event: RecordedEvent) -> dict[str, Any]:
        """The fields with those of one more payload; what isn't an object adds none."""
        data = event.data
        return {**state, **data} if isinstance(data, dict) else state


@dataclass(frozen=True)
class Writer:
    """The event that wrote a value."""

    version: int
    type: str
    actor: str | None


@dataclass
class FoldedState:
    """A state at `version` and what changed there. `failure` and `stopped` say in sentences why it ends earlier."""

    version: int
    events: int = 0
    value: Any = None
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    written_by: dict[str, Writer] = field(default_factory=dict)
    written_by_before: dict[str, Writer] = field(default_factory=dict)
    failure: str | None = None
    failed_at: RecordedEvent | None = None
    traceback: str | None = None
    stopped: str | None = None
    passed_over: list[int] = field(default_factory=list)

    @property
    def changes(self) -> list[ChangedRow]:
        """The rows of the state before and after the last event, with who wrote each."""
        return compare(self.before, self.after, self.written_by_before, self.written_by)

    @property
    def is_cut(self) -> bool:
        """Whether the state has more values than are compared."""
        return len(self.after) >= most_rows

    @property
    def shown(self) -> ShownText | None:
        """The state as JSON for a page."""
        try:
            return show_text(json.dumps(self.value, ensure_ascii=False, default=str))
        except (ValueError, RecursionError):
            return show_text(repr(self.value))


def fold(source: EventSource, stream: tuple[str, str], *, log: str, version: int, folding: Folding) -> FoldedState:
    """The state at a version. Never raises for broken payloads or raising code: the state says where it ended.

    At most 5,000 events are folded in at most 3 seconds; `stopped` says so where that is not enough.
    """
    state = FoldedState(version)
    ends_at = time.monotonic() + _fold_seconds
    passes_over = isinstance(folding, FieldsAsLastWritten)
    try:
        current = folding.initial()
        state.value = to_plain(current)
        state.after = to_rows(state.value)
    except Exception as error:  # it's a stranger's code, and the page must still render
        _fail(state, error, None)
        return state
    for event in source.read_stream(*stream, log=log, limit=most_events + 1):
        at = event.version or state.events + 1
        if at > version:
            break
        if state.events >= most_events or time.monotonic() > ends_at:
            state.stopped = (
                f"Only the first {state.events:,} events were folded, up to version {at - 1}: more would take too long "
                "for a page. The command `projectionist state` folds them all."
            )
            break
        state.before, state.written_by_before = state.after, dict(state.written_by) if at == version else {}
        try:
            current = folding.evolve(current, event)
            value = to_plain(current)
            state.after = to_rows(value)
        except Exception as error:
            state.after = state.before
            if passes_over:
                state.passed_over.append(at)
                state.events += 1
                continue
            _fail(state, error, event)
            break
        state.value, state.events = value, state.events + 1
        _sign(state, Writer(at, event.type, event.actor))
    return state


def _sign(state: FoldedState, writer: Writer) -> None:
    """Notes the writer of every value that the last event made or changed."""
    for path, text in state.after.items():
        if state.before.get(path) != text:
            state.written_by[path] = writer
    for path in state.before.keys() - state.after.keys():
        state.written_by.pop(path, None)


def _fail(state: FoldedState, error: Exception, event: RecordedEvent | None) -> None:
    state.failed_at = event
    where = f"at version {event.version} ({event.type})" if event is not None else "when it made the first state"
    state.failure = shorten(f"The aggregate code raised {where}: {type(error).__name__}: {error}", 1_000)
    state.traceback = shorten("".join(traceback.format_exception(error)[-20:]), 20_000)
