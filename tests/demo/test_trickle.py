"""Live traffic: orders that go on, numbered above all others, in a process that ends with whoever started it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import create_database
from tests.demo.folds import fold_wallets
from tests.serving.browser import Person, command, free_port, password, wait_until_ready
from tests.serving.browser import Server as Running
from webapp.demo import make_demo
from webapp.demo.trickle import Trickle, running
from webapp.errors import AppendOnly, NotFound, StoreUnavailable
from webapp.projections.status import list_statuses
from webapp.store import EventStore, RecordedEvent


@pytest.fixture
def shop(tmp_path: Path) -> str:
    """The URL of a small demo store."""
    make_demo(tmp_path / "shop.db", events=1_500)
    return f"sqlite:///{tmp_path / 'shop.db'}"


def new_events(store: EventStore, heads: dict[str, int]) -> list[RecordedEvent]:
    return [event for log, head in heads.items() for event in store.read_log(log, after=head, limit=None)]


def wait(condition: Callable[[], bool], what: str) -> None:
    ends_at = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends_at, what
        time.sleep(0.1)


def head(url: str) -> int:
    store = EventStore.open(url)
    try:
        return store.head("main")
    finally:
        store.close()


def test_orders_begin_and_go_on_with_their_causes(shop: str) -> None:
    store = EventStore.open(shop)
    heads = {log: store.head(log) for log in ("main", "support")}
    trickle = Trickle(store, random.Random(7))
    appended = sum(trickle.step() for _ in range(40))
    events = new_events(store, heads)
    assert len(events) == appended > 80
    by_id = {event.id: event for event in events}
    causes = [event for event in events if event.causation_id is not None]
    assert len(causes) > 40
    for event in causes:
        cause = by_id[str(event.causation_id)]
        assert cause.correlation_id == event.correlation_id and cause.recorded_at <= event.recorded_at
    assert {"order.placed", "payment.captured", "order.shipped", "order.delivered"} <= {event.type for event in events}
    orders = [event.aggregate_id for event in events if event.type == "order.placed"]
    assert len(orders) == len(set(orders))
    assert [event.version for event in events if event.type == "order.placed"] == [1] * len(orders), "new numbers"
    everything = [event for log in heads for event in store.read_log(log, limit=None)]
    assert all(wallet["balance_cents"] >= 0 for wallet in fold_wallets(everything).values())
    store.close()


def test_it_brings_no_second_poison_event(shop: str) -> None:
    store = EventStore.open(shop)
    heads = {log: store.head(log) for log in ("main", "support")}
    trickle = Trickle(store, random.Random(1))
    for _ in range(60):
        trickle.step()
    payments = [event.data for event in new_events(store, heads) if event.type == "payment.captured"]
    assert len(payments) > 20 and all(one["method"] == "wallet" or one["card"] for one in payments)
    store.close()


def test_a_step_that_fails_is_done_again_whole(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = EventStore.open(shop)
    heads = {log: store.head(log) for log in ("main", "support")}
    trickle = Trickle(store, random.Random(3))
    trickle.step()
    with monkeypatch.context() as broken:
        broken.setattr(EventStore, "append_many", lambda *_: (_ for _ in ()).throw(StoreUnavailable("away")))
        with pytest.raises(StoreUnavailable):
            trickle.step()
    appended = 1 + trickle.step()
    events = new_events(store, heads)
    assert len(events) == appended and len({event.id for event in events}) == appended
    assert [event.causation_id for event in events].count(events[0].id) == 1, "the first flow went on once"
    store.close()


def test_a_store_without_customers_gets_a_sentence(sqlite_store: EventStore) -> None:
    with pytest.raises(NotFound, match="projectionist demo"):
        Trickle(sqlite_store, random.Random(1))


def test_it_goes_on_every_database(backend: str, tmp_path: Path) -> None:
    url, drop = create_database(backend, tmp_path)
    make_demo(url, events=1_000)
    store = EventStore.open(url)
    trickle = Trickle(store, random.Random(5))
    assert sum(trickle.step() for _ in range(5)) > 8
    with pytest.raises(AppendOnly), store.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM projectionist_events")
    store.close()
    drop()


def test_its_process_ends_with_the_block(shop: str) -> None:
    before = head(shop)
    with running(shop):
        wait(lambda: head(shop) > before, "nothing came in")
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_its_process_ends_when_whoever_started_it_is_killed(shop: str) -> None:
    code = f"import time\nfrom webapp.demo.trickle import running\nwith running({shop!r}):\n    time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", code])
    before = head(shop)
    wait(lambda: head(shop) > before, "nothing came in")
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent.pid)], check=False, capture_output=True, text=True
    ).stdout
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    [child] = [int(pid) for pid in children.split()]
    wait(lambda: not Path(f"/proc/{child}").exists() or "(zombie)" in status(child), "it outlived its parent")


def status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "(zombie)"


def test_the_dashboard_moves_while_orders_trickle_in(tmp_path: Path) -> None:
    make_demo(tmp_path / "home/shop.db", events=1_500)
    url, port, log = f"sqlite:///{tmp_path / 'home/shop.db'}", free_port(), tmp_path / "log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PROJECTIONIST_")}
    environment |= {"PROJECTIONIST_HOME": str(tmp_path / "home"), "PROJECTIONIST_ADMIN_PASSWORD": password}
    with log.open("wb") as output:
        arguments = [*command, "demo", "--serve", "--trickle", "--port", str(port)]
        process = subprocess.Popen(arguments, env=environment, stdout=output, stderr=subprocess.STDOUT)
    server = Running(process, port, log)
    try:
        wait_until_ready(server)
        person = Person(server)
        person.log_in()
        before = head(url)
        wait(lambda: head(url) > before, "nothing came in")
        wait(lambda: f"{head(url):,}" in person.get("/stores/shop/logs")[1], "the page doesn't show it")
        # The worker of the server follows: the live projections come to the new head.
        store = EventStore.open(url)

        def follows() -> bool:
            found = {one.name: one for one in list_statuses(store)}
            return max(one.position for one in found["order_list"].progress) > before

        wait(follows, "the projections don't follow")
        store.close()
        # A worker that ends must not take the traffic with it.
        children = set(server.workers())
        for pid in children:
            if b"webapp.demo.trickle" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGTERM)
                break
        wait(lambda: set(server.workers()) != children and len(server.workers()) == 3, "no new worker came")
        after = head(url)
        wait(lambda: head(url) > after, "the traffic ended with a worker")
        assert server.stop() < 12
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    ended_at = head(url)
    time.sleep(0.5)
    assert head(url) == ended_at
    assert "Traceback" not in log.read_text()


def test_it_is_only_for_serving(tmp_path: Path) -> None:
    environment = {**os.environ, "PROJECTIONIST_HOME": str(tmp_path)}
    done = subprocess.run([*command, "demo", "--trickle"], env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 2 and "--serve" in done.stderr
    assert not (tmp_path / "shop.db").exists()
