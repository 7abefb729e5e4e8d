"""A short hash of what a class does, so that a state folded by older code is known for what it is."""

from __future__ import annotations

import hashlib
import inspect
import re
import types
from typing import Any


def fingerprint_class(cls: type, *extras: Any) -> str:
    """64 hexadecimal digits that change with the annotations, defaults and functions of a class or its own bases.

    Comments, blank lines and docstrings of modules don't matter. What functions elsewhere do isn't seen: whoever
    changes a helper that handlers call gives the aggregate another `revision`. Another Python may give another one.
    """
    parts = [_class_parts(one) for one in cls.__mro__ if one.__module__ not in _libraries]
    return _digest([parts, _signature(cls), [repr(extra) for extra in extras]])


def fingerprint_functions(*functions: Any) -> str:
    """The same for functions (what isn't one counts by its repr)."""
    return _digest([_value(function) for function in functions])


_libraries = frozenset({"builtins", "typing", "abc", "enum", "pydantic.main", "msgspec", "webapp.store.aggregates"})


def _digest(parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace")).hexdigest()


def _signature(cls: type) -> str:
    """How one is made: dataclasses, attrs, Pydantic and msgspec all show their fields and defaults there."""
    try:
        return re.sub(r" at 0x[0-9a-fA-F]+", "", str(inspect.signature(cls)))
    except (TypeError, ValueError):
        return ""


def _class_parts(cls: type) -> list[Any]:
    members = {
        name: _value(value)
        for name, value in vars(cls).items()
        if not (name.startswith("__") and name.endswith("__")) and _is_own(value, cls)
    }
    hints = {
        name: hint if isinstance(hint, str) else _name(hint) for name, hint in inspect.get_annotations(cls).items()
    }
    return [sorted(members.items()), list(hints.items())]


def _is_own(value: Any, cls: type) -> bool:
    """Whether a member is the class's doing, and not what a library hangs onto it (slots, schemas, validators)."""
    if isinstance(value, classmethod | staticmethod):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    if inspect.isfunction(value):
        return value.__module__ == cls.__module__
    return isinstance(value, _plain)


_plain = (str, int, float, bool, bytes, type(None), tuple, frozenset)


def _value(value: Any) -> Any:
    if isinstance(value, classmethod | staticmethod):
        return [type(value).__name__, _value(value.__func__)]
    if isinstance(value, property):
        return ["property", _value(value.fget)]
    if inspect.isfunction(value):
        return [_code(value.__code__), repr(value.__defaults__), repr(value.__kwdefaults__)]
    return _constant(value)


def _code(code: types.CodeType) -> list[Any]:
    return [code.co_code.hex(), code.co_names, code.co_varnames, [_constant(one) for one in code.co_consts]]


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return _code(value)
    if isinstance(value, frozenset):  # its order changes from one process to the next
        return sorted(map(repr, value))
    if isinstance(value, tuple):
        return [_constant(one) for one in value]
    return repr(value) if isinstance(value, _plain) else _name(value)


def _name(value: Any) -> str:
    """A name without an address in memory."""
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    return type(value).__name__ if " at 0x" in repr(value) else repr(value)
