"""Tenants kept apart: each has logs of its own in one store, or a database of its own.

```python
tenants = Tenants.sharing(store)                                        # logs named main@acme, main@globex, …
tenants = Tenants.apart(lambda name: f"postgresql://…/{name}")           # a database each
tenants.of("acme").append("order", "42", [NewEvent("order.placed", {})])
with metadata_context(tenant="acme"):                                   # chosen by metadata, as a request sets it
    tenants.current().append("order", "43", [NewEvent("order.placed", {})])
```
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from webapp.errors import InvalidEvent, InvalidRequest, NotFound
from webapp.store.context import current_metadata, metadata_context
from webapp.store.events import Append, EventFilter, NewEvent, RecordedEvent, checked_name
from webapp.store.jsontext import parse_json
from webapp.store.native import EventStore
from webapp.store.source import no_filter

_mark = "@"
tenant_limit = 40


class TenantStore:
    """One tenant's events: nothing that is read or appended through it touches another tenant's."""

    def __init__(self, store: EventStore, tenant: str, *, is_shared: bool) -> None:
        self.store = store
        self.tenant = tenant
        self._is_shared = is_shared

    def log_name(self, log: str) -> str:
        """What the tenant's log is called in the store."""
        return f"{log}{_mark}{self.tenant}" if self._is_shared else log

    def append(
        self,
        aggregate_type: str,
        aggregate_id: str,
        events: Sequence[NewEvent],
        *,
        expected_version: int | None = None,
        log: str = "main",
    ) -> list[RecordedEvent]:
        """Like EventStore.append, the tenant's name in the metadata; raises InvalidEvent for another tenant's event."""
        return self.append_many([Append(aggregate_type, aggregate_id, events, expected_version, log)])

    def append_many(self, appends: Sequence[Append]) -> list[RecordedEvent]:
        """Like EventStore.append_many."""
        for append in appends:
            for event in append.events:
                self._check(event)
        own = [replace(append, log=self.log_name(append.log)) for append in appends]
        with metadata_context(tenant=self.tenant):
            return self.store.append_many(own)

    def read_stream(
        self, aggregate_type: str, aggregate_id: str, *, log: str = "main", after: int = 0, limit: int | None = None
    ) -> Iterator[RecordedEvent]:
        """Like EventStore.read_stream; empty while the tenant has no such log."""
        try:
            yield from self.store.read_stream(
                aggregate_type, aggregate_id, log=self.log_name(log), after=after, limit=limit
            )
        except NotFound:
            return

    def read_log(
        self, log: str = "main", *, after: int = 0, limit: int | None = 1000, where: EventFilter = no_filter
    ) -> Iterator[RecordedEvent]:
        """Like EventStore.read_log; raises NotFound while the tenant has no such log."""
        return self.store.read_log(self.log_name(log), after=after, limit=limit, where=where)

    def head(self, log: str = "main") -> int:
        """The highest position of the tenant's log; raises NotFound."""
        return self.store.head(self.log_name(log))

    def _check(self, event: NewEvent) -> None:
        metadata = event.metadata
        if isinstance(metadata, str | bytes):
            try:
                metadata = parse_json(metadata)
            except ValueError:
                return  # which appending refuses, with a sentence
        named = metadata.get("tenant") if isinstance(metadata, Mapping) else None
        if named is not None and named != self.tenant:
            raise InvalidEvent(
                f"A {event.type} names the tenant {named!r}, but this is the store of {self.tenant}. "
                "Append it through that tenant's store."
            )


class Tenants:
    """The tenants' stores by name. Thread-safe; `close` gives back the databases that it opened."""

    def __init__(self, open_store: Callable[[str], EventStore], *, is_shared: bool, owns_stores: bool) -> None:
        self._open = open_store
        self._is_shared = is_shared
        self._owns_stores = owns_stores
        self._lock = threading.Lock()
        self._stores: dict[str, EventStore] = {}

    @classmethod
    def sharing(cls, store: EventStore) -> Tenants:
        """Tenants in one store, each with logs of its own, named LOG@TENANT: own positions, and nobody waits for another."""
        return cls(lambda _: store, is_shared=True, owns_stores=False)

    @classmethod
    def apart(cls, locate: Callable[[str], str | None]) -> Tenants:
        """Tenants in a database each; `locate` gives a tenant's URL, or None for one that doesn't exist.

        Their tables are made when a tenant is first asked for.
        """

        def open_store(tenant: str) -> EventStore:
            url = locate(tenant)
            if url is None:
                raise NotFound("tenant", tenant)
            store = EventStore.open(url)
            try:
                store.migrate()
            except BaseException:
                store.close()
                raise
            return store

        return cls(open_store, is_shared=False, owns_stores=True)

    def of(self, tenant: str) -> TenantStore:
        """One tenant's store; raises InvalidRequest for a name that can't be one, NotFound for one that isn't there."""
        try:
            checked_name(tenant, "tenant", tenant_limit)
        except InvalidEvent as error:
            raise InvalidRequest(str(error), "tenant") from error
        if _mark in tenant:
            raise InvalidRequest(f"A tenant's name can't hold {_mark}; {tenant} does. Choose another.", "tenant")
        with self._lock:
            store = self._stores.get(tenant)
            if store is None:
                store = self._stores[tenant] = self._open(tenant)
        return TenantStore(store, tenant, is_shared=self._is_shared)

    def current(self) -> TenantStore:
        """The store of the tenant that the current metadata names; raises InvalidRequest where it names none."""
        tenant = current_metadata().get("tenant")
        if not isinstance(tenant, str):
            raise InvalidRequest(
                "No tenant is set. Wrap the work in metadata_context(tenant=…), or ask for one with of(…).", "tenant"
            )
        return self.of(tenant)

    def close(self) -> None:
        """Gives back the connections of the databases that were opened here."""
        with self._lock:
            stores, self._stores = self._stores, {}
        if self._owns_stores:
            for store in stores.values():
                store.close()
