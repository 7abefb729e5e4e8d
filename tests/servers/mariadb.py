"""MariaDB from the distribution's package, for one run."""

from __future__ import annotations

import shutil

from tests.servers.common import CLEAN_ENVIRONMENT, ServersError, give
from tests.servers.mysql_like import MySQLLike

# The packages mariadb-server-core, mariadb-client-core and mariadb-client (the dumps), which have no system service.
PROGRAMS = ("mariadbd", "mariadb-install-db", "my_print_defaults", "mariadb-dump")


def program(name: str) -> str | None:
    """The path of one of MariaDB's programs, or None."""
    return shutil.which(name, path=CLEAN_ENVIRONMENT["PATH"])


def installed() -> bool:
    """True if the server and what makes its data folder are there."""
    return all(program(name) is not None for name in PROGRAMS)


class MariaDB(MySQLLike):
    """A MariaDB whose user `test` may do everything."""

    name = "MariaDB"
    variable = "TEST_MARIADB_URL"
    scheme = "mariadb"

    def preparation(self) -> list[str]:
        """The command that makes the data folder."""
        temporary = self.folder / "tmp"
        temporary.mkdir(mode=0o700)
        give(temporary)
        self.init_file()
        return [
            self._program("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--tmpdir={temporary}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ]

    def command(self) -> list[str]:
        """The server's command line."""
        return [self._program("mariadbd"), "--no-defaults", *self.settings()]

    def _program(self, name: str) -> str:
        found = program(name)
        if found is None:
            raise ServersError(
                f"MariaDB's {name} is missing; install it with: apt-get install mariadb-server-core mariadb-client-core mariadb-client"
            )
        return found
