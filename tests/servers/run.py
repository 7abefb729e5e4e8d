"""`run -- CMD…`: a command with servers that live as long as it does."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

from tests.servers.common import say
from tests.servers.session import (
    Stopped,
    ensure_installed,
    raise_on_signals,
    servers,
)

NOT_TESTED = "MYSQL NOT TESTED"


def run(command: list[str], durable: bool) -> int:
    """The exit status of the command, which ran with the TEST_… variables set.

    If there's no MySQL, the last line printed is `MYSQL NOT TESTED`.
    """
    raise_on_signals()
    mysql_missing = False
    try:
        mysql = ensure_installed()
        with servers(mysql, durable) as started:
            mysql_missing = started.mysql_missing
            # Tests that need MySQL skip only where this says that it couldn't be had.
            without_mysql = {"TEST_WITHOUT_MYSQL": "1"} if mysql_missing else {}
            status = _status_of(command, {**started.environment, **without_mysql})
    except Stopped as stopped:
        status = 128 + stopped.number
    if mysql_missing:
        print(NOT_TESTED, flush=True)
    return status


def _status_of(command: list[str], environment: dict[str, str]) -> int:
    # A variable of the caller's, of a server that isn't there, must not be taken for ours.
    inherited = {key: value for key, value in os.environ.items() if key != "TEST_MYSQL_URL"}
    try:
        # In our process group: Ctrl-C at the terminal reaches the command as well.
        process = subprocess.Popen(command, env={**inherited, **environment})
    except OSError as error:
        say(f"{command[0]} can't be run: {error.strerror}")
        return 127
    try:
        status = process.wait()
    except Stopped as stopped:
        _end(process, stopped.number)
        raise
    return status if status >= 0 else 128 - status


def _end(process: subprocess.Popen[bytes], number: int) -> None:
    """Return when the command is gone: it may clean up first, but not for long."""
    # At Ctrl-C it has most likely got its own SIGINT; a second would cut its cleaning short.
    # To SIGTERM Python programs don't react by cleaning up, so pytest gets SIGINT for it too.
    steps = [(signal.SIGINT, 10), (signal.SIGTERM, 5), (signal.SIGKILL, 5)]
    if number == signal.SIGINT:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
            return
    for step, seconds in steps:
        process.send_signal(step)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return
