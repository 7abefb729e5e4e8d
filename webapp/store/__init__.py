"""The core store: append events, read them back, and know what is there. Usable alone, without the dashboard."""

from typing import TYPE_CHECKING, Any

from webapp.errors import EventIdReused, NotFound, SubjectForgotten, WrongExpectedVersion, WrongKey
from webapp.store.aggregates import aggregate, applies
from webapp.store.context import caused_by, command, current_metadata, metadata_context
from webapp.store.deciders import Decided, Decider, DeciderRepository
from webapp.store.events import Append, EventFilter, NewEvent, RecordedEvent
from webapp.store.native import EventStore
from webapp.store.outbox import Publisher
from webapp.store.personal import Forgotten, PersonalData
from webapp.store.recording import Aggregate
from webapp.store.repository import Repository, Saved
from webapp.store.retrying import RetryPolicy
from webapp.store.saga_runner import SagaRunner
from webapp.store.sagas import Cancel, Complete, Due, Send, reacts, saga, starts, times_out
from webapp.store.serialization import Serializer
from webapp.store.snapshot_table import TableSnapshots
from webapp.store.snapshots import Snapshot, SnapshotPolicy, SnapshotStore
from webapp.store.source import EventSource
from webapp.store.subscriptions import Subscription
from webapp.store.tenants import Tenants, TenantStore
from webapp.store.upcasting import Renamed, UpcastEvent

if TYPE_CHECKING:
    from webapp.store.encrypted_snapshots import EncryptedSnapshots
    from webapp.store.master_keys import KeyService, MasterKeys
    from webapp.store.vault import Vault

__all__ = [
    "Aggregate",
    "Append",
    "Cancel",
    "Complete",
    "Decided",
    "Decider",
    "DeciderRepository",
    "Due",
    "EncryptedSnapshots",
    "EventFilter",
    "EventIdReused",
    "EventSource",
    "EventStore",
    "Forgotten",
    "KeyService",
    "MasterKeys",
    "NewEvent",
    "NotFound",
    "PersonalData",
    "Publisher",
    "RecordedEvent",
    "Renamed",
    "Repository",
    "RetryPolicy",
    "SagaRunner",
    "Saved",
    "Send",
    "Serializer",
    "Snapshot",
    "SnapshotPolicy",
    "SnapshotStore",
    "SubjectForgotten",
    "Subscription",
    "TableSnapshots",
    "TenantStore",
    "Tenants",
    "UpcastEvent",
    "Vault",
    "WrongExpectedVersion",
    "WrongKey",
    "aggregate",
    "applies",
    "caused_by",
    "command",
    "current_metadata",
    "metadata_context",
    "reacts",
    "saga",
    "starts",
    "times_out",
]

_modules = {
    "EncryptedSnapshots": "encrypted_snapshots",
    "KeyService": "master_keys",
    "MasterKeys": "master_keys",
    "Vault": "vault",
}


def __getattr__(name: str) -> Any:
    """What needs cryptography, imported when it is first asked for, so that the store alone stays quick to import."""
    if name not in _modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_modules[name]}"), name)
