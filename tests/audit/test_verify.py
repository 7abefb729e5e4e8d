"""What the offline check finds, and that it says where."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.audit.helpers import contents, of_type, pack, take
from tests.queries.seed import fill
from webapp.audit.verify import verify
from webapp.errors import NotFound
from webapp.store import EventStore, NewEvent


@pytest.fixture(params=["csv", "ndjson"])
def trail(request: pytest.FixtureRequest, sqlite_store: EventStore, tmp_path: Path) -> Path:
    """A trail of five events in one log, in each format."""
    for number in range(5):
        sqlite_store.append("order", str(number % 2), [NewEvent("order.placed", {"n": number})])
    return take(sqlite_store, tmp_path / "trail.zip", request.param)


def problems(path: Path) -> str:
    """All that is wrong with a file, which must be something."""
    report = verify(path)
    assert not report.is_intact
    return " ".join(sentence for found in report.problems.values() for sentence in found)


def tampered(trail: Path, change: Callable[[list[bytes]], list[bytes]]) -> str:
    """What is found after a change to the lines of the events file, the manifest left as it was."""
    files = contents(trail)
    name = next(iter(files))
    end = b"\r\n" if name.endswith("csv") else b"\n"
    lines = files[name].split(end)[:-1]
    head = [lines.pop(0)] if name.endswith("csv") else []
    files[name] = b"".join(line + end for line in [*head, *change(lines)])
    return problems(pack(trail.with_name("tampered.zip"), files))


def line_of(trail: Path, event: int) -> str:
    """How the line of an event (from 1) is called: CSV has the names before it."""
    return f"Line {event + ('events.csv' in contents(trail))}"


def test_a_trail_packed_anew_is_still_intact(trail: Path) -> None:
    assert verify(trail).is_intact
    assert verify(pack(trail.with_name("again.zip"), contents(trail))).is_intact


def test_a_removed_line_is_found_where_it_was(trail: Path) -> None:
    found = tampered(trail, lambda lines: lines[:2] + lines[3:])
    assert "There are 4 events, and the manifest says 5" in found
    assert f"Before {line_of(trail, 3).lower()} (main:4) something is missing: main:3." in found
    assert "SHA-256" in found


def test_a_line_removed_at_the_end_is_found(trail: Path) -> None:
    assert "The last event of log “main” is at 4, not at 5." in tampered(trail, lambda lines: lines[:-1])


def test_an_added_line_is_found(trail: Path) -> None:
    found = tampered(trail, lambda lines: [*lines, lines[-1].replace(b"5", b"6", 1)])
    assert "There are 6 events" in found and "bytes, not" in found


def test_a_doubled_line_is_found_where_it_is(trail: Path) -> None:
    found = tampered(trail, lambda lines: [*lines[:2], lines[1], *lines[2:]])
    assert f"{line_of(trail, 3)} holds main:2, the same position again." in found
    assert f"{line_of(trail, 3)} holds version 1 of “order/1”, after version 1." in found


def test_reordered_lines_are_found_where_they_are(trail: Path) -> None:
    found = tampered(trail, lambda lines: [lines[0], lines[2], lines[1], *lines[3:]])
    assert f"{line_of(trail, 3)} holds main:2, after main:3." in found


def test_a_changed_payload_is_found(trail: Path) -> None:
    found = tampered(
        trail, lambda lines: [line.replace(b'n":3', b'n":4').replace(b'n"":3', b'n"":4') for line in lines]
    )
    assert "Its SHA-256 is" in found and "bytes" not in found


def test_a_broken_line_is_found_where_it_is(trail: Path) -> None:
    found = tampered(trail, lambda lines: [lines[0], lines[1][: len(lines[1]) // 3], *lines[2:]])
    assert f"{line_of(trail, 2)} is no event" in found


def test_fields_that_are_missing_or_strange_are_named(sqlite_store: EventStore, tmp_path: Path) -> None:
    sqlite_store.append("order", "1", [NewEvent("a", {}), NewEvent("b", {})])
    trail = take(sqlite_store, tmp_path / "trail.zip")
    found = tampered(trail, lambda lines: [
        lines[0].replace(b',"actor":null', b""), lines[1].replace(b"{", b'{"extra":1,', 1), b"[1]", b'{"log":1}',
    ])  # fmt: skip
    assert "Line 1 is no event: it lacks actor." in found
    assert "Line 2 is no event: it has fields that no event has: 'extra'." in found
    assert "Line 3 is no event: it is JSON, but not an event." in found


def test_every_truncation_is_found(trail: Path) -> None:
    content = trail.read_bytes()
    for length in [*range(0, len(content), 7), len(content) - 1]:
        cut = trail.with_name("cut.zip")
        cut.write_bytes(content[:length])
        assert "Was it cut off?" in problems(cut), length


def test_a_flipped_byte_is_found_wherever_the_content_changes(trail: Path) -> None:
    content, whole = trail.read_bytes(), contents(trail)
    flipped, chance = trail.with_name("flipped.zip"), random.Random(7)
    for at in range(len(content)):
        flipped.write_bytes(content[:at] + bytes([content[at] ^ (1 << chance.randrange(8))]) + content[at + 1 :])
        # Some bytes of a ZIP say nothing about content, such as the hour at which it was packed.
        if verify(flipped).is_intact:
            assert contents(flipped) == whole, at


def test_a_missing_manifest_is_found(trail: Path) -> None:
    files = contents(trail)
    del files["manifest.json"]
    assert "manifest.json is missing" in problems(pack(trail.with_name("x.zip"), files))


def test_a_renamed_or_added_or_misplaced_file_is_found(trail: Path) -> None:
    (name, events), (_, manifest) = contents(trail).items()
    other = "events.csv" if name == "events.ndjson" else "events.ndjson"
    found = problems(pack(trail.with_name("a.zip"), {"evil.txt": events, "manifest.json": manifest}))
    assert "It holds evil.txt" in found and "The events file is missing" in found
    assert "the manifest is one of" in problems(
        pack(trail.with_name("b.zip"), {other: events, "manifest.json": manifest})
    )
    found = problems(pack(trail.with_name("c.zip"), {name: events, "x": b"", "manifest.json": manifest}))
    assert "It holds x, which does not belong" in found
    assert "comes before" in problems(pack(trail.with_name("d.zip"), {"manifest.json": manifest, name: events}))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda values: values | {"format_version": 2}, "format version 2"),
        (lambda values: values | {"format": "x"}, "not one of a trail"),
        (lambda values: values | {"count": -1}, "impossible under count"),
        (lambda values: values | {"logs": [{"log": "main"}]}, "does not say what it holds"),
        (lambda values: {name: value for name, value in values.items() if name != "sha256"}, "lacks sha256"),
        (lambda values: [values], "not one of a trail"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_found(trail: Path, change: Callable[..., object], sentence: str) -> None:
    files = contents(trail)
    files["manifest.json"] = json.dumps(change(json.loads(files["manifest.json"]))).encode()
    assert sentence in problems(pack(trail.with_name("x.zip"), files))


def test_bytes_hidden_around_the_files_are_found(trail: Path) -> None:
    content = trail.read_bytes()
    hidden = trail.with_name("hidden.zip")
    hidden.write_bytes(b"#!/bin/sh\n" + content)
    assert "belong to no file" in problems(hidden)
    hidden.write_bytes(content + b"more")
    assert "goes on after its end" in problems(hidden) or "cut off" in problems(hidden)


def test_events_that_unpack_to_far_more_than_the_manifest_says_are_not_read_on(trail: Path) -> None:
    files = contents(trail)
    name = next(iter(files))
    bomb = trail.with_name("bomb.zip")
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(name, "w", force_zip64=True) as file:
            for _ in range(400):
                file.write(bytes(1024 * 1024))
        archive.writestr("manifest.json", files["manifest.json"])
    code = (
        "import sys; from pathlib import Path; from webapp.audit.verify import verify; "
        "report = verify(Path(sys.argv[1])); assert not report.is_intact; "
        "print(report.problems['checksum'][0]); "
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(bomb)], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    sentence, kilobytes = run.stdout.splitlines()
    assert "has more than" in sentence
    assert int(kilobytes) < 100_000


def test_a_filtered_trail_may_have_gaps(sqlite_store: EventStore, tmp_path: Path) -> None:
    fill(sqlite_store)
    assert verify(take(sqlite_store, tmp_path / "t.zip", scope=of_type("order.paid", "wallet.opened"))).is_intact


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"There is no file"):
        verify(tmp_path / "nothing.zip")
