"""A trail as a ZIP, made while it is read: the events file, then the manifest."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from zipfile import ZIP_DEFLATED

from zipstream import ZipStream  # type: ignore[import-untyped]

from webapp.audit import manifest as manifests
from webapp.audit.formats import TrailFormat
from webapp.audit.manifest import Manifest
from webapp.audit.trail import Scope, Trail
from webapp.store.events import utc

_piece = 64 * 1024
_compress_level = 5  # three fifths of the time of 9 for a twentieth more bytes
_longest_stem = 60


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a trail comes from: the store's name, who takes it, and through what (“dashboard”, “command line”)."""

    store: str
    taken_by: str
    taken_through: str


class Archive:
    """The bytes of a ZIP; iterate once. `manifest` is None until the last event has come.

    What breaks the reading is raised, and what was given out until then is no valid ZIP: its directory comes last.
    """

    def __init__(self, trail: Trail, file_format: TrailFormat, origin: Origin) -> None:
        self.trail, self.format, self.origin = trail, file_format, origin
        self.started_at = dt.datetime.now(dt.UTC)
        self.manifest: Manifest | None = None
        self._digest = hashlib.sha256()
        self._bytes = 0

    @property
    def name(self) -> str:
        """A name for the file, safe on every system and in every header."""
        return f"{safe_name(self.origin.store)}-{_what(self.trail.scope)}-{self.started_at:%Y%m%dT%H%M%SZ}.zip"

    def __iter__(self) -> Iterator[bytes]:
        stream = ZipStream(compress_type=ZIP_DEFLATED, compress_level=_compress_level)
        stream.add(self._events(), f"events.{self.format.name}")
        stream.add(self._manifest(), manifests.file_name)
        # An empty piece would end a chunked response.
        yield from (piece for piece in stream if piece)

    def _events(self) -> Iterator[bytes]:
        parts: list[bytes] = []
        size = 0
        for part in self.format.encode(self.trail):
            parts.append(part)
            size += len(part)
            if size >= _piece:
                yield self._noted(b"".join(parts))
                parts, size = [], 0
        yield self._noted(b"".join(parts))

    def _noted(self, piece: bytes) -> bytes:
        self._digest.update(piece)
        self._bytes += len(piece)
        return piece

    def _manifest(self) -> Iterator[bytes]:
        trail, source = self.trail, self.trail.source
        self.manifest = Manifest(
            events_file=f"events.{self.format.name}", count=trail.count, bytes=self._bytes,
            sha256=self._digest.hexdigest(), filter={"words": trail.scope.words(), "values": trail.scope.values()},
            taken_by=self.origin.taken_by, taken_through=self.origin.taken_through, started_at=utc(self.started_at),
            finished_at=utc(dt.datetime.now(dt.UTC)),
            store={"name": self.origin.store, "layout": source.layout, "database": source.dialect},
            logs=tuple(trail.extents.values()), how_to_read=self.format.how_to_read,
        )  # fmt: skip
        yield manifests.write_manifest(self.manifest)


def safe_name(text: str) -> str:
    """The text reduced to letters, digits, dots, dashes and underscores; never empty, hidden or long."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text)[:_longest_stem].strip("-._") or "store"


def _what(scope: Scope) -> str:
    where = scope.where
    names = [name for name in (where.aggregate_type, where.aggregate_id) if name] or list(where.types) or ["events"]
    return safe_name("-".join(names))
