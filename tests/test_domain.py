"""A Domain holds what the code knows; loading one says why it can't."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from webapp.domain import Domain, load_domain
from webapp.errors import InvalidDefinition, InvalidRequest
from webapp.projections import Projection, Table
from webapp.store import EventStore, NewEvent


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
    with pytest.raises(InvalidDefinition, match="order is defined twice"):
        domain.aggregate("order")(lambda state, event: state)
    domain.add(projection("a", "rows"))
    with pytest.raises(InvalidDefinition, match="Two projections are named a"):
        domain.add(projection("a", "others"))
    with pytest.raises(InvalidDefinition, match="rows belongs to the projection a"):
        domain.add(projection("b", "rows"))
    assert list(domain.projections) == ["a"]


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
