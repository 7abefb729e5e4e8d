"""Tenants in one store or in a database each never see each other's events."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import create_database
from webapp.errors import InvalidEvent, InvalidRequest, NotFound
from webapp.store import Append, EventStore, NewEvent
from webapp.store.context import metadata_context
from webapp.store.tenants import Tenants


@pytest.fixture(params=["sharing", "apart"])
def tenants(request: pytest.FixtureRequest, backend: str, tmp_path: Path) -> Iterator[Tenants]:
    """Tenants acme and globex, kept in both ways."""
    made = {name: create_database(backend, tmp_path) for name in ("acme", "globex")}
    if request.param == "sharing":
        store = EventStore.open(made["acme"][0])
        store.migrate()
        tenants = Tenants.sharing(store)
    else:
        store = None
        tenants = Tenants.apart(lambda name: made[name][0] if name in made else None)
    yield tenants
    tenants.close()
    if store is not None:
        store.close()
    for _, drop in made.values():
        drop()


def noted(value: object) -> list[NewEvent]:
    return [NewEvent("noted", value)]


def test_tenants_do_not_see_each_other(tenants: Tenants) -> None:
    acme, globex = tenants.of("acme"), tenants.of("globex")
    acme.append("note", "1", noted(10), expected_version=0)
    globex.append("note", "1", noted(20), expected_version=0)
    acme.append_many([Append("note", "2", noted(11)), Append("note", "1", noted(12), expected_version=1)])
    assert [event.data for event in acme.read_log()] == [10, 11, 12]
    assert [event.data for event in acme.read_stream("note", "1")] == [10, 12]
    assert [event.data for event in globex.read_log()] == [20]
    assert [event.position for event in globex.read_log()] == [1]
    assert {event.metadata["tenant"] for event in acme.read_log()} == {"acme"}
    assert (acme.head(), globex.head()) == (3, 1)
    assert list(globex.read_stream("note", "2")) == []
    assert list(globex.read_stream("note", "1", log="other")) == []


def test_the_tenant_is_chosen_by_metadata(tenants: Tenants) -> None:
    with metadata_context(tenant="globex", actor="ann"):
        tenants.current().append("note", "1", noted(1))
    [event] = tenants.of("globex").read_log()
    assert event.metadata == {"tenant": "globex", "actor": "ann"}
    with pytest.raises(NotFound):
        tenants.of("acme").head()
    with pytest.raises(InvalidRequest, match="No tenant is set"):
        tenants.current()


@pytest.mark.parametrize("metadata", [{"tenant": "globex"}, '{"tenant": "globex"}'])
def test_an_event_of_another_tenant_is_refused(tenants: Tenants, metadata: dict[str, str] | str) -> None:
    with pytest.raises(InvalidEvent, match="names the tenant 'globex', but this is the store of acme"):
        tenants.of("acme").append("note", "1", [NewEvent("noted", 1, metadata)])
    tenants.of("acme").append("note", "1", [NewEvent("noted", 1, {"tenant": "acme"})])


@pytest.mark.parametrize("name", ["", "a@b", "x" * 41, "\ud800"])
def test_a_name_that_can_not_be_a_tenants_is_refused(tenants: Tenants, name: str) -> None:
    with pytest.raises(InvalidRequest):
        tenants.of(name)


def test_many_threads_open_a_tenant_once(tmp_path: Path) -> None:
    opened: list[str] = []

    def locate(name: str) -> str:
        opened.append(name)
        return f"sqlite:///{tmp_path / name}.db"

    tenants = Tenants.apart(locate)
    work: Callable[[], object] = lambda: tenants.of("acme").append("note", "1", noted(1))  # noqa: E731
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == ["acme"]
    assert tenants.of("acme").head() == 8
    tenants.close()


def test_a_tenant_that_is_not_there_is_told(tmp_path: Path) -> None:
    tenants = Tenants.apart(lambda _: None)
    with pytest.raises(NotFound, match="no tenant “acme”"):
        tenants.of("acme")
