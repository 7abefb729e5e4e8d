"""The projections of a store, and one projection with all that is known of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webapp.accounts.home import Home
from webapp.adapters.ecotone.operating import Command, console_commands, state_rows
from webapp.errors import InvalidRequest, NotFound
from webapp.projections import checkpoints
from webapp.projections.projection import Projection
from webapp.queries.filters import Arguments
from webapp.queries.logs import as_ranges
from webapp.queries.read_models import Place, RowsPage
from webapp.queries.replays import ReplayLine
from webapp.queries.texts import ShownText, show_text
from webapp.replay.jobs import list_replays
from webapp.store.native import EventStore
from webapp.store.source import Capability, EventSource, Health, Progress, ProjectionStatus

_history_rows = 20
_most_gaps = 20
_moving = frozenset({Health.running, Health.rebuilding})


@dataclass(frozen=True)
class ProjectionLine:
    """One projection: what its store knows, what the code knows, and the replay that is under way.

    `is_started` is False where only the code knows it; `is_ours` says that it runs here rather than in a framework.
    """

    status: ProjectionStatus
    definition: Projection | None
    replay: ReplayLine | None
    is_started: bool
    is_ours: bool

    @property
    def name(self) -> str:
        """Its name."""
        return self.status.name

    @property
    def is_stale(self) -> bool:
        """Whether what its readers see was built by other code than is running now."""
        built_by = self.status.details.get("fingerprint")
        return self.definition is not None and built_by not in (None, self.definition.fingerprint())

    @property
    def is_orphan(self) -> bool:
        """Whether its code is gone: it was started here, and the domain doesn't define it."""
        return self.is_ours and self.definition is None

    @property
    def is_problem(self) -> bool:
        """Whether a person should look."""
        return self.status.health.is_problem or (self.replay is not None and self.replay.is_problem)

    @property
    def is_moving(self) -> bool:
        """Whether its figures are changing by themselves just now."""
        return self.status.health in _moving or (self.replay is not None and self.replay.is_moving)

    @property
    def badge(self) -> str:
        """Its health in a word or two: “failed at 12”, “behind”."""
        failure = self.status.failure
        if self.status.health is Health.failed and failure is not None and failure.position is not None:
            return f"failed at {failure.position:,}"
        return self.status.health.value

    @property
    def lag(self) -> str:
        """How much is after its checkpoints, in positions."""
        if self.status.partitions is not None:
            behind = self.status.partitions_behind or 0
            return f"{behind:,} of {self.status.partitions:,}"
        return f"{self.status.lag:,}" if self.status.progress else "–"

    @property
    def pending(self) -> str | None:
        """How many events the lag holds, where that is another number; of what it is, where it isn't positions."""
        if self.status.partitions is not None:
            return "partitions"
        counts = [progress.pending for progress in self.status.progress]
        number = sum(count.number for count in counts if count is not None)
        if not counts or None in counts or number == self.status.lag:
            return None
        is_exact = all(count.exact for count in counts if count is not None)
        return f"{number:,}{'' if is_exact else '+'} {'event' if number == 1 and is_exact else 'events'}"

    @property
    def position(self) -> str:
        """Where it stands, if it reads one log; else how many it reads."""
        progress = self.status.progress
        return f"{progress[0].position:,}" if len(progress) == 1 else f"{len(progress):,} logs" if progress else "–"


@dataclass(frozen=True)
class ProjectionsPage:
    """All projections of a store, those with problems first."""

    lines: Sequence[ProjectionLine]
    can_run: bool

    @classmethod
    def load(
        cls, source: EventSource, home: Home, store: str, definitions: Mapping[str, Projection], *, is_home: bool
    ) -> ProjectionsPage:
        """The page of a store; the store that is home itself has no projections of the domain."""
        can_run = Capability.rebuild in source.capabilities and not is_home
        return cls(read_lines(source, home, store, definitions if can_run else {}, can_run), can_run)

    @property
    def problems(self) -> int:
        """How many need a person's eye."""
        return sum(line.is_problem for line in self.lines)

    @property
    def is_moving(self) -> bool:
        """Whether figures of the page are changing by themselves just now."""
        return any(line.is_moving for line in self.lines)


def read_lines(
    source: EventSource, home: Home, store: str, definitions: Mapping[str, Projection], is_ours: bool
) -> list[ProjectionLine]:
    """Every projection that the store or the code knows: problems first, then those behind, then by name."""
    under_way = {job.projection: ReplayLine(job) for job in list_replays(home, store, only_active=True, limit=200)}
    known = {status.name: status for status in source.projections()}
    lines = [
        ProjectionLine(status, definitions.get(name), under_way.get(name), is_started=True, is_ours=is_ours)
        for name, status in known.items()
    ]
    for name, definition in definitions.items():
        if name not in known:
            status = ProjectionStatus(name, Health.not_started, "The code defines it, and nobody has started it here.")
            lines.append(ProjectionLine(status, definition, under_way.get(name), is_started=False, is_ours=is_ours))
    return sorted(lines, key=lambda line: (not line.is_problem, not line.is_started, line.status.lag == 0, line.name))


