"""The event store with a vault: personal data is encrypted on its way in, and decrypted for whoever reads here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from webapp.store.context import with_current_metadata
from webapp.store.events import Append, EventFilter, NewEvent, RecordedEvent
from webapp.store.joining import CallersConnection
from webapp.store.native import EventStore
from webapp.store.source import no_filter
from webapp.store.vault import Vault


class ProtectedStore(EventStore):
    """An EventStore through a vault, made by `vault.protected(store)`; shares its connections, so either closes both.

    What it stores is ciphertext, which a store opened without the vault shows as it is.
    """

    def __init__(self, plain: EventStore, vault: Vault) -> None:
        self.__dict__.update(plain.__dict__)
        self.plain = plain
        self.vault = vault

    def append(
        self,
        aggregate_type: str,
        aggregate_id: str,
        events: Sequence[NewEvent],
        *,
        expected_version: int | None = None,
        log: str = "main",
    ) -> list[RecordedEvent]:
        """Like EventStore.append; raises SubjectForgotten for personal data of somebody who was forgotten."""
        return self.append_many([Append(aggregate_type, aggregate_id, events, expected_version, log)])

    def append_many(self, appends: Sequence[Append]) -> list[RecordedEvent]:
        """Like EventStore.append_many; new keys of subjects are committed before the events."""
        encrypted = self.vault.protect_all(with_current_metadata(appends))
        return list(self.vault.reveal_all(self.plain.append_many(encrypted.appends), encrypted.plain_texts))

    def append_in(self, connection: CallersConnection, appends: Sequence[Append]) -> list[RecordedEvent]:
        """Like EventStore.append_in; where the vault's keys are in this database, new ones are part of the transaction."""
        is_beside = self.vault.keeps_keys_in(self.database)
        checked = self._writer.joining.check(connection)
        encrypted = self.vault.protect_all(with_current_metadata(appends), checked if is_beside else None)
        return list(self.vault.reveal_all(self.plain.append_in(checked, encrypted.appends), encrypted.plain_texts))

    def import_events(self, events: Sequence[RecordedEvent], **options: Any) -> list[RecordedEvent]:
        """Like EventStore.import_events; what comes in clear is encrypted, what comes encrypted stays as it is."""
        appends = [
            Append("", event.aggregate_id or "", [NewEvent(event.type, event.data_text, event.metadata_text, event.id)])
            for event in events
        ]
        encrypted = self.vault.protect_all(appends, is_import=True)
        brought = [
            _with_texts(event, append.events[0]) if event.id in encrypted.plain_texts else event
            for event, append in zip(events, encrypted.appends, strict=True)
        ]
        return list(self.vault.reveal_all(self.plain.import_events(brought, **options), encrypted.plain_texts))

    def read_log(
        self,
        log: str,
        *,
        after: int = 0,
        before: int | None = None,
        limit: int | None = 1000,
        newest_first: bool = False,
        where: EventFilter = no_filter,
        with_payload: bool = True,
        seconds: float | None = None,
    ) -> Iterator[RecordedEvent]:
        """Like EventStore.read_log; `where.contains` looks at what is stored, so use vault.find for encrypted values."""
        return self.vault.reveal_all(
            self.plain.read_log(
                log, after=after, before=before, limit=limit, newest_first=newest_first, where=where,
                with_payload=with_payload, seconds=seconds,
            )
        )  # fmt: skip

    def read_stream(self, aggregate_type: str, aggregate_id: str, **options: Any) -> Iterator[RecordedEvent]:
        """Like EventStore.read_stream."""
        return self.vault.reveal_all(self.plain.read_stream(aggregate_type, aggregate_id, **options))

    def event(self, log: str, position: int) -> RecordedEvent:
        """Like EventStore.event."""
        return self.vault.reveal(self.plain.event(log, position))


def _with_texts(event: RecordedEvent, encrypted: NewEvent) -> RecordedEvent:
    """The event to import with its texts as they were encrypted; they are text, for they came as such."""
    data, metadata = cast("str", encrypted.data), cast("str | None", encrypted.metadata)
    return event.copied(data_text=data, metadata_text=metadata)
