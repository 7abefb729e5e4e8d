"""A cluster of three MariaDB nodes under Galera, for tests that ask: each is written to and has all that the others have."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from tests.servers.common import CLEAN_ENVIRONMENT, ServersError, free_port, give, stop_all
from tests.servers.mariadb import MariaDB

LIBRARIES = (Path("/usr/lib/galera/libgalera_smm.so"), Path("/usr/lib64/galera-4/libgalera_smm.so"))
JOIN_SECONDS = 20.0


# What Galera runs when a node joins. Ours have the same data from the beginning, and nobody writes until all have joined,
# so only the name of that state is handed over. Debian's own scripts come with the package
# mariadb-server, which is a system service.
SCRIPT = r"""#!/bin/sh
while [ $# -gt 0 ]; do
    case "$1" in --role) role=$2 ;; --gtid) state=$2 ;; esac
    shift
done
file=$(dirname "$0")/state
if [ "$role" = joiner ]; then
    rm -f "$file"
    echo "ready 127.0.0.1:1/copied"
    for _ in $(seq 300); do
        if [ -e "$file" ]; then cat "$file"; exit 0; fi
        sleep 0.1
    done
    exit 110
fi
echo "$state" >"$file.new" && mv "$file.new" "$file" && echo "done $state"
"""


def library() -> Path | None:
    """The provider that Debian's package galera-4 brings, or None."""
    return next((path for path in LIBRARIES if path.exists()), None)


class Node(MariaDB):
    """One node. All begin with a copy of the first one's data folder, so none has to fetch one from another."""

    name = "MariaDB with Galera"

    def __init__(self, folder: Path, password: str, scripts: Path) -> None:
        super().__init__(folder, durable=False)
        self.password = password
        self.scripts = scripts
        self.cluster_port = free_port()
        self.members: list[Node] = []

    def command(self) -> list[str]:
        """The server's command line, with our script where it looks for such."""
        return ["env", f"PATH={self.scripts}:{CLEAN_ENVIRONMENT['PATH']}", *super().command()]

    def settings(self) -> list[str]:
        """The server's options and those of the cluster."""
        found = library()
        if found is None:
            raise ServersError("Galera is missing; install it with: apt-get install galera-4")
        others = ",".join(f"127.0.0.1:{node.cluster_port}" for node in self.members if node is not self)
        # What is sent from node to node: the group's messages, state by increments, state as a whole (never).
        provider = (
            f"base_port={self.cluster_port};gmcast.listen_addr=tcp://127.0.0.1:{self.cluster_port};"
            f"ist.recv_addr=127.0.0.1:{free_port()};gcache.size=32M;pc.recovery=false"
        )
        is_first = self is self.members[0]
        return [
            *super().settings(),
            "--binlog-format=ROW",
            "--innodb-autoinc-lock-mode=2",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=64M",
            "--wsrep-on=ON",
            f"--wsrep-provider={found}",
            f"--wsrep-provider-options={provider}",
            f"--wsrep-cluster-address=gcomm://{'' if is_first else others}",
            *(["--wsrep-new-cluster"] if is_first else []),
            "--wsrep-cluster-name=projectionist",
            f"--wsrep-node-address=127.0.0.1:{self.cluster_port}",
            "--wsrep-sst-method=copied",
        ]

    def wait_joined(self, members: int) -> None:
        """Returns once the node is in step with so many others."""
        engine = sa.create_engine(self.url().replace("mariadb://", "mariadb+pymysql://"), poolclass=sa.pool.NullPool)
        ends_at = time.monotonic() + JOIN_SECONDS
        while True:
            with contextlib.suppress(sa.exc.DBAPIError), engine.connect() as connection:
                status = dict(connection.exec_driver_sql("SHOW STATUS LIKE 'wsrep_%%'").all())  # type: ignore[arg-type]
                if status["wsrep_local_state_comment"] == "Synced" and int(status["wsrep_cluster_size"]) == members:
                    return
            if time.monotonic() > ends_at:
                told = self.log.read_text(errors="replace")[-30_000:]
                raise ServersError(f"A node didn't join its cluster within {JOIN_SECONDS:.0f} s:\n{told}")
            time.sleep(0.2)


@contextlib.contextmanager
def cluster() -> Iterator[list[str]]:
    """The URLs of three nodes that make one cluster; stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="projectionist-galera-"))
    folder.chmod(0o755)  # the account that they run as must pass through
    template = MariaDB(folder / "template", durable=False)
    scripts = folder / "scripts"
    scripts.mkdir()
    give(scripts)
    script = scripts / "wsrep_sst_copied"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    nodes = [Node(folder / f"node{number}", template.password, scripts) for number in (1, 2, 3)]
    first = nodes[0]
    try:
        template.prepare()
        template.wait_prepared()
        for name in ("data", "tmp", "init.sql"):
            _copy(template.folder / name, first.folder / name)
        for node in nodes:
            node.members = nodes
        # Its data say of which cluster they are once it was there alone, so that others with the same data may join.
        first.start()
        first.wait_ready()
        first.wait_joined(1)
        stop_all([first])
        for node in nodes[1:]:
            for name in ("data", "tmp", "init.sql"):
                _copy(first.folder / name, node.folder / name)
            (node.folder / "data/galera.cache").unlink(missing_ok=True)
        for number, node in enumerate(nodes, 1):
            node.start()
            node.wait_ready()
            node.wait_joined(number)
        yield [node.url() for node in nodes]
    finally:
        stop_all(nodes)
        shutil.rmtree(folder)


def _copy(source: Path, target: Path) -> None:
    """Copies a file or folder with its owner."""
    if source.is_dir():
        target.mkdir(mode=source.stat().st_mode & 0o777)
        for entry in source.iterdir():
            _copy(entry, target / entry.name)
    else:
        shutil.copy2(source, target)
    shutil.chown(target, source.stat().st_uid, source.stat().st_gid)
