"""What stepping through events found: one step for each event, and where it all began."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webapp.replay.watching import Emission, RowChange, StateChange
from webapp.store.events import RecordedEvent


class StepsFrom(enum.Enum):
    """What stands before the first event that is shown."""

    live = "live"
    """The rows that readers see, and the events between them and the slice."""
    start = "start"
    """All events before the slice, folded anew."""
    nothing = "nothing"
    """Empty tables and no state."""


@dataclass(frozen=True, slots=True)
class Form:
    """One form that an event takes today, and the handler that takes it, None where there is none."""

    type: str
    handler: str | None


@dataclass(frozen=True, slots=True)
class StepError:
    """Why a projection would stop at an event.

    `state` is the projection's state before it. `rows` are those that its handlers had read or written by then: as they
    were before the event, and as the handlers had them when they failed.
    """

    message: str
    traceback: str
    state: Mapping[str, Any]
    rows: tuple[RowChange, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What one event would do. Of very many rows the first are kept, and `hidden_rows` are counted only."""

    event: RecordedEvent
    forms: tuple[Form, ...] = ()
    is_skipped: bool = False
    rows: tuple[RowChange, ...] = ()
    hidden_rows: int = 0
    state: tuple[StateChange, ...] = ()
    emitted: tuple[Emission, ...] = ()
    error: StepError | None = None

    @property
    def outcome(self) -> str:
        """One of: left out, failed, not handled, handled."""
        if self.is_skipped:
            return "left out"
        if self.error is not None:
            return "failed"
        return "handled" if any(form.handler is not None for form in self.forms) else "not handled"

    @property
    def place(self) -> str:
        """The event's log and position."""
        return f"{self.event.log}:{self.event.position}"


def places_in_words(positions: Mapping[str, int]) -> str:
    """Positions by log: “main:40, other:7”."""
    return ", ".join(f"{log}:{position}" for log, position in sorted(positions.items()))


@dataclass(frozen=True, slots=True)
class Steps:
    """A slice of events, and what a projection would do at each.

    `after` are the positions by log that the slice comes after, `reached` those where it ends: before the event that
    failed, if one did. `folded` events were applied before the slice without being shown. `notes` are sentences that a person needs to
    judge what is shown. `generation` is the one that readers see, None where it doesn't matter.
    """

    projection: str
    started_from: StepsFrom
    generation: int | None
    after: dict[str, int]
    reached: dict[str, int]
    folded: int
    steps: tuple[Step, ...]
    has_more: bool
    notes: tuple[str, ...]

    @property
    def beginning(self) -> str:
        """What stands before the first step, as a sentence."""
        events = f"{self.folded:,} {'event' if self.folded == 1 else 'events'}"
        if self.started_from is StepsFrom.live:
            more = f", and {events} applied to them" if self.folded else ""
            return f"It starts from the rows that readers see (generation {self.generation}){more}."
        if not any(self.after.values()):
            return "It starts before the first event, from empty tables and no state."
        if self.started_from is StepsFrom.start:
            return f"It starts from {events} before these, folded anew."
        return (
            f"It starts after {places_in_words(self.after)} from empty tables and no state, as if nothing came before: "
            "rows show only what these events do to them."
        )

    @property
    def failed(self) -> Step | None:
        """The step at which the projection would stop, None if it comes through."""
        return self.steps[-1] if self.steps and self.steps[-1].error is not None else None
