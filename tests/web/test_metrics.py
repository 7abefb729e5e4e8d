"""`/metrics`: what Prometheus reads, and who may."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from tests.adapters.dumps import load_dump
from tests.conftest import create_database
from tests.projections.helpers import counting, fill
from tests.web.conftest import Browser, password
from webapp.accounts.home import Home
from webapp.accounts.roles import Grant
from webapp.accounts.tables import alerts
from webapp.adapters.native import NativeSource
from webapp.projections import Context, checkpoints, run_to_head
from webapp.queries import measuring
from webapp.queries.measuring import Measurer, StoreNumbers
from webapp.replay.jobs import request_replay
from webapp.store import EventStore, NewEvent, RecordedEvent
from webapp.web.shared_text import SharedText

token = "a-token-for-prometheus"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(text: str) -> Samples:
    """Every sample by name and labels; a series that stands twice fails the test, as Prometheus would refuse it."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def at(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"projectionist_{name}", tuple(sorted(labels.items()))]


def names(samples: Samples) -> set[str]:
    return {name for name, _ in samples}


def scrape(app: Flask, given: str = token) -> Samples:
    response = Browser(app).get("/metrics", headers={"Authorization": f"Bearer {given}"})
    assert response.status_code == 200, response.get_data(True)
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return parse(response.get_data(True))


