"""Aggregates loaded from their events and saved by what happened to them.

accounts = Repository(store, Account, serializer=serializer, snapshots=SnapshotPolicy(every=100))
accounts.create("42", Account.open, "ann")              # calls Account.open(account, "ann"), saves what it returns
accounts.execute("42", Account.deposit, 100)            # load, decide, save; again if somebody else was quicker
account = accounts.load("42")
accounts.save(account, account.deposit(100))
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from webapp.errors import Conflict, InvalidDefinition, InvalidEvent, InvalidRequest
from webapp.store.aggregates import definition_of
from webapp.store.appendable import AppendableSource
from webapp.store.events import Append, RecordedEvent, checked_name, log_limit, utc
from webapp.store.folding import Folded
from webapp.store.history import History, check_classes
from webapp.store.recording import EventSerializer, RawEvents, list_events, record_event, to_new_event
from webapp.store.redeciding import checked_attempts, decide_again, wait_a_little
from webapp.store.snapshots import SnapshotPolicy
from webapp.store.tracking import Home, Tracked, can_track, find_tracked, track

if TYPE_CHECKING:
    from webapp.store.joining import CallersConnection

T = TypeVar("T")


class Saved(NamedTuple, Generic[T]):
    """What a save came to: the aggregate as it stands now, and the events as recorded (none if nothing happened)."""

    aggregate: T
    events: Sequence[RecordedEvent]


class Repository(Generic[T]):
    """The aggregates of one class in one log of a store. Thread-safe; the aggregates themselves are for one thread each.

    A class without `@aggregate` takes its type from `aggregate_type`, the serializer, or its attribute of that name; the
    log is "main" unless it's given, or the serializer knows one. Raises InvalidDefinition for a class that can't be used,
    and for a second class for a type and log of the same store.
    """

    def __init__(
        self,
        store: AppendableSource,
        cls: type[T],
        *,
        aggregate_type: str | None = None,
        serializer: EventSerializer | None = None,
        log: str | None = None,
        snapshots: SnapshotPolicy | None = None,
        attempts: int = 8,
        wait: Callable[[int], None] = wait_a_little,
    ) -> None:
        self.store = store
        self.cls = cls
        if (
            aggregate_type is None
            and "__aggregate__" not in vars(cls)
            and (name_of := getattr(serializer, "name_of", None))
        ):
            aggregate_type = name_of(cls)
        self.definition = definition_of(cls, aggregate_type)
        self.serializer = serializer or self.definition.settings.serializer or RawEvents()
        self.attempts = checked_attempts(attempts)
        self._wait = wait
        self._policy = snapshots
        log_of = getattr(self.serializer, "log_of", None)
        self.log = checked_name(log or (log_of(cls) if log_of is not None else "main"), "log", log_limit)
        check_classes(self.definition.name, self.definition.handlers, self.serializer)
        self._history = History(store, self.definition, self.log, self.serializer, snapshots)

    # --- loading ----------------------------------------------------------------------------------------------------

    def load(self, id: Any) -> T:
        """The aggregate as it stands; raises NotFound if nothing ever happened to it."""
        return self._hand_out(id, self._history.load(id))[0]

    def find(self, id: Any) -> T | None:
        """The aggregate as it stands, None if nothing ever happened to it."""
        folded = self._history.find(id)
        return None if folded is None else self._hand_out(id, folded)[0]

    def load_or_create(self, id: Any) -> T:
        """The aggregate as it stands, else a new one, of which nothing is stored before it's saved."""
        return self._hand_out(id, self._history.find(id) or Folded(None))[0]

    def load_at(self, id: Any, version: int) -> T:
        """The aggregate after a version; raises NotFound if it hasn't come so far."""
        return self._hand_out(id, self._history.load_at(id, version))[0]

    def load_as_of(self, id: Any, time: dt.datetime) -> T:
        """The aggregate as known at a time, by when its events were recorded; raises NotFound if nothing was known."""
        return self._hand_out(id, self._history.load_as_of(id, time))[0]

    def load_true_at(self, id: Any, time: dt.datetime, *, known_at: dt.datetime | None = None) -> T:
        """The aggregate as true at a time: by when its events occurred, in that order, however late they were recorded.

        `known_at` asks what was known then. For reading alone: it has no version, so it can't be saved. Raises NotFound
        if nothing had occurred.
        """
        folded = self._history.load_true_at(id, time, known_at)
        return self._hand_out(id, folded, f"was loaded as true at {utc(time)}, which is for reading alone")[0]

    def _hand_out(self, id: Any, folded: Folded, refusal: str | None = None) -> tuple[T, Tracked]:
        stored_id = self.definition.join(id)
        aggregate = folded.state if folded.state is not None else self.definition.initial(stored_id)
        tracked = Tracked(
            folded.version,
            self._home(stored_id),
            self.serializer,
            has_old_snapshot=folded.has_old_snapshot,
            refusal=refusal,
        )
        if can_track(aggregate):
            track(aggregate, tracked)
        return aggregate, tracked

    def _home(self, stored_id: str) -> Home:
        return Home(self.store, self.log, self.definition.aggregate_type, stored_id)

    # --- saving -----------------------------------------------------------------------------------------------------

    def save(
        self, aggregate: T, events: Any = None, *, id: Any = None, version: int | None = None,
        connection: CallersConnection | None = None,
    ) -> Saved[T]:  # fmt: skip
        """Appends what the aggregate recorded and the events given, all or none; they are none, one, or many.

        The version expected is the one that the aggregate was loaded at, 0 for one that was made and never saved (its
        id is then read from its attributes, or given). Events without handler, or whose handler raises, aren't stored.
        Raises WrongExpectedVersion if somebody else was quicker: load it again and decide again. Given a `connection`
        or Session, all is done in the caller's transaction on it, see append_in; if that rolls back, load it again.
        """
        return self._append(aggregate, self._find_tracked(aggregate, id, version), list_events(events), connection)

    def _find_tracked(self, aggregate: T, id: Any, version: int | None) -> Tracked:
        if not isinstance(aggregate, self.cls):
            raise InvalidRequest(f"{type(aggregate).__name__} is not {self.cls.__name__}, which this repository keeps.")
        tracked = find_tracked(aggregate)
        if id is not None:
            stored_id: str | None = self.definition.join(id)
        else:
            is_home = tracked is not None and tracked.home is not None
            stored_id = tracked.home.stored_id if is_home else self.definition.id_of(aggregate)  # type: ignore[union-attr]
        if stored_id is None:
            raise InvalidRequest(
                f"This {self.cls.__name__} has no id yet. Give save(…, id=…), or name the attribute in @aggregate(…, id=…)."
            )
        if version is None and not can_track(aggregate):
            raise InvalidDefinition(
                f"The version of this {self.cls.__name__} isn't known, since its objects can't be referenced weakly. "
                "Write @dataclass(slots=True, weakref_slot=True), use execute, or give save(…, version=…)."
            )
        home = self._home(stored_id)
        if tracked is None or tracked.home not in (None, home):
            # New, or saved to another place: what it recorded goes along, and nothing of it is there yet.
            tracked = Tracked(pending=[] if tracked is None else tracked.pending)
            if can_track(aggregate):
                track(aggregate, tracked)
        tracked.home, tracked.serializer = home, self.serializer
        tracked.version = tracked.version if version is None else version
        return tracked

    def _append(
        self, aggregate: T | None, tracked: Tracked, given: list[Any], connection: CallersConnection | None = None
    ) -> Saved[T]:
        home: Home = tracked.home  # type: ignore[assignment]
        if tracked.refusal is not None:
            raise Conflict(f"{self._history.stream(home.stored_id)} {tracked.refusal}. Load it and decide again.")
        before, recorded_before = tracked.version, len(tracked.pending)
        is_applied = False
        try:
            new = [to_new_event(event, self.serializer) for event in [*tracked.pending, *given]]
            if not new:
                return self._unchanged(aggregate, home)
            after: Any = aggregate
            is_applied = bool(given)
            for event in given:  # before anything is stored, so that no stream ever holds what can't be folded
                after = record_event(after, event, self.definition, tracked)
                tracked.pending.append(event)
            appends = [Append(home.aggregate_type, home.stored_id, new, before, self.log)]
            store = self.store
            recorded = store.append_many(appends) if connection is None else store.append_in(connection, appends)
        except BaseException:
            if is_applied and after is aggregate:  # handlers may have changed it by events that aren't stored
                tracked.refusal = "holds events that were not stored"
            del tracked.pending[recorded_before:]
            raise
        tracked.pending.clear()
        if recorded[0].version != before + 1:
            # Their ids told that these very events were stored before; what else happened since isn't in the aggregate.
            tracked.refusal = "was saved by these very events before"
            return Saved(after, recorded)
        version, has_old_snapshot = before + len(recorded), tracked.has_old_snapshot
        if after is aggregate:
            tracked.version, tracked.has_old_snapshot = version, False
        elif can_track(after):
            track(after, Tracked(version, home, self.serializer))
        if (
            connection is None
            and self._policy is not None
            and (has_old_snapshot or self._policy.is_due(before, version))
        ):
            self._history.folder.take_snapshot(home.stored_id)
        return Saved(after, recorded)

    def _unchanged(self, aggregate: T | None, home: Home) -> Saved[T]:
        if aggregate is None:
            raise InvalidEvent(f"Nothing happened, so there is no {home.aggregate_type} to create.")
        return Saved(aggregate, [])

    # --- deciding ---------------------------------------------------------------------------------------------------

    def execute(self, id: Any, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Saved[T]:
        """Calls function(aggregate, *arguments, **named) and saves what it returns or records.

        If somebody else saved meanwhile, the whole is done again on the aggregate as it is then, a bounded number of
        times with growing pauses; so the function should have no effects of its own. Raises NotFound, and
        WrongExpectedVersion when the attempts are used up.
        """
        return self._decide(self._history.load, id, lambda aggregate: function(aggregate, *arguments, **named))

    def execute_or_create(self, id: Any, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Saved[T]:
        """Like execute, with a new aggregate where there is none."""

        def get(id: Any) -> Folded:
            return self._history.find(id) or Folded(None)

        return self._decide(get, id, lambda aggregate: function(aggregate, *arguments, **named))

    def create(self, id: Any, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Saved[T]:
        """Like execute for a new aggregate; raises WrongExpectedVersion if it's there already.

        Where the first event makes the aggregate, or the function is a classmethod, it's called without one; it may
        also return a new aggregate that recorded its first events.
        """
        if getattr(function, "__self__", None) is not self.cls and not self.definition.is_made_by_handler:
            aggregate, tracked = self._hand_out(id, Folded(None))
            return self._append(aggregate, tracked, list_events(function(aggregate, *arguments, **named)))
        outcome = function(*arguments, **named)
        if isinstance(outcome, self.cls):
            return self.save(outcome, id=id)
        return self._append(
            None, Tracked(0, self._home(self.definition.join(id)), self.serializer), list_events(outcome)
        )

    def _decide(self, get: Callable[[Any], Folded], id: Any, decide: Callable[[T], Any]) -> Saved[T]:
        def attempt() -> Saved[T]:
            aggregate, tracked = self._hand_out(id, get(id))
            return self._append(aggregate, tracked, list_events(decide(aggregate)))

        return decide_again(attempt, self.attempts, self._wait)
