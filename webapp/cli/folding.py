"""The state of an aggregate folded from all its events, however many, for a terminal."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from webapp.cli.common import printable, say
from webapp.cli.reading import show_time
from webapp.domain import load_domain
from webapp.errors import NotFound, ProjectionistError
from webapp.queries.states import FieldsAsLastWritten, Folding
from webapp.queries.values import to_plain
from webapp.store.events import RecordedEvent, utc


@dataclass(frozen=True, slots=True)
class Folded:
    """A state with the last event that went into it and what folded it."""

    state: Any
    last: RecordedEvent
    folded_by: str

    @property
    def record(self) -> dict[str, Any]:
        """All of it as one JSON object."""
        last = self.last
        return {
            "log": last.log, "aggregate_type": last.aggregate_type, "aggregate_id": last.aggregate_id,
            "version": last.version, "recorded_at": utc(last.recorded_at), "folded_by": self.folded_by,
            "state": self.state,
        }  # fmt: skip


def folding_of(type_: str, domain_name: str | None) -> Folding:
    """What folds aggregates of a type: the domain's code, else the fields as last written. Raises InvalidRequest."""
    if domain_name is None:
        return FieldsAsLastWritten()
    found = load_domain(domain_name).aggregates.get(type_)
    if found is None:
        say(f"{domain_name} folds no aggregate type {printable(type_)}; the fields are shown as last written.")
        return FieldsAsLastWritten()
    return found


def fold_all(
    history: Iterator[RecordedEvent], folding: Folding, *, version: int | None = None, at: str | None = None
) -> Folded:
    """The state at a version or a time, else at the end. Raises NotFound where it wasn't yet, or not so far."""
    until = dt.datetime.fromisoformat(at) if at is not None else None
    state: Any = _evolved(folding.initial, "when it made the first state")
    last: RecordedEvent | None = None
    passed_over = []
    for number, event in enumerate(history, 1):
        if version is not None and (event.version or number) > version:
            break
        if until is not None and event.recorded_at > until:
            if last is None:
                raise ProjectionistError(f"It did not exist then: its first event came at {utc(event.recorded_at)}.")
            break
        if isinstance(folding, FieldsAsLastWritten):
            try:
                state = folding.evolve(state, event)
            except ValueError:
                passed_over.append(event.version or number)
        else:
            state = _evolved(folding.evolve, f"at version {event.version} ({event.type})", state, event)
        last = event
    if last is None or (version is not None and (last.version or 0) < version):
        raise NotFound("version", str(version), f"It has versions up to {last.version if last else 0}.")
    if passed_over:
        versions = ", ".join(map(str, passed_over[:20])) + (" and more" if len(passed_over) > 20 else "")
        say(f"Passed over, since their payload is not JSON or nested too deep to be decoded: versions {versions}.")
    return Folded(to_plain(state), last, folding.name)


def _evolved(code: Any, where: str, *arguments: Any) -> Any:
    try:
        return code(*arguments)
    except ProjectionistError:
        raise
    except Exception as error:  # it's a stranger's code, and people need to know what it said
        raise ProjectionistError(f"The aggregate code raised {where}: {type(error).__name__}: {error}") from error


def print_state(folded: Folded) -> None:
    """The state as JSON for people."""
    last = folded.last
    at = show_time(last.recorded_at)
    click.echo(printable(f"{last.stream} at version {last.version}, {at} UTC, log {last.log} ({folded.folded_by})"))
    text = json.dumps(folded.state, ensure_ascii=False, indent=2, default=str)
    click.echo("\n".join(printable(line) for line in text.split("\n")))
