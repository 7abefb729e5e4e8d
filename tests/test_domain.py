"""A Domain holds what the code knows; loading one says why it can't."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from webapp.domain import AggregateDefinition, Domain, load_domain
from webapp.errors import InvalidDefinition, InvalidRequest
from webapp.projections import Projection, Table
from webapp.queries.states import fold
from webapp.store import EventStore, NewEvent, RecordedEvent, Serializer
from webapp.store.aggregates import aggregate, applies
from webapp.store.deciders import Decider
from webapp.store.saga_runner import SagaRunner
from webapp.store.sagas import Due, saga, starts, times_out


def projection(name: str, table: str) -> Projection:
    return Projection(name, tables=[Table(table, sa.Column("id", sa.Integer, primary_key=True))])


def test_an_aggregate_folds_its_events(sqlite_store: EventStore) -> None:
    domain = Domain("shop")

    @domain.aggregate("order", initial=list)
    def order(state: list[int], event: object) -> list[int]:
        return [*state, event.data["n"]]  # type: ignore[attr-defined]

    definition = domain.aggregates["order"]
    sqlite_store.append("order", "1", [NewEvent("noted", {"n": 1}), NewEvent("noted", {"n": 2})])
    state = definition.initial()
    for event in sqlite_store.read_stream("order", "1"):
        state = definition.evolve(state, event)
    assert state == [1, 2]
    assert definition.name.endswith("order") and definition.type == "order"


def test_it_refuses_two_of_one_name() -> None:
    domain = Domain()
    domain.aggregate("order")(lambda state, event: state)
    with pytest.raises(InvalidDefinition, match=r"order is defined twice, by .* and .*. Keep one"):
        domain.aggregate("order")(lambda state, event: state)
    domain.add(projection("a", "rows"))
    with pytest.raises(InvalidDefinition, match="Two projections are named a"):
        domain.add(projection("a", "others"))
    with pytest.raises(InvalidDefinition, match="rows belongs to the projection a"):
        domain.add(projection("b", "rows"))
    assert list(domain.projections) == ["a"]


@dataclass(frozen=True)
class Placed:
    total: int


@aggregate("order", id="number")
@dataclass
class Order:
    number: int
    total: int = 0
    notes: list[str] = field(default_factory=list)

    @applies("order.placed")
    def _placed(self, event: Any) -> None:
        self.total = event.total if isinstance(event, Placed) else event.data["total"]

    @applies("order.noted")
    def _noted(self, event: RecordedEvent) -> None:
        self.notes.append(event.data["note"])


@saga("shipping", key=lambda event: event.aggregate_id)
@dataclass
class Shipping:
    parcels: int = 0

    @starts("order.placed")
    def placed(self) -> Any:
        return [NewEvent("packed", {}), Due("pickup", after=dt.timedelta(days=1))]

    @times_out("pickup")
    def late(self) -> None: ...

    @applies("packed")
    def _packed(self) -> None:
        self.parcels += 1


counter: Decider[Any, int] = Decider(0, lambda by, n: ("counted", by), lambda n, event: n + event.data)


def shop_store(sqlite_store: EventStore) -> EventStore:
    sqlite_store.append(
        "order", "42", [NewEvent("order.placed", {"total": 5}), NewEvent("order.noted", {"note": "hi"})]
    )
    sqlite_store.append("counter", "1", [NewEvent("counted", 2), NewEvent("counted", 3)])
    SagaRunner(sqlite_store, Shipping).catch_up()
    return sqlite_store


@pytest.mark.parametrize("with_serializer", [False, True])
def test_classes_deciders_and_sagas_fold_on_pages_as_in_repositories(
    sqlite_store: EventStore, with_serializer: bool
) -> None:
    store, domain, serializer = shop_store(sqlite_store), Domain("shop"), Serializer()
    serializer.add_event(Placed, "order.placed")
    domain.add_aggregate(Order, serializer=serializer if with_serializer else None)
    domain.add_aggregate(counter, "counter")
    domain.add_aggregate(Shipping)
    domain.add_aggregate(AggregateDefinition("other", dict, lambda state, event: state, "other"))
    assert list(domain.aggregates) == ["order", "counter", "shipping", "other"]

    def shown(type_: str, id: str, version: int) -> Any:
        state = fold(store, (type_, id), log="main", version=version, folding=domain.aggregates[type_])
        assert state.failure is None, state.failure
        return state.value

    assert shown("order", "42", 1) == {"number": 42, "total": 5, "notes": []}
    assert shown("order", "42", 2) == {"number": 42, "total": 5, "notes": ["hi"]}
    assert shown("counter", "1", 2) == 5
    process = shown("shipping", "42", 3)
    assert process["state"] == {"parcels": 1} and list(process["timeouts"]) == ["pickup"]


def test_an_event_that_its_code_cant_fold_is_shown_as_that(sqlite_store: EventStore) -> None:
    domain = Domain()
    domain.add_aggregate(Order)
    sqlite_store.append("order", "42", [NewEvent("order.placed", {"total": 5}), NewEvent("order.lost", {})])
    state = fold(sqlite_store, ("order", "42"), log="main", version=2, folding=domain.aggregates["order"])
    assert state.value["total"] == 5
    assert state.failure is not None and "Order has no handler for order.lost (version 2 of order/42)" in state.failure


def test_the_command_state_folds_with_them(
    sqlite_store: EventStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from webapp.cli import projectionist

    shop_store(sqlite_store)
    monkeypatch.chdir(tmp_path)
    Path("folding_shop.py").write_text(
        "from tests.test_domain import Order, Shipping, counter\nfrom webapp.domain import Domain\n"
        "domain = Domain()\ndomain.add_aggregate(Order)\ndomain.add_aggregate(counter, 'counter')\n"
    )
    url = sqlite_store.database.url.render_as_string(hide_password=False)
    for stream, wanted in ((("order", "42"), {"number": 42, "total": 5, "notes": ["hi"]}), (("counter", "1"), 5)):
        done = CliRunner().invoke(projectionist, ["state", url, *stream, "--domain", "folding_shop:domain", "--json"])
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        assert found["state"] == wanted and found["folded_by"].endswith(("Order", "<lambda>"))


def test_it_refuses_aggregates_that_say_no_type_or_one_that_is_taken() -> None:
    domain = Domain()
    domain.add_aggregate(Order)
    with pytest.raises(InvalidDefinition, match=r"order is defined twice, by .*Order and .*Order. Keep one"):
        domain.add_aggregate(Order)
    with pytest.raises(InvalidDefinition, match="order is defined twice"):
        domain.add_aggregate(counter, "order")
    with pytest.raises(InvalidDefinition, match="A Decider says no type"):
        domain.add_aggregate(counter)
    with pytest.raises(InvalidDefinition, match="int says no type of aggregates"):
        domain.add_aggregate(int)
    with pytest.raises(InvalidDefinition, match="5 says no type of aggregates"):
        domain.add_aggregate(5)  # type: ignore[arg-type]
    assert list(domain.aggregates) == ["order"]


def test_it_loads_a_module_beside_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fresh_shop.py").write_text("from webapp.domain import Domain\ndomain = Domain('fresh')\nother = 1\n")
    assert load_domain("fresh_shop:domain").name == "fresh"
    for attribute in ("other", "missing"):
        with pytest.raises(InvalidRequest, match=f"has no Domain named {attribute}"):
            load_domain(f"fresh_shop:{attribute}")


@pytest.mark.parametrize("name", ["", "shop", "shop:", ":domain"])
def test_it_says_how_a_domain_is_named(name: str) -> None:
    with pytest.raises(InvalidRequest, match="Write MODULE:NAME"):
        load_domain(name)


def test_it_says_what_is_missing_and_what_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InvalidRequest, match="The module nowhere_at_all can't be found, looked for nowhere_at_all:d from"
    ):
        load_domain("nowhere_at_all:d")
    Path("broken_shop.py").write_text("x = 1\nraise RuntimeError('no luck')\n")
    with pytest.raises(InvalidRequest, match=r"broken_shop raises RuntimeError when imported: no luck \(.*py:2\)"):
        load_domain("broken_shop:domain")
    Path("lacking_shop.py").write_text("import not_installed_here\n")
    with pytest.raises(InvalidRequest, match="The module not_installed_here can't be found, looked for lacking_shop:d"):
        load_domain("lacking_shop:d")
