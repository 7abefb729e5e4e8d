"""The keys of subjects in the hands of one process: looked up, made, unlocked, and remembered for a short while."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection

import sqlalchemy as sa

from webapp.errors import Conflict
from webapp.store.encryption import Cipher, derive, key_bytes, keyed_hash
from webapp.store.events import utc
from webapp.store.master_keys import MasterKeys
from webapp.store.subjects import KeyStore, SubjectKey

_index = ":index"
"""The reference of the key from which references and search hashes are made; no subject's begins with a colon."""


class Destroyed:
    """What is left of a subject's key: the time it was destroyed."""

    __slots__ = ("at",)

    def __init__(self, at: str) -> None:
        self.at = at


Entry = Cipher | Destroyed


class KeyRing:
    """Thread-safe. A key is used for `cache_seconds` after it was looked up, so another process's forgetting shows then.

    Remembers at most `cache_size` subjects, the latest used.
    """

    def __init__(
        self,
        keys: KeyStore,
        masters: MasterKeys,
        *,
        cache_seconds: float,
        cache_size: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keys = keys
        self.masters = masters
        self._seconds = cache_seconds
        self._size = cache_size
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[float, Entry]] = OrderedDict()
        self._index_keys: tuple[bytes, bytes] | None = None
        self._uncommitted: set[str] = set()
        """Keys made inside a caller's transaction, which may yet roll back: not remembered before others see them."""

    def reference(self, subject: str, connection: sa.Connection | None = None) -> str:
        """The name under which a subject's key is kept; says nothing to those without the master key."""
        return keyed_hash(self._index(connection)[0], subject)

    def search_hash(self, *parts: str, connection: sa.Connection | None = None) -> str:
        """What stands for a value that can be searched."""
        return keyed_hash(self._index(connection)[1], *parts)

    def find(self, references: Collection[str], connection: sa.Connection | None = None) -> dict[str, Entry]:
        """What is known of these references; those without a key are left out. Raises WrongKey."""
        found, now = {}, self._clock()
        with self._lock:
            for reference in references:
                ends_at, entry = self._entries.get(reference, (0.0, None))
                if entry is not None and ends_at > now:
                    found[reference] = entry
                    self._entries.move_to_end(reference)
        missing = [reference for reference in references if reference not in found]
        if missing:
            stored = self.keys.find(missing, connection)
            entries = {reference: self._unlock(key) for reference, key in stored.items()}
            self._remember(entries, now, connection is None)
            found |= entries
        return found

    def find_or_make(self, references: Collection[str], connection: sa.Connection | None = None) -> dict[str, Entry]:
        """Like find, with new keys for those without one; all processes get the same."""
        found = self.find(references, connection)
        missing = [reference for reference in references if reference not in found]
        if missing:
            if connection is not None:
                self._distrust(missing)
            self.keys.add([self._make(reference) for reference in missing], connection)
            found |= self.find(missing, connection)
        for reference in missing:
            if reference not in found:
                raise _lost_race()
        return found

    def forget(self, key: SubjectKey) -> Destroyed:
        """Lets go of a key that was destroyed; threads that hold it from before can't bring it back."""
        destroyed = _destroyed(key)
        with self._lock:
            self._entries[key.reference] = (float("inf"), destroyed)
        return destroyed

    def _distrust(self, references: Collection[str]) -> None:
        with self._lock:
            self._uncommitted.update(references)
            listed = list(self._uncommitted)
        if len(listed) > self._size:
            self.find(listed)  # those that were committed meanwhile leave the list

    def _index(self, connection: sa.Connection | None) -> tuple[bytes, bytes]:
        """The keys for references and for search hashes."""
        if self._index_keys is not None:
            return self._index_keys
        stored = self.keys.find([_index], connection).get(_index)
        if stored is None:
            if connection is not None:
                self._distrust([_index])
            self.keys.add([self._make(_index)], connection)
            stored = self.keys.find([_index], connection).get(_index)
        if stored is None:
            raise _lost_race()
        key = self._unwrap(stored)
        keys = derive(key, "subject"), derive(key, "search")
        if connection is None or _index not in self._uncommitted:
            self._index_keys = keys
        return keys

    def _make(self, reference: str) -> SubjectKey:
        wrapped = self.masters.wrap(reference, secrets.token_bytes(key_bytes))
        return SubjectKey(reference, wrapped, self.masters.current)

    def _unlock(self, key: SubjectKey) -> Entry:
        if key.wrapped_key is None:
            return _destroyed(key)
        return Cipher(key.reference, self._unwrap(key))

    def _unwrap(self, key: SubjectKey) -> bytes:
        return self.masters.unwrap(key.reference, key.master_key or "", key.wrapped_key or "")

    def _remember(self, entries: dict[str, Entry], looked_at: float, is_committed: bool) -> None:
        ends_at = looked_at + self._seconds
        with self._lock:
            if is_committed:
                self._uncommitted.difference_update(entries)
            for reference, entry in entries.items():
                known = self._entries.get(reference)
                # Forgetting is for ever, so that need not be looked up again.
                if reference not in self._uncommitted and not (known and isinstance(known[1], Destroyed)):
                    self._entries[reference] = (float("inf") if isinstance(entry, Destroyed) else ends_at, entry)
                    self._entries.move_to_end(reference)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)


def _destroyed(key: SubjectKey) -> Destroyed:
    return Destroyed("" if key.forgotten_at is None else utc(key.forgotten_at))


def _lost_race() -> Conflict:
    # Only inside a caller's transaction that sees nothing younger than itself (REPEATABLE READ).
    return Conflict("Another process made a subject's key at the same moment. Run the transaction again.")
