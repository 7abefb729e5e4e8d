"""Snapshots under their subjects' keys: forgetting one makes them unreadable, and the state is folded from events again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from webapp.store.encryption import marker
from webapp.store.jsontext import compact
from webapp.store.snapshots import Snapshot, SnapshotStore
from webapp.store.vault import Vault


def _own_subject(snapshot: Snapshot) -> str:
    return snapshot.aggregate_id


class EncryptedSnapshots:
    """A store of snapshots around another one, which only ever sees ciphertext; give it as `SnapshotPolicy(store=…)`.

    `subject_of` says whose data a state holds: the aggregate's own id by default, several where it holds data of
    many, all of whom must be known still for it to be readable. A forgotten subject's states are neither kept nor given.
    States that were kept in clear before are passed over, but stay where they are until the inner store drops them.
    """

    def __init__(
        self,
        inner: SnapshotStore,
        vault: Vault,
        subject_of: Callable[[Snapshot], str | Sequence[str]] = _own_subject,
    ) -> None:
        self._inner = inner
        self._vault = vault
        self._subject_of = subject_of

    def load(self, log: str, aggregate_type: str, aggregate_id: str, up_to: int | None) -> Snapshot | None:
        """The latest one with version <= up_to; None if there is none, or it can't be decrypted."""
        snapshot = self._inner.load(log, aggregate_type, aggregate_id, up_to)
        if snapshot is None or not _is_encrypted(snapshot.state):
            return None
        state = snapshot.state
        while _is_encrypted(state):
            opened = self._vault.decrypt_value(state, _context(snapshot))
            if not isinstance(opened, str):
                return None
            state = opened
        return dataclasses.replace(snapshot, state=state)

    def save(self, snapshot: Snapshot) -> None:
        """Keeps one, unless a subject of it was forgotten, or it has none."""
        subjects = self._subject_of(snapshot)
        state = snapshot.state
        for subject in [subjects] if isinstance(subjects, str) else subjects:
            # A layer for each: all their keys are needed to get at the state.
            state = self._vault.encrypt_value(subject, state, _context(snapshot))
            if not _is_encrypted(state):
                return
        if state != snapshot.state:
            self._inner.save(dataclasses.replace(snapshot, state=state))


def _is_encrypted(state: str) -> bool:
    return state.startswith("{" + marker)


def _context(snapshot: Snapshot) -> str:
    return compact(["snapshot", snapshot.log, snapshot.aggregate_type, snapshot.aggregate_id, snapshot.version])
