"""Keys in JSON data that a class doesn't have."""

from __future__ import annotations

import functools
from typing import Any

from webapp.store.hints import bare, fields_of, is_record, is_union
from webapp.store.unions import Misfit


def refuse_unknown(data: Any, hint: Any, path: str = "") -> None:
    """Raises Misfit for a key that the type doesn't have, at any depth; what a union holds isn't looked into."""
    if not isinstance(data, dict | list):
        return
    known, tag, arguments = _shape(hint)
    if known is not None:
        for key, value in data.items() if isinstance(data, dict) else ():
            inner = f"{path}.{key}" if path else key
            if key in known:
                refuse_unknown(value, known[key], inner)
            elif key != tag:
                advice = "Add the field, or an upcaster from revision {revision} that takes the key out."
                raise Misfit(f"the key “{inner}” is unknown", inner, advice)
    elif isinstance(data, list) and arguments:
        for at, value in enumerate(data):
            refuse_unknown(value, arguments[0], f"{path}[{at}]")
    elif isinstance(data, dict) and len(arguments) == 2:
        for key, value in data.items():
            refuse_unknown(value, arguments[1], f"{path}.{key}")


@functools.cache
def _shape(hint: Any) -> tuple[dict[str, Any] | None, str | None, tuple[Any, ...]]:
    """The keys of a record with their types, the key of its tag, and what a container holds."""
    hint = bare(hint)
    if is_union(hint):
        members = [member for member in hint.__args__ if member is not type(None)]
        return _shape(members[0]) if len(members) == 1 else (None, None, ())
    if is_record(hint):
        tag = getattr(getattr(hint, "__struct_config__", None), "tag_field", None)
        return {field.key: field.type for field in fields_of(hint)}, tag, ()
    arguments: tuple[Any, ...] = getattr(hint, "__args__", ())
    if len(arguments) == 2 and arguments[1] is not Ellipsis and issubclass(hint.__origin__, tuple):
        arguments = ()  # each place has its own type
    return None, None, arguments
