"""NDJSON: one JSON object a line, the same that commands and the API give out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from webapp.audit.formats.lines import BadLine, Line, check_values, fields, split_lines
from webapp.store.events import RecordedEvent
from webapp.store.jsontext import is_json, parse_json

_at_data, _after_metadata = fields.index("data"), fields.index("metadata") + 1


class NdjsonFormat:
    """Lines of JSON in UTF-8."""

    name = "ndjson"
    how_to_read = (
        "events.ndjson is UTF-8 text with one JSON object a line. data and metadata are the stored JSON as it stands; "
        'what was stored but is no JSON stands as {"base64": "…"}.'
    )

    def encode(self, events: Iterable[RecordedEvent]) -> Iterator[bytes]:
        """One line for each event."""
        for event in events:
            yield encode_line(event)

    def decode(self, chunks: Iterable[bytes]) -> Iterator[Line | BadLine]:
        """What stands in each line."""
        for number, line in split_lines(chunks):
            if line is None:
                yield BadLine(number, "it is too long to be read", ends=True)
            elif not line.endswith(b"\n"):
                yield BadLine(number, "it is cut off: its end is missing", ends=True)
            else:
                yield _decode(number, line)


def encode_line(event: RecordedEvent) -> bytes:
    """The event as one line of JSON, its end included."""
    # A lone surrogate has no UTF-8, but it can only stand inside a string, where \ud800 means the same.
    return event.to_json().encode("utf-8", "backslashreplace") + b"\n"


def _decode(number: int, line: bytes) -> Line | BadLine:
    if not is_json(line):
        return BadLine(number, "it is not JSON")
    try:
        # Only the parts around the payload are decoded: a payload may be nested deeper than any parser goes. Inside a
        # string a quote has a backslash before it, so what is looked for can only be the names of fields.
        data_at, tail_at = line.index(b',"data":'), line.rindex(b',"correlation_id":')
        head, tail = parse_json(line[:data_at] + b"}"), parse_json(b"{" + line[tail_at + 1 :])
        is_whole = b',"metadata":' in line[data_at:tail_at]
    except ValueError:
        return BadLine(number, _what_differs(line))
    if not is_whole or (*head, "data", "metadata", *tail) != fields:
        return BadLine(number, _what_differs(line))
    wrong = check_values(head["position"], head["version"], head["recorded_at"])
    named = (head["log"], head["aggregate_type"] or "", head["aggregate_id"] or "", head["type"], head["id"])
    if wrong is None and not all(isinstance(name, str) for name in named):
        wrong = "a name in it is not text"
    if wrong is not None:
        return BadLine(number, wrong)
    return Line(
        number, head["log"], head["position"], head["aggregate_type"], head["aggregate_id"], head["version"],
        head["recorded_at"],
    )  # fmt: skip


def _what_differs(line: bytes) -> str:
    """How the fields of a line differ from those of an event, as a phrase."""
    try:
        value: Any = parse_json(line)
    except ValueError:
        return "its fields are not those of an event"
    if not isinstance(value, dict):
        return "it is JSON, but not an event"
    missing = [name for name in fields if name not in value]
    strange = [ascii(name)[:60] for name in value if name not in fields]
    if missing:
        return f"it lacks {', '.join(missing)}"
    if strange:
        return f"it has fields that no event has: {', '.join(strange[:5])}"
    return "its fields are in another order, or one stands twice"
