"""PgBouncer in transaction mode before the PostgreSQL of a run, for a test that asks."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from tests.servers.common import Server, ServersError, stop_all

PROGRAM = Path("/usr/sbin/pgbouncer")


def installed() -> bool:
    """Whether Debian's package is there."""
    return PROGRAM.exists()


class PgBouncer(Server):
    """A pooler that hands each transaction to any of a few sessions of the server behind it."""

    name = "PgBouncer"
    variable = "TEST_PGBOUNCER_URL"

    def __init__(self, folder: Path, server: sa.URL) -> None:
        super().__init__(folder, durable=False)
        self._server = server

    def preparation(self) -> list[str]:
        """Nothing: its settings are written with its port."""
        return ["true"]

    def command(self) -> list[str]:
        """The server's command line."""
        if not installed():
            raise ServersError("PgBouncer is missing; install it with: apt-get install pgbouncer")
        server = self._server
        settings = self.write(
            f"{self.port}.ini",
            f"[databases]\n* = host={server.host} port={server.port} user={server.username} password={server.password}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 200\n"
            "ignore_startup_parameters = extra_float_digits\n",
        )
        return [str(PROGRAM), str(settings)]

    def ask(self) -> None:
        """Return if it answers a query."""
        import psycopg

        with psycopg.connect(self.url(), connect_timeout=5, autocommit=True) as connection:
            connection.execute("SELECT 1")

    def url(self) -> str:
        """Where tests connect."""
        server = self._server
        return f"postgresql://{server.username}:any@127.0.0.1:{self.port}/{server.database}"


@contextlib.contextmanager
def pooled(server: sa.URL) -> Iterator[str]:
    """The URL of a pooler before a database, stopped at the end."""
    folder = Path(tempfile.mkdtemp(prefix="projectionist-pgbouncer-"))
    folder.chmod(0o755)  # the account that it runs as must pass through
    pooler = PgBouncer(folder / "pgbouncer", server)
    try:
        pooler.start()
        pooler.wait_ready()
        yield pooler.url()
    finally:
        stop_all([pooler])
        shutil.rmtree(folder)
