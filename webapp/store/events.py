"""The words all else is written in: events before and after they are stored."""

from __future__ import annotations

import datetime as dt
import random
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from webapp.errors import InvalidEvent
from webapp.store.jsontext import as_text, compact, embeddable, encode, is_json, parse_json
from webapp.store.times import dated_metadata, read_occurred_at

type_limit, id_limit, log_limit = 150, 255, 64


def uuid7() -> uuid.UUID:
    """A new time-ordered UUID (RFC 9562, version 7)."""
    return uuid.UUID(bytes=uuid7_bytes())


def uuid7_bytes() -> bytes:
    """The 16 bytes of a new time-ordered UUID.

    Milliseconds since 1970, then the fraction of the millisecond in 12 bits (method 3 of RFC 9562, section 6.2), so that
    ids made one after the other land one after the other in an index, then 62 random bits.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    head = milliseconds << 16 | 0x7000 | rest * 4096 // 1_000_000
    # Ids need to be unique, not secret, so the quick generator will do (Python seeds it anew after a fork).
    return (head << 64 | 0b10 << 62 | random.getrandbits(62)).to_bytes(16, "big")


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event before it is stored.

    `data` is any JSON value, or ready JSON as text or UTF-8 bytes, which is stored as it stands.
    `metadata` is a JSON object; its keys `correlation_id`, `causation_id` and `actor` are indexed or shown on their own.
    `id` is a UUID and defaults to a time-ordered one. `occurred_at`, an aware datetime, says when it happened in the
    world, if that isn't when it is recorded; it is kept in the metadata, which must then be a mapping.
    """

    type: str
    data: Any
    metadata: Mapping[str, Any] | str | bytes | None = None
    id: uuid.UUID | str | None = None
    occurred_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Append:
    """The events for one stream; `expected_version` None means any, 0 means that the stream must be new."""

    aggregate_type: str
    aggregate_id: str
    events: Sequence[NewEvent]
    expected_version: int | None = None
    log: str = "main"


def utc(value: dt.datetime) -> str:
    """RFC 3339 in UTC with microseconds and Z."""
    if value.tzinfo is not None:
        value = value.astimezone(dt.UTC)
    return value.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


