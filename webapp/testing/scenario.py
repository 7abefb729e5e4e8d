"""What all scenarios share: a step is run, and what came of it is compared with what was expected."""

from __future__ import annotations

import datetime as dt
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Self

from webapp.errors import FoldingFailed, InvalidRequest, ProjectionFailed, SagaFailed
from webapp.store.events import NewEvent, RecordedEvent
from webapp.testing.clock import Clock
from webapp.testing.comparing import compare_events, show_events
from webapp.testing.outcome import Outcome, said
from webapp.testing.states import compare_state

_wrappers = (SagaFailed, ProjectionFailed, FoldingFailed)


class ScenarioNotChecked(RuntimeWarning):
    """A scenario ran a step and was never asked what came of it, so its test proves nothing."""


class Scenario(ABC):
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
            raise self._failed(f"raised {said(outcome.error)}", shown)
        shown = compare_events(expected, outcome.events, keys=self._keys)
        if shown is not None:
            raise self._failed("recorded other events than expected", shown)
        return self

    def then_nothing(self) -> Self:
        """Claims that the step recorded nothing, and raised nothing."""
        __tracebackhide__ = True
        outcome = self._look()
        if outcome.error is not None:
            raise self._failed(f"raised {said(outcome.error)}, where nothing was expected")
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
            raise self._failed(f"raised {said(error)}, where {wanted} was expected")
        if match is not None and not re.search(match, str(error)):
            raise self._failed(f"raised {wanted} as expected, but {match!r} is not found in its sentence", f"  {error}")
        return self

    def then_state(self, expected: Any | Callable[[Any], Any] | Mapping[str, Any]) -> Self:
        """Claims something of the state that stands now, read back from its events.

        A dict names attributes (or keys) with the values that they must have; a function gets the state and must
        return something true; anything else must be equal to the state.
        """
        __tracebackhide__ = True
        self._look_at_events()
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

    @abstractmethod
    def _expected(self, events: Sequence[Any]) -> list[NewEvent]:
        """What a test claims, as the events that are to be there."""

    @abstractmethod
    def _state(self) -> Any:
        """The state that stands now."""

    def _run(self, step: Callable[[], Sequence[RecordedEvent]]) -> Self:
        """Runs a step; an error of the step before that nobody has looked at is raised first."""
        previous = self._outcome
        if previous is not None and previous.error is not None and not previous.is_checked:
            previous.is_checked = True
            previous.explain(previous.error)
            raise previous.error
        self._outcome = Outcome.of(step)
        return self

    def _look(self) -> Outcome:
        if self._outcome is None:
            raise InvalidRequest("Nothing has happened yet. Say when(…) before then….")
        self._outcome.is_checked = True
        return self._outcome

    def _look_at_events(self) -> Sequence[RecordedEvent]:
        """What the step recorded; fails if it raised."""
        __tracebackhide__ = True
        outcome = self._look()
        if outcome.error is not None:
            raise self._failed(f"raised {said(outcome.error)}")
        return outcome.events

    def _failed(self, sentence: str, shown: str | None = None) -> AssertionError:
        failure = AssertionError(f"{self.name} {sentence}." + (f"\n{shown}" if shown else ""))
        if self._outcome is not None:
            self._outcome.explain(failure)
        return failure

    def __del__(self) -> None:
        if self._outcome is not None and not self._outcome.is_checked:
            what = f"raised {said(self._outcome.error)}" if self._outcome.error is not None else "was never looked at"
            warnings.warn(
                f"A step of {self.name} {what}. End the scenario with then…, or its test proves nothing.",
                ScenarioNotChecked, stacklevel=2,
            )  # fmt: skip
