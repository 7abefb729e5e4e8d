"""`projectionist projections`: from a definition that nobody runs to a rebuilt one, and what goes wrong on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.running import run, run_json
from tests.projections.helpers import fill
from webapp.store import EventStore, NewEvent

_domain = """
import time

from tests.projections.helpers import counting
from webapp.domain import Domain
from webapp.projections import Projection, Table
import sqlalchemy as sa

domain = Domain("notes")
slow = Projection("slow", tables=[Table("slow_rows", sa.Column("id", sa.Integer, primary_key=True))])


@slow.on("noted")
def noted(event, context):
    time.sleep(0.0005)
    context.table("slow_rows").upsert(event.position)


strict = Projection("strict", tables=[Table("strict_rows", sa.Column("id", sa.Integer, primary_key=True))])


@strict.on("broken")
def broken(event, context):
    raise ValueError("no such thing")


domain.add(counting(), slow, strict)
"""


@pytest.fixture
def url(store: EventStore, tmp_path: Path) -> str:
    """A store of forty events, and code with three projections beside."""
    (tmp_path / "notes.py").write_text(_domain)
    fill(store, 40)
    return store.database.url.render_as_string(hide_password=False)


def told(url: str, folder: Path, act: str, name: str = "counts", *arguments: object, status: int = 0) -> str:
    """What one act on a projection said."""
    done = run("projections", act, url, name, *arguments, "--domain", "notes:domain", status=status, folder=folder)
    return done.stdout + done.stderr


def record(url: str, name: str = "counts") -> dict[str, object]:
    [found] = [one for one in run_json("projections", "list", url) if one["projection"] == name]
    return dict(found)


def test_a_projection_from_its_start_to_its_end(store: EventStore, url: str, tmp_path: Path) -> None:
    listed = run("projections", "list", url, "--domain", "notes:domain", folder=tmp_path)
    assert "Defined but not started: counts, slow, strict" in listed.stderr
    assert "counts is ready to run" in told(url, tmp_path, "init")
    assert "was started already" in told(url, tmp_path, "init")
    assert "counts applied 40 events and stands at the head" in told(url, tmp_path, "backfill")
    fill(store, 10)
    assert record(url)["lag"] == 10
    assert "counts applied 10 events" in told(url, tmp_path, "run")
    shown = json.loads(
        run("projections", "show", url, "counts", "--domain", "notes:domain", "--json", folder=tmp_path).stdout
    )
    assert (shown["lag"], shown["generation"], shown["built_by"]) == (0, 1, "the code as it is")
    assert "counts is rebuilt and serves" in told(url, tmp_path, "rebuild")
    assert record(url)["generation"] == 2
    assert "counts is paused" in run("projections", "pause", url, "counts").stderr
    assert record(url)["health"] == "paused"
    assert "runs on" in run("projections", "resume", url, "counts").stderr
    assert "stands before the first event" in told(url, tmp_path, "reset", "counts", "--yes")
    told(url, tmp_path, "run")
    assert record(url)["lag"] == 0
    assert "counts is deleted" in run("projections", "delete", url, "counts", "--yes").stderr
    assert run_json("projections", "list", url) == []


def test_code_that_has_changed_since_is_told(url: str, tmp_path: Path) -> None:
    told(url, tmp_path, "run", "slow")
    code = (tmp_path / "notes.py").read_text()
    (tmp_path / "notes.py").write_text(code.replace("time.sleep(0.0005)", "time.sleep(0)"))
    assert "older code: rebuild it" in told(url, tmp_path, "show", "slow")


def test_an_event_that_fails_stops_it_and_is_skipped_with_a_reason(store: EventStore, url: str, tmp_path: Path) -> None:
    store.append("note", "bad", [NewEvent("broken", 1), NewEvent("broken", 2)])
    assert "Projection strict failed at main:41: ValueError: no such thing" in told(
        url, tmp_path, "run", "strict", status=1
    )
    assert "Traceback" not in run("projections", "list", url).stdout
    assert 'raise ValueError("no such thing")' in run("projections", "show", url, "strict").stdout
    assert run("projections", "skip", url, "strict", status=2).stderr  # a reason is needed
    assert "strict leaves out main:41" in run("projections", "skip", url, "strict", "--reason", "known").stderr
    assert "failed at main:42" in told(url, tmp_path, "run", "strict", status=1)
    assert record(url, "strict")["skipped"] == 1


def test_a_rebuild_that_is_killed_goes_on_with_resume(store: EventStore, url: str, tmp_path: Path) -> None:
    store.append("note", "many", [NewEvent("noted", {"n": n}) for n in range(4_000)])
    told(url, tmp_path, "run", "slow")
    command = [sys.executable, "-c", "from webapp.cli import main; main()", "projections", "rebuild", url, "slow",
               "--domain", "notes:domain", "--batch-size", "200"]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    process = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and record(url, "slow")["health"] != "rebuilding":
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert record(url, "slow")["generation"] == 1
    # The lease of a worker that was killed runs out by itself, in 15 seconds at most.
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run([*command, "--resume"], env=environment, cwd=tmp_path, capture_output=True, text=True)  # noqa: PLW1510
        if done.returncode == 0 or time.monotonic() > deadline:
            break
        time.sleep(1)
    assert done.returncode == 0, done.stderr
    assert record(url, "slow")["generation"] == 2


def test_what_can_not_be_done_is_said_in_a_sentence(url: str, ecotone_url: str, tmp_path: Path) -> None:
    assert "There is no projection “nope” here. notes:domain defines counts, slow, strict." in told(
        url, tmp_path, "run", "nope", status=1
    )
    assert "There is no projection “counts” here" in run("projections", "pause", url, "counts", status=1).stderr
    assert "give --domain MODULE:NAME" in run("projections", "run", url, "counts", status=2).stderr
    assert (
        "The module nowhere can't be found"
        in run("projections", "list", url, "--domain", "nowhere:domain", status=2).stderr
    )
    assert "attached read-only" in told(ecotone_url, tmp_path, "run", status=1)
