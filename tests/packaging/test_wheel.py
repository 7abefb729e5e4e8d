"""What users install: the wheel in an empty place, and the Dockerfile's own commands as another user."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.browser import free_port

root = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(
        root,
        folder / "src",
        ignore=shutil.ignore_patterns(".venv", ".git", ".servers", ".projectionist", "__pycache__"),
    )
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(folder / "src")],
        check=True,
    )
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Iterator[Path]:
    """The bin folder of an environment in which only the wheel and what it needs is installed; open to other users."""
    folder = Path(tempfile.mkdtemp(prefix="projectionist-apart-"))
    folder.chmod(0o755)
    subprocess.run([interpreter_for_others(), "-m", "venv", str(folder / "venv")], check=True)
    install = [str(folder / "venv/bin/pip"), "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(install, check=True)
    yield folder / "venv/bin"
    shutil.rmtree(folder)


def interpreter_for_others() -> str:
    """A Python that the other user may run: ours, unless it lies in a folder closed to others."""
    try:
        subprocess.run([os.path.realpath(sys.executable), "-c", ""], check=True, **other_user())
        return sys.executable
    except (OSError, subprocess.CalledProcessError):
        return "/usr/bin/python3"


def test_the_wheel_holds_templates_static_files_and_migrations(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"webapp/templates/base.html", "webapp/static/app.css", "webapp/py.typed", "webapp/demo/shop.py"} <= names
    assert "webapp/store/migrations/versions/0001_store.py" in names
    assert any(re.fullmatch(r"webapp/static/vendor/htmx-.*\.js", name) for name in names)
    assert not any(name.startswith(("tests/", "bench/", "examples/")) for name in names)


def other_user() -> dict[str, int]:
    """Arguments that run a process as an unprivileged user, where we may choose."""
    if os.getuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid}


def dockerfile_start() -> list[str]:
    """The command of the Dockerfile's CMD."""
    match = re.search(r"^CMD \[(.+)\]$", (root / "Dockerfile").read_text(), re.MULTILINE)
    assert match
    return re.findall(r'"([^"]+)"', match[1])


def dockerfile_health() -> list[str]:
    """The command of the Dockerfile's health check."""
    match = re.search(
        r'^HEALTHCHECK .*CMD \["python", "-c", "(.+)"\]$', (root / "Dockerfile").read_text(), re.MULTILINE
    )
    assert match
    return ["-c", match[1]]


@pytest.fixture
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of that user's own."""
    folder = Path("/tmp") / f"projectionist-container-{os.getpid()}"
    folder.mkdir(mode=0o755)
    user = other_user()
    if user:
        os.chown(folder, user["user"], user["group"])
    yield folder
    shutil.rmtree(folder)


def test_the_dockerfiles_commands_work_in_an_empty_folder_as_another_user(installed: Path, empty_folder: Path) -> None:
    dockerfile = (root / "Dockerfile").read_text()
    assert "pip install" in dockerfile and re.search(r"^USER (?!root)", dockerfile, re.MULTILINE)
    port = free_port()
    user = other_user()
    environment = {
        "PATH": f"{installed}:/usr/bin:/bin",
        "HOME": str(empty_folder),
        "PROJECTIONIST_HOME": str(empty_folder / "data"),
        "PROJECTIONIST_HOST": "127.0.0.1",
        "PORT": str(port),
        "PROJECTIONIST_STORES": f"shop=sqlite:///{empty_folder / 'shop.db'}",
    }
    program, *arguments = dockerfile_start()
    migrate = [str(installed / program), "migrate", f"sqlite:///{empty_folder / 'shop.db'}"]
    subprocess.run(migrate, env=environment, cwd=empty_folder, check=True, **user)
    with (empty_folder.parent / f"{empty_folder.name}.log").open("w+b") as log:
        process = subprocess.Popen(
            [str(installed / program), *arguments],
            env=environment,
            cwd=empty_folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            **user,
        )
        try:
            page, style = fetch_when_ready(port, process, Path(log.name))
            health = subprocess.run(
                [str(installed / "python"), *dockerfile_health()], check=False, env=environment, **user
            )
            assert health.returncode == 0
        finally:
            process.terminate()
            assert process.wait(timeout=15) == 0
    Path(log.name).unlink()
    assert "Log in" in page
    assert "--paper" in style


def fetch_when_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> tuple[str, str]:
    """The first page and the style sheet it names."""
    ends_at = time.monotonic() + 30
    while True:
        try:
            page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read().decode()
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < ends_at, log.read_text()
            time.sleep(0.1)
    found = re.search(r'href="(/static/app\.css[^"]*)"', page)
    assert found
    return page, urllib.request.urlopen(f"http://127.0.0.1:{port}{found[1]}", timeout=5).read().decode()
