"""What a person should know before a rebuild, and the form that asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from webapp.accounts.home import Home
from webapp.errors import NotFound
from webapp.projections import checkpoints
from webapp.projections.feed import settled_heads
from webapp.projections.projection import Projection
from webapp.queries.filters import Arguments
from webapp.queries.projections import ProjectionLine, find_line
from webapp.queries.replays import ReplayLine
from webapp.replay.jobs import list_replays
from webapp.store.native import EventStore

largest_batch = 100_000
longest_reason = 500
_past_runs = 20


@dataclass(frozen=True)
class RebuildPage:
    """How much there is to replay and how long that may take; `errors` says per field what can't be used."""

    line: ProjectionLine
    definition: Projection
    events: int
    past: ReplayLine | None
    batch_size: str
    reason: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(
        cls, store: EventStore, home: Home, store_name: str, definitions: Mapping[str, Projection], name: str
    ) -> RebuildPage:
        """The page before a rebuild; raises NotFound, also where no code defines the projection any more."""
        line = find_line(store, home, store_name, definitions, name)
        definition = line.definition
        if definition is None:
            hint = "It was started here, but the domain of this dashboard doesn't define it any more."
            raise NotFound("code for the projection", name, hint)
        runs = [ReplayLine(job) for job in list_replays(home, store_name, name, limit=_past_runs)]
        past = next((run for run in runs if run.status == "done" and run.average and not run.job.is_verification), None)
        return cls(line, definition, _count_events(store, definition), past, str(definition.batch_size))

    def filled(self, form: Arguments) -> RebuildPage:
        """The page with what a person typed, and what of it can't be used."""
        batch_size, reason = (form.get("batch_size") or "").strip(), (form.get("reason") or "").strip()
        errors = {}
        is_number = batch_size.isascii() and batch_size.isdigit() and len(batch_size) < 10
        if not is_number or not 1 <= int(batch_size) <= largest_batch:
            errors["batch_size"] = f"“{batch_size}” is no batch size. Give a whole number from 1 to {largest_batch:,}."
        if len(reason) > longest_reason:
            errors["reason"] = f"That is {len(reason):,} characters. Say it in at most {longest_reason}."
        return replace(self, batch_size=batch_size, reason=reason, errors=errors)

    @property
    def seconds(self) -> float | None:
        """About how long it takes, by the last run that ended; None if there was none."""
        return None if self.past is None or not self.past.average else self.events / self.past.average

    @property
    def serving(self) -> int | None:
        """The generation that readers see meanwhile, None before there is one."""
        return self.line.status.generation


def _count_events(store: EventStore, definition: Projection) -> int:
    """How many events there are to replay: up to the settled heads, but never past what was emitted."""
    if not definition.emits:
        return sum(settled_heads(store, definition).values())
    with store.database.reading() as connection:
        row = checkpoints.find_projection(connection, definition.name)
        serving = row and checkpoints.find_checkpoint(connection, definition.name, row.generation)
    return sum(serving.positions.values()) if serving else 0
