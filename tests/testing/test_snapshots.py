"""Snapshots of aggregates whose events are in memory."""

from __future__ import annotations

from dataclasses import replace

from tests.store.test_snapshots import Counter
from webapp.store import NewEvent, Repository, Snapshot, SnapshotPolicy
from webapp.testing import MemorySnapshots, MemoryStore

ONE = Snapshot("main", "counter", "1", 5, "an-id", "f" * 64, '{"text": "ünï"}')


def test_a_policy_without_a_store_keeps_them_beside_the_events() -> None:
    store = MemoryStore()
    counters = Repository(store, Counter, snapshots=SnapshotPolicy(every=5))
    for n in range(12):
        counters.execute_or_create("1", lambda counter, n=n: NewEvent("counted", {"n": n}))
    assert store.snapshot_store.versions("main", "counter", "1") == [5, 10]
    assert counters.load("1") == Repository(store, Counter).load("1")
    kept = store.snapshot_store.load("main", "counter", "1", None)
    assert kept is not None
    store.snapshot_store.save(replace(kept, state="{", version=12))
    assert counters.load("1") == Repository(store, Counter).load("1"), "a broken one is passed over"


def test_a_policys_own_store_comes_first() -> None:
    store, own = MemoryStore(), MemorySnapshots()
    counters = Repository(store, Counter, snapshots=SnapshotPolicy(every=1, store=own))
    counters.execute_or_create("1", lambda counter: NewEvent("counted", {"n": 1}))
    assert own.versions("main", "counter", "1") == [1]
    assert store.snapshot_store.versions("main", "counter", "1") == []


def test_they_are_kept_as_the_table_keeps_them() -> None:
    snapshots = MemorySnapshots(keep=2)
    for version in (5, 7, 9):
        snapshots.save(replace(ONE, version=version))
    assert snapshots.versions("main", "counter", "1") == [7, 9]
    assert snapshots.load("main", "counter", "1", None) == replace(ONE, version=9)
    assert snapshots.load("main", "counter", "1", 8) == replace(ONE, version=7)
    assert snapshots.load("main", "counter", "1", 6) is None and snapshots.load("main", "counter", "2", None) is None
    snapshots.save(replace(ONE, version=9, state='"other"'))
    assert snapshots.load("main", "counter", "1", 9) == replace(ONE, version=9, state='"other"')
    snapshots.save(replace(ONE, version=8, fingerprint="e" * 64))
    assert snapshots.versions("main", "counter", "1") == [8], "those of other code go"
    snapshots.delete("main", "counter", "1")
    assert snapshots.load("main", "counter", "1", None) is None
