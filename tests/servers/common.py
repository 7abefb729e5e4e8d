"""What every server here shares: errors, the account they run as, ports, start and stop."""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import secrets
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

READY_SECONDS = 120.0
STOP_SECONDS = 20.0
TRIES = 4

# Nothing of the caller's PGDATA, MYSQL_HOME, LC_ALL and the like may reach a server; English
# messages are needed because a taken port is recognised by its message.
CLEAN_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
}


class ServersError(Exception):
    """A sentence that tells the person at the keyboard what is wrong and what to do."""


class NotAvailable(ServersError):
    """A sentence that tells why a server that may be left out can't be had here."""


def say(text: str) -> None:
    """Print a line of ours on standard error, apart from what the command prints."""
    with contextlib.suppress(OSError):
        print(f"tests.servers: {text}", file=sys.stderr, flush=True)


@functools.cache
def account() -> pwd.struct_passwd | None:
    """The unprivileged account that the servers run as, or None to run them as ourselves.

    Database servers refuse to run as root, so root lends them an account that exists.
    """
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "mysql", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServersError(
        "The servers can't run as root and there is no account postgres, mysql or nobody;"
        " create one with: useradd --system postgres"
    )


def as_account(command: list[str], dies_with_us: str | None = None) -> list[str]:
    """The command wrapped to run unprivileged and, given a signal, to get it when we die.

    The second is for the case in which we are killed with SIGKILL and can't clean up.
    """
    wrapper = ["setpriv"]
    user = account()
    if user is not None:
        wrapper += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups"]
    if dies_with_us is not None:
        wrapper += ["--pdeathsig", dies_with_us]
    return [*wrapper, "--", *command]


def give(path: Path) -> None:
    """Let the servers' account own the path."""
    user = account()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def free_port() -> int:
    """A loopback port that was free a moment ago; Server.start tries again if it's taken."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server(ABC):
    """One throwaway server: prepare(), wait_prepared(), start(), wait_ready(), url(); at the end stop_all()."""

    name: str
    variable: str
    stop_signal: signal.Signals = signal.SIGTERM

    def __init__(self, folder: Path, durable: bool) -> None:
        self.folder = folder
        self.durable = durable
        self.password = secrets.token_hex(12)
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._stop_with = self.stop_signal
        folder.mkdir(mode=0o700)
        give(folder)

    @property
    def log(self) -> Path:
        """The file that has what the server printed."""
        return self.folder / "log"

    @abstractmethod
    def preparation(self) -> list[str]:
        """The command that makes the data folder; files that it reads are there by then."""

    @abstractmethod
    def command(self) -> list[str]:
        """The server's command line for self.port."""

    @abstractmethod
    def ask(self) -> None:
        """Return if the server answers a query; raise whatever the client raises if not."""

    @abstractmethod
    def url(self) -> str:
        """Where and as whom tests connect."""

    def write(self, name: str, text: str) -> Path:
        """The path of a new file that the server (and nobody else but root) can read."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
        give(path)
        return path

    def prepare(self) -> None:
        """Start the preparation; the other servers' runs beside it, till wait_prepared()."""
        # SIGKILL since MySQL's preparation takes no notice of SIGTERM.
        self._spawn(self.preparation(), signal.SIGKILL)

    def wait_prepared(self) -> None:
        """Return once the data folder is made; an error tells what the preparation printed."""
        assert self.process is not None
        try:
            status = self.process.wait(READY_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ServersError(f"{self.name} was not prepared within {READY_SECONDS:.0f} seconds.") from error
        if status != 0:
            raise ServersError(f"{self.name} could not be prepared (status {status}):\n{self._end_of_log()}")
        self.process = None

    def start(self) -> None:
        """Start the server on a free port."""
        self.port = free_port()
        self._spawn(self.command(), self.stop_signal)

    def kill(self) -> None:
        """End the server as a power cut would: with no chance to tidy up."""
        assert self.process is not None
        kill_group(self.process)
        self.process.wait()

    def restart(self) -> None:
        """Start a killed server again, on its port; return once it answers."""
        end = time.monotonic() + READY_SECONDS
        while True:
            # What is left of the killed one may keep its memory for a moment; then the new one ends at once.
            if self.process is None or self.process.poll() is not None:
                self._spawn(self.command(), self.stop_signal)
            try:
                self.ask()
                return
            except Exception as error:  # whatever its client raises while it's still starting
                if time.monotonic() > end:
                    raise ServersError(f"{self.name} did not come back ({error}):\n{self._end_of_log()}") from error
            time.sleep(0.1)

    def _spawn(self, command: list[str], stop_with: signal.Signals) -> None:
        # Never call this from another thread: the kernel sends the "parent died" signal when
        # the *thread* that started a child ends.
        self._stop_with = stop_with
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                as_account(command, stop_with.name.removeprefix("SIG")),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=CLEAN_ENVIRONMENT,
                # Else Ctrl-C would reach it too, before the tests are done with it.
                start_new_session=True,
            )

    def _end_of_log(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    def end(self) -> None:
        """Ask the process to stop."""
        if self.process is None or self.process.poll() is not None:
            return
        if self._stop_with == signal.SIGKILL:
            kill_group(self.process)
        else:
            self.process.send_signal(self._stop_with)

    def wait_ready(self) -> None:
        """Return once the server answers; a server that lost its port to another starts anew."""
        end = time.monotonic() + READY_SECONDS
        tries = 1
        while True:
            assert self.process is not None
            status = self.process.poll()
            if status is not None:
                text = self.log.read_text(errors="replace")
                if "in use" not in text or tries == TRIES:
                    raise ServersError(
                        f"{self.name} ended with status {status} while starting. The end of its log:\n{text[-3000:]}"
                    )
                tries += 1
                self.log.unlink()
                self.start()
            try:
                self.ask()
                return
            except ImportError as error:
                raise ServersError(
                    f"{self.name} can't be asked since {error.name} is missing; run this with"
                    " the Python that has the project's extra [test]: make .venv/.installed"
                ) from error
            except Exception as error:  # whatever its client raises while it's still starting
                if time.monotonic() > end:
                    raise ServersError(
                        f"{self.name} did not answer within {READY_SECONDS:.0f} seconds"
                        f" ({error}). The end of its log:\n"
                        f"{self._end_of_log()}"
                    ) from error
            time.sleep(0.1)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the process, which leads a session of its own, and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def stop_all(servers: Sequence[Server]) -> None:
    """Stop the servers, all at once: politely first, by force after a grace time."""
    for server in servers:
        server.end()
    end = time.monotonic() + STOP_SECONDS
    for server in servers:
        if server.process is None:
            continue
        try:
            server.process.wait(max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            kill_group(server.process)
            server.process.wait()