@pytest.fixture(params=["sqlite", "postgresql"])
def filled_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store of 60 events: one projection is at the head, one stopped at event 41, skipping another before."""
    url, drop = create_database(request.param, tmp_path)
    store = EventStore.open(url)
    store.migrate()
    fill(store, 60)

    def refuse(event: RecordedEvent, context: Context) -> None:
        if event.position in (7, 41):
            raise ValueError("no such thing")

    failing = counting("failing", handler=refuse, batch_size=10)
    run_to_head(store, counting("fine"))
    with pytest.raises(Exception, match="no such thing"):
        run_to_head(store, failing)
    with store.database.writing() as connection:
        checkpoints.skip_event(connection, store.database.dialect, "failing", "main", 7, "known", "ann")
        checkpoints.change_projection(connection, store.database.dialect, "failing", status="running", failure=None)
    with pytest.raises(Exception, match="no such thing"):
        run_to_head(store, failing)
    store.close()
    yield url
    drop()


def test_it_tells_how_every_store_is_doing(
    filled_url: str, tmp_path: Path, make_app: Callable[..., Flask]
) -> None:  # fmt: skip
    stores = (("shop", filled_url), ("broken", f"sqlite:///{tmp_path / 'missing.db'}"))
    app = make_app(metrics_token=token, stores=stores)
    home: Home = app.extensions["projectionist"].home
    request_replay(home, "shop", "fine", started_by="ann")
    Browser(app).log_in("admin", "wrong password")
    with home.database.writing() as connection:
        now = home.database.dialect.clock(connection)
        row = {"store": "shop", "kind": "failed", "projection": "failing", "sentence": "failed", "begun_at": now}
        connection.execute(sa.insert(alerts), [row])
    samples = scrape(app)
    assert at(samples, "store_up", store="shop") == 1
    assert at(samples, "store_up", store="broken") == 0
    log = {"store": "shop", "log": "main", "category": ""}
    assert at(samples, "log_head", **log) == at(samples, "log_settled_head", **log) == 60
    assert at(samples, "log_events", **log) == 60
    assert at(samples, "log_events_exact", **log) == 1
    fine = {"store": "shop", "projection": "fine", "engine": "projectionist"}
    failing = fine | {"projection": "failing"}
    assert at(samples, "projection_health", **fine, health="up to date") == 1
    assert at(samples, "projection_health", **failing, health="failed") == 1
    assert (at(samples, "projection_failed", **fine), at(samples, "projection_failed", **failing)) == (0, 1)
    assert (at(samples, "projection_lag_events", **fine), at(samples, "projection_lag_events", **failing)) == (0, 20)
    assert at(samples, "projection_lag_seconds", **fine) == 0
    assert at(samples, "projection_lag_seconds", **failing) > 0
    assert at(samples, "projection_idle_seconds", **failing) > 0
    assert at(samples, "projection_skipped_events", **failing) == 1
    assert at(samples, "store_projections", store="shop", health="failed") == 1
    assert at(samples, "store_projections", store="shop", health="paused") == 0
    assert at(samples, "dead_letters", store="shop") == 0
    assert at(samples, "replays", store="shop", status="queued") == 1
    assert at(samples, "alerts", store="shop", kind="failed") == 1
    assert at(samples, "logins_total", outcome="failed") == 1
    assert at(samples, "home_up") == 1
    assert samples["process_resident_memory_bytes", (("pid", str(os.getpid())),)] > 1_000_000


def test_the_lag_in_seconds_is_the_age_of_the_oldest_event_that_waits_by_the_databases_clock(
    filled_url: str, make_app: Callable[..., Flask]
) -> None:
    source = NativeSource.open(filled_url)
    with source.database.reading() as connection:
        before = source.database.dialect.clock(connection)
    numbers = StoreNumbers.load("shop", lambda name: source)
    oldest = source.event("main", 41)
    with source.database.reading() as connection:
        after = source.database.dialect.clock(connection)
    source.close()
    (seconds,) = (delay.seconds for status, delay in numbers.projections if status.name == "failing")
    assert seconds is not None
    lowest, highest = (before - oldest.recorded_at).total_seconds(), (after - oldest.recorded_at).total_seconds()
    assert max(0.0, lowest) <= seconds <= highest


@pytest.mark.parametrize("server", ["postgresql", "mysql", "mariadb"])
def test_an_attached_ecotone_store_is_measured_with_its_logs_grouped(
    server: str, tmp_path: Path, make_app: Callable[..., Flask]
) -> None:
    url, drop = create_database(server, tmp_path)
    try:
        load_dump(url, server)
        app = make_app(metrics_token=token, stores=(("shop", url),))
        samples = scrape(app)
        assert at(samples, "store_up", store="shop") == 1
        events = sum(value for (name, _), value in samples.items() if name == "projectionist_log_events")
        assert events == 5_020
        engines = {dict(labels)["engine"] for name, labels in samples if name == "projectionist_projection_health"}
        assert {"Ecotone V1", "Ecotone V2"} <= engines
        crashed = {"store": "shop", "projection": "crashed_report", "engine": "Ecotone V1"}
        assert at(samples, "projection_health", **crashed, health="crashed") == 1
        assert at(samples, "projection_lag_seconds", **crashed) > 0
        assert at(samples, "dead_letters", store="shop") == 13
        app.extensions["projectionist"].sources.open("shop").close()
    finally:
        drop()


def test_labels_are_capped_and_what_is_left_out_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_app: Callable[..., Flask]
) -> None:
    monkeypatch.setattr(measuring, "most_logs", 3)
    monkeypatch.setattr(measuring, "most_projections", 2)
    store = EventStore.open(f"sqlite:///{tmp_path / 'many.db'}")
    store.migrate()
    for number in range(5):
        fill(store, 2, log=f"log-{number}")
        run_to_head(store, counting(f"p{number}", logs=[f"log-{number}"]))
    with store.database.writing() as connection:
        failure = {"log": "log-4", "position": 1, "message": "no", "at": None, "traceback": None}
        checkpoints.change_projection(connection, store.database.dialect, "p4", status="failed", failure=failure)
    store.close()
    app = make_app(metrics_token=token, stores=(("many", f"sqlite:///{tmp_path / 'many.db'}"),))
    samples = scrape(app)
    assert len([1 for name, _ in samples if name == "projectionist_log_head"]) == 3
    assert at(samples, "store_logs", store="many") == 5
    assert at(samples, "store_logs_left_out", store="many") == 2
    shown = {dict(labels)["projection"] for name, labels in samples if name == "projectionist_projection_failed"}
    assert shown == {"p4", "p0"}  # the one with a problem comes first
    assert at(samples, "store_projections_left_out", store="many") == 3
    assert at(samples, "store_projections", store="many", health="up to date") == 4


# --- who may --------------------------------------------------------------------------------------------------------


def test_without_token_and_login_it_says_what_to_send(make_app: Callable[..., Flask]) -> None:
    for app in (make_app(), make_app(metrics_token=token)):
        response = Browser(app).get("/metrics")
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert "PROJECTIONIST_METRICS_TOKEN" in response.get_data(True)
        assert "store_up" not in response.get_data(True)


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer ", f"Basic {token}", token, "Bearer tökén", f"Bearer {token}x"]
)
def test_a_wrong_token_is_refused(header: str, make_app: Callable[..., Flask]) -> None:
    app = make_app(metrics_token=token)
    assert Browser(app).get("/metrics", headers={"Authorization": header}).status_code == 401


def test_where_no_token_is_set_none_is_right(app: Flask) -> None:
    for given in ("Bearer None", "Bearer ", "Bearer"):
        assert Browser(app).get("/metrics", headers={"Authorization": given}).status_code == 401


@pytest.mark.parametrize(
    ("grant", "status"),
    [
        (Grant("operator"), 200),
        (Grant("admin"), 200),
        (Grant("viewer"), 403),
        (Grant("auditor"), 403),
        (Grant("operator", "shop"), 403),
    ],
)
def test_of_those_logged_in_operators_and_admins_of_all_stores_may(
    grant: Grant, status: int, somebody: Callable[..., Browser]
) -> None:
    assert somebody("ann", grant).get("/metrics").status_code == status


# --- what it costs --------------------------------------------------------------------------------------------------


def test_scrapers_share_one_collection_for_some_seconds(
    make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(metrics_token=token)
    collections = []
    measure = Measurer.measure

    def counted(self: Measurer) -> Any:
        collections.append(1)
        time.sleep(0.2)  # all of them come while it's under way
        return measure(self)

    monkeypatch.setattr(Measurer, "measure", counted)
    threads = [threading.Thread(target=scrape, args=(app,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(collections) == 1


def test_processes_share_a_text_and_outlive_one_that_dies_while_making_it() -> None:
    shared = SharedText(fresh_seconds=60)
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        try:
            with shared._locked():
                os.write(theirs, b"!")
                time.sleep(60)
        finally:
            os._exit(1)
    assert os.read(ours, 1) == b"!"
    made: list[bytes] = []
    waiting = threading.Thread(target=lambda: made.append(shared.get(lambda: b"ours" * 10_000)))
    waiting.start()
    waiting.join(0.3)
    assert not made  # it waits for the one that is making it
    os.kill(child, 9)
    os.waitpid(child, 0)
    waiting.join(10)
    assert made == [b"ours" * 10_000]
    child = os.fork()
    if not child:
        os._exit(0 if shared.get(lambda: b"made again") == b"ours" * 10_000 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(ours)
    os.close(theirs)


def test_a_text_is_made_anew_when_it_is_old() -> None:
    shared = SharedText(fresh_seconds=0)
    assert [shared.get(lambda: b"a long one"), shared.get(lambda: b"b")] == [b"a long one", b"b"]


def test_a_store_that_hangs_holds_up_nobody_and_is_not_asked_twice(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "collect_seconds", 0.2)
    asked, go_on = [], threading.Event()

    def hang(name: str) -> Any:
        asked.append(name)
        go_on.wait(30)
        raise AssertionError("the test is over")

    measurer = Measurer(home, ["hanging"], hang)
    for _ in range(3):
        of_home, (store,) = measurer.measure()
        assert of_home.is_up is True
        assert store.is_up is False
    assert asked == ["hanging"]
    go_on.set()


def test_home_out_of_reach_still_gives_the_stores(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    app = make_app(metrics_token=token)
    home: Home = app.extensions["projectionist"].home
    home.close()
    for path in (tmp_path / "home").glob("home.db*"):
        path.unlink()
    (tmp_path / "home" / "home.db").mkdir()
    samples = scrape(app)
    assert at(samples, "home_up") == 0
    assert at(samples, "store_up", store="shop") == 1
    assert password not in str(samples)


def test_names_of_any_kind_can_be_read_back(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    odd = 'a "quoted"\\ log\nwith ü'
    store = EventStore.open(f"sqlite:///{tmp_path / 'shop.db'}")
    store.append("order", "1", [NewEvent("order.placed", {})], log=odd)
    store.close()
    assert at(scrape(make_app(metrics_token=token)), "log_head", store="shop", log=odd, category="") == 1
