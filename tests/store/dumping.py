"""Backups as docs/guide/backup.md tells to make them, with each database's own tools."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from webapp.store.database import parse_url

Dump = Callable[[str, Path], None]
"""Writes a backup of the database at a URL to a file, while others may write."""
Restore = Callable[[Path, str], None]
"""Fills the fresh database at a URL from such a file."""


def dump_sqlite(url: str, file: Path) -> None:
    """`VACUUM INTO`: one consistent copy, without the space that was free."""
    with closing(sqlite3.connect(parse_url(url).database or "", timeout=30)) as source:
        source.execute("VACUUM INTO ?", (str(file),))


def copy_sqlite(url: str, file: Path) -> None:
    """SQLite's backup API, which the shell's `.backup` uses, too."""
    with closing(sqlite3.connect(parse_url(url).database or "", timeout=30)) as source:
        with closing(sqlite3.connect(file)) as target:
            source.backup(target, pages=50, sleep=0.001)


def restore_sqlite(file: Path, url: str) -> None:
    """A backup is a database: it's put in its place."""
    shutil.copyfile(file, parse_url(url).database or "")


def dump_postgresql(url: str, file: Path) -> None:
    """One snapshot of the whole database, in pg_dump's own format."""
    _run(["pg_dump", "--format=custom", f"--file={file}", _libpq(url)])


def restore_postgresql(file: Path, url: str) -> None:
    """In one transaction, so that what fails leaves nothing behind."""
    _run(["pg_restore", "--single-transaction", "--exit-on-error", "--no-owner", f"--dbname={_libpq(url)}", str(file)])


def dump_mysql(url: str, file: Path) -> None:
    """One snapshot, with the triggers and routines; for MySQL and MariaDB.

    MariaDB's program reads MySQL servers as well, where MySQL's own isn't at hand.
    """
    program = _mysqldump(url)
    options = ["--single-transaction", "--quick", "--routines", "--triggers", "--hex-blob"]
    if program != "mariadb-dump":
        options += ["--no-tablespaces", "--set-gtid-purged=OFF"]
    _run([program, *options, *_login(url), f"--result-file={file}", parse_url(url).database or ""], url)


def restore_mysql(file: Path, url: str) -> None:
    """The statements of the file, by the client."""
    with file.open("rb") as statements:
        _run(["mariadb", *_login(url), parse_url(url).database or ""], url, stdin=statements)


ways: dict[str, tuple[str, Dump, Restore]] = {
    "sqlite-vacuum-into": ("sqlite", dump_sqlite, restore_sqlite),
    "sqlite-backup": ("sqlite", copy_sqlite, restore_sqlite),
    "postgresql": ("postgresql", dump_postgresql, restore_postgresql),
    "mariadb": ("mariadb", dump_mysql, restore_mysql),
    "mysql": ("mysql", dump_mysql, restore_mysql),
}
"""Every way by its name: on which database, and how."""


def _mysqldump(url: str) -> str:
    """MySQL's own program for a MySQL server if it's there; Debian's `mysqldump` is MariaDB's under another name."""
    if url.startswith("mysql"):
        found = shutil.which("mysqldump")
        if found is not None and "MariaDB" not in _run([found, "--version"]):
            return found
    return "mariadb-dump"


def _libpq(url: str) -> str:
    return parse_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def _login(url: str) -> list[str]:
    parsed = parse_url(url)
    return [f"--host={parsed.host}", f"--port={parsed.port}", f"--user={parsed.username}", "--protocol=tcp"]


def _run(command: list[str], url: str | sa.URL | None = None, stdin: object = subprocess.DEVNULL) -> str:
    """What a tool printed; fails with what it said."""
    password = {} if url is None else {"MYSQL_PWD": parse_url(str(url)).password or ""}
    done = subprocess.run(
        command, stdin=stdin, capture_output=True, text=True, timeout=120, check=False, env=os.environ | password
    )  # type: ignore[call-overload]
    assert done.returncode == 0, (command[0], done.stderr)
    return str(done.stdout)
