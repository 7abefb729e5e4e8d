"""`up` and `down`: servers that outlive the shell that started them, for developers.

A keeper process starts them, holds a lock as long as they run, and stops them at SIGTERM.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from tests.servers.common import ServersError, say
from tests.servers.run import NOT_TESTED
from tests.servers.session import Stopped, ensure_installed, raise_on_signals, servers

START_SECONDS = 300.0
STOP_SECONDS = 60.0
REPOSITORY = Path(__file__).resolve().parents[2]
STATE = REPOSITORY / ".servers"


def up(state: Path, env_file: Path | None, durable: bool) -> int:
    """0 with the servers running and their variables in the file (default: STATE/env)."""
    state.mkdir(parents=True, exist_ok=True)
    (state / ".gitignore").write_text("*\n")
    env_file = env_file or state / "env"
    if _is_running(state):
        say("The servers are running already; `python -m tests.servers down` stops them.")
    else:
        mysql = ensure_installed()
        _start_keeper(state, mysql, durable)
    text = (state / "variables").read_text()
    if not env_file.exists() or env_file.read_text() != text:
        env_file.touch(mode=0o600)
        env_file.write_text(text)
    print(f"Running. Use them with: . {env_file}")
    if "TEST_MYSQL_URL=" not in text:
        print(NOT_TESTED, flush=True)
    return 0


def down(state: Path) -> int:
    """0 with no server running, and no STATE/env that would name one."""
    (state / "env").unlink(missing_ok=True)
    if not _is_running(state):
        say("No servers are running.")
        return 0
    number = _keeper(state)
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGTERM)
    _wait(lambda: not _is_running(state), STOP_SECONDS)
    if _is_running(state):
        raise ServersError(f"The keeper of the servers (process {number}) did not stop; see {state / 'log'}.")
    return 0


def keep(state: Path, mysql: Path | None, durable: bool) -> int:
    """0 after SIGTERM; until then the servers run. This is the keeper process itself."""
    with (state / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServersError("The servers are running already.") from error
        raise_on_signals()
        variables = state / "variables"
        try:
            _write_number(lock)
            with servers(mysql, durable) as started:
                lines = (f"export {key}={value}\n" for key, value in started.environment.items())
                new = state / "variables.new"
                new.touch(mode=0o600)
                new.write_text("".join(lines))
                new.rename(variables)  # complete or not there: `up` waits for it
                while True:
                    signal.pause()
        except Stopped:
            return 0
        finally:
            variables.unlink(missing_ok=True)


def _start_keeper(state: Path, mysql: Path | None, durable: bool) -> None:
    (state / "variables").unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.servers", "keep", "--state", str(state)]
    command += ["--mysql", str(mysql)] if mysql is not None else []
    command += ["--durable"] if durable else []
    with (state / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    ready = (state / "variables").exists
    _wait(lambda: ready() or process.poll() is not None, START_SECONDS)
    if not ready():
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        raise ServersError(f"The servers did not start:\n{(state / 'log').read_text(errors='replace')[-4000:]}")


def _is_running(state: Path) -> bool:
    """True if a keeper holds the lock; a process number alone could be another's by now."""
    try:
        with (state / "lock").open("a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False


def _write_number(lock: IO[str]) -> None:
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()


def _keeper(state: Path) -> int:
    return int((state / "lock").read_text())


def _wait(done: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.1)
