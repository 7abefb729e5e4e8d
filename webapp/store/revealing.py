"""How personal data is decrypted on its way out: when somebody asks for it, and only in what they get to see."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from webapp.store.encryption import Altered, encrypted_parts, marker
from webapp.store.events import RecordedEvent
from webapp.store.jsontext import as_text, encode, parse_json
from webapp.store.keyring import Destroyed, Entry, KeyRing
from webapp.store.pointers import join_pointer
from webapp.store.protecting import event_place

_reference = re.compile(re.escape(marker) + r'"subject":"([\w-]{32})"')
_first_batch, _largest_batch, _batch_length = 8, 500, 4_000_000
_altered = "This was changed, or moved from another place, after it was encrypted."
_no_key = "The key of this subject isn't here: the keys were kept elsewhere, or not restored."


def references_in(*texts: str | bytes | None) -> list[str]:
    """The references of the subjects that texts hold encrypted values of."""
    return [found for text in texts if text for found in _reference.findall(as_text(text))]


class Revealed(RecordedEvent):
    """A recorded event whose `data` and `metadata` are decrypted when first asked for.

    Where a value was, `{"forgotten": time}` stands for a subject that was forgotten by then, and `{"unreadable": why}` for
    ciphertext that is damaged. All else, `data_text` too, is as it was stored: ciphertext, which trails and seals are
    made of, so that nothing they say changes when somebody is forgotten. `stored` is the event without the keys.
    """

    __slots__ = ("_batch", "_references", "_revealer", "_texts", "stored")

    def __init__(
        self,
        stored: RecordedEvent,
        revealer: Revealer,
        references: Sequence[str],
        batch: Batch,
        texts: tuple[str, str | None] | None = None,
    ) -> None:
        self.stored = stored
        self._revealer = revealer
        self._references = references
        self._batch = batch
        self._texts = texts

    @property
    def data(self) -> Any:
        """The decrypted payload; raises ValueError where the stored text isn't JSON, WrongKey without the master key."""
        try:
            return self._data
        except AttributeError:
            self._data: Any = self._open("data", self._texts and self._texts[0], self.stored.data_text)
            return self._data

    @property
    def metadata(self) -> Any:
        """The decrypted metadata, {} if there is none; raises like data."""
        try:
            return self._metadata
        except AttributeError:
            opened = self._open("metadata", self._texts and self._texts[1], self.stored.metadata_text)
            self._metadata: Any = {} if opened is None else opened
            return self._metadata

    @property
    def readable_text(self) -> str | bytes | None:
        """The payload's text in clear, written anew; as it was stored where nothing of it is encrypted."""
        text = self.stored.data_text
        return text if text is None or marker not in as_text(text) else encode(self.data)

    def opens(self, search_hash: str) -> bool:
        """Whether a value of the payload with this hash can be decrypted; the hash is bound to it, so it is the value."""
        seen: list[str | None] = []
        entries = self._revealer.entries(self._references, self._batch)
        self._revealer.open_all(parse_json(self.stored.data_text or "null"), self._place("data"), entries, seen)
        return search_hash in seen

    def _open(self, part: str, plain: str | None, stored: str | bytes | None) -> Any:
        text = stored if plain is None else plain
        if text is None:
            return None
        value = parse_json(text)
        if marker not in as_text(text):
            return value
        entries = self._revealer.entries(self._references, self._batch)
        return self._revealer.open_all(value, self._place(part), entries)

    def _place(self, part: str) -> Callable[[str], str]:
        id_, type_ = self.stored.id, self.stored.type
        return lambda pointer: event_place(id_, type_, part, pointer)


def _delegate(name: str) -> property:
    return property(lambda event: getattr(event.stored, name))


for _name in (
    "_recorded_at", "actor", "aggregate_id", "aggregate_type", "causation_id", "correlation_id", "data_text", "log",
    "metadata_text", "position", "raw_id", "type", "version",
):  # fmt: skip
    # Set from outside, so that type checkers see the fields of RecordedEvent, which these stand in for.
    setattr(Revealed, _name, _delegate(_name))


class Batch:
    """The subjects of events that were read together; their keys are looked up together, when one is needed."""

    __slots__ = ("is_warm", "references")

    def __init__(self) -> None:
        self.references: set[str] = set()
        self.is_warm = False


class Revealer:
    """Decrypts values. Thread-safe."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def reveal_all(
        self, events: Iterable[RecordedEvent], plain_texts: Mapping[str, tuple[str, str | None]] | None = None
    ) -> Iterator[RecordedEvent]:
        """The events, those with encrypted values as Revealed; `plain_texts` are known by id, from appending them."""
        batch, waiting, length, size = Batch(), list[RecordedEvent](), 0, _first_batch
        for stored in events:
            event, references = stored, references_in(stored.data_text, stored.metadata_text)
            if references:
                batch.references.update(references)
                event = Revealed(stored, self, references, batch, (plain_texts or {}).get(stored.id))
            waiting.append(event)
            length += len(stored.data_text or "")
            if not batch.references or len(waiting) >= size or length > _batch_length:
                yield from waiting
                batch, waiting, length, size = Batch(), [], 0, min(size * 4, _largest_batch)
        yield from waiting

    def reveal_text(self, text: str | bytes, place: str) -> Any:
        """The decoded JSON of a text that is no part of an event."""
        return self.open_all(parse_json(text), lambda _: place, self._ring.find(references_in(text)))

    def entries(self, references: Sequence[str], batch: Batch) -> Mapping[str, Entry]:
        """What is known of these subjects now; looks up those of the whole batch the first time."""
        if not batch.is_warm:
            self._ring.find(batch.references)
            batch.is_warm = True
        return self._ring.find(references)

    def open_all(
        self,
        value: Any,
        place: Callable[[str], str],
        entries: Mapping[str, Entry],
        opened_hashes: list[str | None] | None = None,
    ) -> Any:
        """The decoded JSON with every encrypted value in it replaced, in place; `place` says where a pointer belongs.

        `opened_hashes` receives the search hash of each that could be decrypted.
        """
        root: list[Any] = [value]
        containers: list[tuple[Any, str | None]] = [(root, None)]
        while containers:
            container, pointer = containers.pop()
            for key, child in list(container.items() if isinstance(container, dict) else enumerate(container)):
                if not isinstance(child, dict | list):
                    continue
                own = "" if pointer is None else join_pointer(pointer, key)
                parts = encrypted_parts(child)
                if parts is None:
                    containers.append((child, own))
                    continue
                container[key], is_open = _open_one(entries.get(parts["subject"]), parts, place(own))
                if is_open and opened_hashes is not None:
                    opened_hashes.append(parts.get("hash"))
        return root[0]


def _open_one(entry: Entry | None, parts: dict[str, Any], place: str) -> tuple[Any, bool]:
    """What to show for an encrypted value, and whether it is the value itself."""
    if entry is None:
        return {"unreadable": _no_key}, False
    if isinstance(entry, Destroyed):
        return {"forgotten": entry.at}, False
    try:
        return parse_json(entry.decrypt(parts, place)), True
    except Altered:
        return {"unreadable": _altered}, False
    except ValueError as error:
        return {"unreadable": f"This value is {error}."}, False
