"""How the events of a trail are written and read back: one module for each format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from webapp.audit.formats.csv import CsvFormat
from webapp.audit.formats.lines import BadLine, Line
from webapp.audit.formats.ndjson import NdjsonFormat
from webapp.errors import InvalidRequest
from webapp.store.events import RecordedEvent


class TrailFormat(Protocol):
    """A format: its name, its file's ending and its sentence on how to read it."""

    name: str
    how_to_read: str

    def encode(self, events: Iterable[RecordedEvent]) -> Iterator[bytes]:
        """The bytes of an events file, piece by piece."""
        ...

    def decode(self, chunks: Iterable[bytes]) -> Iterator[Line | BadLine]:
        """What stands in each line of an events file, or what is wrong with it; memory is bounded."""
        ...


formats: Mapping[str, TrailFormat] = {one.name: one for one in (CsvFormat(), NdjsonFormat())}
"""Every format by its name."""


def format_named(name: str | None) -> TrailFormat:
    """The format of that name; raises InvalidRequest."""
    found = formats.get(name or "")
    if found is None:
        what = f"There is no format “{name}”" if name else "No format was chosen"
        raise InvalidRequest(f"{what}. Formats are {' and '.join(formats)}.", field="format")
    return found
