"""`projectionist projections step`: exit status, what people read, and what programs read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import run
from tests.projections.helpers import counting, fill
from tests.replay.test_verify import contents
from webapp.errors import ProjectionFailed
from webapp.projections import Context, run_to_head
from webapp.store import EventStore, NewEvent, RecordedEvent

_domain = """
from tests.projections.helpers import counting
from tests.cli.test_step import stumble
from webapp.domain import Domain

domain = Domain("notes")
domain.add(counting(), counting("fragile", handler=stumble), counting("both", logs=("main", "the other")))
"""


def stumble(event: RecordedEvent, context: Context) -> None:
    """Fails at the seventh event, having looked at a row."""
    context.state["seen"] = event.position
    if event.position == 7:
        context.table("fragile").upsert("n2", total=-1)
        raise KeyError("vat\x1b[31m")


@pytest.fixture
def url(sqlite_store: EventStore, tmp_path: Path) -> str:
    """Twelve events, the first ten of them counted, and the code beside."""
    (tmp_path / "notes.py").write_text(_domain)
    fill(sqlite_store, 10)
    run_to_head(sqlite_store, counting())
    with pytest.raises(ProjectionFailed):
        run_to_head(sqlite_store, counting("fragile", handler=stumble))
    sqlite_store.append("note", "n1", [NewEvent("noted", {"n": 100}), NewEvent("unheard", {})])
    return str(sqlite_store.database.url)


def step(url: str, folder: Path, *arguments: object, name: str = "counts", status: int = 0) -> tuple[str, str]:
    """What it printed on stdout and on stderr."""
    done = run("projections", "step", url, name, "--domain", "notes:domain", *arguments, status=status, folder=folder)
    return done.stdout, done.stderr


def test_it_shows_what_the_next_events_would_do(sqlite_store: EventStore, url: str, tmp_path: Path) -> None:
    before = contents(sqlite_store)
    out, errors = step(url, tmp_path)
    assert out.split("\n") == [
        "main:11  noted  note/n1  handler count",
        "  counts id=n1  changed",
        "    column  before  after",
        "    seen    2       3",
        "    total   7       107",
        "",
        "main:12  unheard  note/n1  no handler takes it",
        "",
        "counts after main:10: 1 handled, 1 not handled. Nothing was written.",
        "",
    ]
    assert errors == "It starts from the rows that readers see (generation 1).\n"
    assert contents(sqlite_store) == before


def test_a_failing_event_shows_what_was_before_it_and_ends_with_status_1(url: str, tmp_path: Path) -> None:
    out, errors = step(url, tmp_path, name="fragile", status=1)
    lines = out.split("\n")
    assert lines[:9] == [
        "main:7  noted  note/n2  handler count  failed",
        "  KeyError: 'vat\\x1b[31m'",
        '  payload: {"n":7}',
        '  state before it: {"seen": 6}',
        "  fragile id=n2  changed",
        "    column  before  when it failed",
        "    total   2       -1",
        "Traceback (most recent call last):",
        *lines[8:9],
    ]
    assert "\x1b" not in out and 'raise KeyError("vat' in out
    assert "fragile after main:6: 1 failed. Nothing was written." in out
    assert "Go on as if that event was skipped: --after main:6 --without main:7" in errors
    out, _ = step(url, tmp_path, "--after", "main:6", "--without", "main:7", "--limit", 2, name="fragile")
    assert out.startswith("main:7  noted  note/n2  left out\n\nmain:8  noted  note/n3")
    assert "  the projection's state  changed\n    value  before  after\n    seen   6       8\n" in out


def test_where_it_starts_and_what_it_shows_is_chosen(url: str, tmp_path: Path) -> None:
    out, errors = step(url, tmp_path, "--after", 3, "--limit", 1)
    assert out.startswith("main:4  noted  note/n4") and "It starts from 3 events before these, folded anew." in errors
    assert "Go on: --after main:4" in errors
    out, errors = step(url, tmp_path, "--after", 3, "--from", "nothing", "--aggregate", "note", "n3")
    assert out.startswith("main:8  noted  note/n3  handler count\n  counts id=n3  new\n")
    assert "as if nothing came before" in errors


def test_json_has_a_line_for_each_step_and_one_for_the_whole(url: str, tmp_path: Path) -> None:
    out, _ = step(url, tmp_path, "--json")
    first, second, whole = (json.loads(line) for line in out.splitlines())
    assert first.pop("recorded_at").endswith("Z")
    assert first == {
        "kind": "step", "projection": "counts", "log": "main", "position": 11, "type": "noted",
        "aggregate_type": "note", "aggregate_id": "n1", "version": 3, "outcome": "handled",
        "handlers": [{"type": "noted", "handler": "count"}],
        "rows": [{
            "table": "counts", "change": "changed", "key": {"id": "n1"}, "columns": ["seen", "total"],
            "before": {"id": "n1", "seen": 2, "total": 7}, "after": {"id": "n1", "seen": 3, "total": 107},
        }],
        "hidden_rows": 0, "state": [], "emitted": [], "error": None,
    }  # fmt: skip
    assert (second["outcome"], second["rows"], second["handlers"][0]["handler"]) == ("not handled", [], None)
    assert whole == {
        "kind": "steps", "projection": "counts", "from": "live", "generation": 1, "after": {"main": 10},
        "reached": {"main": 12}, "folded": 0, "steps": 2, "failed_at": None, "has_more": False,
        "notes": ["It starts from the rows that readers see (generation 1)."],
    }  # fmt: skip
    out, _ = step(url, tmp_path, "--json", name="fragile", status=1)
    failed, whole = (json.loads(line) for line in out.splitlines())
    error: Any = failed["error"]
    assert error["state_before"] == {"seen": 6} and error["rows"][0]["before"]["total"] == 2
    assert error["traceback"].startswith("Traceback") and whole["failed_at"] == "main:7"


def test_several_logs_take_a_position_each(sqlite_store: EventStore, url: str, tmp_path: Path) -> None:
    fill(sqlite_store, 3, log="the other")
    out, errors = step(url, tmp_path, "--after", "main:11", "--after", "the other:1", name="both", status=0)
    assert [line.split("  ")[0] for line in out.split("\n") if line.startswith(("main:", "the other:"))] == [
        "main:12", "the other:2", "the other:3",
    ]  # fmt: skip
    _, errors = step(url, tmp_path, "--after", 3, "--limit", 1, "--log", "the other", name="both")
    out, errors = step(url, tmp_path, "--log", "the other", "--limit", 1, name="both")
    assert out.startswith("the other:1") and "Go on: --after main:12 --after 'the other:1'" in errors


def test_what_it_can_not_do_is_said_in_a_sentence(url: str, tmp_path: Path) -> None:
    _, errors = step(url, tmp_path, "--after", 3, name="both", status=2)
    assert "both reads several logs (main, the other), so a position needs its log: main:3" in errors
    assert "“x” is no position" in step(url, tmp_path, "--after", "main:x", status=2)[1]
    assert "doesn't read the log other" in step(url, tmp_path, "--after", "other:1", status=2)[1]
    assert "doesn't read the log other" in step(url, tmp_path, "--log", "other", status=2)[1]
    assert "never ran here" in step(url, tmp_path, "--from", "live", name="both", status=1)[1]
    assert "stand at main:10, which is past main:3" in step(url, tmp_path, "--after", 3, "--from", "live", status=1)[1]
    assert "notes:domain defines both, counts, fragile" in step(url, tmp_path, name="unheard", status=1)[1]
    assert "0" in step(url, tmp_path, "--limit", 0, status=2)[1]
    assert "give --domain" in run("projections", "step", url, "counts", status=2).stderr
