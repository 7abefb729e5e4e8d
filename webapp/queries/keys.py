"""A row's primary key as text for a URL, and back: where a page of a table begins."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import decimal
import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from webapp.errors import InvalidRequest

_writers: tuple[tuple[str, type, Callable[[Any], str]], ...] = (
    ("B", bool, lambda value: str(int(value))),
    ("i", int, str),
    ("s", str, str),
    ("f", float, repr),
    ("d", decimal.Decimal, str),
    ("t", dt.datetime, dt.datetime.isoformat),
    ("D", dt.date, dt.date.isoformat),
    ("u", uuid.UUID, str),
    ("b", bytes, bytes.hex),
)
_readers: dict[str, Callable[[str], Any]] = {
    "B": lambda text: bool(int(text)),
    "i": int,
    "s": str,
    "f": float,
    "d": decimal.Decimal,
    "t": dt.datetime.fromisoformat,
    "D": dt.date.fromisoformat,
    "u": uuid.UUID,
    "b": bytes.fromhex,
}


def encode_key(values: Sequence[Any]) -> str | None:
    """The key as text that decode_key reads; None if one of its values is of a kind that can't be written."""
    parts = []
    for value in values:
        sign = next((sign for sign, kind, _ in _writers if isinstance(value, kind)), None)
        if sign is None or (isinstance(value, int) and not -(2**63) <= value < 2**63):
            return None
        write = next(write for known, _, write in _writers if known == sign)
        parts.append(sign + write(value))
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_key(text: str, length: int, field: str) -> list[Any]:
    """The values of a key of so many columns; raises InvalidRequest for what encode_key didn't write."""
    try:
        parts = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True).decode())
        values = [_readers[part[0]](part[1:]) for part in parts]
        whole = [value for value in values if isinstance(value, int)]
        if len(values) != length or any(not -(2**63) <= value < 2**63 for value in whole):
            raise ValueError
        for value in values:
            str(value).encode()
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, ArithmeticError, binascii.Error):
        raise InvalidRequest(
            "That is not a place in this table. Open the table again and go on from its first page.", field=field
        ) from None
    return values
