"""`projectionist users`: people and what they may do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from webapp.accounts.home import Home
from webapp.accounts.people import check_password
from webapp.config import Config


def users(home: Path, *arguments: str, given: str = "", status: int = 0) -> tuple[str, str]:
    """What the command printed on stdout and stderr, a password piped in."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PROJECTIONIST_")}
    environment |= {"PROJECTIONIST_HOME": str(home), "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", "from webapp.cli import main; main()", "users", *arguments],
        check=False, capture_output=True, text=True, env=environment, input=given, timeout=60,
    )  # fmt: skip
    assert done.returncode == status, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def may_log_in(home: Path, username: str, password: str) -> bool:
    opened = Home.open(Config(home_folder=home))
    try:
        return check_password(opened, username, password) is not None
    finally:
        opened.close()


def test_a_person_from_their_first_day_to_their_last(tmp_path: Path) -> None:
    _, said = users(
        tmp_path, "add", "vera", "--role", "viewer@shop", "--role", "auditor", given="correct horse battery\n"
    )
    assert "vera may log in as auditor, viewer of shop" in said
    assert may_log_in(tmp_path, "vera", "correct horse battery")
    assert '"username":"vera"' in users(tmp_path, "list", "--json")[0]
    assert "vera is now operator" in users(tmp_path, "role", "vera", "operator")[1]
    made, _ = users(tmp_path, "password", "vera", "--generate")
    assert may_log_in(tmp_path, "vera", made.strip())
    assert not may_log_in(tmp_path, "vera", "correct horse battery")
    users(tmp_path, "disable", "vera")
    assert "disabled" in users(tmp_path, "list")[0]
    assert not may_log_in(tmp_path, "vera", made.strip())


def test_what_can_not_be_is_said_in_a_sentence(tmp_path: Path) -> None:
    assert (
        "emperor" in users(tmp_path, "add", "vera", "--role", "emperor", given="correct horse battery\n", status=2)[1]
    )
    assert users(tmp_path, "add", "vera", given="short\n", status=2)[1]
    assert "vera" in users(tmp_path, "role", "vera", "viewer", status=1)[1]
    users(tmp_path, "add", "vera", given="correct horse battery\n")
    assert "vera" in users(tmp_path, "add", "vera", given="correct horse battery\n", status=1)[1]
