"""What a step of a scenario came to."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from webapp.store.events import RecordedEvent

_kit = Path(__file__).parent


@dataclass(slots=True)
class Outcome:
    """Events, or the error that the step raised, and whether anybody has looked."""

    events: Sequence[RecordedEvent] = ()
    error: Exception | None = None
    where: str = ""
    """The traceback of the error as text, without the frames of the kit."""
    is_checked: bool = False

    @classmethod
    def of(cls, step: Callable[[], Sequence[RecordedEvent]]) -> Self:
        """What comes of a step, which is run."""
        try:
            return cls(step())
        except Exception as error:
            shown = traceback.TracebackException.from_exception(error)
            shown.stack[:] = [frame for frame in shown.stack if Path(frame.filename).parent != _kit]
            _drop_tracebacks(error)
            return cls(error=error, where="".join(shown.format()))

    def explain(self, failure: BaseException) -> None:
        """Adds to what will be raised where the step's own error came from."""
        if self.where:
            failure.add_note(f"The step's own error:\n{self.where.rstrip()}")


def said(error: Exception | None) -> str:
    """An error's kind and sentence, without the full stop."""
    return f"{type(error).__name__}: {error}".rstrip(". ")


def _drop_tracebacks(error: BaseException | None) -> None:
    """Lets go of all frames, which hold the scenario: it must go with its last use, to warn if nobody has looked."""
    while error is not None and error.__traceback__ is not None:
        error.__traceback__ = None
        _drop_tracebacks(error.__cause__)
        error = error.__context__
