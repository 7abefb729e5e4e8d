"""The shops in Flask, FastAPI and Django are run: rows and events commit together, in each, or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.examples.test_examples import folder, load
from tests.serving.browser import free_port
from tests.store.helpers import run_together
from webapp.store import EventStore

frameworks = ("django", "fastapi", "flask")
pytestmark = pytest.mark.parametrize("backend", ["sqlite", "postgresql"], indirect=True)
Request = tuple[str, str, Any, dict[str, str]]
Answer = tuple[int, Any]


class Shop:
    """A running shop, whatever it's made with."""

    def __init__(self, ask_together: Callable[[Sequence[Request]], list[Answer]]) -> None:
        self.ask_together = ask_together

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Status and JSON of one request."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        (answer,) = self.ask_together([(method, path, body, named)])
        return answer

    def left(self, sku: str = "tea") -> Any:
        return self.ask("GET", f"/stock/{sku}")[1]["left"]

    def sales_become(self, expected: dict[str, int]) -> bool:
        """Whether the read model comes to say so; FastAPI's is brought up to date beside the requests."""
        ends_at = time.monotonic() + 30
        while self.ask("GET", "/sales") != (200, expected):
            if time.monotonic() > ends_at:
                return False
            time.sleep(0.05)
        return True


def order(id: str, quantity: int = 1, sku: str = "tea") -> Request:
    return ("POST", "/orders", {"id": id, "sku": sku, "quantity": quantity}, {})


def in_threads(ask: Callable[[Request], Answer]) -> Callable[[Sequence[Request]], list[Answer]]:
    """Asks all at the same moment."""

    def ask_together(requests: Sequence[Request]) -> list[Answer]:
        outcomes = run_together(*[lambda one=one: ask(one) for one in requests])
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return outcomes

    return ask_together


@contextlib.contextmanager
def flask_shop(url: str) -> Iterator[Shop]:
    app = load("flask_app").create_app(url)
    made = app.test_cli_runner().invoke(args=["make-tables"])
    assert made.exit_code == 0, made.output

    def ask(request: Request) -> Answer:
        method, path, body, headers = request
        answer = app.test_client().open(path, method=method, json=body, headers=headers)
        return answer.status_code, answer.get_json()

    yield Shop(in_threads(ask))
    app.extensions["store"].close()
    app.extensions["engine"].dispose()


