"""Checking JSON text of any depth, without recursion and without making values of it."""

from __future__ import annotations

import re

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
