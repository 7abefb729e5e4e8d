"""What MariaDB and MySQL have in common: user, settings, the waiting query."""

from __future__ import annotations

from tests.servers.common import Server


class MySQLLike(Server):
    """A server whose user `test` has all privileges and may grant them."""

    scheme: str

    def init_file(self) -> str:
        """The path of the SQL that the server runs before it takes connections."""
        path = self.write(
            "init.sql",
            f"CREATE USER IF NOT EXISTS 'test'@'%' IDENTIFIED BY '{self.password}';\n"
            "GRANT ALL PRIVILEGES ON *.* TO 'test'@'%' WITH GRANT OPTION;\n",
        )
        return str(path)

    def settings(self) -> list[str]:
        """The options that both servers know."""
        own = self.folder
        options = [
            f"--datadir={own / 'data'}",
            f"--tmpdir={own / 'tmp'}",
            f"--socket={own / 's'}",
            f"--pid-file={own / 'pid'}",
            f"--init-file={own / 'init.sql'}",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            # 127.0.0.1 stays what it is instead of turning into localhost, where other users
            # (root, the anonymous one) could match first.
            "--skip-name-resolve",
            "--secure-file-priv=",
            "--max-connections=300",
            "--max-allowed-packet=128M",
            "--innodb-buffer-pool-size=256M",
            "--character-set-server=utf8mb4",
            # Triggers can be made whether or not there's a binary log; "loose" since MySQL
            # means to drop the setting.
            "--loose-log-bin-trust-function-creators=1",
        ]
        if not self.durable:
            options += [
                "--innodb-flush-log-at-trx-commit=0",
                "--sync-binlog=0",
                "--skip-log-bin",
                # Asynchronous I/O is scarce in containers and several servers at once run out.
                "--innodb-use-native-aio=0",
                "--innodb-doublewrite=0",
            ]
        return options

    def ask(self) -> None:
        """Return if it answers a query."""
        import pymysql

        with (
            pymysql.connect(
                host="127.0.0.1",
                port=self.port,
                user="test",
                password=self.password,
                connect_timeout=5,
                read_timeout=10,
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT 1")

    def url(self) -> str:
        """Where and as whom tests connect."""
        return f"{self.scheme}://test:{self.password}@127.0.0.1:{self.port}/"
