"""Personal data encrypted on its way in and decrypted on its way out: what is stored, who sees what, what is refused."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.helpers import count, execute, fields
from tests.store.vaults import make_vault, master, other_master, registered
from webapp.errors import InvalidDefinition, InvalidEvent, WrongKey
from webapp.store import Append, EventIdReused, EventStore, NewEvent
from webapp.store.context import metadata_context
from webapp.store.encryption import Altered, Cipher, encrypted_parts
from webapp.store.events import uuid7
from webapp.store.master_keys import KeyService, MasterKeys, new_master_key
from webapp.store.personal import PersonalData
from webapp.store.protecting import event_place

cipher = Cipher("r" * 32, master)
private = ("ann@x.org", "High Street", "+49", "203.0.113.7")


# --- what is stored, and who sees what ------------------------------------------------------------------------------


def test_readers_with_the_vault_see_what_was_appended_and_others_ciphertext(store: EventStore) -> None:
    protected = make_vault(store).protected()
    event = registered()
    (recorded,) = protected.append("customer", "42", [event], expected_version=0)
    readers = [
        recorded,
        next(protected.read_log("main")),
        next(protected.read_stream("customer", "42")),
        protected.event("main", 1),
    ]
    for seen in readers:
        assert (seen.data, seen.metadata, seen.actor) == (event.data, event.metadata, "shop")
        assert (seen.position, seen.version, seen.stream) == (1, 1, "customer/42")
    plain = store.event("main", 1)
    assert not [text for text in private if text in plain.to_json()]
    assert {key for key, value in plain.data.items() if value == event.data[key]} == {"customer_id", "newsletter"}
    assert encrypted_parts(plain.data["email"]) and encrypted_parts(plain.data["contacts"][1]["phone"])
    assert plain.data["contacts"][1]["kind"] == "work"
    # All but data and metadata is what was stored, so that trails are the same whoever writes them.
    assert [seen.to_json() for seen in readers] == [plain.to_json()] * 4
    assert readers[1].stored.data_text == plain.data_text  # type: ignore[attr-defined]
    assert json.loads(readers[1].readable_text or "") == event.data


def test_events_of_other_types_pass_as_they_are(store: EventStore) -> None:
    protected = make_vault(store).protected()
    text = '{"email" :  "ann@x.org", "email": 1e400}'
    protected.append("customer", "42", [NewEvent("customer.renamed", text)])
    (event,) = protected.read_log("main")
    assert event.data_text == text
    assert count(store, "projectionist_subject_keys") == 0


def test_nothing_around_the_values_is_altered(store: EventStore) -> None:
    protected = make_vault(store).protected()
    deep = "[" * 20_000 + "]" * 20_000
    before, after = '{ "n" : 1.50e+2,\t"big":1e400,"s":"\\ud800","email":', f',"n":2,"deep":{deep},"contacts":null }}'
    personal = PersonalData()
    personal.declare("noted", fields=["/email", "/contacts"])
    protected = make_vault(store, personal).protected()
    protected.append("customer", "42", [NewEvent("noted", f'{before}"a@b"{after}')])
    text = store.event("main", 1).data_text
    assert isinstance(text, str)
    assert text.startswith(before + '{"encrypted":') and text.endswith("}}" + after)


def test_a_value_nested_too_deep_to_be_decoded_is_kept_and_said(store: EventStore) -> None:
    personal = PersonalData()
    personal.declare("noted", fields=["/deep"])
    protected = make_vault(store, personal).protected()
    deep = "[" * 20_000 + "]" * 20_000
    protected.append("customer", "42", [NewEvent("noted", f'{{"n":1,"deep":{deep}}}')])
    (event,) = protected.read_log("main")
    assert event.data == {"n": 1, "deep": {"unreadable": "This value is nested too deep to be decoded."}}


def test_every_value_of_a_key_that_stands_twice_is_encrypted(store: EventStore) -> None:
    protected = make_vault(store).protected()
    text = '{"customer_id":"42","email":"first@x.org","email":"second@x.org"}'
    protected.append("customer", "42", [NewEvent("customer.registered", text)])
    stored = str(store.event("main", 1).data_text)
    assert "x.org" not in stored and stored.count('"encrypted"') == 2
    assert protected.event("main", 1).data["email"] == "second@x.org"


def test_null_and_missing_fields_need_no_key(store: EventStore) -> None:
    protected = make_vault(store).protected()
    protected.append("customer", "42", [NewEvent("customer.registered", {"email": None, "newsletter": True})])
    assert store.event("main", 1).data == {"email": None, "newsletter": True}
    assert count(store, "projectionist_subject_keys") == 0


def test_what_a_context_adds_to_the_metadata_is_encrypted_too(store: EventStore) -> None:
    protected = make_vault(store).protected()
    with metadata_context(ip="198.51.100.9", tenant="acme"):
        protected.append("customer", "42", [NewEvent("customer.registered", {"customer_id": 42})])
    assert protected.event("main", 1).metadata == {"ip": "198.51.100.9", "tenant": "acme"}
    assert "198.51" not in str(store.event("main", 1).metadata_text)


def test_many_streams_of_many_subjects_are_read_back_by_a_new_process(store: EventStore) -> None:
    appends = [Append("customer", str(n), [registered(str(n), f"{n}@x.org")], log=f"l{n % 2}") for n in range(1200)]
    make_vault(store).protected().append_many(appends)
    assert count(store, "projectionist_subject_keys") == 1201
    later = make_vault(store, cache_size=50).protected()
    seen = [event.data["email"] for log in ("l0", "l1") for event in later.read_log(log, limit=None)]
    assert sorted(seen) == sorted(f"{n}@x.org" for n in range(1200))


def test_events_without_their_payload_can_be_listed(store: EventStore) -> None:
    protected = make_vault(store).protected()
    protected.append("customer", "42", [registered()])
    (event,) = protected.read_log("main", with_payload=False)
    assert (event.data_text, event.data) == (None, None)


def test_a_large_value_comes_back(store: EventStore) -> None:
    protected = make_vault(store).protected()
    event = registered(email="ä" * 3_000_000)
    protected.append("customer", "42", [event])
    assert protected.event("main", 1).data == event.data


# --- about whom -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "data"),
    [
        ("/who/0/id", {"who": [{"id": 42}], "email": "a"}),
        (lambda data: data["first"] + data["second"], {"first": "4", "second": "2", "email": "a"}),
        (None, {"email": "a"}),
        ("/id", {"id": uuid.UUID(int=42), "email": "a"}),
        ("/id", b'{"id":"42","email":"a"}'),
        ("/email", {"email": "42"}),
    ],
)
def test_the_subject_is_found_where_the_declaration_says(sqlite_store: EventStore, subject: Any, data: Any) -> None:
    personal = PersonalData()
    personal.declare("noted", subject=subject, fields=["/email"])
    vault = make_vault(sqlite_store, personal)
    vault.protected().append("customer", "42", [NewEvent("noted", data)])
    reference = encrypted_parts(sqlite_store.event("main", 1).data["email"])["subject"]  # type: ignore[index]
    assert reference in (vault.reference("42"), vault.reference(str(uuid.UUID(int=42))))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"email": "a"}, "whose can't be told: KeyError: 'customer_id'"),
        ({"email": "a", "customer_id": None}, "its subject's id is None. It must be text or a number"),
        ({"email": "a", "customer_id": ""}, "its subject's id is ''"),
        ({"email": "a", "customer_id": True}, "its subject's id is True"),
    ],
)
def test_personal_data_of_nobody_is_refused(sqlite_store: EventStore, data: Any, sentence: str) -> None:
    with pytest.raises(InvalidEvent) as raised:
        make_vault(sqlite_store).protected().append("customer", "42", [NewEvent("customer.registered", data)])
    assert sentence in str(raised.value)
    assert count(sqlite_store, "projectionist_events") == 0


def test_one_event_may_be_about_two_persons(store: EventStore) -> None:
    personal = PersonalData()
    personal.declare("message.sent", subject="/from/id", fields=["/from/name"])
    personal.declare("message.sent", subject="/to/id", fields=["/to/name"])
    vault = make_vault(store, personal)
    protected = vault.protected()
    data = {"from": {"id": 1, "name": "Ann"}, "to": {"id": 2, "name": "Bob"}, "text": "hello"}
    protected.append("message", "1", [NewEvent("message.sent", data)])
    assert protected.event("main", 1).data == data
    vault.forget("2", by="dpo")
    seen = protected.event("main", 1).data
    assert seen["from"] == data["from"] and list(seen["to"]["name"]) == ["forgotten"]


# --- idempotence ----------------------------------------------------------------------------------------------------


def test_the_same_event_again_is_the_recorded_one(store: EventStore) -> None:
    event = registered(id=uuid7())
    first = make_vault(store).protected().append("customer", "42", [event], expected_version=0)
    again = make_vault(store).protected().append("customer", "42", [event], expected_version=0)
    assert [fields(each) for each in again] == [fields(each) for each in first]
    with pytest.raises(EventIdReused):
        make_vault(store).protected().append("customer", "42", [registered(id=event.id, email="other@x.org")])
    assert count(store, "projectionist_events") == 1


def test_equal_values_of_other_events_and_fields_look_different(sqlite_store: EventStore) -> None:
    personal = PersonalData()
    personal.declare("noted", fields=["/a", "/b"])
    protected = make_vault(sqlite_store, personal).protected()
    protected.append("customer", "42", [NewEvent("noted", {"a": "x", "b": "x"})] * 2)
    encrypted = [
        part["encrypted"][name] for event in sqlite_store.read_log("main") for part in event.data.values()
        for name in ("nonce", "data")
    ]  # fmt: skip
    assert len(set(encrypted)) == 8


def test_what_was_protected_before_is_not_encrypted_twice(sqlite_store: EventStore) -> None:
    vault = make_vault(sqlite_store)
    event = vault.protect(registered())
    assert "ann@x.org" not in str(event.data)
    vault.protected().append("customer", "42", [event])
    assert sqlite_store.event("main", 1).data_text == event.data
    assert vault.protected().event("main", 1).data == registered().data


def test_ciphertext_of_another_event_is_refused(sqlite_store: EventStore) -> None:
    vault = make_vault(sqlite_store)
    stolen = json.loads(vault.protect(registered("7")).data)
    for customer_id in ("7", "42"):
        with pytest.raises(InvalidEvent, match=r"brings ciphertext of another event\. Give the value itself"):
            vault.protected().append("customer", "42", [registered(customer_id, stolen["email"])])


# --- tampering ------------------------------------------------------------------------------------------------------


@pytest.fixture
def loose_store(database_url: str) -> Iterator[EventStore]:
    """A store without triggers, whose events somebody may change behind its back."""
    store = EventStore.open(database_url)
    store.migrate(with_triggers=False)
    yield store
    store.close()


def test_damaged_or_moved_ciphertext_is_said_in_its_place_and_the_rest_is_readable(loose_store: EventStore) -> None:
    protected = make_vault(loose_store).protected()
    protected.append("customer", "42", [registered(), registered(email="bob@x.org")])
    first, second = (event.data for event in loose_store.read_log("main"))
    encrypted = second["email"]["encrypted"]
    encrypted["data"] = encrypted["data"][:-5] + ("A" if encrypted["data"][-5] != "A" else "B") + encrypted["data"][-4:]
    second["address"]["street"] = first["address"]["street"]
    second["contacts"].reverse()
    second["extra"] = {"encrypted": {"v": 1, "subject": "?", "nonce": "", "data": ""}}
    mark = loose_store.database.dialect.parameter
    sql = f"UPDATE projectionist_events SET data = {mark} WHERE position = 2"
    execute(loose_store, sql, (json.dumps(second, separators=(",", ":")),))
    seen = protected.event("main", 2)
    altered = {"unreadable": "This was changed, or moved from another place, after it was encrypted."}
    assert seen.data == {
        "customer_id": "42",
        "email": altered,
        "address": {"street": altered, "city": "Ulm"},
        "contacts": [{"kind": "work", "phone": altered}, {"kind": "home", "phone": altered}],
        "newsletter": True,
        "extra": {"unreadable": "The key of this subject isn't here: the keys were kept elsewhere, or not restored."},
    }
    assert seen.metadata == registered().metadata
    assert protected.event("main", 1).data == registered().data


@given(st.binary(max_size=200), st.text(max_size=20), st.data())
def test_no_change_of_the_object_goes_unnoticed(plain: bytes, place: str, data: st.DataObject) -> None:
    text = json.dumps(base64.b64encode(plain).decode())
    search_hash = data.draw(st.sampled_from([None, "h" * 32]))
    encrypted = json.loads(cipher.encrypt(text, place, search_hash))["encrypted"]
    assert cipher.decrypt(encrypted, place) == text
    name = data.draw(st.sampled_from(sorted(encrypted.keys() - {"v", "subject"})))
    index = data.draw(st.integers(0, len(encrypted[name]) - 1))
    letter = data.draw(st.sampled_from("ABCabc019+/=").filter(lambda letter: letter != encrypted[name][index]))
    changed = encrypted | {name: encrypted[name][:index] + letter + encrypted[name][index + 1 :]}
    with pytest.raises(Altered):
        cipher.decrypt(changed, place)


@given(st.text(), st.text(max_size=10), st.text(max_size=10))
def test_ciphertext_opens_only_where_it_belongs(text: str, place: str, other: str) -> None:
    plain = json.dumps(text)
    encrypted = json.loads(cipher.encrypt(plain, place))["encrypted"]
    for wrong in (
        lambda: Cipher("r" * 32, other_master).decrypt(encrypted, place),
        lambda: Cipher("s" * 32, master).decrypt(encrypted, place),
    ):
        with pytest.raises(Altered):
            wrong()
    if other != place:
        with pytest.raises(Altered):
            cipher.decrypt(encrypted, other)


@pytest.mark.parametrize(
    "encrypted", [{"nonce": 7, "data": ""}, {"nonce": "", "data": ""}, {"nonce": "ä", "data": "AAAA"}]
)
def test_nonsense_is_altered_ciphertext(encrypted: dict[str, Any]) -> None:
    with pytest.raises(Altered):
        cipher.decrypt({"v": 1, "subject": "x"} | encrypted, "")


def test_places_of_events_are_all_different() -> None:
    parts = ["", "a", "/a", "data"]
    places = {event_place(a, b, c, d) for a in parts for b in parts for c in parts for d in parts}
    assert len(places) == 4**4


# --- keys -----------------------------------------------------------------------------------------------------------


def test_a_master_key_is_taken_in_every_usual_form(sqlite_store: EventStore) -> None:
    make_vault(sqlite_store).protected().append("customer", "42", [registered()])
    forms = [master, bytearray(master), master.hex(), master.hex().upper(), base64.b64encode(master).decode()]
    forms += [base64.urlsafe_b64encode(master).decode().rstrip("="), f" {master.hex()}\n"]
    for form in forms:
        protected = make_vault(sqlite_store, master_keys=MasterKeys(("2026", form))).protected()
        assert protected.event("main", 1).data == registered().data


@pytest.mark.parametrize("key", [b"", b"short", master + b"x", master.hex()[:-2], "not a key", "", 7, None])
def test_what_is_no_master_key_is_refused(key: Any) -> None:
    with pytest.raises(WrongKey, match=r"The master key “2026” (isn't 32 bytes|must be 32 bytes)"):
        MasterKeys(("2026", key))


def test_master_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = new_master_key(), new_master_key()
    monkeypatch.setenv("KEYS", f" 2027={first}, 2026={second},")
    keys = MasterKeys.from_environment("KEYS")
    assert keys.current == "2027"
    wrapped = MasterKeys(("2026", second)).wrap("r", master)
    assert keys.unwrap("r", "2026", wrapped) == master
    for text in ("", "nonsense", "=x", "2026="):
        monkeypatch.setenv("KEYS", text)
        with pytest.raises(WrongKey, match="KEYS must list the master keys as NAME=KEY"):
            MasterKeys.from_environment("KEYS")


def test_a_name_that_does_not_fit_is_refused() -> None:
    for name in ("", "a b", "x" * 65, None):
        with pytest.raises(WrongKey, match="can't name a master key"):
            MasterKeys((name, master))  # type: ignore[arg-type]


def test_the_wrong_master_key_is_named_and_never_gives_garbage(store: EventStore) -> None:
    make_vault(store).protected().append("customer", "42", [registered()])
    wrong = make_vault(store, master_keys=MasterKeys(("2026", other_master))).protected()
    event = wrong.event("main", 1)
    for ask in (lambda: event.data, lambda: event.metadata, lambda: wrong.append("customer", "7", [registered("7")])):
        with pytest.raises(
            WrongKey, match=r"given as the master key “2026” is not the key .* Give the 32 bytes"
        ) as raised:
            ask()
        assert raised.value.key == "2026"
    assert event.data_text == store.event("main", 1).data_text
    assert count(store, "projectionist_events") == 1


def test_a_master_key_that_was_not_given_is_asked_for(store: EventStore) -> None:
    make_vault(store).protected().append("customer", "42", [registered()])
    later = make_vault(store, master_keys=MasterKeys(("2027", other_master))).protected()
    with pytest.raises(WrongKey, match=r"master key “2026”, which wasn't given \(given: 2027\)\. Give it too"):
        _ = later.event("main", 1).data


def test_a_key_service_can_hold_the_master_key(store: EventStore) -> None:
    calls: list[bytes] = []
    local = MasterKeys(("inside", other_master))

    def wrap(key: bytes, context: bytes) -> bytes:
        calls.append(context)
        return local.wrap(context.hex(), key).encode()

    def unwrap(wrapped: bytes, context: bytes) -> bytes:
        return local.unwrap(context.hex(), "inside", wrapped.decode())

    def fail(*_: bytes) -> bytes:
        raise TimeoutError("no answer")

    service = MasterKeys(("kms:eu/1", KeyService(wrap, unwrap)))
    protected = make_vault(store, master_keys=service).protected()
    protected.append("customer", "42", [registered()])
    assert len(calls) == len(set(calls)) == 2  # the subject's key and the index key
    assert make_vault(store, master_keys=service).protected().event("main", 1).data == registered().data
    down = make_vault(store, master_keys=MasterKeys(("kms:eu/1", KeyService(fail, fail)))).protected()
    with pytest.raises(
        WrongKey, match="key service of the master key “kms:eu/1” didn't unlock a key: TimeoutError: no answer"
    ):
        _ = down.event("main", 1).data


# --- declarations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "has no field"),
        ({"fields": ["email"]}, "is no JSON pointer"),
        ({"fields": ["/a", "/a"]}, "/a and /a of noted overlap"),
        ({"fields": ["/a", "/a/b"]}, "overlap. Declare each value once"),
        ({"fields": ["/a/*/c", "/a/b"]}, "overlap"),
        ({"fields": ["/a"], "searchable": ["/b"]}, "/b of noted is searchable but no field"),
        ({"fields": ["/a"], "subject": "/x/*"}, "must be one value"),
        ({"fields": "/email/street"}, "/email and /email/street of noted overlap"),
        ({"metadata_fields": ["/actor"]}, "can't be encrypted: correlation_id, causation_id, actor"),
        ({"metadata_fields": ["/*"]}, "can't be encrypted"),
        ({"metadata_fields": [""]}, "can't be encrypted"),
    ],
)
def test_declarations_that_contradict_themselves_are_refused(options: dict[str, Any], sentence: str) -> None:
    personal = PersonalData()
    personal.declare("noted", fields=["/email"])
    with pytest.raises(InvalidDefinition) as raised:
        personal.declare("noted", **options)
    assert sentence in str(raised.value)


def test_what_is_declared_later_is_encrypted_from_then_on_and_what_no_longer_is_still_decrypts(
    store: EventStore,
) -> None:
    store.append("customer", "42", [registered()])
    make_vault(store).protected().append("customer", "42", [registered()])
    protected = make_vault(store, PersonalData()).protected()
    protected.append("customer", "42", [registered()])
    assert [event.data for event in protected.read_log("main")] == [registered().data] * 3
    assert ["ann@x.org" in str(event.data_text) for event in store.read_log("main")] == [True, False, True]


# --- round trips ----------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def one_vault(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A vault for many examples."""
    store = EventStore.open(f"sqlite:///{tmp_path_factory.mktemp('vault') / 'store.db'}")
    store.migrate()
    personal = PersonalData()
    personal.declare("noted", subject="/id", fields=["/value", "/list/*/value"], searchable=["/value"])
    yield make_vault(store, personal)
    store.close()


