"""How events that another store recorded get in: with their own times, and where a log is copied with their positions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import chain

import sqlalchemy as sa

from webapp.errors import Conflict, InvalidEvent
from webapp.store.appending import Appender, PreparedAppend
from webapp.store.dialects.base import LogCounter
from webapp.store.events import (
    NewEvent,
    RecordedEvent,
    checked_name,
    id_limit,
    log_limit,
    prepare,
    to_text,
    type_limit,
    utc,
)  # fmt: skip
from webapp.store.tables import logs


def prepare_import(event: RecordedEvent, *, keep_position: bool = False) -> PreparedAppend:
    """One recorded event, checked, as an append of its own; raises InvalidEvent with a sentence.

    One that keeps its position doesn't insist on its version, for other layouts number otherwise.
    """
    where = f"{event.log}:{event.position}"
    if event.data_text is None:
        raise InvalidEvent(f"The event {where} comes without its payload. Read it with its payload to import it.")
    if event.aggregate_type is None or event.aggregate_id is None:
        raise InvalidEvent(f"The event {where} belongs to no aggregate. Give it a type and an id of one to import it.")
    # Metadata that isn't an object is odd, but it's what the other store has: PHP writes an empty one as [].
    metadata_text = to_text(event.metadata_text or "{}", "metadata", event.type)
    prepared = prepare(NewEvent(event.type, event.data_text, id=event.id))._replace(
        metadata_text=metadata_text,
        correlation_id=event.correlation_id, causation_id=event.causation_id, actor=event.actor,
        recorded_at=event.recorded_at, position=event.position if keep_position else None,
    )  # fmt: skip
    return PreparedAppend(
        checked_name(event.log, "log", log_limit),
        checked_name(event.aggregate_type, "aggregate type", type_limit),
        checked_name(event.aggregate_id, "aggregate id", id_limit),
        [prepared],
        None if event.version is None or keep_position else event.version - 1,
    )


class _OneWriter(Appender):
    """An append that needs its log's counter."""

    def _lock_dense(self, log: str) -> LogCounter:
        if self._find_parallel(log) is not None:
            raise Conflict(
                f"The log {log} is parallel: positions are in no order of time there. Import into a log of its own, which "
                "the first import makes."
            )
        return self._lock(log)


class Importer(_OneWriter):
    """An append whose events bring their times, which are checked under the log's counter."""

    def _append_to_log(
        self, log: str, members: Sequence[Sequence[PreparedAppend]]
    ) -> list[list[list[RecordedEvent]] | Conflict]:  # fmt: skip
        clock = self._lock_dense(log).now
        last = self.connection.execute(sa.select(logs.c.recorded_at).where(logs.c.name == log)).scalar_one()
        for append in chain.from_iterable(members):
            for event in append.events:
                last = checked_import_time(log, event.type, event.recorded_at, last, clock)
        return super()._append_to_log(log, members)


class Copier(_OneWriter):
    """An append whose events bring their positions and times, which another log gave them.

    A log that gets holes by it, or times that run back, is marked as `copied`: it is searched by time event by event.
    """

    def _append_to_log(
        self, log: str, members: Sequence[Sequence[PreparedAppend]]
    ) -> list[list[list[RecordedEvent]] | Conflict]:  # fmt: skip
        counter = self._lock_dense(log)
        head, clock = counter.head, counter.now
        last = self.connection.execute(sa.select(logs.c.recorded_at).where(logs.c.name == log)).scalar_one()
        is_regular = True
        for append in chain.from_iterable(members):
            for event in append.events:
                place, time = event.position, event.recorded_at
                if place is None or time is None or place <= head:
                    raise Conflict(
                        f"The log {log} stands at position {head}, so a {event.type} of position {place} can't be copied "
                        "to it. Copy oldest first, into a log to which nobody else appends."
                    )
                is_regular &= place == head + 1 and (last is None or last <= time <= clock)
                head, last = place, time if last is None else max(last, time)
        recorded = super()._append_to_log(log, members)
        if not is_regular:
            # Later appends go on from the latest time that was, but from none that is still to come.
            self.connection.execute(
                sa.update(logs)
                .where(logs.c.name == log)
                .values(ordering="copied", recorded_at=min(last or clock, clock))
            )
        return recorded


def checked_import_time(
    log: str, type_: str, time: dt.datetime | None, last: dt.datetime | None, clock: dt.datetime
) -> dt.datetime:
    """The time itself, if it's neither before the log's last nor after the clock; raises InvalidEvent."""
    if time is None:
        raise InvalidEvent(f"A {type_} for the log {log} has no time. Append it, if it happens now.")
    if last is not None and time < last:
        raise InvalidEvent(
            f"A {type_} of {utc(time)} can't come after the log {log}'s last event of {utc(last)}, "
            "because time order is position order. Import oldest first, into a log of its own."
        )
    if time > clock:
        raise InvalidEvent(
            f"A {type_} for the log {log} is of {utc(time)}, but the database's clock says {utc(clock)}. "
            "Set the clocks, or leave it out."
        )
    return time
