"""Subjects and their keys: made once, forgotten for good, searched by, locked anew, and used beyond events."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import sqlalchemy as sa

from tests.store.helpers import count, execute, run_together
from tests.store.vaults import declared, make_vault, master, other_master, registered
from webapp.errors import (
    InvalidDefinition,
    InvalidEvent,
    InvalidRequest,
    LoadingFailed,
    NotFound,
    SubjectForgotten,
    WrongKey,
)
from webapp.store import Append, EventFilter, EventStore, NewEvent, Serializer
from webapp.store.aggregates import applies
from webapp.store.encrypted_snapshots import EncryptedSnapshots
from webapp.store.master_keys import MasterKeys
from webapp.store.personal import Forgotten, PersonalData
from webapp.store.repository import Repository
from webapp.store.snapshot_table import TableSnapshots
from webapp.store.snapshots import Snapshot, SnapshotPolicy
from webapp.store.subjects import SubjectKey
from webapp.store.vault import Vault


class Clock:
    """Seconds that pass when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Keys:
    """Keys kept in a dict, as any store of keys may."""

    def __init__(self) -> None:
        self.keys: dict[str, SubjectKey] = {}
        self.lookups = 0

    def find(self, references: Collection[str], connection: sa.Connection | None = None) -> dict[str, SubjectKey]:
        self.lookups += 1
        return {reference: self.keys[reference] for reference in references if reference in self.keys}

    def add(self, keys: Sequence[SubjectKey], connection: sa.Connection | None = None) -> None:
        for key in keys:
            self.keys.setdefault(key.reference, key)

    def page(self, after: str, limit: int, other_than: str) -> Sequence[SubjectKey]:
        keys = [key for _, key in sorted(self.keys.items()) if key.reference > after and key.wrapped_key]
        return [key for key in keys if key.master_key != other_than][:limit]

    def replace(self, pairs: Sequence[tuple[SubjectKey, SubjectKey]]) -> int:
        for old, new in pairs:
            assert self.keys[old.reference] == old
            self.keys[old.reference] = new
        return len(pairs)

    def destroy(self, reference: str, record: Callable[[sa.Connection | None], object]) -> SubjectKey | None:
        key = self.keys.get(reference)
        if key is not None and key.forgotten_at is None:
            key = self.keys[reference] = SubjectKey(reference, None, None, dt.datetime.now(dt.UTC))
            record(None)
        return key


def emails(vault: Vault) -> list[Any]:
    """What each event's address reads as."""
    return [event.data["email"] for event in vault.protected().read_log("main", limit=None)]


def is_forgotten(value: Any) -> bool:
    """Whether a reader sees that somebody was forgotten."""
    return isinstance(value, dict) and list(value) == ["forgotten"]


# --- forgetting -----------------------------------------------------------------------------------------------------


def test_a_forgotten_subject_reads_as_forgotten_everywhere_and_others_as_before(store: EventStore) -> None:
    vault = make_vault(store)
    protected = vault.protected()
    protected.append("customer", "42", [registered(), registered()])
    protected.append("customer", "7", [registered("7", "bob@x.org")])
    forgotten_at = vault.forget("42", by="ann", reason="asked by letter")
    sign = {"forgotten": forgotten_at.isoformat(timespec="microseconds").replace("+00:00", "Z")}
    for reader in (protected, make_vault(store).protected()):
        for seen in reader.read_stream("customer", "42"):
            assert seen.data == {
                "customer_id": "42",
                "email": sign,
                "address": {"street": sign, "city": "Ulm"},
                "contacts": [{"kind": "home", "phone": sign}, {"kind": "work", "phone": sign}],
                "newsletter": True,
            }
            assert seen.metadata == {"actor": "shop", "ip": sign}
        assert next(reader.read_stream("customer", "7")).data["email"] == "bob@x.org"
    assert abs(forgotten_at - store.event("main", 3).recorded_at) < dt.timedelta(hours=1)
    assert vault.forgotten_at("42") == forgotten_at and vault.forgotten_at("7") is None


