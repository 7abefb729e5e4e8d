"""A store, a home and their keys come back from a backup that was made while others wrote, and go on as if nothing was."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.conftest import create_database
from tests.store.dumping import Dump, Restore, dump_sqlite, restore_sqlite, ways
from tests.store.helpers import execute, fields, noted
from tests.store.vaults import make_vault, master, other_master, registered
from webapp.accounts import people, sessions
from webapp.accounts.home import Home
from webapp.accounts.roles import Grant
from webapp.audit.archive import Archive, Origin
from webapp.audit.formats import format_named
from webapp.audit.trail import Scope, Trail
from webapp.audit.verify import verify
from webapp.config import Config
from webapp.errors import AppendOnly, NeedsMigration, StoreUnavailable, StreamClosed, WrongKey
from webapp.projections import Projection, Table, run_to_head
from webapp.replay import verify_projection
from webapp.store import EventStore, MasterKeys, NewEvent, Repository, SnapshotPolicy, aggregate, applies
from webapp.store.columns import Name
from webapp.store.triggers import missing_triggers


@pytest.fixture(params=ways)
def way(request: pytest.FixtureRequest) -> tuple[Dump, Restore]:
    """Each way to make a backup and to restore it."""
    return ways[request.param][1:]


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """The database of that way."""
    return ways[request.node.callspec.params["way"]][0]


@pytest.fixture
def fresh_url(backend: str, tmp_path: Path) -> Iterator[str]:
    """Another empty database, to restore into."""
    url, drop = create_database(backend, tmp_path)
    yield url
    drop()


@aggregate("meter", id="meter_id")
@dataclass
class Meter:
    """Something with snapshots."""

    meter_id: str
    total: int = 0

    @applies("meter.read")
    def _read(self, event: Any) -> None:
        self.total += event.data["units"]


def count_types() -> Projection:
    """A read model of the log main."""
    columns = (sa.Column("type", Name(50), primary_key=True), sa.Column("events", sa.Integer))
    projection = Projection("types", tables=[Table("types", *columns)])

    @projection.on("*")
    def count(event: Any, context: Any) -> None:
        context.table("types").increment(event.type, events=1)

    return projection


def take_trail(store: EventStore, file: Path, before: int | None = None) -> str:
    """The checksum of a trail of the log main, written to a file."""
    archive = Archive(
        Trail(store, Scope(log="main", before=before)), format_named("ndjson"), Origin("shop", "ann", "test")
    )
    file.write_bytes(b"".join(archive))
    assert archive.manifest is not None
    return archive.manifest.sha256


@dataclass
class Writer:
    """Appends in a thread of its own, for as long as a backup takes."""

    url: str
    stop: threading.Event = field(default_factory=threading.Event)
    acknowledged: int = 0

    def __enter__(self) -> Writer:
        self.thread = threading.Thread(target=self._write)
        self.thread.start()
        self.wait_for(20)
        return self

    def __exit__(self, *_: object) -> None:
        self.wait_for(self.acknowledged + 3)  # it's still at work: the backup stopped nobody for good
        self.stop.set()
        self.thread.join(30)

    def wait_for(self, position: int) -> None:
        """Returns when it has come that far."""
        for _ in range(3000):
            if self.acknowledged >= position or not self.thread.is_alive():
                break
            self.stop.wait(0.01)
        assert self.acknowledged >= position, "the writer did not get on"

    def _write(self) -> None:
        store = EventStore.open(self.url)
        number = 0
        while not self.stop.is_set():
            number += 1
            store.append("busy", str(number % 7), noted(*range(5)))
            self.acknowledged = store.append("busy", "all", noted(number))[-1].position
        store.close()


def test_a_store_goes_on_from_a_backup_that_was_made_while_others_wrote(
    way: tuple[Dump, Restore], store: EventStore, database_url: str, fresh_url: str, tmp_path: Path
) -> None:
    dump, restore = way
    vault = make_vault(store)
    for customer in ("1", "2", "3"):
        vault.protected().append("customer", customer, [registered(customer)])
    vault.forget("1", by="ann", reason="before the backup")
    meters = Repository(store, Meter, snapshots=SnapshotPolicy(every=10))
    meters.save(Meter("m1"), [NewEvent("meter.read", {"units": 2})] * 25)
    projection = count_types()
    store.close_stream("account", "7:2026", noted(1), into="7:2027", opening_events=noted(2))
    store.create_log("clicks", "parallel")
    store.append("click", "1", noted(*range(5)), log="clicks")
    run_to_head(store, projection)
    (repeated,) = store.append("order", "42", [NewEvent("order.placed", '{"total" : 1e400}')])
    trail, trail_head = tmp_path / "trail.zip", store.head("main")
    checksum = take_trail(store, trail)

    with Writer(database_url) as writer:
        acknowledged = writer.acknowledged
        dump(database_url, tmp_path / "backup")
    vault.forget("2", by="ann", reason="after the backup")
    restore(tmp_path / "backup", fresh_url)

    restored = EventStore.open(fresh_url)
    restored.check()
    # Every event is there that was acknowledged before, and nothing is torn.
    head = restored.head("main")
    assert acknowledged <= head < store.head("main")
    expected = [fields(event) for event in store.read_log("main", before=head + 1, limit=None)]
    assert [fields(event) for event in restored.read_log("main", limit=None)] == expected
    assert [event.position for event in restored.read_log("main", limit=None)] == list(range(1, head + 1))
    # Appends go on at the next position and version, under the same guards.
    (appended,) = restored.append("order", "42", [NewEvent("order.paid", {})], expected_version=1)
    assert (appended.position, appended.version) == (head + 1, 2)
    again = NewEvent("order.placed", '{"total" : 1e400}', id=repeated.id)
    assert fields(restored.append("order", "42", [again])[0]) == fields(repeated)
    clicks = [event.position for event in restored.read_log("clicks")]
    assert restored.append("click", "1", noted(6), log="clicks")[0].position > max(clicks)
    assert restored.settled_head("clicks") > max(clicks) and len(list(restored.read_log("clicks"))) == 6
    with pytest.raises(StreamClosed, match="account/7:2027"):
        restored.append("account", "7:2026", noted(3))
    # The database still refuses to change what was recorded.
    with restored.database.reading() as connection:
        assert missing_triggers(restored.database.dialect, connection) == {}
    for statement in ("UPDATE projectionist_events SET version = 9", "DELETE FROM projectionist_events"):
        with pytest.raises(AppendOnly):
            execute(restored, statement)
    # A projection goes on from its checkpoint, an aggregate from its snapshot.
    assert run_to_head(restored, projection) == head + 1 - (trail_head - 1)
    assert verify_projection(restored, projection).is_equal
    assert Repository(restored, Meter, snapshots=SnapshotPolicy(every=10)).load("m1").total == 50
    # A trail that was handed out before is still one, and the restored store tells the same.
    assert verify(trail).is_intact
    assert take_trail(restored, tmp_path / "again.zip", before=trail_head + 1) == checksum
    # Personal data needs the master key, which was kept apart; who was forgotten since is forgotten again.
    with pytest.raises(WrongKey):
        emails(restored, make_vault(restored, master_keys=MasterKeys(("2026", other_master))))
    vault = make_vault(restored, master_keys=MasterKeys(("2026", master)))
    assert emails(restored, vault) == ["forgotten", "ann@x.org", "ann@x.org"]
    assert vault.forget_again(store, by="dba") == 1
    assert emails(restored, vault) == ["forgotten", "forgotten", "ann@x.org"]
    restored.close()


def emails(store: EventStore, vault: Any) -> list[str]:
    """The e-mail of each customer as the vault shows it."""
    found = [next(vault.protected(store).read_stream("customer", id)).data["email"] for id in ("1", "2", "3")]
    return ["forgotten" if isinstance(email, dict) and "forgotten" in email else email for email in found]


def test_home_comes_back_with_people_roles_sessions_and_what_was_done(
    way: tuple[Dump, Restore], database_url: str, fresh_url: str, tmp_path: Path
) -> None:
    dump, restore = way
    folder = tmp_path / "home"
    home = Home.open(Config(home_folder=folder, home_url=database_url))
    people.add_person(home, "ann", "correct horse battery", [Grant("admin")])
    person = people.check_password(home, "ann", "correct horse battery")
    assert person is not None
    token = sessions.start_session(home, person.id, "203.0.113.7", "a browser")
    history = [fields(event) for event in home.events.read_log("main", limit=None)]
    dump(database_url, tmp_path / "backup")
    (tmp_path / "secret.key").write_bytes((folder / "secret.key").read_bytes())
    secret = home.secret_key
    home.close()

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / "secret.key").write_bytes((tmp_path / "secret.key").read_bytes())
    restore(tmp_path / "backup", fresh_url)
    home = Home.open(Config(home_folder=elsewhere, home_url=fresh_url))
    assert home.secret_key == secret  # so that cookies in browsers stay valid
    assert people.check_password(home, "ann", "correct horse battery") == person
    assert people.check_password(home, "ann", "another one") is None
    with home.database.reading() as connection:
        session = sessions.find_session(connection, token)
    assert session is not None and session.person_id == person.id
    assert [fields(event) for event in home.events.read_log("main", limit=None)][: len(history)] == history
    home.close()


def test_half_a_backup_is_told_at_once(sqlite_store: EventStore, tmp_path: Path) -> None:
    sqlite_store.append("order", "42", noted(1))
    url = str(sqlite_store.database.url)
    dump_sqlite(url, tmp_path / "backup")
    content = (tmp_path / "backup").read_bytes()
    (tmp_path / "half").write_bytes(content[: len(content) // 2])
    restored_url, _ = create_database("sqlite", tmp_path)
    restore_sqlite(tmp_path / "half", restored_url)
    restored = EventStore.open(restored_url)
    with pytest.raises((StoreUnavailable, NeedsMigration)):
        restored.check()
        list(restored.read_log("main"))
    restored.close()
