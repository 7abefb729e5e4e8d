"""The core store: append events, read them back, and know what is there. Usable alone, without the dashboard."""

from webapp.errors import EventIdReused, WrongExpectedVersion
from webapp.store.events import Append, EventFilter, NewEvent, RecordedEvent
from webapp.store.native import EventStore
from webapp.store.source import EventSource

__all__ = [
    "Append",
    "EventFilter",
    "EventIdReused",
    "EventSource",
    "EventStore",
    "NewEvent",
    "RecordedEvent",
    "WrongExpectedVersion",
]