def test_forgetting_is_recorded_without_saying_who(store: EventStore) -> None:
    vault = make_vault(store)
    vault.protected().append("customer", "ann@x.org", [registered("ann@x.org")])
    vault.forget("ann@x.org", by="dpo", reason="request 17")
    (event,) = store.read_log("privacy")
    assert (event.type, event.aggregate_type, event.aggregate_id) == (
        "subject.forgotten", "subject", vault.reference("ann@x.org"),
    )  # fmt: skip
    assert event.data == {"subject": vault.reference("ann@x.org"), "reason": "request 17"}
    assert event.actor == "dpo"
    rows = execute(store, "SELECT subject, wrapped_key, master_key FROM projectionist_subject_keys")
    assert (vault.reference("ann@x.org"), None, None) in [tuple(row) for row in rows] and len(rows) == 2
    assert "ann" not in str(rows)


def test_what_is_stored_is_the_same_before_and_after_so_that_trails_still_fit(store: EventStore) -> None:
    vault = make_vault(store)
    protected = vault.protected()
    protected.append("customer", "42", [registered()] * 3)
    before = [event.to_json() for event in protected.read_log("main")]
    vault.forget("42", by="ann")
    assert [event.to_json() for event in protected.read_log("main")] == before


def test_forgetting_again_changes_nothing(store: EventStore) -> None:
    vault = make_vault(store)
    vault.protected().append("customer", "42", [registered()])
    first = vault.forget("42", by="ann")
    assert vault.forget("42", by="bob") == first == make_vault(store).forget("42", by="cid")
    assert store.head("privacy") == 1


def test_of_those_who_forget_at_once_one_records_it(store: EventStore) -> None:
    make_vault(store).protected().append("customer", "42", [registered()])
    vaults = [make_vault(store) for _ in range(4)]
    outcomes = run_together(*(lambda vault=vault: vault.forget("42", by="ann") for vault in vaults))
    assert len(set(outcomes)) == 1 and isinstance(outcomes[0], dt.datetime)
    assert store.head("privacy") == 1


def test_a_subject_that_was_never_seen_can_not_be_forgotten(store: EventStore) -> None:
    vault = make_vault(store)
    with pytest.raises(NotFound, match=r"no subject “4 2” here\. Nothing of theirs was encrypted; check how the id"):
        vault.forget("4 2", by="ann")


def test_a_subject_is_named_by_text_a_number_or_a_uuid(sqlite_store: EventStore) -> None:
    vault = make_vault(sqlite_store)
    assert vault.reference(42) == vault.reference("42") != vault.reference("42 ")
    assert vault.reference(uuid.UUID(int=1)) == vault.reference(str(uuid.UUID(int=1)))
    for subject in ("", None, 4.2, True, ["42"]):
        with pytest.raises(InvalidRequest, match="A subject's id must be text or a number"):
            vault.forget(subject, by="ann")  # type: ignore[arg-type]


def test_keys_that_came_back_with_an_older_backup_are_destroyed_again(
    store: EventStore, sqlite_store: EventStore
) -> None:
    vault = make_vault(store)
    for n in ("1", "2", "3"):
        vault.protected().append("customer", n, [registered(n)])
    vault.forget("1", by="ann", reason="first")
    backup = execute(store, "SELECT subject, wrapped_key, master_key FROM projectionist_subject_keys")
    vault.forget("2", by="ann", reason="second")
    sqlite_store.import_events(list(store.read_log("privacy")))
    mark = store.database.dialect.parameter
    for subject, wrapped_key, master_key in backup:
        values = f"wrapped_key = {mark}, master_key = {mark}"
        if wrapped_key:
            sql = f"UPDATE projectionist_subject_keys SET {values}, forgotten_at = NULL WHERE subject = {mark}"
            execute(store, sql, (wrapped_key, master_key, subject))
    restored = make_vault(store)
    assert [is_forgotten(email) for email in emails(restored)] == [True, False, False]
    assert restored.forget_again(sqlite_store, by="dba") == 1
    assert [is_forgotten(email) for email in emails(restored)] == [True, True, False]
    assert restored.forget_again(sqlite_store, by="dba") == 0
    *_, second, again = store.read_log("privacy")
    assert (again.actor, again.data) == ("dba", {**second.data, "again": second.id})


