"""How personal data is encrypted on its way into the store: value by value inside the text, nothing else is touched."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from webapp.errors import InvalidEvent, SubjectForgotten
from webapp.store.encryption import Altered, Cipher, encrypted_parts, marker
from webapp.store.events import Append, NewEvent, id_bytes, to_text
from webapp.store.jsontext import encode, parse_json
from webapp.store.keyring import Destroyed, Entry, KeyRing
from webapp.store.personal import Declaration, Field, PersonalData, subject_text
from webapp.store.pointers import Span, find_values, value_at
from webapp.store.times import dated_metadata


def event_place(event_id: str, event_type: str, part: str, pointer: str) -> str:
    """Where a value of an event belongs; its ciphertext opens nowhere else."""
    # Only the pointer could hold a NUL, so no two places are written alike.
    return f"{event_id}\0{event_type}\0{part}\0{pointer}"


def search_text(declared: Field, event_type: str, value: Any) -> str:
    """What of a value is hashed, so that it can be found; raises InvalidEvent."""
    try:
        return encode(declared.normalize(value) if declared.normalize else value)
    except Exception as error:
        raise InvalidEvent(
            f"The value of {declared.pointer} of {event_type} can't be made searchable: {type(error).__name__}: {error}. "
            "Give a value of the kind that the declaration expects."
        ) from error


@dataclass(frozen=True, slots=True)
class ProtectedAppends:
    """Appends with their personal data encrypted, and by event id the texts (data, metadata) as they were before."""

    appends: Sequence[Append]
    plain_texts: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Value:
    """A value that is to be encrypted, and for whom."""

    field: Field
    span: Span
    subject: str
    reference: str


class Protector:
    """Encrypts what is declared. Thread-safe."""

    def __init__(self, personal: PersonalData, ring: KeyRing) -> None:
        self._personal = personal
        self._ring = ring

    def protect_all(
        self, appends: Sequence[Append], connection: sa.Connection | None, *, is_import: bool
    ) -> ProtectedAppends:
        """The appends with declared fields encrypted, all keys looked up at once.

        Raises SubjectForgotten; InvalidEvent where a subject can't be told, or ciphertext comes from elsewhere.
        """
        drafts: dict[tuple[int, int], _Draft] = {}
        for number, append in enumerate(appends):
            for index, event in enumerate(append.events if isinstance(append.events, Sequence) else ()):
                declarations = self._personal.of_type(event.type) if isinstance(event, NewEvent) else ()
                if declarations:
                    draft = _Draft(event)
                    for declaration in declarations:
                        self._look(draft, declaration, append.aggregate_id, connection, is_import)
                    if draft.values:
                        drafts[number, index] = draft
        if not drafts:
            return ProtectedAppends(appends)
        references = {
            value.reference for draft in drafts.values() for values in draft.values.values() for value in values
        }
        entries = self._ring.find_or_make(references, connection)

        events = {number: list(appends[number].events) for number, _ in drafts}
        for (number, index), draft in drafts.items():
            events[number][index] = self._encrypt(draft, entries, connection)
        return ProtectedAppends(
            [
                dataclasses.replace(append, events=events[number]) if number in events else append
                for number, append in enumerate(appends)
            ],
            {draft.id: (draft.texts["data"], draft.texts.get("metadata")) for draft in drafts.values()},
        )

    def _look(
        self,
        draft: _Draft,
        declaration: Declaration,
        aggregate_id: str,
        connection: sa.Connection | None,
        is_import: bool,
    ) -> None:
        subject = reference = ""
        for part, fields, patterns in declaration.parts:
            text = draft.text(part)
            for span in find_values(text, patterns) if text else ():
                # Null tells nothing, and what comes encrypted by an import was encrypted where it comes from.
                if text.startswith("null", span.start) or (is_import and text.startswith("{" + marker, span.start)):
                    continue
                if not subject:
                    subject = _subject_of(draft.event, declaration, aggregate_id)
                    reference = self._ring.reference(subject, connection)
                draft.values.setdefault(part, []).append(_Value(fields[span.pattern], span, subject, reference))

    def _encrypt(self, draft: _Draft, entries: Mapping[str, Entry], connection: sa.Connection | None) -> NewEvent:
        texts = {}
        for part, values in draft.values.items():
            text, pieces, at = draft.texts[part], [], 0
            for value in sorted(values, key=lambda value: value.span.start):
                entry = entries[value.reference]
                if isinstance(entry, Destroyed):
                    raise SubjectForgotten(value.subject, draft.event.type, entry.at)
                place = event_place(draft.id, draft.event.type, part, value.span.pointer)
                raw = text[value.span.start : value.span.end]
                pieces += [text[at : value.span.start], self._encrypted(entry, raw, place, value, draft, connection)]
                at = value.span.end
            texts[part] = "".join([*pieces, text[at:]])
        metadata: Any = draft.metadata
        if "metadata" in texts:
            # A mapping stays one, so that a context can still add to it.
            metadata = parse_json(texts["metadata"]) if isinstance(metadata, Mapping) else texts["metadata"]
        return NewEvent(draft.event.type, texts.get("data", draft.texts["data"]), metadata, draft.id)

    def _encrypted(
        self, cipher: Cipher, raw: str, place: str, value: _Value, draft: _Draft, connection: sa.Connection | None
    ) -> str:
        if raw.startswith("{" + marker):
            parts = encrypted_parts(parse_json(raw))
            if parts is not None:
                return _checked(cipher, raw, parts, place, value, draft)
        if value.field.normalize is None:
            return cipher.encrypt(raw, place)
        type_ = draft.event.type
        wanted = search_text(value.field, type_, _decoded(raw, type_))
        return cipher.encrypt(
            raw, place, self._ring.search_hash(type_, value.field.pointer, wanted, connection=connection)
        )


class _Draft:
    """An event with declared fields: its texts by part, and where in them personal data stands."""

    def __init__(self, event: NewEvent) -> None:
        self.event = event
        self.id = str(uuid.UUID(bytes=id_bytes(event.id)))
        self.metadata = event.metadata
        if event.occurred_at is not None:
            self.metadata = dated_metadata(event.type, event.metadata, event.occurred_at)
        self.texts = {"data": to_text(event.data, "data", event.type)}
        self.values: dict[str, list[_Value]] = {}

    def text(self, part: str) -> str:
        """The text of a part, empty for metadata that isn't there."""
        if part not in self.texts and self.metadata:
            self.texts[part] = to_text(self.metadata, part, self.event.type)
        return self.texts.get(part, "")