class RecordedEvent:
    """An event as it stands in a log.

    `data` and `metadata` decode on first use and raise ValueError where the stored text isn't JSON; `data_text` and
    `metadata_text` are what was stored (str, or bytes that aren't text; None where it wasn't selected or is absent).
    `recorded_at` is timezone-aware UTC. What a layout doesn't have is None.
    """

    __slots__ = (
        "_data", "_metadata", "_recorded_at", "actor", "aggregate_id", "aggregate_type", "causation_id",
        "correlation_id", "data_text", "log", "metadata_text", "position", "raw_id", "type", "version",
    )  # fmt: skip

    def __init__(
        self,
        log: str,
        position: int,
        aggregate_type: str | None,
        aggregate_id: str | None,
        version: int | None,
        type: str,
        id: uuid.UUID | str | bytes,
        recorded_at: dt.datetime | str | int,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        actor: str | None = None,
        data_text: str | bytes | None = None,
        metadata_text: str | bytes | None = None,
    ) -> None:
        self.log = log
        self.position = position
        self.aggregate_type = aggregate_type
        self.aggregate_id = aggregate_id
        self.version = version
        self.type = type
        self.raw_id = id
        self._recorded_at = recorded_at
        self.correlation_id = correlation_id
        self.causation_id = causation_id
        self.actor = actor
        self.data_text = data_text
        self.metadata_text = metadata_text

    @property
    def id(self) -> str:
        """The event's id as text."""
        value = self.raw_id
        return str(uuid.UUID(bytes=value)) if isinstance(value, bytes) else str(value)

    @property
    def recorded_at(self) -> dt.datetime:
        """When the store took it in; timezone-aware, UTC, microseconds."""
        value = self._recorded_at
        if isinstance(value, dt.datetime):
            return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)
        if isinstance(value, int):  # microseconds since 1970
            return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=value)
        return dt.datetime.fromisoformat(value).replace(tzinfo=dt.UTC)

    @property
    def readable_text(self) -> str | bytes | None:
        """The text that `data` is decoded from: data_text, but in clear where a vault decrypts parts of it."""
        return self.data_text

    @property
    def occurred_at(self) -> dt.datetime:
        """When it happened, as its metadata says; recorded_at where that says nothing that can be read."""
        try:
            return read_occurred_at(self.metadata) or self.recorded_at
        except ValueError:
            return self.recorded_at

    @property
    def data(self) -> Any:
        """The decoded payload; raises ValueError where the stored text isn't JSON."""
        try:
            return self._data
        except AttributeError:
            self._data: Any = parse_json(self.data_text) if self.data_text is not None else None
            return self._data

    @property
    def metadata(self) -> Any:
        """The decoded metadata, {} if there is none; raises ValueError where the stored text isn't JSON."""
        try:
            return self._metadata
        except AttributeError:
            self._metadata: Any = parse_json(self.metadata_text) if self.metadata_text is not None else {}
            return self._metadata

    def copied(self, **changes: Any) -> RecordedEvent:
        """A plain event with the same fields but for those given, by the names that the constructor has for them."""
        fields: dict[str, Any] = {
            "log": self.log, "position": self.position, "aggregate_type": self.aggregate_type,
            "aggregate_id": self.aggregate_id, "version": self.version, "type": self.type, "id": self.raw_id,
            "recorded_at": self._recorded_at, "correlation_id": self.correlation_id, "causation_id": self.causation_id,
            "actor": self.actor, "data_text": self.data_text, "metadata_text": self.metadata_text,
        }  # fmt: skip
        return RecordedEvent(**(fields | changes))

    @property
    def stream(self) -> str:
        """`type/id` of its aggregate, as sentences name it."""
        return f"{self.aggregate_type}/{self.aggregate_id}"

    def __repr__(self) -> str:
        return f"<{self.type} {self.log}:{self.position} {self.stream} v{self.version}>"

    def to_json(self) -> str:
        """One line of JSON with the fields that commands, exports and the API share; stored JSON stands as it was."""
        head = {
            "log": self.log,
            "position": self.position,
            "aggregate_type": self.aggregate_type,
            "aggregate_id": self.aggregate_id,
            "version": self.version,
            "type": self.type,
            "id": self.id,
            "recorded_at": utc(self.recorded_at),
        }
        tail = {"correlation_id": self.correlation_id, "causation_id": self.causation_id, "actor": self.actor}
        return (
            f"{compact(head)[:-1]},"
            f'"data":{embeddable(self.data_text)},"metadata":{embeddable(self.metadata_text)},{compact(tail)[1:]}'
        )


class PreparedEvent(NamedTuple):
    """A checked event, ready for a row: its id in 16 bytes, texts as they will be stored."""

    type: str
    id: bytes
    data_text: str
    metadata_text: str
    correlation_id: str | None
    causation_id: str | None
    actor: str | None
    recorded_at: dt.datetime | None = None
    """None for the database's clock, which is all that appends know; only an import brings a time of its own."""
    position: int | None = None
    """None for the next one; only a copy brings a position of its own, which may leave a hole before it."""


def prepare(event: NewEvent) -> PreparedEvent:
    """The event with its texts made and everything checked; raises InvalidEvent with a sentence."""
    type_ = checked_name(event.type, "event type", type_limit)
    event_id = uuid7_bytes() if event.id is None else id_bytes(event.id)
    data = event.data
    data_text = encode(data, "data", type_) if type(data) is dict else to_text(data, "data", type_)
    metadata = event.metadata
    if event.occurred_at is not None:
        metadata = dated_metadata(type_, metadata, event.occurred_at)
    if not metadata and (metadata is None or isinstance(metadata, Mapping)):
        return PreparedEvent(type_, event_id, data_text, "{}", None, None, None)
    is_dict = type(metadata) is dict
    metadata_text = encode(metadata, "metadata", type_) if is_dict else to_text(metadata, "metadata", type_)
    if not isinstance(metadata, (dict, Mapping)):  # dict first, which is quick to tell
        try:
            metadata = parse_json(metadata_text)
        except ValueError as error:
            raise InvalidEvent(f"The metadata of {type_} can't be used: {error}.") from error
        if not isinstance(metadata, dict):
            raise InvalidEvent(f'The metadata of {type_} must be a JSON object, such as {{"actor": "ann"}}.')
    get = metadata.get
    return PreparedEvent(
        type_, event_id, data_text, metadata_text,
        _short(get("correlation_id"), "metadata “correlation_id”"), _short(get("causation_id"), "metadata “causation_id”"),
        _short(get("actor"), "metadata “actor”"),
    )  # fmt: skip