def test_where_forgetting_cannot_be_recorded_nothing_is_forgotten(store: EventStore) -> None:
    vault = make_vault(store, log="x" * 65)
    vault.protected().append("customer", "42", [registered()])
    with pytest.raises(InvalidEvent, match="65 characters"):
        vault.forget("42", by="ann")
    assert emails(vault) == emails(make_vault(store)) == ["ann@x.org"]
    assert vault.forgotten_at("42") is None


def test_personal_data_of_a_forgotten_subject_is_refused_and_nothing_is_stored(store: EventStore) -> None:
    vault = make_vault(store)
    protected = vault.protected()
    protected.append("customer", "42", [registered()])
    vault.forget("42", by="ann")
    for writer in (protected, make_vault(store).protected()):
        with pytest.raises(
            SubjectForgotten, match=r"customer\.registered was forgotten at 2.*Z, .* Leave the personal"
        ) as raised:
            writer.append_many([Append("customer", "7", [registered("7")]), Append("customer", "42", [registered()])])
        assert raised.value.subject == "42" and "42" not in str(raised.value).split("forgotten")[0]
    protected.append("customer", "42", [NewEvent("customer.registered", {"customer_id": "42", "newsletter": False})])
    assert [event.position for event in store.read_log("main")] == [1, 2]


def test_other_processes_see_it_when_their_keys_are_looked_up_again(store: EventStore) -> None:
    clock = Clock()
    here, there = make_vault(store), make_vault(store, cache_seconds=5, clock=clock)
    here.protected().append("customer", "42", [registered()])
    assert emails(there) == ["ann@x.org"]
    here.forget("42", by="ann")
    clock.now = 4.9
    assert emails(there) == ["ann@x.org"] and is_forgotten(emails(here)[0])
    clock.now = 5.1
    assert is_forgotten(emails(there)[0])
    with pytest.raises(SubjectForgotten):
        there.protected().append("customer", "42", [registered()])


def test_a_thread_that_looked_the_key_up_before_does_not_bring_it_back(store: EventStore) -> None:
    vault = make_vault(store)
    vault.protected().append("customer", "42", [registered()])
    reference = vault.reference("42")
    vault._ring._entries.clear()
    real_find = vault.keys.find

    def slow_find(references: Collection[str], connection: sa.Connection | None = None) -> dict[str, SubjectKey]:
        found = real_find(references, connection)
        vault.keys.find = real_find  # type: ignore[method-assign]
        vault.forget("42", by="ann")  # in between looking up and remembering
        return found

    vault.keys.find = slow_find  # type: ignore[method-assign]
    vault._ring.find([reference])
    assert is_forgotten(emails(vault)[0])


def test_whatever_is_appended_while_a_subject_is_forgotten_is_unreadable_after(store: EventStore) -> None:
    make_vault(store).protected().append("customer", "42", [registered()])

    def write() -> str:
        protected = make_vault(store, cache_seconds=0).protected()
        try:
            for _ in range(300):
                protected.append("customer", "42", [registered()])
        except SubjectForgotten:
            return "refused"
        return "never refused"

    outcomes = run_together(write, write, lambda: make_vault(store).forget("42", by="ann"))
    assert outcomes[:2] == ["refused", "refused"], outcomes
    assert all(is_forgotten(email) for email in emails(make_vault(store)))


# --- keys made once -------------------------------------------------------------------------------------------------


def register_all(url: str, start: Any, results: Any) -> None:
    """What each process of the next test does: the same subjects, all new, in one append each."""
    store = EventStore.open(url)
    try:
        protected = make_vault(store).protected()
        start.wait()
        for n in range(20):
            protected.append_many([Append("customer", str(n), [registered(str(n)), registered(str(-n - 1))])])
        results.put(None)
    except Exception as error:
        results.put(f"{type(error).__name__}: {error}")
    finally:
        store.close()


