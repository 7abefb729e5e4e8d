"""Real MySQL into a private folder, since Debian's stable releases have none.

A private apt configuration (own list of sources, own folders, an empty list of installed
packages) downloads `mysql-server-core` with its libraries from the machine's own mirror,
signatures verified as always, and the packages are unpacked without being installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.servers.common import NotAvailable, account, say

KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
)
# mysqld's package names perl for its scripts; the server doesn't need it.
NOT_NEEDED = re.compile(r"perl|libperl|libgdbm|libdb5|libc-gconv|libsasl2-modules-db$")
MYSQL_PACKAGE = re.compile(r"^mysql-server-core(-[0-9.]+)?$")
FETCH_SECONDS = 600


def mysql_root() -> Path:
    """The folder with MySQL's `usr/sbin/mysqld`, downloaded if no earlier run did.

    A NotAvailable tells why it can't be had. To get a newer MySQL, remove the folder.
    """
    cache = cache_folder()
    with _locked(cache / "lock"):
        found = _newest(cache)
        if found is None:
            say(f"Downloading MySQL (about 70 MB, once; later runs use the copy in {cache}).")
            with tempfile.TemporaryDirectory(dir=cache, prefix="fetch-") as work:
                Path(work).chmod(0o755)
                found = _fetch(Path(work), cache)
        return found


def cache_folder() -> Path:
    """The folder that keeps unpacked MySQLs, reachable by the account that runs the servers."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    if account() is not None and not _open_to_others(base):
        base = Path("/var/cache")  # root's home is closed to all others
    folder = base / "projectionist-tests"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotAvailable(
            f"The cache folder {folder} can't be made ({error.strerror}); set XDG_CACHE_HOME to"
            " a folder that you may write to."
        ) from error
    return folder


def sources(etc: Path = Path("/etc/apt"), release: Path = Path("/etc/os-release")) -> list[str]:
    """The lines of a private sources.list: this machine's own mirror, where it has MySQL.

    Debian: the suite unstable of the configured mirror. Another distribution (Ubuntu has MySQL
    in its releases): its configured sources as they are.
    """
    names = dict(re.findall(r'^(\w+)="?(.*?)"?$', release.read_text(), re.MULTILINE))
    configured = [*_one_line_sources(etc), *_deb822_sources(etc)]
    if names.get("ID") != "debian":
        keyring = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
        signed = f"[signed-by={keyring}] " if Path(keyring).exists() else ""
        return [
            f"deb {signed}{uri} {suite} {' '.join(components)}" for uri, suite, components in configured if components
        ]
    suites = {"stable", "testing", "unstable", "sid", names.get("VERSION_CODENAME", "")}
    keyring = next((path for path in KEYRINGS if Path(path).exists()), "")
    signed = f"[signed-by={keyring}] " if keyring else ""
    for uri, suite, components in configured:
        if suite in suites and "main" in components:
            return [f"deb {signed}{uri} unstable main"]
    return []


def _one_line_sources(etc: Path) -> Iterator[tuple[str, str, list[str]]]:
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]
    for file in files:
        if not file.is_file():
            continue
        for line in file.read_text(errors="replace").splitlines():
            words = re.sub(r"\[[^]]*\]", " ", line.partition("#")[0]).split()
            if len(words) >= 3 and words[0] == "deb":
                yield words[1], words[2], words[3:]


def _deb822_sources(etc: Path) -> Iterator[tuple[str, str, list[str]]]:
    for file in sorted((etc / "sources.list.d").glob("*.sources")):
        lines = file.read_text(errors="replace").splitlines()
        text = "\n".join(line for line in lines if not line.startswith("#"))
        for stanza in re.split(r"\n\s*\n", text):
            fields = {
                key.lower(): value.split()
                for key, value in re.findall(r"^([\w-]+):((?:.*)(?:\n[ \t].*)*)", stanza, re.M)
            }
            if "deb" not in fields.get("types", []) or fields.get("enabled") == ["no"]:
                continue
            for uri in fields.get("uris", []):
                for suite in fields.get("suites", []):
                    yield uri, suite, fields.get("components", [])


