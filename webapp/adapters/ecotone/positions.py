"""How Ecotone writes down how far a projection got, read without guessing."""

from __future__ import annotations

from dataclasses import dataclass

from webapp.store.jsontext import parse_json


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """The last number handled in one stream, and the numbers below it that were missing and are watched."""

    stream: str
    position: int
    gaps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PartitionKey:
    """Which aggregate a row of a partitioned projection is about."""

    stream: str
    aggregate_type: str
    aggregate_id: str


def parse_v1(text: str | None) -> list[StreamPosition]:
    """Positions of a V1 projection from its JSON, `{}` and `[]` meaning none; raises ValueError for anything else."""
    value = parse_json(text) if text else {}
    if value == []:
        return []
    if not isinstance(value, dict) or not all(_is_number(number) for number in value.values()):
        raise ValueError(f"not a map from streams to numbers: {_short(text)}")
    return [StreamPosition(stream, int(number)) for stream, number in sorted(value.items())]


def parse_v2(text: str) -> list[StreamPosition]:
    """Positions of a global V2 projection from `stream=POS:GAPS;…`, empty meaning none.

    Stream names may hold anything but `=` and `;`, which break Ecotone itself. Raises ValueError for any other text.
    """
    found = []
    for part in filter(None, text.split(";")):
        stream, equals, rest = part.partition("=")
        position, colon, gaps = rest.partition(":")
        numbers = [position, *filter(None, gaps.split(","))]
        if not (stream and equals and colon and all(number.isascii() and number.isdigit() for number in numbers)):
            raise ValueError(f"not stream=position:gaps; {_short(part)}")
        found.append(StreamPosition(stream, int(position), tuple(int(number) for number in numbers[1:])))
    return found


def parse_partition_key(text: str) -> PartitionKey:
    """The aggregate in `stream:type:id`; ids may hold colons. Raises ValueError for anything else."""
    parts = text.split(":", 2)
    if len(parts) != 3:
        raise ValueError(f"not stream:type:id: {_short(text)}")
    return PartitionKey(*parts)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _short(text: str | None) -> str:
    text = text or ""
    return f"“{text[:80]}…”" if len(text) > 80 else f"“{text}”"
