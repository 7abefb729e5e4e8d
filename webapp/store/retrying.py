"""When something that failed is tried again."""

from __future__ import annotations

from dataclasses import dataclass

from webapp.errors import InvalidDefinition


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often an event is tried in all, and the pauses between: `first_seconds`, then `factor` times the one before."""

    attempts: int = 5
    first_seconds: float = 1.0
    factor: float = 2.0
    most_seconds: float = 300.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_seconds < 0 or self.factor < 1 or self.most_seconds < 0:
            raise InvalidDefinition(
                "A RetryPolicy needs at least 1 attempt, pauses of 0 seconds or more, and a factor of at least 1."
            )

    def pause_seconds(self, failed_attempts: int) -> float | None:
        """The pause after so many failed attempts, None when it was the last one."""
        if failed_attempts >= self.attempts:
            return None
        # No power that large is needed, and a float can't hold it.
        return min(self.first_seconds * self.factor ** min(failed_attempts - 1, 64), self.most_seconds)
