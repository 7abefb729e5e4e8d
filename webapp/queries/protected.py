"""What of an event only a vault can read: told on pages, which show what is stored."""

from __future__ import annotations

from typing import Any

from webapp.queries.texts import longest_shown
from webapp.store.encryption import encrypted_parts, marker
from webapp.store.jsontext import parse_json
from webapp.store.pointers import join_pointer

_most = 50


def encrypted_places(stored: str | bytes | None) -> list[str]:
    """JSON pointers to the encrypted values of a stored text, at most 50; none for a text too long for a page."""
    if not isinstance(stored, str) or marker not in stored or len(stored) > longest_shown:
        return []
    try:
        waiting: list[tuple[str, Any]] = [("", parse_json(stored))]
    except ValueError:
        return []
    found: list[str] = []
    while waiting and len(found) < _most:
        pointer, value = waiting.pop()
        if encrypted_parts(value) is not None:
            found.append(pointer)
        elif isinstance(value, dict):
            waiting += reversed([(join_pointer(pointer, key), one) for key, one in value.items()])
        elif isinstance(value, list):
            waiting += reversed([(join_pointer(pointer, index), one) for index, one in enumerate(value)])
    return found
