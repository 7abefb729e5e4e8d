"""Every error that Projectionist raises on purpose.

Each carries its facts as attributes and makes the sentence a person reads, which ends with what to do next.
The web maps a family to an HTTP status, the command line to an exit status; nobody else needs a try/except.
"""

from __future__ import annotations


class ProjectionistError(Exception):
    """The base of the family; `str(error)` is one or two sentences fit for a person."""


# --- what was asked for makes no sense ------------------------------------------------------------------------------


class InvalidRequest(ProjectionistError):
    """A value that can't be used; `field` names where it came from, if known."""

    def __init__(self, message: str, field: str | None = None) -> None:
        self.field = field
        super().__init__(message)


class InvalidEvent(InvalidRequest):
    """An event that can't be stored as given: a name too long, data that isn't JSON, an id that isn't a UUID."""


class NotAllowed(ProjectionistError):
    """The person's role does not cover this."""


class TooManyLogins(ProjectionistError):
    """Too many failed logins of late; `retry_after_seconds` says when another try makes sense."""

    def __init__(self, retry_after_seconds: int) -> None:
        self.retry_after_seconds = retry_after_seconds
        minutes = max(1, round(retry_after_seconds / 60))
        super().__init__(
            f"Too many failed logins. Try again in {minutes} {'minute' if minutes == 1 else 'minutes'}, "
            "or ask an admin for a new password."
        )


# --- what was asked for isn't there ---------------------------------------------------------------------------------


class NotFound(ProjectionistError):
    """Nothing of that name exists here."""

    def __init__(self, kind: str, name: str, hint: str = "") -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"There is no {kind} “{name}” here.{' ' + hint if hint else ''}")


class AmbiguousLog(ProjectionistError):
    """One (type, id) has events in several logs, so a log has to be chosen."""

    def __init__(self, aggregate_type: str, aggregate_id: str, logs: list[str]) -> None:
        self.aggregate_type = aggregate_type
        self.aggregate_id = aggregate_id
        self.logs = logs
        super().__init__(
            f"{aggregate_type}/{aggregate_id} has events in several logs: {', '.join(logs)}. Choose one with log=…"
        )


# --- what was asked for collides with what is there -----------------------------------------------------------------


class Conflict(ProjectionistError):
    """The world moved on: reload and decide again."""


class WrongExpectedVersion(Conflict):
    """An append expected a stream at another version; nothing of the append was stored."""

    def __init__(self, stream: str, expected: int, actual: int) -> None:
        self.stream = stream
        self.expected = expected
        self.actual = actual
        at = f"at version {actual}" if actual else "new"
        wanted = f"at version {expected}" if expected else "new"
        super().__init__(f"{stream} is {at}, not {wanted}. Reload it and decide again.")


class EventIdReused(Conflict):
    """An append brought event ids that the store holds already, with other content, or only some of them."""

    def __init__(self, event_id: str, reason: str) -> None:
        self.event_id = event_id
        super().__init__(f"Event id {event_id} is in the store already, {reason}. Give new events new ids.")


class DuplicateKey(Conflict):
    """A unique key is taken already; nothing of the transaction was stored."""


class ReplayConflict(Conflict):
    """A replay can't do this now: another one runs, or it has ended."""


class LeaseLost(Conflict):
    """Another worker took the lease over, so this one's batch was rolled back and it stops."""


# --- a database that can't be used as it is -------------------------------------------------------------------------


class StoreUnavailable(ProjectionistError):
    """The database didn't answer, refused the login, or denied a right."""


class UnknownLayout(ProjectionistError):
    """No tables that we or an adapter know; the sentence says what was looked for and what to do."""


class NeedsMigration(ProjectionistError):
    """Our tables are missing, half-made, or of another version; the sentence says which command mends it."""


class AppendOnly(ProjectionistError):
    """The database refused to change or remove an event."""


class RefusedData(ProjectionistError):
    """The database refused a value: too long for its column, out of range, missing, of another type."""


class TimedOut(ProjectionistError):
    """A statement ran into the time limit for pages; `reached` is the last position looked at, if known."""

    def __init__(self, message: str, reached: int | None = None) -> None:
        self.reached = reached
        super().__init__(message)


# --- projections ----------------------------------------------------------------------------------------------------


class InvalidDefinition(ProjectionistError):
    """A projection or domain that contradicts itself: two of one name, a handler for nothing, a table without key."""


class ProjectionFailed(ProjectionistError):
    """A handler raised; the projection stands before that event."""

    def __init__(self, projection: str, log: str, position: int, cause: str) -> None:
        self.projection = projection
        self.log = log
        self.position = position
        super().__init__(
            f"Projection {projection} failed at {log}:{position}: {cause}. Mend its handler and resume it, "
            "or skip the event with a reason."
        )
