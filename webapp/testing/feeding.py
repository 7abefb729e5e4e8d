"""Events as tests write them, put into a store in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from webapp.errors import InvalidRequest
from webapp.store.events import Append, RecordedEvent
from webapp.store.recording import EventSerializer, to_new_event
from webapp.testing.memory import MemoryStore


@dataclass(frozen=True, slots=True)
class Stream:
    """Events of one aggregate, in any form in which a test may write them."""

    aggregate_type: str
    aggregate_id: str
    events: tuple[Any, ...]
    log: str | None = None


def stream(aggregate_type: str, aggregate_id: str, *events: Any, log: str | None = None) -> Stream:
    """Events of one aggregate, where a saga or a projection looks at whose they are.

    ```python
    given(totals).when(stream("order", "42", OrderPlaced(100)), stream("order", "43", OrderPlaced(5)))
    ```
    Events that stand without it belong to the aggregate given/1. The log is the first that a projection reads, or main.
    """
    return Stream(aggregate_type, aggregate_id, events, log)


def as_stream(item: Any) -> Stream:
    """What a test gave as an event, as a stream of one; a stream or an Append as it stands."""
    if isinstance(item, Stream):
        return item
    if isinstance(item, Append):
        return Stream(item.aggregate_type, item.aggregate_id, tuple(item.events), item.log)
    return Stream("given", "1", (item,))


def record(
    store: MemoryStore, items: Iterable[Any], serializer: EventSerializer, logs: Sequence[str] = ("main",)
) -> list[RecordedEvent]:
    """The events as recorded, in the order given, in the first of the `logs` unless they say in which.

    Raises what the serializer and the store raise, and InvalidRequest for a log that is none of these.
    """
    appends = []
    for one in map(as_stream, items):
        log = one.log or logs[0]
        if log not in logs:
            raise InvalidRequest(f"Events of the log {log} never come here, only those of {', '.join(logs)}.", "log")
        new = [to_new_event(event, serializer) for event in one.events]
        appends.append(Append(one.aggregate_type, one.aggregate_id, new, log=log))
    return store.append_many(appends)
