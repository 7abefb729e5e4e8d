"""What all scenarios share: a step is run, and what came of it is compared with what was expected."""

from __future__ import annotations

import datetime as dt
import re
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from webapp.errors import FoldingFailed, InvalidRequest, ProjectionFailed, SagaFailed
from webapp.store.events import NewEvent, RecordedEvent
from webapp.testing.clock import Clock
from webapp.testing.comparing import compare_events, show_events
from webapp.testing.states import compare_state

_wrappers = (SagaFailed, ProjectionFailed, FoldingFailed)
_unset: Any = object()


class ScenarioNotChecked(RuntimeWarning):
    """A scenario ran a step and was never asked what came of it, so its test proves nothing."""


@dataclass(slots=True)
class Outcome:
    """What a step came to: events, or the error that it raised, and whether anybody has looked."""

    events: Sequence[RecordedEvent] = ()
    error: Exception | None = None
    is_checked: bool = False


class Scenario:
    """A chain of steps and of claims about them; every `then…` is about the step before it, and returns the scenario.

    A step that raises isn't an error by itself: `then_raises` expects it, and all other claims fail by showing it.
    """

    name: str
    clock: Clock
    _outcome: Outcome | None = None

    def at(self, time: dt.datetime) -> Self:
        """Sets the clock: what follows is recorded at that time."""
        self.clock.set(time)
        return self

    def after(self, by: dt.timedelta = dt.timedelta(0), /, **parts: float) -> Self:
        """Like `at`, for a time span from now on, such as after(days=3)."""
        return self.at(self.clock.now + by + dt.timedelta(**parts))

    # --- claims -----------------------------------------------------------------------------------------------------

    def then(self, *events: Any) -> Self:
        """Claims that the step recorded these events, in this order, and no others.

        They may be objects that the serializer knows, NewEvent, or (type, data), in which a value such as
        `unittest.mock.ANY` stands for anything. Of the metadata only what an expected event brings is compared.
        """
        __tracebackhide__ = True
        outcome = self._look()
        if not events:
            raise InvalidRequest("then() has nothing to claim. Name the events, or say then_nothing().", "events")
        expected = self._expected(events)
        if outcome.error is not None:
            shown = compare_events(expected, [], keys=self._keys)
            raise self._failed(f"raised {_said(outcome.error)}", shown) from outcome.error
        shown = self._compare(expected, outcome.events)
        if shown is not None:
            raise self._failed("recorded other events than expected", shown)
        return self

    def then_nothing(self) -> Self:
        """Claims that the step recorded nothing, and raised nothing."""
        __tracebackhide__ = True
        outcome = self._look()
        if outcome.error is not None:
            raise self._failed(f"raised {_said(outcome.error)}, where nothing was expected") from outcome.error
        if outcome.events:
            raise self._failed("recorded events, where none was expected", show_events(outcome.events))
        return self

    def then_raises(self, kind: type[Exception] | tuple[type[Exception], ...], match: str | None = None) -> Self:
        """Claims that the step raised an error of this kind, whose sentence `match` is found in by re.search.

        What a saga's reaction or a projection's handler raises counts as well as the error that it is wrapped in.
        """
        __tracebackhide__ = True
        outcome = self._look()
        wanted = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
        error = outcome.error
        if error is None:
            shown = show_events(outcome.events) or "It recorded nothing."
            raise self._failed(f"raised no {wanted}; this is what it recorded", shown)
        if not isinstance(error, kind) and isinstance(error, _wrappers) and isinstance(error.__cause__, Exception):
            error = error.__cause__
        if not isinstance(error, kind):
            raise self._failed(f"raised {_said(error)}, where {wanted} was expected") from error
        if match is not None and not re.search(match, str(error)):
            raise self._failed(
                f"raised {wanted} as expected, but {match!r} is not found in its sentence", f"  {error}"
            ) from error
        return self

    def then_state(self, expected: Any | Callable[[Any], Any] | Mapping[str, Any]) -> Self:
        """Claims something of the state that stands now, read back from its events.

        A dict names attributes (or keys) with the values that they must have; a function gets the state and must
        return something true; anything else must be equal to the state.
        """
        __tracebackhide__ = True
        outcome = self._look()
        if outcome.error is not None:
            raise self._failed(f"raised {_said(outcome.error)}") from outcome.error
        return self._claim_state(self._state(), expected)

    def _claim_state(self, state: Any, expected: Any) -> Self:
        __tracebackhide__ = True
        trouble = compare_state(state, expected)
        if trouble is not None:
            raise self._failed(*trouble)
        return self

    # --- for the kinds of scenarios ---------------------------------------------------------------------------------

    _keys: Collection[str] = ()
    """Keys of metadata that are always compared."""

    def _expected(self, events: Sequence[Any]) -> list[NewEvent]:
        raise NotImplementedError

    def _compare(self, expected: Sequence[NewEvent], recorded: Sequence[RecordedEvent]) -> str | None:
        return compare_events(expected, recorded, keys=self._keys)

    def _state(self) -> Any:
        raise NotImplementedError

    def _run(self, step: Callable[[], Sequence[RecordedEvent]]) -> Self:
        """Runs a step; an error of the step before that nobody has looked at is raised first."""
        previous = self._outcome
        if previous is not None and previous.error is not None and not previous.is_checked:
            previous.is_checked = True
            raise previous.error
        try:
            self._outcome = Outcome(step())
        except Exception as error:
            self._outcome = Outcome(error=error)
        return self

    def _look(self) -> Outcome:
        if self._outcome is None:
            raise InvalidRequest("Nothing has happened yet. Say when(…) before then….")
        self._outcome.is_checked = True
        return self._outcome

    def _failed(self, sentence: str, shown: str | None = None) -> AssertionError:
        return AssertionError(f"{self.name} {sentence}." + (f"\n{shown}" if shown else ""))

    def __del__(self) -> None:
        if self._outcome is not None and not self._outcome.is_checked:
            what = f"raised {_said(self._outcome.error)}" if self._outcome.error is not None else "was never looked at"
            warnings.warn(
                f"A step of {self.name} {what}. End the scenario with then…, or its test proves nothing.",
                ScenarioNotChecked, stacklevel=2,
            )  # fmt: skip


def _said(error: Exception | None) -> str:
    return f"{type(error).__name__}: {error}".rstrip(". ")
