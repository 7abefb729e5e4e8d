"""The offline check of a trail: reads the ZIP once, in bounded memory, and says what is wrong and where."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from webapp.audit import manifest as manifests
from webapp.audit.checks import EventChecks, Report
from webapp.audit.formats import formats
from webapp.audit.manifest import Manifest, read_manifest
from webapp.errors import NotFound, ProjectionistError

_piece = 256 * 1024
_largest_manifest = 64 * 1024 * 1024
_largest_directory = 16 * 1024
_local_header = struct.Struct("<4sHHHHHLLLHH")
_cut_off = "The file is no whole ZIP: its directory, which comes last, is missing. Was it cut off?"


def verify(path: Path) -> Report:
    """What was checked of a trail and what is wrong with it. Raises ProjectionistError if it can't be read.

    Memory is bounded by the longest line and the number of streams, whatever the ZIP says of itself.
    """
    report = Report(path.name)
    try:
        with path.open("rb") as file:
            _check(file, report)
    except FileNotFoundError as error:
        raise NotFound("file", str(path)) from error
    except OSError as error:
        raise ProjectionistError(
            f"The file {path} can't be read: {error.strerror or 'it is no regular file'}."
        ) from error
    return report


def _check(file: IO[bytes], report: Report) -> None:
    report.begin("zip")
    if _directory_size(file) > _largest_directory:
        report.add("zip", "The ZIP's directory is far larger than that of a trail, which has two files.")
        return
    try:
        archive = ZipFile(file)
    except (BadZipFile, ValueError, OSError, NotImplementedError, struct.error):
        report.add("zip", f"{_cut_off} Take the trail again.")
        return
    with archive:
        try:
            hidden = _find_hidden(file, archive)
        except (OSError, ValueError):
            hidden = "The ZIP's directory points outside the file."
        if hidden:
            report.add("zip", hidden)
        events = _check_entries(archive, report)
        manifest = _read_manifest(archive, report)
        if events is not None and manifest is not None:
            report.manifest = manifest
            _check_events(archive, events, manifest, report)


def _directory_size(file: IO[bytes]) -> int:
    """The size that the end of the ZIP gives its directory; 0 if there is no such end."""
    file.seek(0, 2)
    size = file.tell()
    file.seek(max(0, size - 22))
    end = file.read(22)
    if len(end) < 22 or end[:4] != b"PK\x05\x06":
        return 0
    return int(struct.unpack("<L", end[12:16])[0])


def _find_hidden(file: IO[bytes], archive: ZipFile) -> str | None:
    """Where the ZIP holds bytes that belong to none of its files, as a sentence; None if there are none."""
    at = 0
    for entry in sorted(archive.infolist(), key=lambda one: one.header_offset):
        # Streamed files are followed by 12 to 24 bytes that give their size.
        if not 0 <= entry.header_offset - at <= (24 if at else 0):
            return f"The ZIP holds bytes before {entry.filename} that belong to no file in it."
        file.seek(entry.header_offset)
        header = file.read(_local_header.size)
        if len(header) < _local_header.size or header[:4] != b"PK\x03\x04":
            return f"The ZIP has no file where {entry.filename} should begin."
        *_, name_size, extra_size = _local_header.unpack(header)
        at = entry.header_offset + _local_header.size + name_size + extra_size + entry.compress_size
    if not 0 <= archive.start_dir - at <= 24:
        return "The ZIP holds bytes before its directory that belong to no file in it."
    file.seek(-22, 2)
    if file.read(4) != b"PK\x05\x06" or archive.comment:
        return "The ZIP goes on after its end: something was added to it."
    return None


def _check_entries(archive: ZipFile, report: Report) -> ZipInfo | None:
    """The events file; None if there is none that can be read."""
    report.begin("entries")
    entries = sorted(archive.infolist(), key=lambda one: one.header_offset)
    names = [entry.filename for entry in entries]
    known = [f"events.{name}" for name in formats]
    for name in sorted(set(names)):
        if name not in (*known, manifests.file_name):
            report.add("entries", f"It holds {name[:100]}, which does not belong into a trail. Was a file renamed?")
        elif names.count(name) > 1:
            report.add("entries", f"It holds {name} more than once.")
    if manifests.file_name not in names:
        report.add("entries", "manifest.json is missing: without it a trail is not complete and can't be checked.")
    found = [entry for entry in entries if entry.filename in known]
    if len(found) != 1:
        number = "Both kinds of events file are there" if found else "The events file is missing"
        report.add("entries", f"{number}: there must be one of {' and '.join(known)}.")
    elif names[0] != found[0].filename and manifests.file_name in names:
        report.add("entries", f"{manifests.file_name} comes before {found[0].filename}, but a trail has it last.")
    return found[0] if len(found) == 1 and len(set(names)) == len(names) else None


def _read_manifest(archive: ZipFile, report: Report) -> Manifest | None:
    if archive.namelist().count(manifests.file_name) != 1:
        return None
    report.begin("manifest")
    entry = archive.getinfo(manifests.file_name)
    content = b""
    try:
        for piece in _pieces(archive, entry):
            content += piece
            if len(content) > _largest_manifest:
                raise _Broken("it is far too large")
        return read_manifest(content)
    except _Broken as error:
        report.add("manifest", f"manifest.json can't be read: {error}.")
    except ValueError as error:
        report.add("manifest", str(error))
    return None


def _check_events(archive: ZipFile, entry: ZipInfo, manifest: Manifest, report: Report) -> None:
    if manifest.events_file != entry.filename:
        report.add("entries", f"It holds {entry.filename}, but the manifest is one of {manifest.events_file}.")
        return
    report.begin("checksum")
    events = _Measured(_pieces(archive, entry), manifest.bytes)
    checks = EventChecks(report, manifest)
    try:
        for line in formats[entry.filename.partition(".")[2]].decode(events):
            checks.take(line)
            if not checks.is_readable:
                break
        for _ in events:  # what is left after a line that ends the reading
            pass
    except _Broken as error:
        report.add("zip", f"{entry.filename} can't be read to its end: {error}.")
        report.add("checksum", f"{entry.filename} could be read for {events.size:,} bytes only.")
        return
    checks.finish()
    if events.size != manifest.bytes:
        more = "more than " if events.is_stopped else ""
        report.add("checksum", f"{entry.filename} has {more}{events.size:,} bytes, not {manifest.bytes:,}.")
    if not events.is_stopped and events.digest.hexdigest() != manifest.sha256.lower():
        report.add("checksum", f"Its SHA-256 is {events.digest.hexdigest()}, not {manifest.sha256[:64]}.")


class _Broken(Exception):
    """A file in the ZIP can't be read (further); the text is a phrase."""