@contextlib.contextmanager
def fastapi_shop(url: str) -> Iterator[Shop]:
    variables = os.environ | {"SHOP_URL": url, "PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, "-W", "error", folder / "fastapi_app.py"], env=variables, check=True)
    with served(url, "uvicorn", "--app-dir", str(folder), "--factory", "fastapi_app:create_app", "--port") as ask:
        yield Shop(in_threads(ask))


@contextlib.contextmanager
def django_shop(url: str) -> Iterator[Shop]:
    driver = [sys.executable, "-W", "error", Path(__file__).with_name("django_client.py"), folder, url]
    with subprocess.Popen(driver, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None

        def ask_together(requests: Sequence[Request]) -> list[Answer]:
            process.stdin.write(json.dumps(requests) + "\n")
            process.stdin.flush()
            return [(status, body) for status, body in json.loads(process.stdout.readline())]

        yield Shop(ask_together)
        process.stdin.close()
        assert process.wait(30) == 0


shops = {"django": django_shop, "fastapi": fastapi_shop, "flask": flask_shop}


@pytest.fixture(params=frameworks)
def shop(request: pytest.FixtureRequest, database_url: str) -> Iterator[Shop]:
    """Each of the shops, with five packets of tea."""
    with shops[request.param](database_url) as shop:
        assert shop.ask("PUT", "/stock/tea", {"left": 5}) == (200, {"sku": "tea", "left": 5})
        yield shop


@pytest.fixture
def store(database_url: str) -> Iterator[EventStore]:
    """The shop's store, looked at from outside."""
    store = EventStore.open(database_url)
    yield store
    store.close()


def recorded(store: EventStore) -> list[tuple[str | None, int | None, str]]:
    """All events, and that nothing else is there: rows of a half append would be."""
    with store.database.reading() as connection:
        total = connection.execute(sa.text("SELECT count(*) FROM projectionist_events")).scalar_one()
    events = [(event.aggregate_id, event.version, event.type) for event in store.read_log("main")] if total else []
    assert len(events) == total
    return events


def test_an_order_is_a_row_and_events_with_the_requests_actor_and_id(shop: Shop) -> None:
    sku = {"id": "42", "sku": "tea", "quantity": 2}
    assert shop.ask("POST", "/orders", sku, X_User="ann", X_Request_ID="r-1") == (201, {"id": "42", "version": 1})
    assert shop.left() == 3
    assert shop.sales_become({"tea": 2})
    assert shop.ask("POST", "/orders/42/cancel", {"version": 1}, X_User="bob")[0] == 200
    status, shown = shop.ask("GET", "/orders/42")
    assert status == 200
    placed, cancelled = shown["history"]
    assert (placed["version"], placed["type"], placed["data"]) == (1, "order.placed", {"sku": "tea", "quantity": 2})
    assert (placed["actor"], placed["correlation_id"]) == ("ann", "r-1")
    assert (cancelled["version"], cancelled["type"], cancelled["actor"]) == (2, "order.cancelled", "bob")
    assert cancelled["correlation_id"] not in (None, "r-1")
    assert shop.left() == 5
    assert shop.sales_become({"tea": 0})


def test_a_row_that_can_not_be_changed_leaves_no_event(shop: Shop, store: EventStore) -> None:
    (answer,) = shop.ask_together([order("1", quantity=6)])
    assert answer == (409, {"error": "There isn't enough tea left."})
    assert shop.ask("GET", "/orders/1")[0] == 404
    assert (shop.left(), recorded(store)) == (5, [])


def test_an_event_that_is_refused_leaves_the_row_as_it_was(shop: Shop, store: EventStore) -> None:
    (first, again) = (shop.ask_together([order("1")])[0] for _ in range(2))
    assert first[0] == 201
    assert again == (409, {"error": "order/1 is at version 1, not new. Reload it and decide again."})
    (too_long,) = shop.ask_together([order("1" * 300)])
    assert too_long[0] in (400, 422)
    for status in (200, 409):
        assert shop.ask("POST", "/orders/1/cancel", {"version": 1})[0] == status
        assert shop.left() == 5
    assert recorded(store) == [("1", 1, "order.placed"), ("1", 2, "order.cancelled")]


def test_a_request_that_makes_no_sense_is_refused(shop: Shop, store: EventStore) -> None:
    for body in (None, {}, [], {"id": "1", "sku": "tea", "quantity": -1}, {"id": 1, "sku": "tea", "quantity": 1}):
        assert shop.ask("POST", "/orders", body)[0] in (400, 422)
    assert (shop.left(), recorded(store)) == (5, [])
    assert shop.ask("GET", "/orders/none")[0] == 404
    assert shop.ask("POST", "/orders/none/cancel", {"version": 1})[0] == 404


def test_several_at_once_share_what_is_left(shop: Shop, store: EventStore) -> None:
    answers = shop.ask_together([order(str(number)) for number in range(8)])
    assert sorted(status for status, _ in answers) == [201] * 5 + [409] * 3
    placed = sorted(body["id"] for status, body in answers if status == 201)
    assert sorted(id for id, *_ in recorded(store)) == placed
    assert shop.left() == 0


def test_the_same_order_several_times_at_once_is_placed_once(shop: Shop, store: EventStore) -> None:
    answers = shop.ask_together([order("1")] * 4)
    assert sorted(status for status, _ in answers) == [201] + [409] * 3
    assert (shop.left(), recorded(store)) == (4, [("1", 1, "order.placed")])


def test_under_gunicorn_two_processes_sell_what_is_there_and_no_more(database_url: str, store: EventStore) -> None:
    with flask_shop(database_url) as shop:
        shop.ask("PUT", "/stock/tea", {"left": 5})
    arguments = ("--workers", "2", "--threads", "4", "--chdir", str(folder), "flask_app:create_app()", "--bind")
    with served(database_url, "gunicorn", *arguments) as ask:
        answers = in_threads(ask)([order(str(number % 12)) for number in range(16)])
        assert sorted(status for status, _ in answers) == [201] * 5 + [409] * 11
        assert len({id for id, *_ in recorded(store)}) == len(recorded(store)) == 5
        assert ask(("GET", "/stock/tea", None, {})) == (200, {"sku": "tea", "left": 0})
        assert ask(("GET", "/sales", None, {})) == (200, {"tea": 5})


@contextlib.contextmanager
def served(url: str, server: str, *arguments: str) -> Iterator[Callable[[Request], Answer]]:
    """Asks a server process of its own over HTTP; `arguments` end before the address to listen at."""
    port = free_port()
    address = f"127.0.0.1:{port}" if server == "gunicorn" else str(port)
    variables = os.environ | {"SHOP_URL": url, "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-m", server, *arguments, address]
    with subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            ask = over_http(f"http://127.0.0.1:{port}")
            wait_for(ask, process)
            yield ask
        finally:
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
    assert b"Traceback" not in said, said.decode()


def over_http(address: str) -> Callable[[Request], Answer]:
    def ask(request: Request) -> Answer:
        method, path, body, headers = request
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(
            address + path, data, {"Content-Type": "application/json"} | headers, method=method
        )
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    return ask


def wait_for(ask: Callable[[Request], Answer], server: subprocess.Popen[bytes]) -> None:
    """Returns when the server answers; fails if it ends instead."""
    ends_at = time.monotonic() + 60
    while time.monotonic() < ends_at and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            ask(("GET", "/stock/tea", None, {}))
            return
        time.sleep(0.1)
    pytest.fail("the server did not answer")


def test_every_shop_is_run_and_says_what_it_shows(backend: str) -> None:
    assert sorted(path.stem for path in folder.glob("*_app.py")) == [f"{name}_app" for name in frameworks]
    for name in ("flask_app", "fastapi_app"):
        assert len((load(name).__doc__ or "").split()) > 40
