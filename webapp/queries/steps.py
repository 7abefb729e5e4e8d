"""Stepping through events, as a page shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webapp.accounts.home import Home
from webapp.errors import Conflict, InvalidRequest, NotFound, ProjectionistError, TimedOut
from webapp.projections.projection import Projection
from webapp.queries.filters import Arguments
from webapp.queries.projections import ProjectionLine, find_line
from webapp.queries.texts import ShownText, shorten, show_text
from webapp.replay.outcome import to_json
from webapp.replay.starting import find_previous
from webapp.replay.stepper import most_steps, step_projection
from webapp.replay.steps import Step, Steps, StepsFrom, places_in_words
from webapp.replay.watching import RowChange
from webapp.store.native import EventStore

usual_limit = 20
_most_folded = 20_000
_most_seconds = 5.0
_longest = 200
_longest_payload = 300
_most_left_out = 100
_statuses: dict[type[ProjectionistError], int] = {InvalidRequest: 400, NotFound: 404, Conflict: 409, TimedOut: 503}
kinds = {"added": "new", "changed": "changed", "removed": "removed", "unchanged": "written, unchanged"}
read_only = "read, not changed"


@dataclass(frozen=True)
class StepsRequest:
    """What somebody asked to see, as typed; `positions` are by log, None where it's for the checkpoint to say."""

    positions: Mapping[str, int] | None
    log: str | None
    limit: int
    aggregate: tuple[str, str] | None
    started_from: StepsFrom | None
    without: Sequence[str]

    @classmethod
    def from_args(cls, args: Arguments, projection: Projection) -> StepsRequest:
        """The arguments after (or `after:<log>`), log, limit, from, aggregate_type, aggregate_id and without.

        Raises InvalidRequest.
        """
        log = args.get("log") or None
        given = {name.partition(":")[2]: args.get(name) for name in args.keys() if name.startswith("after:")}  # noqa: SIM118
        positions = {name: parse_position(text) for name, text in given.items() if text}
        if args.get("after"):
            positions[_only_log(projection, log, args.get("after"))] = parse_position(args.get("after"))
        limit = args.get("limit") or str(usual_limit)
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= most_steps:
            raise InvalidRequest(f"“{limit}” steps can't be shown at a time. Ask for 1 to {most_steps}.", "limit")
        type_, id_ = args.get("aggregate_type") or "", args.get("aggregate_id") or ""
        if bool(type_) != bool(id_):
            raise InvalidRequest("An aggregate is named by its type and its id. Give both.", "aggregate_id")
        start = args.get("from") or None
        if start is not None and start not in {one.value for one in StepsFrom}:
            raise InvalidRequest(f"It can start from live, start or nothing, not from “{start}”.", "from")
        without = tuple(dict.fromkeys(args.getlist("without")))
        if len(without) > _most_left_out:
            raise InvalidRequest(f"At most {_most_left_out} events can be left out at a time.", "without")
        for place in without:
            parse_place(place, projection)
        return cls(
            positions or None, log, int(limit), (type_, id_) if type_ else None, StepsFrom(start) if start else None,
            without,
        )  # fmt: skip

    def arguments(self, after: Mapping[str, int] | None, logs: Sequence[str]) -> dict[str, Any]:
        """These wishes as arguments of the URL, after other positions."""
        places = {} if after is None else {"after" if len(logs) == 1 else f"after:{log}": n for log, n in after.items()}
        wishes = {
            "log": self.log, "limit": self.limit if self.limit != usual_limit else None,
            "aggregate_type": self.aggregate and self.aggregate[0], "aggregate_id": self.aggregate and self.aggregate[1],
            "from": self.started_from and self.started_from.value, "without": list(self.without) or None,
        }  # fmt: skip
        return places | {name: value for name, value in wishes.items() if value is not None}


def parse_position(text: str) -> int:
    """A position that a person wrote; raises InvalidRequest."""
    if not text.isascii() or not text.isdigit() or int(text[:20]) >= 2**63:
        raise InvalidRequest(f"“{shorten(text, 40)}” is no position. Give 0, for the first event, or more.", "after")
    return int(text)


def parse_place(text: str, projection: Projection, log: str | None = None) -> tuple[str, int]:
    """A log and a position that a person wrote as `log:position`, or as `position` in `log` or the only one there is."""
    named, colon, position = text.rpartition(":")
    return (named if colon else _only_log(projection, log, text)), parse_position(position)


def _only_log(projection: Projection, log: str | None, position: str) -> str:
    if log is None and len(projection.logs) > 1:
        logs = ", ".join(projection.logs)
        raise InvalidRequest(
            f"{projection.name} reads several logs ({logs}), so a position needs its log: {projection.logs[0]}:{position}",
            "after",
        )
    return log or projection.logs[0]


@dataclass(frozen=True)
class RowLine:
    """One row of a step: what it is, what became of it, and before and after by column."""

    title: str
    kind: str
    columns: Sequence[tuple[str, str, str]]

    @classmethod
    def make(cls, row: RowChange, *, has_failed: bool = False, longest: int = _longest) -> RowLine:
        """A row's change in words; of an event that failed all columns are told, also of rows that were only read."""
        key = ", ".join(f"{name}={_text(row.key, name, longest)}" for name in row.key)
        names: Sequence[str] = row.columns
        if has_failed and not names:
            names = [name for name in row.before or row.after or {} if name not in row.key]
        columns = [(name, _text(row.before, name, longest), _text(row.after, name, longest)) for name in names]
        kind = kinds[row.kind]
        if has_failed and row.kind == "unchanged":
            kind = read_only if row.before is not None else "not there"
        elif row.kind == "unchanged" and row.before is None:
            kind = "removed, but not there"
        return cls(f"{row.table} {key}", kind, columns)


