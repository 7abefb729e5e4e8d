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


class StreamClosed(Conflict):
    """An append to a stream that was closed and goes on in another one; nothing of the append was stored."""

    def __init__(self, stream: str, continued_by: str) -> None:
        self.stream = stream
        self.continued_by = continued_by
        super().__init__(f"{stream} is closed and goes on as {continued_by}. Append there.")


class EventIdReused(Conflict):
    """An append brought event ids that the store holds already, with other content, or only some of them."""

    def __init__(self, event_id: str, reason: str) -> None:
        self.event_id = event_id
        super().__init__(f"Event id {event_id} is in the store already, {reason}. Give new events new ids.")


class CopyDiffers(Conflict):
    """A copy of a log holds something else than its source."""

    def __init__(self, log: str, position: int, reason: str) -> None:
        self.log = log
        self.position = position
        super().__init__(
            f"The copy of {log} differs at position {position}: {reason}. Copy into a database, or a log, of its own "
            "to which nobody else appends."
        )


class SubjectForgotten(Conflict):
    """An event brings personal data of somebody who was forgotten; nothing of the append was stored.

    `subject` is who; the sentence doesn't name them, since it may end up in a log file.
    """

    def __init__(self, subject: str, what: str, forgotten_at: str) -> None:
        self.subject = subject
        self.forgotten_at = forgotten_at
        super().__init__(
            f"The subject of {what} was forgotten at {forgotten_at}, so nothing personal of theirs can be kept. "
            "Leave the personal fields out, or give the person who came back a new subject id."
        )


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


# --- keys -----------------------------------------------------------------------------------------------------------


class WrongKey(ProjectionistError):
    """A key that can't be used, doesn't fit what was locked with it, or wasn't given; `key` names it, if known."""

    def __init__(self, message: str, key: str | None = None) -> None:
        self.key = key
        super().__init__(message)


# --- events and the code that reads them ----------------------------------------------------------------------------


class UnknownEvent(ProjectionistError):
    """No class is registered for an event's type, or no event name for a class."""

    def __init__(self, name: str, hint: str) -> None:
        self.name = name
        super().__init__(f"{name} is no event that this serializer knows. {hint}")


class UpcastingFailed(ProjectionistError):
    """A stored event could not be brought into today's form; it stands unchanged, and readers of raw events see it."""

    def __init__(self, type_: str, log: str, position: int, revision: int | None, cause: str) -> None:
        self.type = type_
        self.log = log
        self.position = position
        self.revision = revision
        self.cause = cause
        at = f"{type_} at {log}:{position}" + ("" if revision is None else f" (revision {revision})")
        super().__init__(f"{at} can't be upcast: {cause.rstrip('.')}. {self._what_to_do()}")

    def _what_to_do(self) -> str:
        return "Mend its upcaster; the stored event is unchanged."


class WrittenByNewerCode(UpcastingFailed):
    """A stored event has a revision above the newest that this code knows."""

    def __init__(self, type_: str, log: str, position: int, revision: int, newest: int) -> None:
        self.newest = newest
        super().__init__(
            type_,
            log,
            position,
            revision,
            f"it was written by newer code, and this code knows revisions up to {newest}",
        )

    def _what_to_do(self) -> str:
        return "Bring this program up to date, or read the event raw."


class LoadingFailed(ProjectionistError):
    """A stored event doesn't fit the class of its type; `key` is what is missing or wrong, where that is known."""

    def __init__(self, type_: str, log: str, position: int, class_name: str, key: str | None, reason: str) -> None:
        self.type = type_
        self.log = log
        self.position = position
        self.key = key
        self.reason = reason
        super().__init__(f"{type_} at {log}:{position} can't be loaded as {class_name}: {reason}")


# --- aggregates and sagas -------------------------------------------------------------------------------------------


class UnhandledEvent(ProjectionistError):
    """An aggregate's class has no handler for an event that its stream holds, or is about to hold."""

    def __init__(self, aggregate: str, event_type: str, stream: str, version: int | None) -> None:
        self.aggregate = aggregate
        self.event_type = event_type
        self.stream = stream
        self.version = version
        super().__init__(
            f"{aggregate} has no handler for {event_type} (version {version} of {stream}). Give it one with "
            f'@applies("{event_type}"), or say ignores_unknown=True in its @aggregate(…).'
        )


class FoldingFailed(ProjectionistError):
    """A handler raised while events were folded into a state; the events stay as they are."""

    def __init__(
        self, aggregate: str, event_type: str, stream: str, version: int | None, place: str, cause: BaseException
    ) -> None:
        self.aggregate = aggregate
        self.event_type = event_type
        self.stream = stream
        self.version = version
        self.place = place
        super().__init__(
            f"{aggregate} raised {type(cause).__name__} at {event_type}, version {version} of {stream} ({place}): "
            f"{cause}. Mend its handler; the stored events stay as they are."
        )


class AlreadyEnded(Conflict):
    """A command for something that has ended for good."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(f"{stream} has ended, so nothing can be decided about it any more. Start a new one.")


class SagaFailed(ProjectionistError):
    """A saga's reaction to an event raised; nothing of it is recorded, and the saga stands before that event."""

    def __init__(self, stream: str, event_type: str, place: str, cause: BaseException) -> None:
        self.stream = stream
        self.event_type = event_type
        self.place = place
        super().__init__(
            f"{stream} raised {type(cause).__name__} when it reacted to {event_type} ({place}): {cause}. Mend the "
            "reaction and feed the event again."
        )


# --- projections ----------------------------------------------------------------------------------------------------


class InvalidDefinition(ProjectionistError):
    """A definition that contradicts itself: two of one name, a handler for nothing, a table without key, upcasters in a loop."""


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
