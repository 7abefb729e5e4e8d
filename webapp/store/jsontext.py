"""JSON as text: checked at any depth without making values of it, decoded and encoded without altering anything."""

from __future__ import annotations

import base64
import enum
import json
import re
import uuid
from typing import Any

import orjson

from webapp.errors import InvalidEvent

# --- from text ------------------------------------------------------------------------------------------------------

_long_number = re.compile(r"[0-9]{19}")


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; the standard parser takes over where orjson declines (deep nesting, 1e400).

    Raises ValueError if it isn't JSON, or is nested so deep that no value can be made of it.
    """
    if isinstance(text, bytes):
        text = text.decode()
    if not _long_number.search(text):  # orjson would round whole numbers of more than 64 bits
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            pass
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deep to be decoded") from error
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        if "digits" in str(error):  # Python's guard against numbers that take for ever
            raise ValueError("written with a number too long to be decoded") from error
        raise


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def is_json(text: str | bytes) -> bool:
    """Whether a text is one JSON value (RFC 8259), however deep or large its numbers; NaN and Infinity are not."""
    try:
        orjson.loads(text)
        return True
    except orjson.JSONDecodeError:
        return _is_json_slowly(text)


def _is_json_slowly(text: str | bytes) -> bool:
    """What orjson declines may still be JSON: over 1,024 levels, lone surrogate escapes, numbers such as 1e400."""
    try:
        if isinstance(text, bytes):
            text = text.decode()
        else:
            text.encode()  # a surrogate that isn't written as an escape can't be stored
    except UnicodeError:
        return False
    return scan(text)


# --- to text ----------------------------------------------------------------------------------------------------------


def compact(value: Any) -> str:
    """A JSON value of our own making as text without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def embeddable(text: str | bytes | None) -> str:
    """Stored text as a JSON value on one line: itself if it is JSON, else {"base64": "…"}; null for None."""
    if text is None:
        return "null"
    raw = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if not is_json(text):
        return compact({"base64": base64.b64encode(raw).decode()})
    text = raw.decode()
    # A line break can only stand between tokens in JSON, so a space means the same.
    return text.replace("\r", " ").replace("\n", " ") if "\n" in text or "\r" in text else text


def as_text(text: str | bytes | None) -> str:
    """Stored text for eyes and for searching; bytes that aren't UTF-8 show as escapes."""
    return text.decode(errors="backslashreplace") if isinstance(text, bytes) else text or ""


_orjson_options = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


def encode(value: Any, part: str = "value", type_: str | None = None) -> str:
    """A JSON value as compact text; raises InvalidEvent for what JSON has no word for (NaN, sets, objects)."""
    try:
        text = orjson.dumps(value, None, _orjson_options).decode()
        if "null" not in text:  # orjson writes NaN as null; nothing may be altered, so such a text is made again
            return text
    except (TypeError, RecursionError):
        pass
    try:
        plain = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_to_plain)
        plain.encode()
        return plain
    except UnicodeEncodeError:
        # Lone surrogates have no UTF-8; escaped they can be stored and come back as they were.
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_to_plain)
    except (TypeError, ValueError, RecursionError) as error:
        what = f"The {part} of {type_}" if type_ is not None else f"The {part}"
        raise InvalidEvent(f"{what} can't be written as JSON: {error}.") from error


def _to_plain(value: Any) -> Any:
    """What orjson writes by itself and json doesn't."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} is no JSON type")


# --- the grammar ------------------------------------------------------------------------------------------------------

# Possessive repeats (*+, ++): the grammar never needs to go back, and long texts would fill the memory with ways to do so.
_string = r'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"'
_space = re.compile(r"[ \t\n\r]*+")
_scalar = re.compile(_string + r"|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+|true|false|null")
_key = re.compile(_string + r"[ \t\n\r]*+:")


def scan(text: str) -> bool:
    """Whether the text is exactly one JSON value by the grammar of RFC 8259; time is linear, depth has no limit."""
    closers: list[str] = []
    at = _space.match(text, 0).end()  # type: ignore[union-attr]
    while True:
        # Here a value must begin.
        opener = text[at : at + 1]
        if opener in ("{", "["):
            closer = "}" if opener == "{" else "]"
            at = _space.match(text, at + 1).end()  # type: ignore[union-attr]
            if text[at : at + 1] == closer:
                at += 1
            else:
                closers.append(closer)
                after_key = _after_key(text, at) if closer == "}" else at
                if after_key is None:
                    return False
                at = after_key
                continue
        else:
            scalar = _scalar.match(text, at)
            if scalar is None:
                return False
            at = scalar.end()
        # A value has ended: close what closes, then a comma leads to the next value.
        at = _space.match(text, at).end()  # type: ignore[union-attr]
        while closers and text[at : at + 1] == closers[-1]:
            closers.pop()
            at = _space.match(text, at + 1).end()  # type: ignore[union-attr]
        if not closers:
            return at == len(text)
        if text[at : at + 1] != ",":
            return False
        at = _space.match(text, at + 1).end()  # type: ignore[union-attr]
        if closers[-1] == "}":
            after_key = _after_key(text, at)
            if after_key is None:
                return False
            at = after_key


def _after_key(text: str, at: int) -> int | None:
    key = _key.match(text, at)
    return _space.match(text, key.end()).end() if key else None  # type: ignore[union-attr]