def test_processes_that_make_a_subjects_key_at_once_end_with_one(store: EventStore, database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(3), context.Queue()
    processes = [context.Process(target=register_all, args=(database_url, start, results)) for _ in range(3)]
    for process in processes:
        process.start()
    outcomes = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join(60)
    assert outcomes == [None] * 3
    assert emails(make_vault(store)) == ["ann@x.org"] * 120
    assert count(store, "projectionist_subject_keys") == 41


def test_a_key_made_in_a_transaction_that_rolls_back_is_used_by_nobody(store: EventStore) -> None:
    vault = make_vault(store)
    protected = vault.protected()

    def append_and_fail() -> None:
        with store.database.writing() as connection:
            (recorded,) = protected.append_in(connection, [Append("customer", "42", [registered()])])
            assert recorded.data == registered().data
            protected.append_in(connection, [Append("customer", "42", [registered()])])
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            append_and_fail()
    assert count(store, "projectionist_subject_keys") == 0
    protected.append("customer", "42", [registered()])
    with store.database.writing() as connection:
        protected.append_in(connection, [Append("customer", "7", [registered("7", "bob@x.org")])])
    assert emails(vault) == emails(make_vault(store)) == ["ann@x.org", "bob@x.org"]


def test_keys_made_in_transactions_do_not_pile_up(store: EventStore) -> None:
    vault = make_vault(store, cache_size=5)
    protected = vault.protected()
    for n in range(40):
        with store.database.writing() as connection:
            protected.append_in(connection, [Append("customer", str(n), [registered(str(n))])])
    assert len(vault._ring._uncommitted) <= 7
    assert emails(make_vault(store)) == ["ann@x.org"] * 40


def test_keys_are_looked_up_a_page_at_a_time_and_then_remembered(store: EventStore) -> None:
    keys = Keys()
    vault = make_vault(store, key_store=keys)
    vault.protected().append_many([Append("customer", str(n), [registered(str(n))]) for n in range(400)])
    assert count(store, "projectionist_subject_keys") == 0
    later = make_vault(store, key_store=keys)
    keys.lookups = 0
    assert emails(later) == ["ann@x.org"] * 400
    assert keys.lookups == 4  # pages of 8, 32, 128 and the rest
    assert emails(later) == ["ann@x.org"] * 400
    assert keys.lookups == 4


def test_keys_can_be_kept_elsewhere(store: EventStore) -> None:
    keys = Keys()
    vault = make_vault(store, key_store=keys)
    with store.database.writing() as connection:
        vault.protected().append_in(connection, [Append("customer", "42", [registered()])])
    vault.forget("42", by="ann")
    assert is_forgotten(emails(make_vault(store, key_store=keys))[0])
    assert [event.type for event in store.read_log("privacy")] == ["subject.forgotten"]
    without = make_vault(store)
    assert list(emails(without)[0]) == ["unreadable"]


def test_events_and_keys_can_be_in_two_databases(store: EventStore, sqlite_store: EventStore) -> None:
    vault = make_vault(sqlite_store)
    protected = vault.protected(store)
    protected.append("customer", "42", [registered()])
    with store.database.writing() as connection:
        protected.append_in(connection, [Append("customer", "7", [registered("7")])])
    assert count(store, "projectionist_subject_keys") == 0
    vault.forget("42", by="ann")
    seen = [event.data["email"] for event in make_vault(sqlite_store).protected(store).read_log("main")]
    assert is_forgotten(seen[0]) and seen[1] == "ann@x.org"


# --- searching ------------------------------------------------------------------------------------------------------


def test_an_event_is_found_by_a_field_that_only_the_vault_can_read(store: EventStore) -> None:
    vault = make_vault(store)
    protected = vault.protected()
    for n in range(30):
        protected.append("customer", str(n), [registered(str(n), f"{n % 10}@x.org")])
    protected.append("customer", "other", [NewEvent("customer.moved", {"email": "3@x.org"})])
    found = list(vault.find("customer.registered", "/email", "3@X.ORG"))
    assert [event.aggregate_id for event in found] == ["3", "13", "23"]
    assert found[0].data["email"] == "3@x.org"
    assert [event.position for event in vault.find("customer.registered", "/email", "3@x.org", after=4, limit=1)] == [
        14
    ]
    assert list(vault.find("customer.registered", "/email", "nobody@x.org")) == []
    assert list(protected.read_log("main", where=EventFilter(contains="3@x.org", types=("customer.registered",)))) == []
    vault.forget("13", by="ann")
    assert [event.aggregate_id for event in vault.find("customer.registered", "/email", "3@x.org")] == ["3", "23"]


def test_a_search_may_go_through_any_store(store: EventStore, sqlite_store: EventStore) -> None:
    vault = make_vault(sqlite_store)
    protected = vault.protected(store)
    protected.append("customer", "42", [registered()], log="other")
    for each in (store, protected):
        (found,) = vault.find("customer.registered", "/email", "ann@x.org", store=each, log="other")
        assert found.data == registered().data


def test_the_hash_says_nothing_to_those_without_the_master_key(store: EventStore, sqlite_store: EventStore) -> None:
    for each in (store, sqlite_store):
        make_vault(each).protected().append("customer", "42", [registered()])
    first, second = (each.event("main", 1).data["email"]["encrypted"]["hash"] for each in (store, sqlite_store))
    assert first != second  # the key of the hash is a store's own, locked with the master key


def test_only_declared_fields_can_be_searched_by_values_of_their_kind(store: EventStore) -> None:
    vault = make_vault(store)
    with pytest.raises(
        InvalidDefinition, match=r"/address/street of customer\.registered can't be searched\. Declare it"
    ):
        list(vault.find("customer.registered", "/address/street", "x"))
    with pytest.raises(InvalidEvent, match=r"/email of customer\.registered can't be made searchable: TypeError"):
        list(vault.find("customer.registered", "/email", 7))
    with pytest.raises(InvalidEvent, match="can't be made searchable"):
        vault.protected().append("customer", "42", [registered(email=7)])


# --- rotation -------------------------------------------------------------------------------------------------------


def test_all_keys_are_locked_anew_in_pages_and_both_master_keys_read_meanwhile(store: EventStore) -> None:
    vault = make_vault(store)
    vault.protected().append_many([Append("customer", str(n), [registered(str(n))]) for n in range(50)])
    vault.forget("7", by="ann")
    ready = MasterKeys(("2026", master), {"2027": other_master})
    elsewhere = make_vault(store, master_keys=ready, cache_seconds=0)

    def stop(done: int) -> None:
        readable = [email for email in emails(elsewhere) if email == "ann@x.org"]
        assert len(readable) == 49
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vault.rotate(("2027", other_master), page=10, on_progress=stop)
    with pytest.raises(WrongKey, match="“2026”, which wasn't given"):
        emails(make_vault(store, master_keys=MasterKeys(("2027", other_master))))
    assert vault.rotate(page=10) == 30  # 49 subjects and the index key, less those that were done
    assert vault.rotate() == 0
    new = make_vault(store, master_keys=MasterKeys(("2027", other_master)))
    assert sum(email == "ann@x.org" for email in emails(new)) == 49
    assert len(list(new.find("customer.registered", "/email", "ann@x.org"))) == 49
    assert new.reference("42") == vault.reference("42")
    with pytest.raises(WrongKey, match="“2027”, which wasn't given"):
        emails(make_vault(store))
    vault.protected().append("customer", "new", [registered("new")])
    assert new.protected().event("main", 51).data["email"] == "ann@x.org"


def test_a_rotation_does_not_bring_back_who_is_forgotten_meanwhile(store: EventStore) -> None:
    vault = make_vault(store)
    vault.protected().append("customer", "42", [registered()])
    real_replace = vault.keys.replace

    def replace_late(pairs: Sequence[tuple[SubjectKey, SubjectKey]]) -> int:
        vault.forget("42", by="ann")  # after the page was read
        return real_replace(pairs)

    vault.keys.replace = replace_late  # type: ignore[method-assign]
    assert vault.rotate(("2027", other_master)) == 1  # the index key
    assert is_forgotten(emails(make_vault(store, master_keys=MasterKeys(("2027", other_master))))[0])


# --- values beyond events -------------------------------------------------------------------------------------------


def test_a_value_of_a_projection_follows_its_subject(store: EventStore) -> None:
    vault = make_vault(store)
    text = vault.encrypt_value("42", {"email": "ann@x.org", "n": None}, "customers.contact")
    assert "ann" not in text
    assert text == make_vault(store).encrypt_value("42", {"email": "ann@x.org", "n": None}, "customers.contact")
    assert vault.decrypt_value(text, "customers.contact") == {"email": "ann@x.org", "n": None}
    assert list(vault.decrypt_value(text, "customers.name")) == ["unreadable"]
    forgotten_at = vault.forget("42", by="ann")
    for each in (vault, make_vault(store)):
        assert is_forgotten(each.decrypt_value(text, "customers.contact"))
        # A projection that is built again meets what is left, and keeps that.
        seen = each.decrypt_value(text, "customers.contact")
        kept = {
            each.encrypt_value("42", "new", "customers.contact"),
            each.encrypt_value("7", seen, "customers.contact"),
        }
        assert [each.decrypt_value(text, "customers.contact") for text in kept] == [seen]
        assert dt.datetime.fromisoformat(seen["forgotten"]) == forgotten_at
    assert vault.decrypt_value('{"plain": 1}') == {"plain": 1}


def test_a_snapshot_is_ciphertext_and_is_passed_over_once_its_subject_is_forgotten(store: EventStore) -> None:
    vault = make_vault(store)
    vault.protected().append("customer", "42", [registered()] * 3)
    inner = TableSnapshots(store.database)
    snapshots = EncryptedSnapshots(inner, vault)
    both = EncryptedSnapshots(inner, vault, lambda _: ["7", "42"])
    state = '{"email":"ann@x.org"}'
    snapshot = Snapshot("main", "customer", "42", 2, "id", "code", state)
    for kept, at in ((snapshots, 2), (both, 3)):
        kept.save(replace(snapshot, version=at))
        inside = inner.load("main", "customer", "42", at)
        assert inside is not None and "ann" not in inside.state and inside.fingerprint == "code"
        assert snapshots.load("main", "customer", "42", at) == replace(snapshot, version=at)
    assert snapshots.load("main", "customer", "42", 1) is None
    vault.forget("7", by="ann")
    assert both.load("main", "customer", "42", 3) is None and snapshots.load("main", "customer", "42", 2) == snapshot
    vault.forget("42", by="ann")
    snapshots.save(replace(snapshot, version=1))
    assert [snapshots.load("main", "customer", "42", at) for at in (None, 2, 1)] == [None] * 3
    assert inner.load("main", "customer", "42", 1) is None
    assert EncryptedSnapshots(inner, vault, lambda _: []).save(snapshot) is None


def test_a_snapshot_in_clear_or_of_another_place_is_passed_over(store: EventStore) -> None:
    vault = make_vault(store)
    vault.protected().append("customer", "42", [registered()] * 3)
    inner = TableSnapshots(store.database)
    snapshots = EncryptedSnapshots(inner, vault)
    snapshot = Snapshot("main", "customer", "42", 2, "id", "code", '{"email":"ann@x.org"}')
    inner.save(snapshot)
    assert snapshots.load("main", "customer", "42", None) is None
    snapshots.save(snapshot)
    moved = inner.load("main", "customer", "42", 2)
    assert moved is not None
    inner.save(replace(moved, version=3))
    assert snapshots.load("main", "customer", "42", 3) is None


# --- with the rest of the store -------------------------------------------------------------------------------------


def test_classes_of_events_see_the_values_and_who_was_forgotten(store: EventStore) -> None:
    serializer = Serializer()

    @serializer.event("customer.joined")
    @dataclass
    class Joined:
        customer_id: str
        email: str | Forgotten

    @serializer.event("customer.left")
    @dataclass
    class Left:
        customer_id: str
        email: str

    personal = PersonalData()
    for type_ in ("customer.joined", "customer.left"):
        personal.declare(type_, subject="/customer_id", fields=["/email"])
    vault = make_vault(store, personal)
    protected = vault.protected()
    objects = [Joined("42", "ann@x.org"), Left("42", "ann@x.org")]
    protected.append("customer", "42", [serializer.new_event(each) for each in objects])
    assert [found for _, found in serializer.load_all(protected.read_stream("customer", "42"))] == objects
    forgotten_at = vault.forget("42", by="ann")
    joined, left = protected.read_stream("customer", "42")
    assert serializer.load(joined) == Joined("42", Forgotten(forgotten_at))
    with pytest.raises(LoadingFailed, match="email"):
        serializer.load(left)


def test_an_aggregate_is_loaded_from_encrypted_events_and_snapshots(store: EventStore) -> None:
    class Customer:
        aggregate_type = "customer"
        email: Any = None
        count = 0

        @applies("customer.registered")
        def registered(self, event: Any) -> None:
            self.email = event["email"] if isinstance(event, dict) else event.data["email"]
            self.count += 1

        def register(self, email: str) -> list[NewEvent]:
            return [registered(email=email)]

        def to_snapshot(self) -> Any:
            return {"email": self.email, "count": self.count}

        @classmethod
        def from_snapshot(cls, value: Any) -> Customer:
            customer = cls()
            customer.email, customer.count = value["email"], value["count"]
            return customer

    vault = make_vault(store)
    policy = SnapshotPolicy(every=1, store=EncryptedSnapshots(TableSnapshots(store.database), vault))
    customers = Repository(vault.protected(), Customer, snapshots=policy)
    customers.create("42", Customer.register, "old@x.org")
    customers.execute("42", Customer.register, "ann@x.org")
    assert count(store, "projectionist_snapshots") == 2
    assert not [row for row in execute(store, "SELECT state FROM projectionist_snapshots") if "x.org" in row[0]]
    loaded = Repository(vault.protected(), Customer, snapshots=policy).load("42")
    assert (loaded.email, loaded.count) == ("ann@x.org", 2)
    vault.forget("42", by="ann")
    loaded = Repository(vault.protected(), Customer, snapshots=policy).load("42")
    assert is_forgotten(loaded.email) and loaded.count == 2


def test_upcasters_see_the_values_too(store: EventStore) -> None:
    serializer = Serializer()

    @serializer.upcaster("customer.registered", from_revision=1)
    def rename(data: Any) -> Any:
        return {"mail": data["email"]}

    protected = make_vault(store).protected()
    protected.append("customer", "42", [registered()])
    (event,) = serializer.upcast_stream(protected.read_stream("customer", "42"))
    assert event.data == {"mail": "ann@x.org"}


def test_subscriptions_give_decrypted_events(store: EventStore) -> None:
    protected = make_vault(store).protected()
    protected.append("customer", "42", [registered()])
    with protected.subscribe("main") as subscription:
        assert next(subscription).data["email"] == "ann@x.org"


def test_an_import_encrypts_what_comes_in_clear_and_keeps_what_comes_encrypted(
    store: EventStore, sqlite_store: EventStore
) -> None:
    make_vault(sqlite_store).protected().append("customer", "42", [registered()])
    sqlite_store.append("customer", "7", [registered("7", "bob@x.org")])
    events = list(sqlite_store.read_log("main"))
    keys = {row[0]: row for row in execute(sqlite_store, "SELECT * FROM projectionist_subject_keys")}
    mark = store.database.dialect.parameter
    for row in keys.values():
        names = "subject, wrapped_key, master_key, created_at"
        execute(
            store, f"INSERT INTO projectionist_subject_keys ({names}) VALUES ({mark}, {mark}, {mark}, {mark})", row[:4]
        )
    protected = make_vault(store).protected()
    for _ in range(2):
        imported = protected.import_events(events)
        assert [event.data["email"] for event in imported] == ["ann@x.org", "bob@x.org"]
    assert store.event("main", 1).to_json() == events[0].to_json()
    assert "bob@x.org" not in store.event("main", 2).to_json()
    assert emails(make_vault(store)) == ["ann@x.org", "bob@x.org"]


def test_a_memory_database_has_a_vault_too() -> None:
    store = EventStore.open("sqlite://")
    store.migrate()
    vault = make_vault(store, declared())
    with store.database.writing() as connection:
        vault.protected().append_in(connection, [Append("customer", "42", [registered()])])
    assert emails(vault) == ["ann@x.org"]
    store.close()
