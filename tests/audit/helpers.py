"""What the tests of trails share: taking one, and packing one anew after a hand has been at it."""

from __future__ import annotations

import zipfile
from pathlib import Path

from webapp.audit.archive import Archive, Origin
from webapp.audit.formats import formats
from webapp.audit.trail import Scope, Trail
from webapp.store.events import EventFilter
from webapp.store.source import EventSource


def take(source: EventSource, path: Path, format_name: str = "ndjson", scope: Scope | None = None) -> Path:
    """A trail of a source, written to a file."""
    archive = Archive(Trail(source, scope or Scope()), formats[format_name], Origin("shop", "ann", "test"))
    path.write_bytes(b"".join(archive))
    return path


def of_type(*types: str) -> Scope:
    """The scope of some types of events."""
    return Scope(EventFilter(types=types))


def contents(path: Path) -> dict[str, bytes]:
    """The files in a ZIP, in order."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, files: dict[str, bytes]) -> Path:
    """A ZIP of these files, in order, made by other means."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path
