"""States kept so that a long stream needn't be folded from its beginning; always a shortcut, never the truth."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

from webapp.errors import InvalidDefinition, InvalidRequest
from webapp.store.jsontext import encode, parse_json
from webapp.store.source import EventSource

if TYPE_CHECKING:
    from webapp.store.folding import Definition

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state after a version, as JSON text, with the id of the event that stands there.

    `fingerprint` tells which code folded it. `value` is the state itself once it was read back.
    """

    log: str
    aggregate_type: str
    aggregate_id: str
    version: int
    event_id: str
    fingerprint: str
    state: str
    value: Any = field(default=None, compare=False, repr=False)


class SnapshotStore(Protocol):
    """Where snapshots are kept: anything with these two methods. What it gives back is never trusted unseen."""

    def load(self, log: str, aggregate_type: str, aggregate_id: str, up_to: int | None) -> Snapshot | None:
        """The latest one of that aggregate with version <= up_to (None: the latest), None if there is none."""
        ...

    def save(self, snapshot: Snapshot) -> None:
        """Keeps one; what of its aggregate has another fingerprint, or its version, may go."""
        ...


@dataclass(frozen=True, slots=True)
class SnapshotPolicy:
    """Take a snapshot whenever a save passes another `every` versions; `store` None keeps them in the store's own table."""

    every: int = 100
    store: SnapshotStore | None = None

    def __post_init__(self) -> None:
        if type(self.every) is not int or self.every < 1:
            raise InvalidRequest(
                f"Snapshots are taken every 1, 2, … events; {self.every!r} is no such number.", "every"
            )

    def is_due(self, before: int, after: int) -> bool:
        """Whether a save from one version to another passes a multiple of `every`."""
        return before // self.every != after // self.every


class Snapshots:
    """The snapshots of one definition, read and written so that nothing depends on them."""

    def __init__(
        self,
        source: EventSource,
        definition: Definition,
        log: str,
        policy: SnapshotPolicy,
        value_types: Mapping[type, Any],
    ) -> None:
        self.policy = policy
        self._log = log
        self._type = definition.aggregate_type
        self._fingerprint = definition.fingerprint()
        self._codec = make_state_codec(definition, value_types)
        self._told: set[str] = set()
        store = policy.store or getattr(source, "snapshot_store", None)
        if store is not None:
            self._store: SnapshotStore = store
        else:
            from webapp.store.snapshot_table import TableSnapshots

            database = getattr(source, "database", None)
            if database is None:
                raise InvalidDefinition(
                    f"Snapshots of {self._type} need a place, since this store has no table for them. Give "
                    "SnapshotPolicy(store=…) any object with load and save."
                )
            self._store = TableSnapshots(database)

    def usable(self, stored_id: str, up_to: int | None) -> Iterator[Snapshot | None]:
        """Snapshots at or below a version, latest first, each with its state read back; None for one to be passed over."""
        while up_to is None or up_to > 0:
            snapshot: Snapshot | None = None
            with self.only_logging(stored_id):
                snapshot = self._store.load(self._log, self._type, stored_id, up_to)
            if snapshot is None:
                return
            if up_to is not None and snapshot.version > up_to:
                self._tell(
                    "newer",
                    f"The snapshot store gave version {snapshot.version} of {self._type}/{stored_id} for up to {up_to}.",
                )
                return
            yield self._read(snapshot)
            up_to = snapshot.version - 1

    def _read(self, snapshot: Snapshot) -> Snapshot | None:
        if snapshot.fingerprint != self._fingerprint:
            self._tell(
                "older", f"Snapshots of {self._type} by other code are passed over; the next saves replace them."
            )
            return None
        try:
            value = self._codec.read(snapshot.state)
            if value is None:
                raise ValueError("the state is null")
            return replace(snapshot, value=value)
        except Exception as error:  # whatever is wrong with it, the events are there
            where = f"{self._type}/{snapshot.aggregate_id} version {snapshot.version}"
            self._tell("broken", f"A snapshot is broken and passed over ({where}): {type(error).__name__}: {error}")
            return None

    def keep(self, stored_id: str, version: int, event_id: str, state: Any) -> None:
        """Writes one; raises whatever goes wrong."""
        text = self._codec.write(state)
        self._store.save(Snapshot(self._log, self._type, stored_id, version, event_id, self._fingerprint, text))

    @contextmanager
    def only_logging(self, stored_id: str) -> Iterator[None]:
        """Turns what goes wrong in the block into a line in the log."""
        try:
            yield
        except Exception as error:
            kind = type(error).__name__
            self._tell(kind, f"A snapshot of {self._type}/{stored_id} can't be read or written: {kind}: {error}")

    def _tell(self, what: str, sentence: str) -> None:
        """Logs a sentence once for each kind of trouble."""
        if what not in self._told:
            self._told.add(what)
            logger.warning("%s", sentence)


class StateCodec(Protocol):
    """A state as JSON text and back."""

    def write(self, state: Any, /) -> str:
        """Raises for what can't be written."""
        ...

    def read(self, text: str, /) -> Any:
        """Raises for what can't be read."""
        ...


def make_state_codec(definition: Definition, value_types: Mapping[type, Any]) -> StateCodec:
    """How states of a definition are written: by the class's own hooks, as an object of known fields, or as plain JSON.

    The hooks are `to_snapshot()`, which returns a JSON value, and the classmethod `from_snapshot(value)`. `value_types`
    are those that a serializer was told of by add_value. A state that doesn't come back equal is not kept. Raises
    InvalidDefinition for a class that has neither hooks nor fields.
    """
    cls = definition.state_type
    if cls is None:
        return _PlainCodec()
    if hasattr(cls, "to_snapshot") and hasattr(cls, "from_snapshot"):
        return _HookCodec(cls)
    from webapp.store.codecs import make_codec

    try:
        return _FieldCodec(make_codec(cls, value_types, strict=True))
    except (InvalidDefinition, NameError) as error:
        reason = str(error).rstrip(".")
        raise InvalidDefinition(
            f"Snapshots of {cls.__qualname__} can't be taken: {reason}. Or give it to_snapshot() and a classmethod "
            "from_snapshot(value)."
        ) from error


def has_own_equality(cls: type) -> bool:
    """Whether two objects of a class may be equal without being the same."""
    return any("__eq__" in vars(base) for base in cls.__mro__[:-1])


class _PlainCodec:
    def write(self, state: Any, /) -> str:
        text = encode(state, "state")
        if parse_json(text) != state:
            raise ValueError("the state is more than JSON holds; give it a class")
        return text

    def read(self, text: str, /) -> Any:
        return parse_json(text)


class _HookCodec:
    def __init__(self, cls: type) -> None:
        self._cls = cast("Any", cls)

    def write(self, state: Any, /) -> str:
        return encode(state.to_snapshot(), "state")

    def read(self, text: str, /) -> Any:
        value = self._cls.from_snapshot(parse_json(text))
        if not isinstance(value, self._cls):
            raise ValueError(f"from_snapshot returned {type(value).__name__}")
        return value


class _FieldCodec:
    def __init__(self, codec: Any) -> None:
        self._codec = codec

    def write(self, state: Any, /) -> str:
        text = encode(self._codec.write(state), "state")
        if self._codec.read_text(text) != state and has_own_equality(type(state)):
            raise ValueError(
                "the state doesn't come back equal; give its values __eq__, or the class to_snapshot() and from_snapshot(value)"
            )
        return text

    def read(self, text: str, /) -> Any:
        return self._codec.read_text(text)
