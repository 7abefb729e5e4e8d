"""How a person operates a projection of Ecotone's: by console commands, since its rows are never written from here."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from webapp.adapters.ecotone.projections import feeder, v2_table
from webapp.store.source import ProjectionStatus


@dataclass(frozen=True, slots=True)
class Command:
    """What a command does, the command, and what to beware of."""

    does: str
    text: str
    beware: str = ""


def console_commands(status: ProjectionStatus) -> list[Command]:
    """The commands for one projection, to be run on a host of the application; `php bin/console`, or artisan."""
    name = shlex.quote(status.name)
    if status.name.startswith(feeder):
        endpoint = shlex.quote(status.name.removeprefix(feeder))
        return [Command("Feed its channel", f"bin/console ecotone:run {endpoint}")]
    if status.engine == "Ecotone V1":
        return _first_generation(name)
    return _second_generation(
        name, reads_several=len(status.progress) > 1, is_partitioned=status.partitions is not None
    )


def _first_generation(name: str) -> list[Command]:
    return [
        Command(
            "Run it to the head", f"bin/console ecotone:es:trigger-projection {name}",
            "Does nothing for a polling projection; its worker is ecotone:run with this name.",
        ),
        Command(
            "Rebuild it", f"bin/console ecotone:es:reset-projection {name}",
            "Empties the read model first, so readers see it growing. Emitted events are not emitted again.",
        ),
        Command(
            "Stop it", f"bin/console ecotone:es:stop-projection {name}",
            "Ends the loop that runs now; the next trigger runs it again.",
        ),
        Command(
            "Delete it", f"bin/console ecotone:es:delete-projection {name}",
            "Also drops its emitted stream. The next trigger makes it anew from the first event and emits again.",
        ),
    ]  # fmt: skip


def _second_generation(name: str, *, reads_several: bool, is_partitioned: bool) -> list[Command]:
    rebuild = "Resets and replays each aggregate in a transaction of its own." if is_partitioned else (
        "Resets and replays in one transaction: readers keep the old rows until it commits, if the reset deletes rows."
    )  # fmt: skip
    if reads_several and not is_partitioned:
        rebuild += " In release 1.326 a rebuild over several streams may stop early; trigger or backfill it after."
    return [
        Command(
            "Run it to the head", f"bin/console ecotone:projection:backfill {name}",
            "Starts it if need be. Events it emits are emitted.",
        ),
        Command("Rebuild it", f"bin/console ecotone:projection:rebuild {name}", rebuild),
        Command("Initialize it", f"bin/console ecotone:projection:init {name}"),
        Command(
            "Delete it", f"bin/console ecotone:projection:delete {name}",
            "Its emitted stream stays. The next trigger makes it anew from the first event and emits again.",
        ),
    ]  # fmt: skip


def state_rows(status: ProjectionStatus) -> tuple[str, dict[str, str]] | None:
    """The table with the rows of the projection's own state, and which rows of it; None where it is a single one."""
    return (v2_table, {"projection_name": status.name}) if status.partitions is not None else None
