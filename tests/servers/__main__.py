"""The command line: run, up, down."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.servers import background
from tests.servers.common import ServersError, say
from tests.servers.run import run


def arguments() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    commands = parser.add_subparsers(dest="action", required=True)
    running = commands.add_parser("run", help="start the servers, run a command, stop them")
    running.add_argument("command", nargs="+", metavar="CMD", help="after --")
    starting = commands.add_parser("up", help="start the servers in the background")
    starting.add_argument("--env-file", type=Path, help="default: .servers/env")
    stopping = commands.add_parser("down", help="stop what `up` started")
    keeping = commands.add_parser("keep", help="(what `up` leaves running)")
    keeping.add_argument("--mysql", type=Path)
    for command in (running, starting, keeping):
        command.add_argument(
            "--durable",
            action="store_true",
            help="with the servers' own durability settings (slower; for benchmarks)",
        )
    for command in (starting, stopping, keeping):
        command.add_argument(
            "--state",
            type=Path,
            default=background.STATE,
            help="folder that knows the running servers (default: .servers)",
        )
    return parser


def main() -> int:
    """The exit status."""
    given = arguments().parse_args()
    try:
        if given.action == "run":
            return run(given.command, given.durable)
        state = given.state.absolute()
        if given.action == "up":
            return background.up(state, given.env_file, given.durable)
        if given.action == "down":
            return background.down(state)
        return background.keep(state, given.mysql, given.durable)
    except ServersError as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
