"""The examples run as a newcomer runs them, print what they promise, and leave in the database what they say."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import sqlalchemy as sa

from webapp.errors import NotFound, ProjectionFailed
from webapp.projections import Context, init_projection, run_to_head
from webapp.projections.checkpoints import find_checkpoint, find_projection
from webapp.store import EventStore, NewEvent, RecordedEvent

folder = Path(__file__).resolve().parents[2] / "examples"
names = sorted(path.stem for path in folder.glob("*.py") if not path.stem.endswith("_app"))  # see test_frameworks

six_lines = """\
Adding 100 to balance
Balance after change is  100
Subtracting 10 from balance
Balance after change is  90
Adding 50 to balance
Balance after change is  140
"""


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, folder / f"{name}.py", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def printed(name: str, *arguments: str) -> str:
    done = run(name, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def opened(database_url: str) -> Iterator[EventStore]:
    """The store that an example is about to fill."""
    store = EventStore.open(database_url)
    yield store
    store.close()


def rows(store: EventStore, query: str) -> list[tuple[object, ...]]:
    with store.database.reading() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def test_event_sourcing(database_url: str, opened: EventStore) -> None:
    lines = printed("event_sourcing", database_url).splitlines()
    assert lines[:2] == ["Product was registered", "Price of the product was changed"]
    trail = [re.sub(", recorded at .*", "", line) for line in lines if line.startswith("no ")]
    assert trail == [
        'no 1 v1 ProductWasRegistered {"productId":1,"price":100}',
        'no 2 v2 PriceWasChanged {"productId":1,"price":120}',
    ]
    assert lines[-2:] == [
        "position of price_change_over_time = 2",
        "After drop and rebuild: [(100, 0), (120, 20)], position 2",
    ]
    assert len(lines) == 7
    query = "SELECT product_id, version, price, price_change FROM price_change_over_time ORDER BY version"
    assert rows(opened, query) == [(1, 1, 100, 0), (1, 2, 120, 20)]
    assert [(event.position, event.version, event.type, event.data) for event in opened.read_log("main")] == [
        (1, 1, "ProductWasRegistered", {"productId": 1, "price": 100}),
        (2, 2, "PriceWasChanged", {"productId": 1, "price": 120}),
    ]
    with opened.database.reading() as connection:
        row = find_projection(connection, "price_change_over_time")
        assert row is not None and (row.status, row.generation) == ("running", 2)
        checkpoint = find_checkpoint(connection, "price_change_over_time", 2)
        assert checkpoint is not None and checkpoint.positions == {"main": 2}


def test_emitting_events_from_a_projection(database_url: str, opened: EventStore) -> None:
    assert printed("emitting_events_from_a_projection", database_url) == six_lines
    assert [event.type for event in opened.read_log("main")] == [
        "WalletWasInitialized", "MoneyWasAddedToWallet", "MoneyWasSubtractedFromWallet", "MoneyWasAddedToWallet",
    ]  # fmt: skip
    for log, is_retired in (("derived-wallet_balance", True), ("derived-wallet_balance-2", False)):
        assert [event.data["currentBalance"] for event in opened.read_log(log)] == [100, 90, 140]
        assert (opened.log(log).derived_from, opened.log(log).is_retired) == ("wallet_balance", is_retired)
    assert [balance for (balance,) in rows(opened, "SELECT current_balance FROM wallet_balance")] == [140]


def test_a_row_and_its_derived_event_commit_together(store: EventStore) -> None:
    example = load("emitting_events_from_a_projection")
    projection = example.make_wallet_balance()
    wallet = "0193e8c2-0000-7000-8000-000000000001"
    store.append("wallet", wallet, [NewEvent("MoneyWasAddedToWallet", {"walletId": wallet, "amount": 100})])
    run_to_head(store, projection)

    def fail_after_emitting(event: RecordedEvent, context: Context) -> None:
        example.change_balance(event, context, event.data["amount"])
        assert context.emitted, "the event was not emitted, so this test would show nothing"
        raise RuntimeError("the handler failed after it had emitted")

    projection.handlers["MoneyWasAddedToWallet"] = fail_after_emitting
    store.append("wallet", wallet, [NewEvent("MoneyWasAddedToWallet", {"walletId": wallet, "amount": 7})])
    with pytest.raises(ProjectionFailed, match="failed after it had emitted"):
        run_to_head(store, projection)
    assert example.current_balance(store, wallet) == 100
    assert example.emitted_balances(store, "derived-wallet_balance") == [100]


def test_what_the_database_refuses_takes_its_derived_event_along(store: EventStore) -> None:
    example = load("emitting_events_from_a_projection")
    projection = example.make_wallet_balance()
    init_projection(store, projection)
    with store.database.writing() as connection:
        connection.execute(sa.text("DROP TABLE wallet_balance"))
    store.append("wallet", "w", [NewEvent("MoneyWasAddedToWallet", {"walletId": "w", "amount": 100})])
    with pytest.raises(Exception, match="wallet_balance"):
        run_to_head(store, projection)
    with pytest.raises(NotFound):
        store.log("derived-wallet_balance")


def test_working_with_aggregates_directly(database_url: str, opened: EventStore) -> None:
    assert printed("working_with_aggregates_directly", database_url) == "Running example!\nSuccess!\n"
    events = list(opened.read_log("main"))
    assert len({event.aggregate_id for event in events}) == 2
    assert [(event.version, event.data["price"]) for event in events] == [(1, 50), (2, 100)] * 2


def test_two_writers(database_url: str, opened: EventStore) -> None:
    lines = printed("two_writers", database_url).splitlines()
    if opened.dialect == "SQLite":
        assert lines[0].startswith("SQLite has one writer at a time")
    else:
        assert lines[0].startswith("naive: 704 of 705 orders")
    assert lines[1:] == ["ours: 705 of 705 orders"]
    assert opened.head("main") == 705


def test_killed_projector(database_url: str, opened: EventStore) -> None:
    first, second = printed("killed_projector", database_url).splitlines()
    killed = re.fullmatch(r"Killed after (\d+) of 5000 orders; the checkpoint stands at (\d+)\.", first)
    assert killed is not None and killed[1] == killed[2] and 1250 <= int(killed[1]) < 5000
    assert second == "Started again: 5000 rows for 5000 orders, seen 5000 times in all."
    assert rows(opened, "SELECT count(*), min(times_seen), max(times_seen) FROM order_list") == [(5000, 1, 1)]


def test_every_example_has_a_test() -> None:
    here = Path(__file__).read_text()
    assert names and all(f"def test_{name}(" in here for name in names)


@pytest.mark.parametrize("name", names)
def test_every_example_says_what_it_shows_and_runs_without_a_url(name: str) -> None:
    assert len((load(name).__doc__ or "").split()) > 40
    assert printed(name)


def test_a_url_that_leads_nowhere_gets_a_sentence(tmp_path: Path) -> None:
    done = run("event_sourcing", f"sqlite:///{tmp_path}/missing/example.db")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "folder" in done.stderr


def test_a_second_run_on_the_same_database_gets_a_sentence(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/example.db"
    printed("event_sourcing", url)
    done = run("event_sourcing", url)
    assert done.returncode == 1
    assert done.stderr.strip() == "Product/1 is at version 2, not new. Reload it and decide again."
