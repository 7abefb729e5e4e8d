"""Snapshots in memory."""

from __future__ import annotations

import threading

from webapp.store.snapshots import Snapshot


class MemorySnapshots:
    """Snapshots in a dict, the last `keep` of each aggregate, as the store's own table keeps them. Thread-safe."""

    def __init__(self, *, keep: int = 3) -> None:
        self._keep = keep
        self._kept: dict[tuple[str, str, str], dict[int, Snapshot]] = {}
        self._lock = threading.Lock()

    def load(self, log: str, aggregate_type: str, aggregate_id: str, up_to: int | None) -> Snapshot | None:
        """The latest one with version <= up_to, None if there is none."""
        with self._lock:
            kept = self._kept.get((log, aggregate_type, aggregate_id), {})
            versions = [version for version in kept if up_to is None or version <= up_to]
            return kept[max(versions)] if versions else None

    def save(self, snapshot: Snapshot) -> None:
        """Keeps one, over another of its version, and drops those of other code and all but the last few."""
        key = (snapshot.log, snapshot.aggregate_type, snapshot.aggregate_id)
        with self._lock:
            kept = self._kept.get(key, {}) | {snapshot.version: snapshot}
            last = sorted(kept)[-self._keep :]
            self._kept[key] = {
                version: kept[version] for version in last if kept[version].fingerprint == snapshot.fingerprint
            }

    def versions(self, log: str, aggregate_type: str, aggregate_id: str) -> list[int]:
        """The versions of one aggregate that there are snapshots of, lowest first."""
        with self._lock:
            return sorted(self._kept.get((log, aggregate_type, aggregate_id), {}))

    def delete(self, log: str, aggregate_type: str, aggregate_id: str) -> None:
        """Drops all of one aggregate."""
        with self._lock:
            self._kept.pop((log, aggregate_type, aggregate_id), None)