def _fetch(work: Path, cache: Path) -> Path:
    """The new folder in the cache."""
    lines = sources()
    if not lines:
        raise NotAvailable("/etc/apt names no mirror of this distribution to get MySQL from.")
    apt = PrivateApt(work, lines)
    _run([*apt("apt-get"), "update", "--error-on=any"], work)
    listed = _run([*apt("apt-cache"), "pkgnames", "mysql-server-core"], work).split()
    candidates = sorted(filter(MYSQL_PACKAGE.match, listed), key=_numbers)
    if not candidates:
        raise NotAvailable("The configured mirror has no package mysql-server-core.")
    # The unversioned name, where there is one, is the current MySQL.
    package = "mysql-server-core" if "mysql-server-core" in candidates else candidates[-1]
    plan = _run([*apt("apt-get"), "--simulate", "install", package], work)
    chosen: dict[str, str] = dict(re.findall(r"^Inst (\S+) \((\S+) ", plan, re.MULTILINE))
    if package not in chosen:
        raise NotAvailable(f"apt-get does not know how to install {package}:\n{plan}")
    wanted = [f"{name}={v}" for name, v in chosen.items() if not NOT_NEEDED.match(name)]
    packages = work / "packages"
    packages.mkdir()
    if os.geteuid() == 0:
        shutil.chown(packages, "_apt")  # apt-get downloads as that user
    _run([*apt("apt-get"), "download", *wanted], packages)
    tree = work / "tree"
    tree.mkdir()
    for file in sorted(packages.glob("*.deb")):
        _run(["dpkg", "-x", str(file), str(tree)], work)
    if not (tree / "usr/sbin/mysqld").exists():
        raise NotAvailable(f"The package {package} {chosen[package]} has no usr/sbin/mysqld.")
    tree.chmod(0o755)
    version = re.sub(r"^\d+:|[-+~].*$", "", chosen[package])
    target = cache / f"mysql-{version}"
    if target.exists():  # what an interrupted removal left; _newest() didn't take it
        shutil.rmtree(target)
    # Last, and in one step: a folder of that name is complete.
    tree.rename(target)
    return target


class PrivateApt:
    """apt-get and apt-cache command lines that touch nothing of the machine's own apt state.

    The machine's apt.conf stays in force: it may have the proxy without which nothing works.
    """

    def __init__(self, work: Path, lines: list[str]) -> None:
        for folder in ("state/lists/partial", "cache/archives/partial"):
            (work / folder).mkdir(parents=True)
        (work / "sources.list").write_text("\n".join(lines) + "\n")
        # No installed packages: the libraries come along whatever this machine has.
        (work / "status").touch()
        self.options = {
            "Dir::Etc::sourcelist": str(work / "sources.list"),
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::State": str(work / "state"),
            "Dir::State::status": str(work / "status"),
            "Dir::Cache": str(work / "cache"),
            "Dir::Log": str(work),
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "APT::Install-Recommends": "0",
            "APT::Install-Suggests": "0",
            "Debug::NoLocking": "1",  # the real dpkg lock isn't ours to take, and needs root
        }

    def __call__(self, program: str) -> list[str]:
        command = [program, "-q"]
        for key, value in self.options.items():
            command += ["-o", f"{key}={value}"]
        return command


def _run(command: list[str], folder: Path) -> str:
    """What the command printed; a NotAvailable with its errors if it failed."""
    try:
        done = subprocess.run(
            command,
            check=False,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotAvailable(f"{command[0]} could not be run to get MySQL: {error}") from error
    if done.returncode != 0:
        words = " ".join(word for word in command if word in ("update", "install", "download"))
        raise NotAvailable(f"{command[0]} {words} failed while getting MySQL:\n{done.stderr[-2000:]}")
    return done.stdout


def _newest(cache: Path) -> Path | None:
    found = [path for path in cache.glob("mysql-*") if (path / "usr/sbin/mysqld").exists()]
    return max(found, key=lambda path: _numbers(path.name), default=None)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _open_to_others(path: Path) -> bool:
    """True if everyone may pass through the path, as far as it exists."""
    return all(not folder.exists() or folder.stat().st_mode & 0o001 for folder in [path, *path.absolute().parents])


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock, so that two runs at once don't download the same."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
