"""What the formats share: the fields of an event, lines of bounded length, and what is read out of one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

fields = (
    "log", "position", "aggregate_type", "aggregate_id", "version", "type", "id", "recorded_at",
    "data", "metadata", "correlation_id", "causation_id", "actor",
)  # fmt: skip
"""The fields of an event, in order."""

longest_line = 256 * 1024 * 1024
"""In bytes; a line that is longer isn't read, so that a file can't fill the memory."""

_time = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d\.\d{6}Z")


@dataclass(frozen=True, slots=True)
class Line:
    """One event of a trail, as far as its place goes; `number` is the line in the file, from 1."""

    number: int
    log: str
    position: int
    aggregate_type: str | None
    aggregate_id: str | None
    version: int | None
    recorded_at: str


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no event, and why; `ends` means that nothing after it can be read."""

    number: int
    problem: str
    ends: bool = False


def check_values(position: object, version: object, recorded_at: object) -> str | None:
    """What is wrong with the values that give an event its place, as a phrase; None if nothing is."""
    if not isinstance(position, int) or isinstance(position, bool) or position < 1:
        return f"its position is {_shown(position)}, not a number from 1"
    if version is not None and (not isinstance(version, int) or isinstance(version, bool) or version < 0):
        return f"its version is {_shown(version)}, not a number"
    if not isinstance(recorded_at, str) or not _time.fullmatch(recorded_at):
        return f"its recorded_at is {_shown(recorded_at)}, not a time in UTC such as 2026-10-01T08:10:53.000000Z"
    return None


def _shown(value: object) -> str:
    return ascii(value)[:60]


def split_lines(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Lines with their ends and numbers; None, the last one, stands for a line that is too long."""
    number, parts, size = 1, [], 0  # type: tuple[int, list[bytes], int]
    for chunk in chunks:
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            parts.append(chunk[start : end + 1])
            yield number, b"".join(parts)
            number, parts, size, start = number + 1, [], 0, end + 1
        parts.append(chunk[start:])
        size += len(chunk) - start
        if size > longest_line:
            yield number, None
            return
    rest = b"".join(parts)
    if rest:
        yield number, rest
