"""The stores that are shown, opened when first asked for and kept open for the life of the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from webapp.accounts.roles import home_store
from webapp.adapters import open_source
from webapp.config import default_actor_keys
from webapp.errors import NotFound, ProjectionistError
from webapp.store.database import hide_password, page_seconds
from webapp.store.source import EventSource

_layout_words = {"projectionist": "our own layout", "ecotone": "Ecotone"}
_again_after_seconds = 3.0
_attention_seconds = 15.0


@dataclass(frozen=True, slots=True)
class StoreEntry:
    """A store by its name; `source` is None until it was opened, `failure` says why the last try to open it failed."""

    name: str
    url: str
    source: EventSource | None = None
    failure: ProjectionistError | None = None

    @property
    def is_home(self) -> bool:
        """Whether it is the dashboard's own store, which tells what people did."""
        return self.name == home_store

    @property
    def address(self) -> str:
        """The URL for people, its password hidden."""
        return hide_password(self.url)

    @property
    def description(self) -> str:
        """What kind of database and layout it is, as far as known without asking it."""
        if self.is_home:
            return "what people did here"
        if self.source is None:
            return "can’t be reached" if self.failure else "not opened yet"
        return f"{self.source.dialect} · {_layout_words.get(self.source.layout, self.source.layout)}"


class _Slot:
    def __init__(self, entry: StoreEntry) -> None:
        self.entry = entry
        self.lock = threading.Lock()
        self.failed_at = float("-inf")
        self.attention: tuple[float, Mapping[str, int]] = (float("-inf"), {})


class Sources:
    """All stores by name. Thread-safe; one store that can't be reached doesn't hold up the others."""

    def __init__(
        self,
        stores: Iterable[tuple[str, str]],
        home: EventSource,
        home_url: str,
        actor_keys: Sequence[str] = default_actor_keys,
        page_seconds: float = page_seconds,
    ) -> None:
        self._actor_keys = actor_keys
        self._page_seconds = page_seconds
        self._slots = {name: _Slot(StoreEntry(name, url)) for name, url in stores}
        self._slots[home_store] = _Slot(StoreEntry(home_store, home_url, home))

    def entries(self) -> list[StoreEntry]:
        """Every store, in the order of the settings, ours last."""
        return [slot.entry for slot in self._slots.values()]

    def entry(self, name: str) -> StoreEntry:
        """One store; raises NotFound."""
        return self._slot(name).entry

    def open(self, name: str) -> EventSource:
        """The store opened; raises NotFound, StoreUnavailable, UnknownLayout or NeedsMigration.

        A failure is answered again for three seconds, so that a page doesn't wait for the same dead server twice; after
        that the store is tried anew.
        """
        slot = self._slot(name)
        if slot.entry.source is not None:
            return slot.entry.source
        with slot.lock:
            if slot.entry.source is not None:
                return slot.entry.source
            if slot.entry.failure is not None and time.monotonic() - slot.failed_at < _again_after_seconds:
                raise slot.entry.failure.with_traceback(None)
            try:
                source = open_source(slot.entry.url, actor_keys=self._actor_keys, page_seconds=self._page_seconds)
            except ProjectionistError as error:
                slot.entry = StoreEntry(name, slot.entry.url, None, error)
                slot.failed_at = time.monotonic()
                raise
            slot.entry = StoreEntry(name, slot.entry.url, source)
            return source

    def attention(self, name: str) -> Mapping[str, int]:
        """How many things need a person's eye in an opened store, by page: failing projections, dead letters.

        Asked at most every 15 seconds, and empty where the store isn't open or doesn't answer: it only decorates.
        """
        slot = self._slot(name)
        asked_at, numbers = slot.attention
        source = slot.entry.source
        if source is None or time.monotonic() - asked_at < _attention_seconds:
            return numbers
        slot.attention = (time.monotonic(), numbers)  # others who come meanwhile don't ask too
        try:
            numbers = {
                "projections": sum(status.health.is_problem for status in source.projections()),
                "dead_letters": len(source.dead_letters(limit=100)),
            }
        except ProjectionistError:
            numbers = {}
        slot.attention = (time.monotonic(), numbers)
        return numbers

    def close(self) -> None:
        """Closes every source that was opened."""
        for slot in self._slots.values():
            if slot.entry.source is not None and not slot.entry.is_home:
                slot.entry.source.close()

    def _slot(self, name: str) -> _Slot:
        try:
            return self._slots[name]
        except KeyError as error:
            raise NotFound("store", name) from error
