"""The `projectionist` command: parses, then calls what the dashboard calls."""

from __future__ import annotations

import importlib
import io
import sys
from typing import Any

import click

from webapp import __version__
from webapp.cli.common import leave_stdout, say
from webapp.errors import InvalidRequest, ProjectionistError

_commands = {
    "audit": "webapp.cli.audit:audit",
    "copy": "webapp.cli.copy:copy",
    "demo": "webapp.cli.serving:demo",
    "events": "webapp.cli.events:events",
    "history": "webapp.cli.events:history",
    "inspect": "webapp.cli.inspect:inspect",
    "migrate": "webapp.cli.migrate:migrate",
    "projections": "webapp.cli.projections:projections",
    "serve": "webapp.cli.serving:serve",
    "state": "webapp.cli.events:state",
    "users": "webapp.cli.users:users",
    "worker": "webapp.cli.serving:worker",
}


class _LazyGroup(click.Group):
    """Imports a command's module when it's asked for, so that small commands start quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = _commands.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; it ends well when who reads its output has enough, where click would fail."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            leave_stdout()
            return 0


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="projectionist")
def projectionist() -> None:
    """See and operate event-sourced systems: browse histories, run projections, take audit trails."""


def main() -> None:
    """Runs the command; exit status 0 done, 1 the thing failed or was not found, 2 wrong usage."""
    try:
        # Without its standalone mode click returns the status of a command that left early.
        status = projectionist.main(standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.exceptions.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except click.ClickException as error:
        words = io.StringIO()
        error.show(words)
        say(words.getvalue().rstrip("\n"))
        sys.exit(error.exit_code)
    except ProjectionistError as error:
        say(str(error))
        sys.exit(2 if isinstance(error, InvalidRequest) else 1)
    except Exception as error:  # a bug, which is no reason to throw a traceback at who only used the command
        if sys.flags.dev_mode:
            raise
        detail = f"{type(error).__name__}: {error}".partition("\n")[0]
        say(f"Something went wrong that is not your fault: {detail}. With PYTHONDEVMODE=1 it shows where; report it.")
        sys.exit(1)
