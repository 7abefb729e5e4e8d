"""Metadata that flows along: from a command to all events it causes, and from those to what they cause in turn.

```python
with command(actor="ann", tenant="acme", ip="203.0.113.7"):      # makes a correlation_id, unless one is given or set
    store.append("order", "42", [NewEvent("order.placed", {...})])

for event in store.read_log("main", after=last):                  # elsewhere, later
    with caused_by(event):
        store.append("shipment", "42", [NewEvent("shipment.ordered", {...})])
```
A context belongs to its thread or asyncio task. Tasks inherit the one they were started in; threads start with none, so
hand it over with `contextvars.copy_context().run(function)` or `asyncio.to_thread`.

Where a caller gives events ids of its own, to repeat an append safely, it gives the correlation_id as well: events that
come again with other metadata are other events to the store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from webapp.errors import InvalidEvent, InvalidRequest
from webapp.store.events import Append, NewEvent, RecordedEvent, uuid7
from webapp.store.jsontext import encode, parse_json
from webapp.store.times import occurred_key

_current: ContextVar[dict[str, Any] | None] = ContextVar("projectionist_metadata", default=None)
_own_keys = frozenset({"revision", occurred_key})
"""Metadata that says something of one event only, so that others can't have it from a context."""


def current_metadata() -> dict[str, Any]:
    """The metadata that events appended here and now receive, {} outside of any context; the caller's own copy."""
    return dict(_current.get() or {})


@contextmanager
def metadata_context(
    *,
    correlation_id: Any = None,
    causation_id: Any = None,
    actor: Any = None,
    tenant: Any = None,
    **headers: Any,
) -> Iterator[dict[str, Any]]:
    """A block in which all appended events receive this metadata; yields the whole of it.

    Blocks nest: an inner one adds to the outer one and wins where both have a key. None means "not given". Keys of an
    event's own metadata win over all. Raises InvalidRequest for a value that JSON has no word for, and for `revision`
    and `occurred_at`, which each event has for itself.
    """
    given = {"correlation_id": correlation_id, "causation_id": causation_id, "actor": actor, "tenant": tenant} | headers
    merged = (_current.get() or {}) | {
        key: _checked(key, value) for key, value in given.items() if value is not None
    }  # fmt: skip
    token = _current.set(merged)
    try:
        yield dict(merged)
    finally:
        _current.reset(token)


@contextmanager
def command(**headers: Any) -> Iterator[dict[str, Any]]:
    """Like metadata_context for the outermost block of a command or request: makes a correlation_id if there is none yet.

    The id is a UUIDv7. `causation_id` may be the command's own id, if it has one.
    """
    if headers.get("correlation_id") is None and "correlation_id" not in (_current.get() or {}):
        headers["correlation_id"] = str(uuid7())
    with metadata_context(**headers) as metadata:
        yield metadata


@contextmanager
def caused_by(event: RecordedEvent, **headers: Any) -> Iterator[dict[str, Any]]:
    """A block in which appended events are recorded as caused by this one.

    Their causation_id is its id, their correlation_id is its own or, where it has none, its id. All other keys of its
    metadata go along (actor, tenant, any header), except its revision, its occurred_at and what begins with "_", which
    frameworks keep for themselves. Metadata that can't be read passes on nothing but the ids.
    """
    with metadata_context(**(_inherited(event) | headers)) as metadata:
        yield metadata


def _inherited(event: RecordedEvent) -> dict[str, Any]:
    try:
        found = event.metadata
    except ValueError:
        found = {}
    passed = {
        key: value
        for key, value in (found.items() if isinstance(found, dict) else ())
        if key not in _own_keys and not key.startswith("_")
    }
    return passed | {"correlation_id": event.correlation_id or event.id, "causation_id": event.id}


def _checked(key: str, value: Any) -> Any:
    """The value as JSON has it, apart from what the caller may still change."""
    if key in _own_keys:
        raise InvalidRequest(f"“{key}” belongs to one event, so no context can have it. Give it to the event.", key)
    if type(value) in (str, int, bool):
        return value
    try:
        return parse_json(encode(value))
    except InvalidEvent as error:
        raise InvalidRequest(
            f"The header “{key}” is of type {type(value).__name__}, which can't be written as JSON. "
            "Give text, a number, true or false, or lists and dicts of these.",
            key,
        ) from error


def with_current_metadata(appends: Sequence[Append]) -> Sequence[Append]:
    """The appends with the current metadata under each event's own; the very same where there is no context."""
    current = _current.get()
    if not current:
        return appends
    return [
        Append(
            append.aggregate_type,
            append.aggregate_id,
            [add_metadata(event, current) for event in append.events],
            append.expected_version,
            append.log,
        )
        if isinstance(append.events, Sequence)
        else append  # which appending refuses, with a sentence
        for append in appends
    ]


def add_metadata(event: NewEvent, more: Mapping[str, Any]) -> NewEvent:
    """The event with more metadata under its own, whose keys win.

    Metadata that was given as text keeps its own text; the missing keys are put in front of it.
    """
    if not isinstance(event, NewEvent):
        return event
    own = event.metadata
    if own is None or isinstance(own, Mapping):
        return _with_metadata(event, {**more, **(own or {})})
    try:
        text = own.decode() if isinstance(own, bytes) else own
        keys = parse_json(text)
    except (ValueError, TypeError):
        keys = None
    if not isinstance(keys, dict):
        return event  # which appending refuses, with a sentence
    missing = {key: value for key, value in more.items() if key not in keys}
    if not missing:
        return event
    rest = text.lstrip()[1:]
    return _with_metadata(event, f"{encode(missing)[:-1]}{',' if keys else ''}{rest}")


def _with_metadata(event: NewEvent, metadata: Mapping[str, Any] | str) -> NewEvent:
    return NewEvent(event.type, event.data, metadata, event.id, event.occurred_at)
