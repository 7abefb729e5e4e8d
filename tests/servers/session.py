"""All servers together: installed, started, told as environment variables, stopped, removed."""

from __future__ import annotations

import contextlib
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import apt, chromium
from tests.servers.common import NotAvailable, Server, ServersError, account, say, stop_all
from tests.servers.mariadb import MariaDB
from tests.servers.mysql import MySQL
from tests.servers.mysql_fetch import mysql_root
from tests.servers.postgresql import PostgreSQL

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """We were told to stop by a signal; a BaseException so that no `except Exception` eats it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def raise_on_signals() -> None:
    """Make the first Ctrl-C, SIGTERM or closing of the terminal raise Stopped in the main thread."""

    def stop(number: int, _frame: object) -> None:
        # What follows is cleaning up, of bounded length; a second Ctrl-C would leave servers behind.
        ignore_signals()
        raise Stopped(number)

    for number in SIGNALS:
        signal.signal(number, stop)


def ignore_signals() -> None:
    """Let no signal interrupt what follows."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@dataclass
class Started:
    """The environment for the tests, and what's missing in it."""

    environment: dict[str, str] = field(default_factory=dict)
    mysql_missing: bool = True


def ensure_installed() -> Path | None:
    """The folder of MySQL, or None (with the reason printed); all others are there then."""
    apt.ensure_installed()
    try:
        return mysql_root()
    except NotAvailable as error:
        say(f"MySQL is left out. {error}")
        return None


@contextlib.contextmanager
def servers(mysql: Path | None, durable: bool) -> Iterator[Started]:
    """What was started; everything is stopped and removed at the end, however that comes.

    From the end on signals are ignored: the program is about to leave.
    """
    folder = Path(tempfile.mkdtemp(prefix="projectionist-"))
    made: list[Server] = []
    try:
        # The servers' account must pass through; each server's own folder is closed.
        folder.chmod(0o755)
        _check_reachable(folder)
        made.append(PostgreSQL(folder / "postgresql", durable))
        made.append(MariaDB(folder / "mariadb", durable))
        if mysql is not None:
            with _optional():
                made.append(MySQL(folder / "mysql", durable, mysql))
        _start(made)
        started = Started({server.variable: server.url() for server in made})
        started.mysql_missing = not any(isinstance(server, MySQL) for server in made)
        browser = chromium.executable()
        if browser is None:
            raise ServersError("Chromium is missing; install it with: apt-get install chromium")
        started.environment[chromium.VARIABLE] = browser
        yield started
    finally:
        ignore_signals()
        stop_all(made)
        shutil.rmtree(folder, ignore_errors=True)


def _start(made: list[Server]) -> None:
    """Start the servers and wait till they answer; MySQL alone is taken out if it doesn't."""
    for server in made:
        server.prepare()
    for server in list(made):
        with _optional(server, made):
            server.wait_prepared()
            server.start()
    for server in list(made):
        with _optional(server, made):
            server.wait_ready()


@contextlib.contextmanager
def _optional(server: Server | None = None, made: list[Server] | None = None) -> Iterator[None]:
    try:
        yield
    except ServersError as error:
        if server is not None and not isinstance(server, MySQL):
            raise
        say(f"MySQL is left out. {error}")
        if server is not None and made is not None:
            stop_all([server])
            made.remove(server)


def _check_reachable(folder: Path) -> None:
    user = account()
    if user is None:
        return
    for parent in folder.parents:
        status = parent.stat()
        if not status.st_mode & 0o001 and status.st_uid != user.pw_uid:
            raise ServersError(
                f"The account {user.pw_name}, which runs the servers, can't pass through"
                f" {parent}; set TMPDIR to a folder that is open to all, like /tmp."
            )
