"""What a person filters events by: URL arguments turned into an EventFilter, sentences, and what's wrong with them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any, Protocol

from webapp.errors import InvalidRequest
from webapp.queries.times import parse_time
from webapp.store.events import EventFilter
from webapp.store.source import AggregateType, Capability, EventSource, EventType, Log

fields = {
    "log": "in log", "type": "of type", "aggregate_type": "of aggregate type", "aggregate_id": "of aggregate",
    "correlation": "of correlation", "actor": "by", "since": "since", "until": "before", "contains": "payload contains",
}  # fmt: skip
"""The arguments that filter, and how a sentence about them begins."""
_most_named = 8
_most_logs_for_choices = 200


class Arguments(Protocol):
    """URL arguments, as web frameworks hold them: several values may share a name."""

    def get(self, key: str, /) -> Any:
        """The first value, None if there is none."""
        ...

    def getlist(self, key: str, /) -> list[Any]:
        """All values."""
        ...

    def keys(self) -> Iterable[str]:
        """Every name there is."""
        ...


@dataclass(frozen=True)
class ActiveFilter:
    """One condition in words, with the arguments of the same list without it."""

    field: str
    label: str
    value: str
    without: dict[str, Any]


@dataclass
class Filters:
    """Filters as typed and as understood. Where `errors` has a field, `where` leaves it out."""

    typed: dict[str, list[str]]
    logs: Sequence[Log]
    event_types: Sequence[EventType] = ()
    aggregate_types: Sequence[AggregateType] = ()
    where: EventFilter = dataclass_field(default_factory=EventFilter)
    log: str | None = None
    errors: dict[str, str] = dataclass_field(default_factory=dict)

    @classmethod
    def from_args(
        cls, source: EventSource, args: Arguments, *, zone: dt.tzinfo = dt.UTC, besides: Collection[str] = ()
    ) -> Filters:
        """The filters of the arguments log, type, aggregate_type, aggregate_id, correlation, actor,
        since, until and contains; nothing raises, what is wrong stands in `errors`.

        `besides` names the arguments that the page itself takes. Any other is an error, since a filter that was
        mistyped and left out would show, or hand out, more than was asked for.
        """
        typed = {name: values for name in fields if (values := [value for value in args.getlist(name) if value])}
        logs = source.logs()
        # Where there are very many logs, choices to pick from cost more than they help.
        has_few = len(logs) <= _most_logs_for_choices
        found = cls(
            typed,
            logs,
            source.event_types() if has_few or "type" in typed else (),
            source.aggregate_types() if has_few or "aggregate_type" in typed else (),
        )
        for name, values in typed.items():
            if any("\x00" in value for value in values):
                found.errors[name] = "That holds a NUL character, which no stored name or text has. Leave it out."
        found.log = found._known("log", "log", [log.name for log in found.logs])
        found._known("type", "event type", sorted({type_.name for type_ in found.event_types}))
        found._known("aggregate_type", "aggregate type", sorted({type_.name for type_ in found.aggregate_types}))
        for name in args.keys():  # noqa: SIM118  these aren't dictionaries
            if name not in fields and name not in besides:
                found.errors[name] = f"“{name}” is not a filter. Filters are {', '.join(fields)}."
        if "contains" in typed and Capability.payload_search not in source.capabilities:
            found.errors["contains"] = "Payloads can't be searched in this store. Filter by type, aggregate or time."
        found.where = EventFilter(
            types=() if "type" in found.errors else tuple(typed.get("type", ())),
            aggregate_type=found._usable("aggregate_type"),
            aggregate_id=found._usable("aggregate_id"),
            correlation_id=found._usable("correlation"),
            actor=found._usable("actor"),
            since=found._time("since", zone),
            until=found._time("until", zone),
            contains=found._usable("contains"),
        )
        since, until = found.where.since, found.where.until
        if since is not None and until is not None and since >= until:
            found.errors["until"] = (
                "The end is not after the beginning, so no event can match. Swap the two times, or mend one."
            )
        return found

    @property
    def args(self) -> dict[str, Any]:
        """The arguments that make these filters again, for links."""
        return {name: values if name == "type" else values[0] for name, values in self.typed.items()}

    @property
    def active(self) -> list[ActiveFilter]:
        """Every condition in words, each with the arguments that drop it."""
        shown = []
        for name, values in self.typed.items():
            for value in values if name == "type" else values[:1]:
                without = {key: other for key, other in self.args.items() if key != name}
                rest = [other for other in values if other != value] if name == "type" else []
                shown.append(ActiveFilter(name, fields[name], value, without | ({"type": rest} if rest else {})))
        return shown

    def value(self, name: str) -> str:
        """What was typed into a field."""
        return self.typed.get(name, [""])[0]

    def _usable(self, name: str) -> str | None:
        return self.value(name) or None if name not in self.errors else None

    def _known(self, name: str, what: str, known: Sequence[str]) -> str | None:
        """The first value of a field whose values must be among those known; what isn't becomes an error."""
        for value in self.typed.get(name, ()):
            if value not in known and name not in self.errors:
                examples = ", ".join(f"“{one}”" for one in known[:_most_named])
                more = f" and {len(known) - _most_named} more" if len(known) > _most_named else ""
                hint = f" Known: {examples}{more}." if known else " There are none yet."
                self.errors[name] = f"There is no {what} “{value}” in this store.{hint}"
        return self._usable(name)

    def _time(self, name: str, zone: dt.tzinfo) -> dt.datetime | None:
        text = self._usable(name)
        if text is None:
            return None
        try:
            return parse_time(text, zone=zone, field=name)
        except InvalidRequest as error:
            self.errors[name] = str(error)
            return None
