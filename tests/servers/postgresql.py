"""PostgreSQL from the distribution's package, for one run."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.servers.common import Server, ServersError


def version_of(folder: Path) -> tuple[int, ...]:
    """The numbers of a folder named by a version, to sort by."""
    return tuple(int(part) for part in folder.name.split(".") if part.isdigit())


def binaries() -> Path | None:
    """The folder of the newest installed server's programs, or None.

    Debian keeps them off PATH; what PATH has as `postgres` may be anything.
    """
    found = [
        folder
        for folder in Path("/usr/lib/postgresql").glob("*")
        if (folder / "bin/postgres").exists() and (folder / "bin/initdb").exists()
    ]
    return max(found, key=version_of) / "bin" if found else None


class PostgreSQL(Server):
    """A PostgreSQL whose user `test` is a superuser."""

    name = "PostgreSQL"
    variable = "TEST_POSTGRESQL_URL"
    # "Fast shutdown": SIGTERM would wait till the last client goes by itself.
    stop_signal = signal.SIGINT

    def preparation(self) -> list[str]:
        """The command that makes the data folder."""
        password = self.write("password", self.password)
        return [
            self._program("initdb"),
            f"--pgdata={self.folder / 'data'}",
            "--username=test",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-instructions",
            *([] if self.durable else ["--no-sync"]),
        ]

    def command(self) -> list[str]:
        """The server's command line."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            # No socket file: its path has a length limit that a long TMPDIR would break.
            "unix_socket_directories": "",
            "max_connections": "200",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        command = [self._program("postgres"), "-D", str(self.folder / "data")]
        for key, value in settings.items():
            command += ["-c", f"{key}={value}"]
        return command

    def ask(self) -> None:
        """Return if it answers a query."""
        import psycopg

        with psycopg.connect(self.url(), connect_timeout=5) as connection:
            connection.execute("SELECT 1")

    def url(self) -> str:
        """Where and as whom tests connect."""
        return f"postgresql://test:{self.password}@127.0.0.1:{self.port}/postgres"

    def _program(self, name: str) -> str:
        folder = binaries()
        if folder is None:
            raise ServersError(
                "PostgreSQL's server is missing from /usr/lib/postgresql/*/bin;"
                " install it with: apt-get install postgresql"
            )
        return str(folder / name)
