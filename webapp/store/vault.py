"""The vault: personal data encrypted under a key per subject, searched by keyed hash, and forgotten for good."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from webapp.errors import InvalidRequest, NotFound
from webapp.store.database import Database
from webapp.store.events import Append, EventFilter, NewEvent, RecordedEvent
from webapp.store.jsontext import compact, encode
from webapp.store.keyring import Destroyed, KeyRing
from webapp.store.master_keys import MasterKey, MasterKeys
from webapp.store.native import EventStore
from webapp.store.personal import PersonalData, subject_text
from webapp.store.protecting import ProtectedAppends, Protector, search_text
from webapp.store.revealing import Revealed, Revealer
from webapp.store.source import EventSource
from webapp.store.subjects import KeyStore, KeyTable, SubjectKey

if TYPE_CHECKING:
    from webapp.store.protected import ProtectedStore

cache_seconds, cache_size = 5.0, 10_000


class Vault:
    """Keeps personal data so that it can be forgotten. Thread-safe; make one per process and store.

    `store` holds the subjects' keys and the log of who was forgotten (`log`); `key_store` may keep the keys elsewhere.
    A key is used for `cache_seconds` after it was looked up: that is how long other processes may still show what
    this one forgot, and how long they may still write under that key, which nobody can read then.
    """

    def __init__(
        self,
        store: EventStore,
        personal: PersonalData,
        *,
        master_keys: MasterKeys,
        key_store: KeyStore | None = None,
        log: str = "privacy",
        cache_seconds: float = cache_seconds,
        cache_size: int = cache_size,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.personal = personal
        self.log = log
        self.keys: KeyStore = KeyTable(store.database) if key_store is None else key_store
        self._ring = KeyRing(self.keys, master_keys, cache_seconds=cache_seconds, cache_size=cache_size, clock=clock)
        self._protector = Protector(personal, self._ring)
        self._revealer = Revealer(self._ring)

    def protected(self, store: EventStore | None = None) -> ProtectedStore:
        """A store (the vault's own if none is given) that encrypts what is appended and decrypts what is read."""
        from webapp.store.protected import ProtectedStore

        return ProtectedStore(store or self.store, self)

    def keeps_keys_in(self, database: Database) -> bool:
        """Whether new keys can be part of a transaction on this database."""
        return isinstance(self.keys, KeyTable) and (
            self.keys.database is database
            or (self.keys.database.url == database.url and database.url.database not in (None, "", ":memory:"))
        )

    # --- events -----------------------------------------------------------------------------------------------------

    def protect(self, event: NewEvent, aggregate_id: str = "") -> NewEvent:
        """The event with its declared fields encrypted; the very same where there are none.

        Give `aggregate_id` where that is the subject. Raises SubjectForgotten, and InvalidEvent where the subject can't
        be told.
        """
        return self.protect_all([Append("", aggregate_id, [event])]).appends[0].events[0]

    def protect_all(
        self, appends: Sequence[Append], connection: sa.Connection | None = None, *, is_import: bool = False
    ) -> ProtectedAppends:
        """Like protect for whole appends, looking all keys up at once; new keys go through `connection`, if given.

        What an import brings encrypted stays as it is; an append may bring only what was encrypted for its event.
        """
        return self._protector.protect_all(appends, connection, is_import=is_import)

    def reveal(self, event: RecordedEvent) -> RecordedEvent:
        """The event with `data` and `metadata` decrypted when asked for; see Revealed."""
        (revealed,) = self.reveal_all([event])
        return revealed

    def reveal_all(
        self, events: Iterable[RecordedEvent], plain_texts: Mapping[str, tuple[str, str | None]] | None = None
    ) -> Iterator[RecordedEvent]:
        """Like reveal, looking the keys of many events up at once; `plain_texts` as protect_all gave them."""
        return self._revealer.reveal_all(events, plain_texts)

    def find(
        self,
        event_type: str,
        field: str,
        value: Any,
        *,
        store: EventStore | None = None,
        log: str = "main",
        after: int = 0,
        limit: int = 100,
        seconds: float | None = None,
    ) -> Iterator[RecordedEvent]:
        """Events of a type whose searchable field holds this value, decrypted, by position; none of those forgotten.

        Every event of that type after the position is looked through in the database, about a million a second or less;
        `seconds` limits that and raises TimedOut with `reached`. Raises InvalidDefinition for a field that isn't
        declared searchable.
        """
        declared = self.personal.searchable_field(event_type, field)
        wanted = search_text(declared, event_type, value)
        search_hash = self._ring.search_hash(event_type, declared.pointer, wanted)
        events = (store or self.store).read_log(
            log, after=after, limit=None, seconds=seconds,
            where=EventFilter(types=(event_type,), contains=f'"hash":"{search_hash}"'),
        )  # fmt: skip
        found = 0
        for event in self.reveal_all(events):
            if found >= limit:
                return
            if isinstance(event, Revealed) and event.opens(search_hash):
                found += 1
                yield event

    # --- values elsewhere: rows of projections, snapshots -----------------------------------------------------------

    def encrypt_value(self, subject: str | int | uuid.UUID, value: Any, context: str = "") -> str:
        """JSON text that holds a value encrypted for a subject: for a column of a projection, a file, a message.

        `context` says where it belongs (`customers.email`) and must be given to decrypt it. Equal values of a subject
        in one context give equal texts, so a rebuilt table equals the first. For a forgotten subject, and for what is
        `{"forgotten": …}` already, the text says so.
        """
        if _is_forgotten(value):
            return compact(value)
        reference = self.reference(subject)
        entry = self._ring.find_or_make([reference])[reference]
        if isinstance(entry, Destroyed):
            return compact({"forgotten": entry.at})
        return entry.encrypt(encode(value), value_place(context))

    def decrypt_value(self, text: str | bytes, context: str = "") -> Any:
        """What encrypt_value was given, `{"forgotten": …}` or `{"unreadable": …}`; other JSON comes back as it is."""
        return self._revealer.reveal_text(text, value_place(context))

    # --- subjects ---------------------------------------------------------------------------------------------------

    def forget(self, subject: str | int | uuid.UUID, *, by: str, reason: str = "") -> dt.datetime:
        """When the subject was forgotten: now, with the key destroyed and a `subject.forgotten` recorded together.

        From then on readers see `{"forgotten": …}` in this process, in others within `cache_seconds`. The event names
        the subject by its reference alone; keep persons out of the reason. Forgetting again changes nothing and
        returns the first time. Raises NotFound where no personal data of such a subject was ever encrypted.
        """
        reference = self.reference(subject)
        key = self._destroy(reference, by, {"subject": reference, "reason": reason})
        if key is None or key.forgotten_at is None:
            raise NotFound(
                "subject",
                str(subject),
                "Nothing of theirs was encrypted; check how the id is written, letter by letter.",
            )
        return key.forgotten_at

    def forget_again(self, source: EventSource, *, by: str) -> int:
        """How many subjects were forgotten again: those whom the log of the forgotten in `source` names, with a key here.

        For after a restore of older keys: `source` is any store, or a copy of one, that knows who was forgotten since.
        """
        again = 0
        for event in source.read_log(self.log, limit=None, where=EventFilter(types=("subject.forgotten",))):
            reference = event.data["subject"]
            known = self.keys.find([reference]).get(reference)
            if known is not None and known.forgotten_at is None:
                self._destroy(reference, by, {**event.data, "again": event.id})
                again += 1
        return again

    def _destroy(self, reference: str, by: str, data: Mapping[str, str]) -> SubjectKey | None:
        def record(connection: sa.Connection | None) -> None:
            event = NewEvent("subject.forgotten", dict(data), metadata={"actor": by})
            append = Append("subject", reference, [event], log=self.log)
            if connection is None:
                self.store.append_many([append])
            else:
                self.store.append_in(connection, [append])

        key = self.keys.destroy(reference, record)
        if key is not None and key.forgotten_at is not None:
            self._ring.forget(key)
        return key

    def forgotten_at(self, subject: str | int | uuid.UUID) -> dt.datetime | None:
        """When a subject was forgotten, None if they weren't; as the database has it now."""
        key = self.keys.find([reference := self.reference(subject)]).get(reference)
        return None if key is None else key.forgotten_at

    def reference(self, subject: str | int | uuid.UUID) -> str:
        """The name by which the key table, the events and the log of the forgotten know a subject."""
        text = subject_text(subject)
        if text is None:
            raise InvalidRequest(f"A subject's id must be text or a number; {subject!r} is not.", "subject")
        return self._ring.reference(text)

    # --- master keys ------------------------------------------------------------------------------------------------

    def rotate(
        self,
        new: tuple[str, bytes | str | MasterKey] | None = None,
        *,
        page: int = 500,
        on_progress: Callable[[int], None] | None = None,
    ) -> int:
        """How many keys were locked anew with the current master key, or with a new one that becomes it here.

        Goes through the keys in pages, each a transaction; stopped at any moment, the next call goes on. Old and new
        stay readable meanwhile. Give the new key to all processes as an older one first, then rotate, then make it the
        current one everywhere, rotate once more, and only then take the old one away.
        """
        masters = self._ring.masters
        if new is not None:
            masters = self._ring.masters = masters.renewed(*new)
        done, after = 0, ""
        while keys := self.keys.page(after, page, masters.current):
            done += self.keys.replace([(key, _locked_anew(key, masters)) for key in keys])
            after = keys[-1].reference
            if on_progress is not None:
                on_progress(done)
        return done


def value_place(context: str) -> str:
    """Where a value that is no part of an event belongs."""
    return f"value\0{context}"


def _is_forgotten(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"forgotten"}


def _locked_anew(key: SubjectKey, masters: MasterKeys) -> SubjectKey:
    plain = masters.unwrap(key.reference, key.master_key or "", key.wrapped_key or "")
    return SubjectKey(key.reference, masters.wrap(key.reference, plain), masters.current)
