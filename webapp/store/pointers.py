"""Places inside JSON: pointers (RFC 6901) in which `*` stands for any key or index, and finding them in a text."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from webapp.errors import InvalidDefinition

Steps = tuple[str, ...]
any_step = "*"


def parse_pointer(text: str) -> Steps:
    """The steps of a pointer such as `/contacts/*/phone`; the empty one is the whole document."""
    if not isinstance(text, str) or (text and not text.startswith("/")) or re.search("~(?![01])", text):
        raise InvalidDefinition(
            f"{text!r} is no JSON pointer. Write one such as /email, /address/street or /contacts/*/phone."
        )
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:])


def join_pointer(parent: str, step: str | int) -> str:
    """The pointer to what stands under a key or index of what another pointer leads to."""
    return f"{parent}/{str(step).replace('~', '~0').replace('/', '~1')}"


def overlap(one: Steps, other: Steps) -> bool:
    """Whether some value could be reached by both, or stand inside what the other reaches."""
    return all(a == b or any_step in (a, b) for a, b in zip(one, other, strict=False))


def value_at(value: Any, steps: Steps) -> Any:
    """What a pointer without `*` leads to; raises LookupError where there is nothing."""
    for step in steps:
        if isinstance(value, list):
            if not step.isdecimal():
                raise LookupError(step)
            value = value[int(step)]
        elif isinstance(value, dict):
            value = value[step]
        else:
            raise LookupError(step)
    return value


@dataclass(frozen=True, slots=True)
class Span:
    """A value in a JSON text: the number of the pattern it matches, its own pointer, and where its text stands."""

    pattern: int
    pointer: str
    start: int
    end: int


class _Node:
    """What to look for at a place: the number of the pattern that ends here (-1: none), and what may follow."""

    __slots__ = ("children", "number", "others")

    def __init__(self, live: Sequence[tuple[int, Steps]]) -> None:
        self.number = next((number for number, rest in live if not rest), -1)
        names = {rest[0] for _, rest in live if rest} - {any_step}
        self.children = {name: _Node(_advance(live, (name, any_step))) for name in names}
        others = _advance(live, (any_step,))
        self.others = _Node(others) if others else None

    @property
    def is_leaf(self) -> bool:
        """Whether nothing inside this value is looked for."""
        return self.number >= 0 or not (self.children or self.others)


def _advance(live: Sequence[tuple[int, Steps]], steps: Sequence[str]) -> list[tuple[int, Steps]]:
    return [(number, rest[1:]) for number, rest in live if rest and rest[0] in steps]


@functools.lru_cache(maxsize=1024)
def _compile(patterns: tuple[Steps, ...]) -> _Node:
    return _Node(list(enumerate(patterns)))


# What is scanned is known to be JSON, so tokens needn't be checked again. Possessive repeats keep long texts linear.
_token = re.compile(r'"(?:[^"\\]++|\\.)*+"(?:\s*+(:))?+|[{}\[\],]|[^\s"{}\[\],:]++')
_key_escapes = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
_short_escapes = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def find_values(text: str, patterns: Sequence[Steps]) -> list[Span]:
    """Every value that a pattern leads to, in order of place; a key that stands twice is found twice.

    Works on the text, which must be JSON, so that nothing around the values is altered, at any depth. Patterns must not
    overlap.
    """
    found: list[Span] = []
    node: _Node | None = _compile(tuple(patterns))
    parent: _Node | None = None
    step = ""  # parent is the container that surrounds the next value, step the value's key or index
    stack: list[tuple[str, _Node, int]] = []  # containers: pointer, what to look for in it, index of its current value
    depth, began_at = 0, 0  # while inside a value where only the end matters
    for token in _token.finditer(text):
        first = text[token.start()]
        if depth:
            if first in "{[":
                depth += 1
            elif first in "}]":
                depth -= 1
                if not depth and node is not None:
                    found.append(Span(node.number, _pointer(stack, step), began_at, token.end()))
        elif token[1]:
            step = token[0][1 : token[0].rindex('"')]
            if "\\" in step:
                step = _decode_key(step)
            node = parent.children.get(step, parent.others)  # type: ignore[union-attr]
        elif first == ",":
            pointer, parent, index = stack[-1]
            if index >= 0:
                stack[-1] = (pointer, parent, index + 1)
                step = str(index + 1)
                node = parent.children.get(step, parent.others)
        elif first in "}]":
            stack.pop()
            parent = stack[-1][1] if stack else None
        elif first not in "{[":
            if node is not None and node.number >= 0:
                found.append(Span(node.number, _pointer(stack, step), token.start(), token.end()))
        elif node is None or node.is_leaf:
            depth, began_at = 1, token.start()
            node = node if node is not None and node.number >= 0 else None
        else:
            stack.append((_pointer(stack, step), node, 0 if first == "[" else -1))
            parent = node
            if first == "[":
                step, node = "0", parent.children.get("0", parent.others)
    return found


def _pointer(stack: Sequence[tuple[str, _Node, int]], step: str) -> str:
    return join_pointer(stack[-1][0], step) if stack else ""


def _decode_key(raw: str) -> str:
    # Halves of a surrogate pair are joined, as any parser does.
    decoded = _key_escapes.sub(lambda m: chr(int(m[1], 16)) if m[1] else _short_escapes.get(m[2], m[2]), raw)
    return decoded.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
