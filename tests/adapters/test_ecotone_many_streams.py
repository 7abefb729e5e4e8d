"""Thousands of streams, as the aggregate strategy makes them, cost tens of statements, not thousands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from tests.adapters.conftest import servers
from tests.adapters.writing import Writer, Written
from tests.conftest import create_database
from webapp.adapters import open_source
from webapp.adapters.ecotone import EcotoneSource
from webapp.store.source import Count, Health

many = 2000


@pytest.fixture(scope="module", params=servers)
def crowded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EcotoneSource]:
    """Two thousand wallets of their own, beside a stream that many orders share."""
    url, drop = create_database(request.param, tmp_path_factory.mktemp("crowded"))
    writer = Writer(url, request.param)
    writer.create()
    names = [f"wallet-{number:05}" for number in range(many)]
    writer.add_streams(names, "aggregate")
    writer.add_streams(["orders"])
    with writer.engine.begin() as connection:
        for number, name in enumerate(names):
            events = [Written(version, ("wallet", f"{number:05}", version)) for version in range(1, 2 + number % 3)]
            writer.append_in(connection, name, events)
    writer.append("orders", [Written(1, ("order", "1", 1)), Written(2, ("wallet", "00007", 1))])
    positions = ", ".join(f'"{name}": {number % 2}' for number, name in enumerate(names))
    writer.run(
        f"INSERT INTO projections (name, position, state, status) VALUES ('balances', '{{{positions}}}', '[]', 'idle')"
    )
    source = open_source(url)
    assert isinstance(source, EcotoneSource)
    yield source
    source.close()
    drop()


@pytest.fixture
def counted(crowded: EcotoneSource) -> Iterator[Callable[[Callable[[], Any]], tuple[Any, int]]]:
    """Runs something and tells how many statements it took."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    def run(ask: Callable[[], Any]) -> tuple[Any, int]:
        sent.clear()
        answer = ask()
        return answer, len(sent)

    sa.event.listen(crowded.database.engine, "before_cursor_execute", note)
    yield run
    sa.event.remove(crowded.database.engine, "before_cursor_execute", note)


def test_no_page_asks_stream_by_stream(crowded: EcotoneSource, counted: Any) -> None:
    logs, statements = counted(crowded.logs)
    assert (len(logs), statements < 60) == (many + 1, True)
    assert [log.count for log in logs if log.category][:4] == [Count(1), Count(2), Count(3), Count(1)]
    assert {log.category for log in logs} == {"wallet", None}
    types, statements = counted(crowded.event_types)
    assert (len(types), statements < 90) == (many + 1, True)
    types, statements = counted(crowded.aggregate_types)
    assert (len(types), statements < 90) == (many + 2, True)
    _, statements = counted(crowded.read_model_tables)
    assert statements < 20


def test_a_projection_over_all_of_them_is_judged(crowded: EcotoneSource, counted: Any, request: Any) -> None:
    (status,), statements = counted(crowded.projections)
    assert statements < 90
    assert status.health is Health.behind
    events = sum(1 + number % 3 for number in range(many))
    assert status.lag == events - many // 2
    assert len(status.progress) == many
    assert ("and report no error" in status.explanation) == (crowded.dialect != "PostgreSQL")


def test_aggregates_of_their_own_are_listed_page_by_page(crowded: EcotoneSource, counted: Any) -> None:
    paged: list[str] = []
    while True:
        page, statements = counted(
            partial(crowded.aggregates, "wallet", after_id=paged[-1] if paged else None, limit=300)
        )
        if not page:
            break
        assert statements < 40
        paged += [one.id for one in page]
    assert paged == sorted([*(f"{number:05}" for number in range(many)), "00007"])
    page, statements = counted(lambda: crowded.aggregates("wallet", prefix="0123", limit=5))
    assert [(one.log, one.id, one.version) for one in page][:2] == [
        ("wallet-01230", "01230", 1),
        ("wallet-01231", "01231", 2),
    ]
    assert statements < 15


def test_one_of_them_is_found(crowded: EcotoneSource, counted: Any) -> None:
    events, statements = counted(lambda: list(crowded.read_stream("wallet", "01001")))
    assert [(event.log, event.version) for event in events] == [
        ("wallet-01001", 1),
        ("wallet-01001", 2),
        ("wallet-01001", 3),
    ]
    assert statements < 20
    nothing, statements = counted(lambda: list(crowded.read_stream("wallet", "none")))
    assert (nothing, statements < 20) == ([], True)
    page, statements = counted(lambda: list(crowded.read_log("wallet-01001", limit=50)))
    assert (len(page), statements < 15) == (3, True)
