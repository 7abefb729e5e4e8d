"""`projectionist copy`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.running import run, run_json
from webapp.store import EventStore, NewEvent


@pytest.fixture
def target_url(database_url: str) -> str:
    """A fresh, empty database of each kind."""
    return database_url


def test_events_of_another_layout_move_into_ours(ecotone_url: str, target_url: str) -> None:
    copies = run_json("copy", ecotone_url, target_url)
    there = {one["log"]: one for one in run_json("inspect", ecotone_url) if one["kind"] == "log"}
    here = {one["log"]: one for one in run_json("inspect", target_url) if one["kind"] == "log"}
    assert {one["log"] for one in copies} == set(there)
    assert {name: one["head"] for name, one in here.items()} == {
        name: one["head"] for name, one in there.items() if one["head"]
    }
    for log in here:
        kept = [
            [{key: event[key] for key in event if not key.startswith("aggregate") and key != "version"} for event in
             run_json("events", url, "--log", log)]
            for url in (ecotone_url, target_url)
        ]  # fmt: skip
        assert kept[0] == kept[1]
    said = run("copy", ecotone_url, target_url)
    assert "0 events copied" in said.stdout and "holds the same events as" in said.stderr


def test_a_copy_that_is_killed_goes_on(small: str, target_url: str) -> None:
    store = EventStore.open(small)
    store.append("order", "2", [NewEvent("order.changed", {"n": n}) for n in range(30_000)])
    command = [sys.executable, "-c", "from webapp.cli import main; main()", "copy", small, target_url]
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent.parent)}, stderr=subprocess.DEVNULL
    )
    target = EventStore.open(target_url)
    target.migrate()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(log.head for log in target.logs()):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = target.head("main")
    assert reached > 0
    [copied] = run_json("copy", small, target_url)
    assert copied["copied"] == store.head("main") - reached
    assert [event.id for event in target.read_log("main", limit=None)] == [
        event.id for event in store.read_log("main", limit=None)
    ]
    target.close()
    store.close()


def test_bad_input_is_told_in_a_sentence(small: str, ecotone_url: str, tmp_path: Path) -> None:
    assert "are the same database" in run("copy", small, small, status=2).stderr
    assert "Copy into a database of its own" in run("copy", small, ecotone_url, status=1).stderr
    target = f"sqlite:///{tmp_path / 'target.db'}"
    assert (
        "There is no log “nope” here. There are main." in run("copy", small, target, "--log", "nope", status=1).stderr
    )
    assert "there is no such file" in run("copy", f"sqlite:///{tmp_path / 'no.db'}", target, status=1).stderr
    other = EventStore.open(target)
    other.migrate()
    other.append("note", "1", [NewEvent("noted", 1)])
    other.close()
    assert "The copy of main differs at position 1" in run("copy", small, target, status=1).stderr