_refused_characters = re.compile("[\x00\ud800-\udfff]")


def can_be_stored(*texts: str | None) -> bool:
    """Whether a database could hold these texts at all; if not, nothing there equals them."""
    return not any(text is not None and _refused_characters.search(text) for text in texts)


def checked_name(name: str, what: str, limit: int) -> str:
    """The name itself, if it is text of 1 to `limit` characters that every database can hold."""
    if type(name) is str and 0 < len(name) <= limit and name.isprintable():
        return name  # as nearly all are; what isn't printable may still be fine
    if not isinstance(name, str) or not name:
        raise InvalidEvent(f"The {what} must be text that isn't empty.")
    if len(name) > limit:
        raise InvalidEvent(f"The {what} “{name[:40]}…” has {len(name)} characters; at most {limit} fit.")
    if _refused_characters.search(name):
        raise InvalidEvent(f"The {what} {name!r} holds a character that databases refuse (NUL or a lone surrogate).")
    return name


def id_bytes(value: uuid.UUID | str | None) -> bytes:
    """The 16 bytes of a new event's id, a new one's for None; raises InvalidEvent for what is no UUID."""
    return uuid7_bytes() if value is None else _to_uuid(value).bytes


def _to_uuid(value: uuid.UUID | str) -> uuid.UUID:
    if isinstance(value, uuid.UUID):
        return value
    try:
        return uuid.UUID(value)
    except (ValueError, AttributeError, TypeError) as error:
        raise InvalidEvent(f"The event id {value!r} is not a UUID. Leave it out and one is made.") from error


def _short(value: Any, what: str) -> str | None:
    if value is None or (type(value) is str and 0 < len(value) <= id_limit and value.isprintable()):
        return value
    return checked_name(value if isinstance(value, str) else compact(value), what, id_limit)


def to_text(value: Any, part: str, type_: str) -> str:
    """JSON text for a value; text and bytes are taken to be JSON already, and stored as they stand."""
    if type(value) is dict:
        return encode(value, part, type_)
    if isinstance(value, bytes | bytearray):
        try:
            value = bytes(value).decode()
        except UnicodeDecodeError as error:
            raise InvalidEvent(
                f"The {part} of {type_} is bytes that aren't UTF-8. Give JSON text, or any JSON value."
            ) from error
    if not isinstance(value, str):
        return encode(value, part, type_)
    if not is_json(value):
        raise InvalidEvent(
            f"The {part} of {type_} is text that is not JSON. Give JSON text (a plain string needs its quotes), or a value."
        )
    return value


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What events to keep; None means all. Ranges leave their edges out: after < position < before, since <= time < until.

    `contains` is a text looked for in the stored payload, as it was written; `event_id` is the id of one event.
    """

    types: tuple[str, ...] = ()
    aggregate_type: str | None = None
    aggregate_id: str | None = None
    correlation_id: str | None = None
    actor: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    contains: str | None = None
    event_id: str | None = None

    def is_empty(self) -> bool:
        """Whether everything passes."""
        return self == _everything

    def matches(self, event: RecordedEvent) -> bool:
        """Whether an event passes, for sources that can't ask their database all of it."""
        return (
            (not self.types or event.type in self.types)
            and (self.aggregate_type is None or event.aggregate_type == self.aggregate_type)
            and (self.aggregate_id is None or event.aggregate_id == self.aggregate_id)
            and (self.correlation_id is None or event.correlation_id == self.correlation_id)
            and (self.actor is None or event.actor == self.actor)
            and (self.since is None or event.recorded_at >= self.since)
            and (self.until is None or event.recorded_at < self.until)
            and (self.contains is None or self.contains in as_text(event.data_text))
            and (self.event_id is None or event.id == self.event_id)
        )


_everything = EventFilter()
