"""What stands in a trail, on every database, however hostile the payloads, however many the events."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.adapters.dumps import load_dump
from tests.audit.helpers import contents, of_type, take
from tests.conftest import create_database
from tests.queries.seed import break_payload, fill
from webapp.adapters import open_source
from webapp.audit.formats.csv import restore
from webapp.audit.trail import Scope, Trail
from webapp.audit.verify import verify
from webapp.store import Append, EventStore, NewEvent, RecordedEvent
from webapp.store.events import EventFilter, utc
from webapp.store.merge import read_all

csv.field_size_limit(10_000_000)
hostile = [
    "=1+1",
    "+1",
    "-1",
    "@x",
    "\tx",
    "\rx",
    "'=x",
    "'",
    'a,"b"\r\nc\n',
    "\u2028",
    "\x00 escaped",
    "x" * 1_000_000,
    "",
]


def cells_of(event: RecordedEvent) -> list[str]:
    """What a CSV must give back of an event."""
    texts = (event.data_text, event.metadata_text)
    assert all(isinstance(text, str) for text in texts)
    return [
        event.log, str(event.position), event.aggregate_type or "", event.aggregate_id or "", str(event.version),
        event.type, event.id, utc(event.recorded_at), *map(str, texts),
        event.correlation_id or "", event.causation_id or "", event.actor or "",
    ]  # fmt: skip


def test_csv_read_by_python_gives_back_every_field(store: EventStore, tmp_path: Path) -> None:
    for number, text in enumerate(hostile):
        name = text[:40].replace("\x00", "") or "x"
        store.append(name, f"{name}{number}", [NewEvent(name, {"text": text}, {"actor": name, "correlation_id": name})])
        store.append("plain", str(number), [NewEvent("said", json.dumps(text)), NewEvent("counted", "-5")])
    files = contents(take(store, tmp_path / "trail.zip", "csv"))
    assert not files["events.csv"].startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(files["events.csv"].decode(), newline=""), strict=True))
    assert rows[0] == list(json.loads(next(iter(store.read_log("main"))).to_json()))
    assert not [cell[:5] for row in rows[1:] for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    events = list(store.read_log("main", limit=None))
    assert [[restore(cell) for cell in row] for row in rows[1:]] == [cells_of(event) for event in events]
    assert verify(tmp_path / "trail.zip").is_intact


def test_ndjson_holds_the_lines_that_the_store_gives(store: EventStore, tmp_path: Path) -> None:
    fill(store)
    path = take(store, tmp_path / "trail.zip")
    lines = contents(path)["events.ndjson"].decode().split("\n")
    assert lines.pop() == ""
    assert lines == [event.to_json() for event in read_all(store)]
    report = verify(path)
    assert report.is_intact, report.problems


def test_payloads_that_are_no_json_stand_in_base64(sqlite_store: EventStore, tmp_path: Path) -> None:
    fill(sqlite_store)
    break_payload(sqlite_store, "main", 2, "{not json \ud83d".encode("utf-8", "replace").decode())
    path = take(sqlite_store, tmp_path / "trail.zip")
    line = json.loads(contents(path)["events.ndjson"].splitlines()[1])
    assert list(line["data"]) == ["base64"]
    assert verify(path).is_intact
    assert verify(take(sqlite_store, tmp_path / "trail.csv.zip", "csv")).is_intact


def test_what_is_appended_after_the_start_stays_out(sqlite_store: EventStore) -> None:
    fill(sqlite_store)
    for scope in (Scope(), Scope(log="main")):
        trail = Trail(sqlite_store, scope)
        heads = {name: extent.settled_head for name, extent in trail.extents.items()}
        sqlite_store.append("order", "late", [NewEvent("order.placed", {})])
        events = list(trail)
        assert {event.aggregate_id for event in events if event.position > heads[event.log]} == set()
        assert trail.count == len(events) == sum(heads.values())


def test_a_scope_takes_what_it_says(store: EventStore, tmp_path: Path) -> None:
    fill(store)
    everything = list(read_all(store))
    of_42 = EventFilter(aggregate_type="order", aggregate_id="42")
    assert [e.version for e in Trail(store, Scope(of_42))] == [1, 2, 3, 4]
    assert [e.id for e in Trail(store, of_type("wallet.opened"))] == [
        e.id for e in everything if e.type == "wallet.opened"
    ]
    assert [e.position for e in Trail(store, Scope(log="main", after=3, before=7))] == [4, 5, 6]
    assert [e.id for e in Trail(store, Scope(limit=7))] == [e.id for e in everything[:7]]
    path = take(store, tmp_path / "t.zip", scope=Scope(of_42, "main", after=1, limit=2))
    manifest = json.loads(contents(path)["manifest.json"])
    assert manifest["count"] == 2
    assert manifest["filter"]["values"] == {
        "log": "main", "aggregate_type": "order", "aggregate_id": "42", "after": 1, "limit": 2
    }  # fmt: skip
    [log] = manifest["logs"]
    assert (log["log"], log["count"], log["first_position"], log["last_position"]) == ("main", 2, 2, 3)
    assert log["head"] == log["settled_head"] == store.head("main")
    assert verify(path).is_intact


def test_an_empty_store_makes_an_empty_trail(store: EventStore, tmp_path: Path) -> None:
    for name in ("csv", "ndjson"):
        path = take(store, tmp_path / f"{name}.zip", name)
        assert json.loads(contents(path)["manifest.json"])["count"] == 0
        assert verify(path).is_intact


@pytest.mark.parametrize("server", ["postgresql", "mysql", "mariadb"])
def test_a_trail_of_a_database_that_ecotone_wrote_passes_the_check(server: str, tmp_path: Path) -> None:
    url, drop = create_database(server, tmp_path)
    try:
        load_dump(url, server)
        source = open_source(url)
        for name in ("csv", "ndjson"):
            report = verify(take(source, tmp_path / f"{name}.zip", name))
            assert report.is_intact, report.problems
            assert report.manifest is not None and report.manifest.store["layout"] == "ecotone"
            assert report.manifest.count == sum(1 for _ in read_all(source))
        source.close()
    finally:
        drop()


# The peak comes from /proc: what getrusage says of a child includes the memory of the process that started it.
_measured = """
import sys
from webapp.audit.archive import Archive, Origin
from webapp.audit.formats import formats
from webapp.audit.trail import Scope, Trail
from webapp.store import EventStore
store = EventStore.open(sys.argv[1])
archive = Archive(Trail(store, Scope()), formats[sys.argv[2]], Origin("shop", "ann", "test"))
with open(sys.argv[3], "wb") as file:
    for piece in archive:
        file.write(piece)
store.close()
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(archive.manifest.count, peak)
"""


def test_memory_stays_flat_over_200_000_events(sqlite_store: EventStore, tmp_path: Path) -> None:
    for start in range(0, 200_000, 2_000):
        sqlite_store.append_many([
            Append("order", str((start + n) // 5), [NewEvent("order.placed", {"note": "x" * 100}, {"actor": "ann"})])
            for n in range(2_000)
        ])  # fmt: skip
    for name in ("csv", "ndjson"):
        run = subprocess.run(
            [sys.executable, "-c", _measured, str(sqlite_store.database.url), name, str(tmp_path / f"{name}.zip")],
            capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        )  # fmt: skip
        count, kilobytes = map(int, run.stdout.split())
        assert count == 200_000
        assert kilobytes < 130_000, f"{name} took {kilobytes:,} KB"
    assert verify(tmp_path / "csv.zip").is_intact
