"""Installing the Debian packages that are missing, without leaving services running."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys

from tests.servers import chromium, galera, mariadb, pgbouncer, postgresql
from tests.servers.common import ServersError, say

# Runs as root. Two things are changed while it runs, and put back however it ends (a run that
# was killed is repaired by the next):
# - policy-rc.d denies starting services,
# - PostgreSQL's package makes no system cluster.
SCRIPT = r"""
set -eu
policy=/usr/sbin/policy-rc.d
saved=$policy.projectionist-saved
clusters=/etc/postgresql-common/createcluster.d
no_cluster=$clusters/zz-projectionist-tests.conf
mark='# made by projectionist tests.servers for the time of one apt-get'

put_back() {
    rm -f "$no_cluster"
    if [ -f "$policy" ] && grep -qxF "$mark" "$policy"; then rm -f "$policy"; fi
    if [ -e "$saved" ]; then mv -f "$saved" "$policy"; fi
}

exec 9>/run/projectionist-tests-apt.lock
if command -v flock >/dev/null; then flock 9; fi
trap put_back EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
put_back
if [ -e "$policy" ]; then mv "$policy" "$saved"; fi
printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
chmod 755 "$policy"
mkdir -p "$clusters"
echo 'create_main_cluster = false' >"$no_cluster"

export DEBIAN_FRONTEND=noninteractive
apt-get -q update 9>&-
apt-get -q -y --no-remove --no-install-recommends -o DPkg::Lock::Timeout=600 \
    -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold install "$@" 9>&-
"""


def missing() -> dict[str, str]:
    """What isn't there, by the names of the Debian packages that bring it."""
    found = {
        "postgresql": ("PostgreSQL", postgresql.binaries() is not None),
        "mariadb-server-core mariadb-client-core mariadb-client": ("MariaDB", mariadb.installed()),
        "galera-4": ("Galera", galera.library() is not None),
        "pgbouncer": ("PgBouncer", pgbouncer.installed()),
        "chromium": ("Chromium", chromium.executable() is not None),
    }
    return {package: name for package, (name, there) in found.items() if not there}


def ensure_installed() -> None:
    """Return with PostgreSQL, MariaDB, Galera, PgBouncer and Chromium there; the error names the apt command."""
    packages = missing()
    if not packages:
        return
    by_hand = "apt-get update && apt-get install --no-install-recommends " + " ".join(packages)
    names = ", ".join(packages.values())
    if shutil.which("apt-get") is None:
        raise ServersError(f"Missing: {names}. This isn't Debian or Ubuntu, so install them by your system's means.")
    command = ["sh", "-c", SCRIPT, "projectionist-apt", *" ".join(packages).split()]
    if os.geteuid() != 0:
        command = [*_sudo(names, by_hand), *command]
    # Its output is the reader's only if it fails or they wait, so it goes to standard error.
    say(f"Installing the packages {' '.join(packages)}.")
    status = _to_its_end(command)
    chromium.forget()
    still = missing()
    if status != 0 or still:
        hint = ""
        if "chromium" in still:
            hint = (
                " Where the package chromium doesn't exist or is only a snap (Ubuntu), install"
                " Google Chrome or the snap, or set TEST_CHROMIUM to a browser's path."
            )
        raise ServersError(
            f"{', '.join((still or packages).values())} could not be installed (apt-get's messages"
            f" are above). As root, run: {by_hand}{hint}"
        )


def _to_its_end(command: list[str]) -> int:
    """The status of the command; if we're stopped meanwhile it may put back what it changed."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr) as process:
        try:
            return process.wait()
        except BaseException:
            # sudo's process isn't ours to signal; at Ctrl-C it has got its own SIGINT.
            with contextlib.suppress(PermissionError):
                process.terminate()
            process.wait()
            raise


def _sudo(names: str, by_hand: str) -> list[str]:
    """The words before a command that make it run as root."""
    if shutil.which("sudo") is not None:
        if subprocess.run(["sudo", "-n", "true"], check=False, capture_output=True).returncode == 0:
            return ["sudo", "-n"]
        # The password is asked for here since the script itself has no standard input.
        if sys.stdin.isatty() and subprocess.run(["sudo", "-v"], check=False).returncode == 0:
            return ["sudo"]
    raise ServersError(f"Missing: {names}. This user is neither root nor may use sudo; as root, run: {by_hand}")
