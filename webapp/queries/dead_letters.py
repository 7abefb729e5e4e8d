"""Messages that their consumers gave up on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from webapp.queries.filters import Arguments
from webapp.queries.texts import ShownText, printable, show_text
from webapp.store.source import Capability, DeadLetter, EventSource

page_rows = 50


@dataclass(frozen=True)
class DeadLettersPage:
    """Dead letters, newest first; `is_kept_here` is False where the layout knows none."""

    letters: Sequence[DeadLetter]
    next: dict[str, Any] | None
    first: dict[str, Any] | None
    is_kept_here: bool

    @classmethod
    def from_args(cls, source: EventSource, args: Arguments) -> DeadLettersPage:
        """The page for the argument before (an id)."""
        before = args.get("before") or None
        if before is not None and "\x00" in before:
            before = None
        found = list(source.dead_letters(before=before, limit=page_rows + 1))
        shown = found[:page_rows]
        following = {"before": shown[-1].id} if len(found) > page_rows else None
        return cls(shown, following, {} if before else None, Capability.dead_letters in source.capabilities)


@dataclass(frozen=True)
class DeadLetterPage:
    """One dead letter whole."""

    letter: DeadLetter
    payload: ShownText | None
    headers: ShownText | None
    traceback: str | None

    @classmethod
    def load(cls, source: EventSource, id: str) -> DeadLetterPage:
        """The page of a dead letter; raises NotFound."""
        letter = source.dead_letter(id)
        traceback = printable(letter.traceback[:64_000]) if letter.traceback else None
        return cls(letter, show_text(letter.payload_text), show_text(letter.headers_text), traceback)