class _Measured:
    """Pieces of a file as they pass, with their number of bytes and SHA-256; ends a little after `most` bytes."""

    def __init__(self, pieces: Iterator[bytes], most: int) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self.is_stopped = False
        self._pieces, self._most = pieces, most

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self.size > self._most + _piece:
            # However much more the ZIP would unpack to: it's wrong already, and may be made to fill a disk.
            self.is_stopped = True
            raise StopIteration
        piece = next(self._pieces)
        self.digest.update(piece)
        self.size += len(piece)
        return piece


def _pieces(archive: ZipFile, entry: ZipInfo) -> Iterator[bytes]:
    if entry.flag_bits & 0x1:
        raise _Broken("it is encrypted")
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise _Broken("it is compressed in a way that trails are not")
    try:
        with archive.open(entry) as file:
            while piece := file.read(_piece):
                yield piece
    except BadZipFile as error:
        what = "its checksum is wrong, so it was changed or damaged" if "CRC" in str(error) else str(error)
        raise _Broken(what) from error
    except zlib.error as error:
        raise _Broken("it is damaged and can't be unpacked") from error
    except (EOFError, OSError, ValueError, NotImplementedError, RuntimeError, struct.error) as error:
        raise _Broken("the ZIP contradicts itself or ends too early") from error
