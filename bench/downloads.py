"""The memory that a download of everything takes in a real server's workers, and how long it lasts."""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.filling import Filled, Tell
from tests.serving.browser import Person, Server, serving

FORMATS = ("csv", "ndjson")
TARGET = 150.0
HEADING = "Downloads"


def measure(backend: str, filled: Filled, folder: Path, tell: Tell) -> list[dict[str, Any]]:
    """A row for each format: a fresh server, one download of every event, checked, and its workers' peak memory."""
    url, rows = filled.url(backend), []
    for form in FORMATS:
        home = folder / f"download-{backend}-{form}"
        home.mkdir()
        with serving(home, "--store", f"shop={url}", "--domain", "webapp.demo.shop:domain") as server:
            person = Person(server)
            person.log_in()
            person.get("/stores/shop/audit")
            before = peaks(server)
            tell(f"{backend}: downloading everything as {form}")
            began = time.monotonic()
            size = person.save(f"/stores/shop/audit/download?format={form}", home / "trail.zip")
            seconds = time.monotonic() - began
            after = peaks(server)
        if before.keys() != after.keys():
            raise AssertionError("a worker was replaced meanwhile, so its peak isn't known")
        rows.append(
            {
                "database": backend, "format": form, "events": check(home / "trail.zip", form),
                "seconds": round(seconds, 1), "megabytes": round(size / 1e6, 1),
                "peak_before": max(before.values()), "peak": max(after.values()),
            }
        )  # fmt: skip
        (home / "trail.zip").unlink()
    return rows


def peaks(server: Server) -> dict[int, float]:
    """The most memory that each worker ever had, in megabytes, by its pid: VmHWM, which counts shared pages too."""
    found = {}
    for pid in server.workers():
        [line] = [
            line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")
        ]  # fmt: skip
        found[pid] = round(int(line.split()[1]) * 1024 / 1e6, 1)
    return found


def check(path: Path, form: str) -> int:
    """The number of events in a trail, which the manifest must agree with."""
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        with archive.open(f"events.{form}") as lines:
            size = sum(len(piece) for piece in iter(lambda: lines.read(1 << 20), b""))  # checks its CRC as well
    if size != manifest["bytes"]:
        raise AssertionError(f"{path} holds {size} bytes of events, its manifest says {manifest['bytes']}")
    return int(manifest["count"])


def markdown(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The section as lines."""
    lines = [
        f"The target is a peak under {TARGET:.0f} MB for a download of 1,000,000 events.",
        "",
        "| database | format | events | peak memory, MB | before it, MB | seconds | events/s | ZIP, MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        speed = row["events"] / row["seconds"]
        lines.append(
            f"| {row['database']} | {row['format']} | {row['events']:,} | {row['peak']:.0f} | {row['peak_before']:.0f} "
            f"| {row['seconds']:.0f} | {speed:,.0f} | {row['megabytes']:.0f} |"
        )
    return [
        *lines,
        "",
        "- One download of all events of the demo store over HTTP from `projectionist serve` (gunicorn, two workers), "
        "a fresh server for each. Peak memory is the VmHWM of the largest worker, shared pages included, since it "
        "started; “before it” is the same just before the download. A single run each: speeds are an indication.",
    ]


def missed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each download that takes too much memory."""
    return [
        f"{row['database']}, download as {row['format']}: {row['peak']:.0f} MB, the target is under {TARGET:.0f} MB"
        for row in rows
        if row["peak"] >= TARGET
    ]
