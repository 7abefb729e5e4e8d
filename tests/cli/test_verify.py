"""`projectionist projections verify`: exit status, what people read, and what programs read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import run
from tests.projections.helpers import counting, fill
from tests.store.helpers import execute
from webapp.projections import run_to_head
from webapp.store import EventStore

_domain = """
from tests.projections.helpers import counting
from webapp.domain import Domain

domain = Domain("notes")
domain.add(counting(), counting("never"))
"""


@pytest.fixture
def url(store: EventStore, tmp_path: Path) -> str:
    """A store with a projection at its head, and the code of it beside."""
    (tmp_path / "notes.py").write_text(_domain)
    fill(store, 40)
    run_to_head(store, counting())
    return store.database.url.render_as_string(hide_password=False)


def verify(url: str, folder: Path, *arguments: object, name: str = "counts", status: int = 0) -> tuple[str, str]:
    """What it printed on stdout and on stderr."""
    done = run("projections", "verify", url, name, "--domain", "notes:domain", *arguments, status=status, folder=folder)
    return done.stdout, done.stderr


def damage(store: EventStore) -> None:
    """One row of each kind of difference."""
    execute(store, "UPDATE counts SET total = 1 WHERE id = 'n3'")
    execute(store, "DELETE FROM counts WHERE id = 'n1'")
    execute(store, "INSERT INTO counts (id, seen, total) VALUES ('x', 1, NULL)")


def test_an_equal_read_model_ends_with_status_0(url: str, tmp_path: Path) -> None:
    out, _ = verify(url, tmp_path)
    assert out == "counts (generation 1) at main:40: 5 rows are what 40 events say.\n"


def test_differences_are_shown_column_by_column_and_end_with_status_1(
    store: EventStore, url: str, tmp_path: Path
) -> None:
    damage(store)
    out, errors = verify(url, tmp_path, status=1)
    blocks = {block.split("  ")[0]: block.split("\n") for block in out.split("\n\n")}
    changed = blocks["counts id=n3"]
    assert changed[0].endswith("different")
    assert changed[1].split() == ["column", "readers", "see", "the", "events", "say"]
    assert changed[2].split() == ["total", "1", "164"] and "seen" not in "".join(changed)
    assert "the last 5 events behind it: main:18 noted, main:23 noted" in changed[3]
    assert blocks["counts id=n1"][0].endswith("missing: readers lack this row")
    assert blocks["counts id=n1"][2].split() == ["seen", "–", "8"]
    assert blocks["counts id=x"][0].endswith("extra: the events make no such row")
    assert blocks["counts id=x"][3].split() == ["total", "NULL", "–"]
    assert blocks["counts id=x"][4].strip() == "no event ever wrote it"
    summary = out.rstrip("\n").split("\n")[-1]
    assert summary == (
        "counts (generation 1) at main:40: compared 5 rows with what 40 events say: 1 missing, 1 extra, 1 different."
    )
    assert "Nothing was changed. To mend it: projectionist projections rebuild URL counts" in errors


def test_more_differences_than_asked_for_are_counted(store: EventStore, url: str, tmp_path: Path) -> None:
    damage(store)
    out, _ = verify(url, tmp_path, "--limit", 1, status=1)
    assert "2 more rows differ. Show them with --limit 3." in out and out.count("counts id=") == 1


def test_json_has_a_line_for_each_difference_and_one_for_the_whole(store: EventStore, url: str, tmp_path: Path) -> None:
    damage(store)
    out, _ = verify(url, tmp_path, "--json", status=1)
    records: list[Any] = [json.loads(line) for line in out.splitlines()]
    by_key = {record["key"]["id"]: record for record in records[:-1]}
    assert by_key["n3"] == {
        "kind": "difference", "projection": "counts", "table": "counts", "difference": "different",
        "key": {"id": "n3"}, "columns": ["total"], "live": {"id": "n3", "seen": 8, "total": 1},
        "fresh": {"id": "n3", "seen": 8, "total": 164},
        "events": [{"log": "main", "position": at, "type": "noted"} for at in (18, 23, 28, 33, 38)],
    }  # fmt: skip
    assert by_key["n1"]["live"] is None and by_key["x"]["fresh"] is None and by_key["x"]["events"] == []
    assert records[-1] == {
        "kind": "verification", "projection": "counts", "equal": False, "generation": 1, "positions": {"main": 40},
        "events": 40, "rows": 5, "missing": 1, "extra": 1, "different": 1, "state_differs": False, "skipped": [],
        "built_by_older_code": False,
    }  # fmt: skip


def test_what_it_can_not_do_is_said_in_a_sentence(url: str, tmp_path: Path) -> None:
    _, errors = verify(url, tmp_path, name="never", status=1)
    assert "It never ran here. Start it: projectionist projections run URL NAME" in errors
    _, errors = verify(url, tmp_path, name="unheard", status=1)
    assert "notes:domain defines counts, never" in errors
    assert "give --domain" in run("projections", "verify", url, "counts", status=2).stderr