@given(json_values, st.lists(json_values, max_size=3), st.text(max_size=3).filter(bool))
def test_every_value_comes_back_as_it_was(one_vault: Any, value: Any, more: list[Any], subject: str) -> None:
    from webapp.store.events import RecordedEvent

    data = {"id": subject, "value": value, "list": [{"value": each} for each in more]}
    event = one_vault.protect(NewEvent("noted", data))
    recorded = RecordedEvent("main", 1, "x", "1", 1, "noted", event.id, 0, data_text=event.data)
    assert one_vault.reveal(recorded).data == data
    assert one_vault.decrypt_value(one_vault.encrypt_value(subject, value, "here"), "here") == value
    again = one_vault.protect(NewEvent("noted", data, id=event.id))
    assert again.data == event.data


def test_appends_that_make_no_sense_are_refused_as_without_a_vault(sqlite_store: EventStore) -> None:
    protected = make_vault(sqlite_store).protected()
    good = Append("customer", "42", [registered()])
    for events in (None, "text", (event for event in [registered()]), [registered(), None], [{}]):
        with pytest.raises(InvalidEvent, match="must be a list of NewEvent"):
            protected.append_many([good, Append("customer", "42", events)])  # type: ignore[arg-type]
    for event in (NewEvent(["x"], {}), NewEvent("customer.registered", '{"email"'), registered(id="no uuid")):  # type: ignore[arg-type]
        with pytest.raises(InvalidEvent):
            protected.append("customer", "42", [registered(), event])
    assert count(sqlite_store, "projectionist_events") == 0