def find_line(
    source: EventSource, home: Home, store: str, definitions: Mapping[str, Projection], name: str
) -> ProjectionLine:
    """One projection; raises NotFound with the names there are."""
    is_ours = Capability.rebuild in source.capabilities
    lines = read_lines(source, home, store, definitions if is_ours else {}, is_ours)
    for line in lines:
        if line.name == name:
            return line
    known = ", ".join(line.name for line in lines[:12]) or "none"
    raise NotFound("projection", name, f"Known here: {known}{' …' if len(lines) > 12 else ''}.")


@dataclass(frozen=True)
class ProjectionPage:
    """One projection: how it stands, what it keeps, the rows it fills, its replays."""

    line: ProjectionLine
    can_run: bool
    state: ShownText | None
    skips: Sequence[Any]
    history: Sequence[ReplayLine]
    tables: Sequence[str]
    rows: RowsPage | None
    commands: Sequence[Command]
    problem: str | None = None

    @classmethod
    def load(
        cls, source: EventSource, home: Home, store: str, definitions: Mapping[str, Projection], name: str,
        args: Arguments, *, is_home: bool = False,
    ) -> ProjectionPage:  # fmt: skip
        """The page of a projection for the arguments table, after and before; raises NotFound.

        A table that isn't one of its own or an unknown place is said in `problem`; the rest is shown all the same.
        """
        line = find_line(source, home, store, {} if is_home else definitions, name)
        special = state_rows(line.status) if source.layout == "ecotone" else None
        tables = list(line.status.tables) if line.is_ours else list(source.read_model_tables())
        if special is not None:
            tables.insert(0, special[0])
        rows, problem = None, None
        try:
            rows = _rows(source, tables, special, args)
        except (InvalidRequest, NotFound) as error:
            problem = str(error)
        return cls(
            line, line.is_ours and not is_home, _state_text(line.status.state), _skips(source, line),
            [ReplayLine(job) for job in list_replays(home, store, name, limit=_history_rows)], tables, rows,
            console_commands(line.status) if source.layout == "ecotone" else (), problem,
        )  # fmt: skip

    @property
    def http_status(self) -> int:
        """The HTTP status that fits: 400 if something in the address can't be used."""
        return 400 if self.problem else 200

    @property
    def may_be_of_others(self) -> bool:
        """Whether the rows shown may be another projection's, since nothing tells whose their table is."""
        special = state_rows(self.line.status)
        is_its_state = special is not None and self.rows is not None and self.rows.table == special[0]
        return not self.line.is_ours and not is_its_state

    @property
    def generations(self) -> str | None:
        """Which builds of it there are, in words."""
        status = self.line.status
        if status.generation is None:
            return None
        others = [number for number in status.details.get("generations", []) if number != status.generation]
        kept = [f"{number}" for number in others if number < status.generation]
        built = [f"{number}" for number in others if number > status.generation]
        words = [f"{status.generation} serves"]
        words += [f"{', '.join(kept)} kept for going back"] if kept else []
        words += [f"{', '.join(built)} unfinished"] if built else []
        return "; ".join(words)

    @property
    def more_details(self) -> list[tuple[str, str]]:
        """What else the source says of it, as label and text."""
        own = ("fingerprint", "generations", "owner", "done")
        found = self.line.status.details.items()
        return [(name[:1].upper() + name[1:], _words(value)) for name, value in found if name not in own]


def gaps_in_words(progress: Progress) -> str | None:
    """Which numbers a projection still waits for, None if it waits for none."""
    if not progress.gaps:
        return None
    ranges = as_ranges(progress.gaps)
    more = f" and {len(ranges) - _most_gaps:,} more" if len(ranges) > _most_gaps else ""
    whose = "a number of a writer that was" if len(progress.gaps) == 1 else "numbers of writers that were"
    return (
        f"It passed {', '.join(ranges[:_most_gaps])}{more}, where no event stood yet: {whose} still at work or rolled "
        "back. What appears there later is read after all."
    )


def _rows(
    source: EventSource, tables: Sequence[str], special: tuple[str, dict[str, str]] | None, args: Arguments
) -> RowsPage | None:
    chosen = args.get("table") or (tables[0] if tables else None)
    if chosen is None:
        return None
    if chosen not in tables:
        raise NotFound("table of this projection", chosen, f"There is: {', '.join(tables) or 'none'}.")
    where = special[1] if special is not None and chosen == special[0] else None
    return RowsPage.load(source, chosen, Place.from_args(args), where)


def _skips(source: EventSource, line: ProjectionLine) -> Sequence[Any]:
    if not line.status.skipped or not isinstance(source, EventStore):
        return []
    with source.database.reading() as connection:
        return checkpoints.list_skips(connection, line.name)


def _state_text(state: Any) -> ShownText | None:
    if state is None or state in ({}, []):
        return None
    return show_text(state if isinstance(state, str | bytes) else json.dumps(state, ensure_ascii=False, default=str))


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_words(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_words(one) for one in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