def _checked(cipher: Cipher, raw: str, parts: dict[str, Any], place: str, value: _Value, draft: _Draft) -> str:
    """Ciphertext that was made for this very place; raises InvalidEvent for any other."""
    try:
        if parts["subject"] != value.reference:
            raise Altered
        cipher.decrypt(parts, place)
    except Altered as error:
        raise InvalidEvent(
            f"{value.field.pointer} of {draft.event.type} brings ciphertext of another event. Give the value itself."
        ) from error
    return raw


def _subject_of(event: NewEvent, declaration: Declaration, aggregate_id: str) -> str:
    where = declaration.subject
    found: Any = aggregate_id
    if where is not None:
        data = _decoded(event.data, event.type) if isinstance(event.data, str | bytes | bytearray) else event.data
        try:
            found = where(data) if callable(where) else value_at(data, where)
        except Exception as error:
            raise InvalidEvent(
                f"{event.type} brings personal data, but whose can't be told: {type(error).__name__}: {error}. "
                "Give it the subject's id, where its declaration looks for it."
            ) from error
    subject = subject_text(found)
    if subject is None:
        raise InvalidEvent(
            f"{event.type} brings personal data, but its subject's id is {found!r}. It must be text or a number."
        )
    return subject


def _decoded(text: str | bytes | bytearray, event_type: str) -> Any:
    try:
        return parse_json(text if isinstance(text, str) else bytes(text))
    except ValueError as error:
        raise InvalidEvent(
            f"The personal data of {event_type} can't be looked through: {error}. Store such data in a field of its own type."
        ) from error
