"""How an append is carried out: in one round trip where it's an ordinary one, else in a transaction of several."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import sqlalchemy as sa

from webapp.errors import Conflict, DuplicateKey, InvalidEvent, StoreUnavailable, StreamClosed, WrongExpectedVersion
from webapp.store.appending import Appender, PreparedAppend, prepare_append
from webapp.store.catalog import Catalog
from webapp.store.context import with_current_metadata
from webapp.store.database import Database
from webapp.store.events import Append, RecordedEvent
from webapp.store.grouping import Groups, Outcome
from webapp.store.importing import Copier, Importer, prepare_import
from webapp.store.joining import CallersConnection, Joining
from webapp.store.notifying import Notifier
from webapp.store.parallel import meeting_rivals
from webapp.store.settling import keep_counts

T = TypeVar("T")
_logger = logging.getLogger(__name__)


class Writer:
    """Appends to one store. Thread-safe."""

    def __init__(self, database: Database, catalog: Catalog, notifier: Notifier, *, group_commit: bool = False) -> None:
        self._database = database
        self._catalog = catalog
        self._notifier = notifier
        self.joining = Joining(database, notifier)
        self._has_short_way = True
        self._groups = Groups(self._append_group) if group_commit else None

    def append_many(self, appends: Sequence[Append]) -> list[RecordedEvent]:
        """See EventStore.append_many."""
        prepared = prepare_appends(appends)
        try:
            if self._groups is not None and len({append.log for append in prepared}) == 1:
                outcome = self._groups.append(prepared[0].log, prepared)
                if isinstance(outcome, Conflict):
                    raise outcome
                return self._append(prepared, check_ids=True) if outcome is None else outcome
            return self._append_one(prepared) or self._append(prepared)
        except (WrongExpectedVersion, StreamClosed, DuplicateKey) as error:
            # Only now is it worth looking whether these very events are there already.
            is_rivalry = isinstance(error, DuplicateKey) and self._is_parallel(prepared)
            if not is_rivalry and all(event.id is None for append in appends for event in append.events):
                raise
        except StoreUnavailable as error:
            # Whether it was stored before the connection went can be told by the ids, which we have made.
            if not self._database.lost_connection(error):
                raise
        return self._append(prepared, check_ids=True)

    def append_in(self, connection: CallersConnection, appends: Sequence[Append]) -> list[RecordedEvent]:
        """See EventStore.append_in."""
        prepared = prepare_appends(appends)
        checked = self.joining.check(connection)
        # There is no second chance in a transaction that isn't ours, so ids that were given are looked at before.
        check_ids = any(event.id is not None for append in appends for event in append.events)
        return self.joining.append(checked, self._catalog, prepared, check_ids=check_ids)

    def import_events(self, events: Sequence[RecordedEvent], *, keep_positions: bool) -> list[RecordedEvent]:
        """See EventStore.import_events."""
        prepared = [prepare_import(event, keep_position=keep_positions) for event in events]
        refuse_repeated_ids(prepared)
        return self._append(prepared, check_ids=True, appender_type=Copier if keep_positions else Importer)

    def _append_one(self, prepared: Sequence[PreparedAppend]) -> list[RecordedEvent] | None:
        """What the database's short way for one event stored; None where it passes, and nothing is stored."""
        if len(prepared) != 1 or len(prepared[0].events) != 1 or not self._has_short_way:
            return None
        (append,) = prepared
        (event,) = append.events
        if self._catalog.is_parallel(append.log):
            return None
        dialect = self._database.dialect
        values = (
            append.log, append.aggregate_type, append.aggregate_id, append.expected_version, event.type, event.id,
            event.correlation_id, event.causation_id, event.actor, event.data_text, event.metadata_text,
        )  # fmt: skip
        try:
            with self._database.borrowed() as connection:
                stored = dialect.append_one(connection, values)
        except StoreUnavailable as error:
            if error.__cause__ is not None and dialect.lacks_routine(error.__cause__):
                _logger.info("Appends take more round trips, for there is no routine: %s", error)
                self._has_short_way = False
            elif not self._database.is_retryable(error):
                raise
            return None
        if stored is None:
            return None
        position, version, recorded_at = stored
        self._notifier.wake((append.log,))
        return [
            RecordedEvent(
                append.log, position, append.aggregate_type, append.aggregate_id, version, event.type, event.id,
                recorded_at, event.correlation_id, event.causation_id, event.actor, event.data_text, event.metadata_text,
            )
        ]  # fmt: skip

    def _append_group(self, log: str, members: Sequence[Sequence[PreparedAppend]]) -> Sequence[Outcome]:
        """The outcome of each member, several of them in one transaction."""
        if len(members) == 1 and (recorded := self._append_one(members[0])) is not None:
            return [recorded]
        return self._transact(lambda appender: appender.run_group(log, members), [log])

    def _append(
        self,
        prepared: Sequence[PreparedAppend],
        *,
        check_ids: bool = False,
        appender_type: type[Appender] = Appender,
    ) -> list[RecordedEvent]:
        logs = {append.log for append in prepared}
        recorded = meeting_rivals(
            lambda is_second: self._transact(
                lambda appender: appender.run(prepared, check_ids=is_second), logs, appender_type
            ),
            self._database.dialect, self._catalog, sorted(logs), is_second=check_ids,
        )  # fmt: skip
        if self._is_parallel(prepared):
            keep_counts(self._database, recorded)
        return recorded

    def _is_parallel(self, prepared: Sequence[PreparedAppend]) -> bool:
        return any(self._catalog.is_parallel(append.log) for append in prepared)

    def _transact(
        self, work: Callable[[Appender], T], logs: Iterable[str], appender_type: type[Appender] = Appender
    ) -> T:  # fmt: skip
        def attempt(connection: sa.Connection) -> tuple[T, Appender]:
            appender = appender_type(self._database.dialect, connection, self._catalog)
            return work(appender), appender

        result, appender = self._database.retrying(attempt)
        for learn in appender.learned:
            learn()
        self._notifier.wake(logs)
        return result


def prepare_appends(appends: Sequence[Append]) -> list[PreparedAppend]:
    """The appends checked, as far as that needs no database, and with the current metadata; raises InvalidEvent."""
    prepared = [prepare_append(append) for append in with_current_metadata(appends)]
    refuse_repeated_ids(prepared)
    return prepared


def refuse_repeated_ids(prepared: Iterable[PreparedAppend]) -> None:
    """Raises InvalidEvent if two events of one append have the same id."""
    seen = set()
    for append in prepared:
        for event in append.events:
            if event.id in seen:
                raise InvalidEvent(
                    f"The event id {uuid.UUID(bytes=event.id)} stands twice in one append. Give each event its own id."
                )
            seen.add(event.id)
