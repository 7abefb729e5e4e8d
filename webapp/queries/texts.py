"""Stored text made fit to be looked at, however hostile: payloads, metadata, anything of any size or shape."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from webapp.store.events import RecordedEvent
from webapp.store.jsontext import is_json

longest_shown = 64 * 1024
_longest_checked = 16 * 1024 * 1024
_longest_laid_out = 8 * longest_shown
_deepest_indented = 40
_tokens = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+')
# Control characters and those that turn the direction of text: they would hide or forge what is shown around them.
_unprintable = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


@dataclass(frozen=True)
class ShownText:
    """Text for a page. `problem` says what is wrong with it, None if it's JSON; `size` is in bytes, as stored.

    `is_cut` means that more is stored than is shown; `is_laid_out` that line breaks and indents are ours.
    """

    text: str
    size: int
    problem: str | None = None
    is_cut: bool = False
    is_laid_out: bool = False


def show_text(stored: str | bytes | None, *, as_stored: bool = False) -> ShownText | None:
    """The stored text, laid out if it's JSON of at most 64 KiB, else as it stands; None for None."""
    if stored is None:
        return None
    text, problem = _decode(stored)
    size = len(stored) if isinstance(stored, bytes) else len(stored.encode("utf-8", "surrogatepass"))
    if problem is None and len(text) <= _longest_checked:
        problem = json_problem(text)
    if size > longest_shown:
        return ShownText(printable(text[:longest_shown]), size, problem, is_cut=True)
    laid_out = None if problem or as_stored else lay_out(text)
    if laid_out is None:
        return ShownText(printable(text), size, problem)
    return ShownText(printable(laid_out), size, is_laid_out=laid_out != text)


def _decode(stored: str | bytes) -> tuple[str, str | None]:
    if isinstance(stored, str):
        return stored, None
    try:
        return stored.decode(), None
    except UnicodeDecodeError as error:
        text = stored.decode("utf-8", "backslashreplace")
        return text, f"These are bytes that are not UTF-8 text; the first wrong one is at {error.start}, shown as \\x…."


def json_problem(text: str) -> str | None:
    """What keeps a text from being JSON, as a sentence; None if it is JSON."""
    if is_json(text):
        return None
    if not text.strip():
        return "This is empty, which is not JSON."
    try:
        json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        return f"This is not JSON: {error.msg[0].lower()}{error.msg[1:]} at line {error.lineno}, column {error.colno}."
    except RecursionError:
        pass
    except ValueError as error:
        return f"This is not JSON: {error}."
    return "This is not JSON."


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it says {name}, for which JSON has no word")


def lay_out(text: str) -> str | None:
    """JSON text with line breaks and indents, every token as it stands; None if it would become far too long.

    Works on tokens, so it keeps the order of keys, doubled keys and the digits of numbers, at any depth.
    """
    parts: list[str] = []
    length, depth = 0, 0
    tokens = _tokens.findall(text)
    for number, word in enumerate(tokens):
        following = tokens[number + 1] if number + 1 < len(tokens) else ""
        piece = word
        if word in ("{", "["):
            depth += 1
            piece += _break(depth) if following not in ("}", "]") else ""
        elif word == ",":
            piece += _break(depth) or " "
        elif word == ":":
            piece += " "
        elif word in ("}", "]"):
            was_empty = number > 0 and tokens[number - 1] in ("{", "[")
            depth -= 1
            piece = ("" if was_empty else _break(depth, closing=True)) + word
        parts.append(piece)
        length += len(piece)
        if length > _longest_laid_out:
            return None
    return "".join(parts)


def _break(depth: int, *, closing: bool = False) -> str:
    limit = _deepest_indented - 1 if closing else _deepest_indented
    return "\n" + "  " * depth if depth <= limit else ""


def printable(text: str) -> str:
    """The text with control characters, lone surrogates and marks that turn its direction shown as \\u escapes."""
    return _unprintable.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def shorten(text: str, most: int = 200) -> str:
    """The text, printable and at most so many characters long."""
    return printable(text if len(text) <= most else text[: most - 1] + "…")


@dataclass(frozen=True)
class Download:
    """A stored text as a file; its name is safe on every system."""

    name: str
    content: bytes
    media_type: str


def download_of(event: RecordedEvent, part: str) -> Download:
    """The event's payload, or its metadata where `part` says so, byte by byte as stored."""
    stored = event.metadata_text if part == "metadata" else event.data_text
    content = stored if isinstance(stored, bytes) else (stored or "").encode("utf-8", "surrogatepass")
    fits = is_json(content)
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", event.log).strip("-")[:80] or "log"
    name = f"{stem}-{event.position}-{part}.{'json' if fits else 'bin'}"
    return Download(name, content, "application/json" if fits else "application/octet-stream")
