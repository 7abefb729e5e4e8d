"""The list of events, and one event with what stands beside it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from webapp.errors import InvalidRequest, NotFound
from webapp.queries.cursors import EventRows, Place, page_args, read_rows
from webapp.queries.filters import ActiveFilter, Arguments, Filters, fields
from webapp.queries.protected import encrypted_places
from webapp.queries.texts import ShownText, show_text
from webapp.store.events import RecordedEvent
from webapp.store.source import Capability, EventSource

_most_choices = 300


@dataclass
class EventsPage:
    """Events under filters. `errors` holds, per field, what is wrong with what was typed; then no events are read."""

    filters: Filters
    rows: EventRows
    place: Place
    log: str | None
    can_search_payloads: bool
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_args(cls, source: EventSource, args: Arguments, *, zone: dt.tzinfo = dt.UTC) -> EventsPage:
        """The page that URL arguments ask for: filters, order (newest or oldest), and after or before."""
        filters = Filters.from_args(source, args, zone=zone, besides=("order", "after", "before"))
        errors = dict(filters.errors)
        shown_logs = [log for log in filters.logs if not log.is_retired]
        if filters.log is not None:
            shown_logs = [log for log in filters.logs if log.name == filters.log]
        log = shown_logs[0].name if len(shown_logs) == 1 else None
        place, rows = Place(), EventRows()
        try:
            place = Place.from_args(args)
            if not errors and shown_logs:
                rows = read_rows(source, shown_logs, filters.where, place)
        except InvalidRequest as error:
            errors[error.field or "after"] = str(error)
        return cls(filters, rows, place, log, Capability.payload_search in source.capabilities, errors)

    @property
    def status(self) -> int:
        """The HTTP status that fits: 400 if something typed can't be used."""
        return 400 if self.errors else 200

    @property
    def elsewhere(self) -> str:
        """What is wrong with arguments that have no field in the form."""
        return " ".join(sentence for name, sentence in self.errors.items() if name not in fields)

    @property
    def active(self) -> list[ActiveFilter]:
        """The filters in force, in words; the arguments without each keep the order."""
        return [
            ActiveFilter(one.field, one.label, one.value, page_args(one.without, self.place.args))
            for one in self.filters.active
        ]

    def link(self, place: dict[str, str] | None) -> dict[str, Any] | None:
        """The arguments of the same list at another place; None for None."""
        return None if place is None else page_args(self.filters.args, self.place.args, place)

    @property
    def previous(self) -> dict[str, Any] | None:
        """The arguments of the page before this one."""
        return self.link(self.rows.previous)

    @property
    def next(self) -> dict[str, Any] | None:
        """The arguments of the page after this one."""
        return self.link(self.rows.next)

    @property
    def go_on(self) -> dict[str, Any] | None:
        """The arguments that continue a search that ran out of time."""
        return self.link(self.rows.go_on)

    @property
    def first(self) -> dict[str, Any]:
        """The arguments of the first page."""
        return page_args(self.filters.args, self.place.args)

    @property
    def other_order(self) -> dict[str, Any]:
        """The arguments of the same list from its other end."""
        return page_args(self.filters.args, {"order": "oldest"} if self.place.newest_first else {})

    @property
    def where(self) -> str:
        """Which rows are shown, in words."""
        order = "newest first" if self.place.newest_first else "oldest first"
        if not self.rows.events or self.log is None:
            return order.capitalize()
        low, high = sorted((self.rows.events[0].position, self.rows.events[-1].position))
        return f"Positions {low:,} to {high:,}, {order}"

    @property
    def known_types(self) -> list[str]:
        """Names to choose from, a few hundred at most."""
        return sorted({kind.name for kind in self.filters.event_types})[:_most_choices]

    @property
    def known_aggregate_types(self) -> list[str]:
        """Names to choose from, a few hundred at most."""
        return sorted({kind.name for kind in self.filters.aggregate_types})[:_most_choices]

    @property
    def known_logs(self) -> list[str]:
        """Names to choose from, a few hundred at most."""
        return [log.name for log in self.filters.logs][:_most_choices]

    @property
    def shows_log(self) -> bool:
        """Whether rows must say which log they are of."""
        return self.log is None

    @property
    def has_events(self) -> bool:
        """Whether anything is stored at all, whatever the filters."""
        return any(log.head > 0 for log in self.filters.logs)


@dataclass
class EventPage:
    """One event whole, with its neighbours in the log and in its stream."""

    event: RecordedEvent
    data: ShownText | None
    metadata: ShownText | None
    as_stored: bool
    previous: RecordedEvent | None
    next: RecordedEvent | None
    previous_in_stream: RecordedEvent | None
    next_in_stream: RecordedEvent | None
    causation_is_event: bool
    occurred_at: dt.datetime | None
    encrypted: Sequence[str]

    @classmethod
    def load(cls, source: EventSource, log: str, position: int, args: Arguments) -> EventPage:
        """The page of the event at a position; `as=stored` shows its texts as they were written. Raises NotFound."""
        as_stored = args.get("as") == "stored"
        try:
            event = source.event(log, position)
        except NotFound as error:
            raise NotFound("event", f"{log}:{position}", _nearest(source, log, position)) from error
        before = source.read_log(log, before=position, limit=1, newest_first=True, with_payload=False)
        after = source.read_log(log, after=position, limit=1, with_payload=False)
        previous, following = _beside_in_stream(source, event)
        return cls(
            event, show_text(event.data_text, as_stored=as_stored), show_text(event.metadata_text, as_stored=as_stored),
            as_stored, next(iter(before), None), next(iter(after), None), previous, following,
            # Ecotone's causation is a command's message, which is stored nowhere.
            causation_is_event=source.layout != "ecotone",
            occurred_at=event.occurred_at if event.occurred_at != event.recorded_at else None,
            encrypted=[
                *encrypted_places(event.data_text),
                *(f"metadata {place}" for place in encrypted_places(event.metadata_text)),
            ],
        )  # fmt: skip


def _nearest(source: EventSource, log: str, position: int) -> str:
    """A hint on where events are in that log; empty if the log isn't there either."""
    if position > 2**63 - 1:
        return "Positions are smaller numbers than that."
    head = source.log(log).head
    if position > head:
        return f"The log ends at position {head:,}."
    return "No event stands at that number: its writer rolled back, or it isn't settled yet."


def _beside_in_stream(source: EventSource, event: RecordedEvent) -> tuple[RecordedEvent | None, RecordedEvent | None]:
    if event.aggregate_type is None or event.aggregate_id is None or event.version is None:
        return None, None
    stream = event.aggregate_type, event.aggregate_id
    around = list(
        source.read_stream(*stream, log=event.log, after=max(0, event.version - 2), limit=3, with_payload=False)
    )
    earlier = [one for one in around if one.version is not None and one.version < event.version]
    later = [one for one in around if one.version is not None and one.version > event.version]
    return (earlier[-1] if earlier else None), (later[0] if later else None)
