"""Real MySQL from a private folder (see mysql_fetch), for one run."""

from __future__ import annotations

from pathlib import Path

from tests.servers.common import NotAvailable, give
from tests.servers.mysql_like import MySQLLike


class MySQL(MySQLLike):
    """A MySQL whose user `test` may do everything."""

    name = "MySQL"
    variable = "TEST_MYSQL_URL"
    scheme = "mysql"

    def __init__(self, folder: Path, durable: bool, root: Path) -> None:
        super().__init__(folder, durable)
        self.root = root
        # Its libraries are newer than the machine's, so it needs its own loader as well.
        loaders = sorted(root.glob("usr/lib*/ld-linux-*.so.*"))
        loaders += sorted(root.glob("usr/lib/*-linux-gnu/ld-linux-*.so.*"))
        loaders += sorted(root.glob("lib*/ld-linux-*.so.*"))
        if not loaders:
            raise NotAvailable(f"{root} has no ld-linux loader; remove that folder and run again.")
        self.loader = loaders[0]

    def preparation(self) -> list[str]:
        """The command that makes the data folder."""
        temporary = self.folder / "tmp"
        temporary.mkdir(mode=0o700)
        give(temporary)
        self.init_file()
        return [
            *self._mysqld(),
            "--initialize-insecure",
            f"--datadir={self.folder / 'data'}",
            f"--tmpdir={temporary}",
            *([] if self.durable else ["--innodb-use-native-aio=0"]),
        ]

    def command(self) -> list[str]:
        """The server's command line."""
        return [*self._mysqld(), *self.settings(), "--mysqlx=OFF"]

    def _mysqld(self) -> list[str]:
        libraries = [
            folder
            for pattern in ("usr/lib/*-linux-gnu", "lib/*-linux-gnu", "usr/lib/mysql/private")
            for folder in sorted(self.root.glob(pattern))
        ]
        share = self.root / "usr/share/mysql"
        return [
            str(self.loader),
            "--library-path",
            ":".join(map(str, libraries)),
            str(self.root / "usr/sbin/mysqld"),
            "--no-defaults",
            f"--basedir={self.root / 'usr'}",
            f"--lc-messages-dir={share}",
            f"--character-sets-dir={share / 'charsets'}",
            f"--plugin-dir={self.root / 'usr/lib/mysql/plugin'}",
        ]
