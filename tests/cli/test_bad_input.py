"""Bad input at the command line: one or two sentences that say what is wrong and what to do, and the right status."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bad_databases import bad_database, secret, ways
from tests.cli.running import run
from tests.conftest import backends
from webapp.store import EventStore, NewEvent

huge = "1" + "0" * 30
far = "postgresql://joe:s3cr3t-w0rd@127.0.0.1:1/shop"


@pytest.mark.parametrize(("backend", "way"), [(backend, way) for backend in backends for way in ways(backend)])
def test_a_database_that_cannot_be_used_is_told_in_sentences(backend: str, way: str, tmp_path: Path) -> None:
    with bad_database(backend, way, tmp_path) as bad:
        for command in (["inspect"], ["events", "--json"]):
            done = run(command[0], bad.url, *command[1:], status=1)
            assert done.stdout == ""
            assert re.search(bad.sentence, done.stderr), done.stderr
            assert len(done.stderr.splitlines()) == 1
            assert secret not in done.stderr
            assert f":{bad.password}@" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["history", far, "order", "1"],
        ["state", far, "order", "1"],
        ["migrate", far],
        ["audit", "export", far, "--format", "csv", "--out", "x.zip"],
        ["projections", "list", far],
        ["projections", "rebuild", far, "order_list", "--domain", "webapp.demo.shop:domain"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_every_command_says_that_a_server_is_not_there(command: list[str], tmp_path: Path) -> None:
    done = run(*command, status=1, folder=tmp_path)
    assert "can't be reached" in done.stderr
    assert "s3cr3t" not in done.stdout + done.stderr
    assert list(tmp_path.glob("*.zip")) == []


def test_a_file_in_a_folder_that_may_only_be_read_says_which_right_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "read.db"
    store = EventStore.open(f"sqlite:///{path}")
    store.migrate()
    store.append("order", "1", [NewEvent("order.placed", {})])
    store.close()
    path.chmod(0o400)
    tmp_path.chmod(0o500)
    is_root = os.geteuid() == 0  # who may write whatever the file says
    try:
        done = run("events", f"sqlite:///{path}", status=0 if is_root else 1)
        assert "order.placed" in done.stdout if is_root else "Give this user the right to write" in done.stderr
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("position", ["0", "-1", huge, "abc"])
def test_positions_that_are_none_are_wrong_usage(small: str, position: str, tmp_path: Path) -> None:
    status = 0 if position == "0" else 2
    out = tmp_path / "trail.zip"
    for command in (
        ["events", small, "--after", position],
        ["events", small, "--before", position],
        ["history", small, "order", "1", "--after", position],
        ["audit", "export", small, "--after", position, "--format", "csv", "--out", out],
        ["audit", "export", small, "--before", position, "--format", "csv", "--out", out],
    ):
        done = run(*command, status=status)
        option = next(word for word in command if word in ("--after", "--before"))
        assert status == 0 or option in done.stderr.splitlines()[-1]
    assert out.exists() is (status == 0)


@pytest.mark.parametrize("number", ["0", "-1", huge, "abc"])
def test_amounts_and_versions_that_are_none_are_wrong_usage(small: str, number: str) -> None:
    assert "'--limit'" in run("events", small, "--limit", number, status=2).stderr
    assert "'--limit'" in run("history", small, "order", "1", "--limit", number, status=2).stderr
    assert "'--version'" in run("state", small, "order", "1", "--version", number, status=2).stderr


def test_a_time_that_ends_before_it_begins_is_wrong_usage(small: str, tmp_path: Path) -> None:
    out = tmp_path / "trail.zip"
    span = ["--since", "2026-10-01", "--until", "2026-09-01"]
    for command in (["events", small, *span], ["audit", "export", small, *span, "--format", "csv", "--out", out]):
        done = run(*command, status=2)
        assert "The end is not after the beginning" in done.stderr
        assert "--until" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["users", "add", "bob", "--role", "king", "--generate"], 2, "There is no role “king”. Roles are viewer,"),
        (["users", "add", "b b", "--generate"], 2, "A username has 1 to 64 letters"),
        (["users", "role", "nobody", "viewer"], 1, "There is no person “nobody”"),
        (["users", "password", "nobody", "--generate"], 1, "There is no person “nobody”"),
        (["serve"], 2, "Which store?"),
        (["serve", "--store", "oracle://joe:s3cr3t@x/y"], 2, "Known are sqlite"),
        (["serve", "--store", "a=sqlite:///x", "--store", "a=sqlite:///y"], 2, "Two stores are named “a”"),
        (["worker", "--store", "a=sqlite:///x"], 2, "--domain MODULE:NAME"),
        (["nonsense"], 2, "No such command 'nonsense'"),
        (["audit", "verify", "none.zip"], 1, "There is no file"),
    ],
)
def test_what_does_not_exist_is_named(arguments: list[str], status: int, sentence: str, tmp_path: Path) -> None:
    done = run(*arguments, status=status, folder=tmp_path)
    assert sentence in done.stderr
    assert done.stdout == "", "no password is shown that isn't one"
    assert "s3cr3t" not in done.stderr


def test_a_password_is_shown_once_it_is_one(tmp_path: Path) -> None:
    done = run("users", "add", "bob", "--generate", folder=tmp_path)
    assert re.fullmatch(r"[a-z0-9]{4}(-[a-z0-9]{4}){3}\n", done.stdout)
    assert run("users", "password", "bob", "--generate", folder=tmp_path).stdout != done.stdout


@pytest.mark.parametrize(
    "arguments",
    [["--type", "\x1b[31mred"], ["--log", "a\x07b"], ["--since", "\x1b]0;x"], ["--after", "\x9b2J"], ["\x1b[2J"]],
)
def test_errors_hold_nothing_that_a_terminal_would_obey(small: str, arguments: list[str]) -> None:
    environment = dict(os.environ, PYTHONIOENCODING="utf-8")
    command = [sys.executable, "-c", "from webapp.cli import main; main()", "events", small, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode in (1, 2)
    assert done.stderr.strip()
    assert [c for c in done.stderr if not (c.isprintable() or c == "\n")] == []


@pytest.mark.parametrize("options", [[], ["--json"], ["--limit", "10000"]])
def test_a_reader_that_has_enough_ends_the_command_quietly(sqlite_store: EventStore, options: list[str]) -> None:
    for _ in range(20):
        sqlite_store.append("order", "1", [NewEvent("order.changed", {"text": "x" * 500}) for _ in range(200)])
    command = [sys.executable, "-c", "from webapp.cli import main; main()"]
    with subprocess.Popen(
        [*command, "events", str(sqlite_store.database.url), *(options or ["--limit", "4000"])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0


def test_a_trail_whose_reader_leaves_has_failed(sqlite_store: EventStore) -> None:
    import random

    text = "".join(random.Random(1).choices("0123456789abcdef", k=2000))
    for at in range(40):
        sqlite_store.append("order", "1", [NewEvent("order.changed", {"text": text[n + at :]}) for n in range(100)])
    command = [sys.executable, "-c", "from webapp.cli import main; main()"]
    url = str(sqlite_store.database.url)
    with subprocess.Popen(
        [*command, "audit", "export", url, "--format", "ndjson", "--out", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.read(10)
        process.stdout.close()
        assert b"left before its end" in process.stderr.read()
        assert process.wait(timeout=60) == 1


def test_a_bug_is_a_sentence_too_and_its_place_is_told_to_who_asks(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text("raise RuntimeError('the moon')")
    arguments = ["import webapp.cli as c; c._commands['odd'] = 'odd:x'; c.main()", "odd"]
    environment = dict(os.environ, PYTHONPATH=f"{tmp_path}:{Path(__file__).parent.parent.parent}")
    done = subprocess.run(
        [sys.executable, "-c", *arguments], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Something went wrong that is not your fault: RuntimeError: the moon.")
    assert "Traceback" not in done.stderr
    told = subprocess.run(
        [sys.executable, "-X", "dev", "-c", *arguments], capture_output=True, text=True, env=environment, timeout=60,
        check=False,
    )  # fmt: skip
    assert "Traceback" in told.stderr