def _text(row: Mapping[str, Any] | None, name: str, longest: int) -> str:
    if row is None:
        return "–"
    value = to_json(row[name])
    if value is None:
        return "NULL"
    return shorten(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), longest)


@dataclass(frozen=True)
class StepLine:
    """One step for a page: the event's payload shortened, whole where it failed."""

    step: Step
    rows: Sequence[RowLine]
    state: Sequence[tuple[str, str, str]]
    emitted: Sequence[tuple[str, str]]
    payload: str
    whole_payload: ShownText | None
    state_before: ShownText | None

    @classmethod
    def make(cls, step: Step) -> StepLine:
        """A step in texts of a length fit for a page."""
        error = step.error
        stored = step.event.readable_text
        text = stored.decode("utf-8", "backslashreplace") if isinstance(stored, bytes) else stored or ""
        rows = [RowLine.make(row, has_failed=error is not None) for row in (error.rows if error else step.rows)]
        state = [
            (one.path, shorten(one.before or "–", _longest), shorten(one.after or "–", _longest)) for one in step.state
        ]
        emitted = [
            (f"{one.event.type} of {one.aggregate_type}/{one.aggregate_id}", shorten(one.event.data_text, _longest_payload))
            for one in step.emitted
        ]  # fmt: skip
        return cls(
            step, rows, state, emitted, shorten(text, _longest_payload), show_text(stored) if error else None,
            show_text(json.dumps(error.state, ensure_ascii=False)) if error and error.state else None,
        )  # fmt: skip

    @property
    def handlers(self) -> str:
        """Which handlers took it, in words; empty where that goes without saying."""
        forms = self.step.forms
        if self.step.is_skipped:
            return ""
        if len(forms) == 1 and forms[0].type == self.step.event.type:
            return f"handler {forms[0].handler}" if forms[0].handler else "no handler takes it"
        if not forms:
            return "" if self.step.error is not None else "upcasters drop it"
        taken = [f"{form.type} ({'handler ' + form.handler if form.handler else 'no handler'})" for form in forms]
        return f"today it is {', '.join(taken)}"


@dataclass(frozen=True)
class StepsPage:
    """What a projection would do at each event of a slice; `problem` says why nothing can be shown."""

    line: ProjectionLine
    logs: Sequence[str]
    request: StepsRequest | None
    found: Steps | None
    lines: Sequence[StepLine]
    previous: Mapping[str, Any] | None
    next: Mapping[str, Any] | None
    without_failed: Mapping[str, Any] | None
    problem: str | None = None
    http_status: int = 200

    @classmethod
    def load(
        cls, store: EventStore, home: Home, store_name: str, definitions: Mapping[str, Projection], name: str,
        args: Arguments,
    ) -> StepsPage:  # fmt: skip
        """The page for the arguments of `StepsRequest`; raises NotFound, also where no code defines the projection."""
        line = find_line(store, home, store_name, definitions, name)
        definition = line.definition
        if definition is None:
            hint = "It was started here, but the domain of this dashboard doesn't define it any more."
            raise NotFound("code for the projection", name, hint)
        request: StepsRequest | None = None
        try:
            request = StepsRequest.from_args(args, definition)
            return cls._show(store, line, definition, request)
        except tuple(_statuses) as error:
            status = next(status for kind, status in _statuses.items() if isinstance(error, kind))
            return cls(line, definition.logs, request, None, (), None, None, None, str(error), status)

    @classmethod
    def _show(cls, store: EventStore, line: ProjectionLine, definition: Projection, request: StepsRequest) -> StepsPage:
        wishes: dict[str, Any] = {"log": request.log, "limit": request.limit, "aggregate": request.aggregate}
        found = step_projection(
            store, definition, after=request.positions, started_from=request.started_from,
            without=[parse_place(place, definition) for place in request.without], most_folded=_most_folded,
            seconds=_most_seconds, **wishes,
        )  # fmt: skip
        earlier, failed, logs = find_previous(store, definition, found.after, **wishes), found.failed, definition.logs
        previous = request.arguments(earlier, logs) if earlier is not None else None
        if previous is not None and request.started_from is StepsFrom.live:
            del previous["from"]  # those rows know nothing of what came before
        left_out = None
        if failed is not None:
            left_out = request.arguments(found.reached, logs)
            left_out["without"] = [*request.without, failed.place]
        return cls(
            line, logs, request, found, [StepLine.make(step) for step in found.steps], previous,
            request.arguments(found.reached, logs) if found.has_more else None, left_out,
        )  # fmt: skip

    @property
    def place(self) -> str:
        """The positions that the slice comes after, in words."""
        return "" if self.found is None else places_in_words(self.found.after)

    @property
    def has_wishes(self) -> bool:
        """Whether only some of the events are shown."""
        return self.request is not None and (self.request.log is not None or self.request.aggregate is not None)

    @property
    def sentences(self) -> Sequence[str]:
        """What a person needs to know to judge what is shown."""
        return () if self.found is None else (self.found.beginning, *self.found.notes)
