"""CSV as RFC 4180 has it, safe to be opened in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Any

from webapp.audit.formats.lines import BadLine, Line, check_values, fields, longest_line, split_lines
from webapp.store.events import RecordedEvent, utc
from webapp.store.jsontext import embeddable

_fused = tuple("=+-@\t\r'")


class CsvFormat:
    """Comma-separated values in UTF-8, without a byte order mark: programs take one for a part of the first name."""

    name = "csv"
    how_to_read = (
        "events.csv is UTF-8 text without a byte order mark, with commas, doubled quotes and line ends CR LF (RFC "
        "4180); a cell may hold line breaks. data and metadata are the stored text as it stands; bytes that are no "
        'text stand as {"base64": "…"}. An empty cell is null or empty text. So that no spreadsheet takes a cell for a '
        "formula, a cell that begins with = + - @ tab, carriage return or an apostrophe has one apostrophe put before "
        "it: to undo that, take the first character off every cell that begins with an apostrophe."
    )

    def encode(self, events: Iterable[RecordedEvent]) -> Iterator[bytes]:
        """The names of the fields, then one record for each event."""
        write = csv.writer(_Echo()).writerow  # it returns what the echo's write returns
        yield _encoded(write(fields))
        for event in events:
            yield _encoded(write([defuse(cell) for cell in _cells(event)]))

    def decode(self, chunks: Iterable[bytes]) -> Iterator[Line | BadLine]:
        """What stands in each record; its number is the line that it ends in."""
        csv.field_size_limit(longest_line)
        reader = csv.reader(_texts(chunks), strict=True)
        try:
            if tuple(next(reader, ())) != fields:
                yield BadLine(1, "it does not name the fields of an event")
            for cells in reader:
                yield _decode(reader.line_num, [restore(cell) for cell in cells])
        except UnicodeDecodeError:
            yield BadLine(reader.line_num + 1, "it holds bytes that are not UTF-8 text", ends=True)
        except csv.Error as error:
            yield BadLine(reader.line_num, f"it is not CSV: {error}", ends=True)


class _Echo:
    @staticmethod
    def write(text: str) -> str:
        return text


def defuse(cell: str) -> str:
    """The cell with an apostrophe before what a spreadsheet would take for a formula; `restore` undoes it."""
    return "'" + cell if cell.startswith(_fused) else cell


def restore(cell: str) -> str:
    """What was in a cell before it was defused."""
    return cell.removeprefix("'")


def _encoded(text: Any) -> bytes:
    return str(text).encode("utf-8", "backslashreplace")


def _cells(event: RecordedEvent) -> list[str]:
    return [
        event.log, str(event.position), event.aggregate_type or "", event.aggregate_id or "",
        "" if event.version is None else str(event.version), event.type, event.id, utc(event.recorded_at),
        _stored(event.data_text), _stored(event.metadata_text),
        event.correlation_id or "", event.causation_id or "", event.actor or "",
    ]  # fmt: skip


def _stored(text: str | bytes | None) -> str:
    if isinstance(text, bytes):
        try:
            return text.decode()
        except UnicodeDecodeError:
            return embeddable(text)
    return text or ""


def _texts(chunks: Iterable[bytes]) -> Iterator[str]:
    for _, line in split_lines(chunks):
        if line is None:
            raise csv.Error("a line is too long to be read")
        yield line.decode()


def _decode(number: int, cells: list[str]) -> Line | BadLine:
    if len(cells) != len(fields):
        return BadLine(number, f"it has {len(cells)} cells instead of {len(fields)}")
    event = dict(zip(fields, cells, strict=True))
    position, version = _number(event["position"]), _number(event["version"]) if event["version"] else None
    wrong = check_values(position, version, event["recorded_at"])
    if wrong is not None:
        return BadLine(number, wrong)
    return Line(
        number, event["log"], int(position), event["aggregate_type"], event["aggregate_id"],
        None if version is None else int(version), event["recorded_at"],
    )  # fmt: skip


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text
