"""The demo shop's history is believable and connected, and its read models say just what it says."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import backends, create_database
from tests.demo.folds import fold_activity, fold_cards, fold_orders, fold_revenue, fold_wallets, read_model
from webapp.demo import domain, make_demo
from webapp.demo.make import history
from webapp.domain import load_domain
from webapp.errors import AppendOnly, ProjectionFailed
from webapp.projections import run_to_head, skip_failed_event
from webapp.projections.status import list_statuses
from webapp.replay import rebuild
from webapp.store import EventStore, RecordedEvent
from webapp.store.source import Health, ProjectionStatus

Events = list[RecordedEvent]


def status(store: EventStore, name: str) -> ProjectionStatus:
    return next(one for one in list_statuses(store) if one.name == name)


def check_store(store: EventStore, events: Events) -> None:
    """What holds of a demo of any size, on any database."""
    check_order(store)
    check_projections(store)
    check_read_models(store, events)


def check_order(store: EventStore) -> None:
    for log in store.logs():
        found = list(store.read_log(log.name, limit=None))
        assert [event.position for event in found] == list(range(1, log.head + 1))
        times = [event.recorded_at for event in found]
        assert times == sorted(times)


def check_projections(store: EventStore) -> None:
    statuses = {one.name: one for one in list_statuses(store)}
    assert {name: one.health for name, one in statuses.items()} == {
        "customer_activity": Health.paused,
        "fraud_check": Health.failed,
        "order_list": Health.up_to_date,
        "revenue_by_day": Health.up_to_date,
        "wallet_balance": Health.up_to_date,
    }
    total = sum(store.head(log) for log in ("main", "support"))
    assert 0.05 < statuses["customer_activity"].lag / total < 0.5
    failure = statuses["fraud_check"].failure
    assert failure is not None and failure.log == "main" and failure.position is not None
    assert "TypeError" in failure.message
    assert failure.traceback is not None
    assert "Traceback" in failure.traceback and 'country = payment["card"]["country"]' in failure.traceback
    assert store.event("main", failure.position).data["card"] is None
    assert statuses["fraud_check"].progress[0].position == failure.position - 1
    assert statuses["wallet_balance"].emits_to == "derived-wallet_balance"


def check_read_models(store: EventStore, events: Events) -> None:
    tables = {table.name: table.physical(table.name) for one in domain.projections.values() for table in one.tables}
    assert read_model(store, tables["order_list"]) == fold_orders(events)
    assert read_model(store, tables["revenue_by_day"]) == fold_revenue(events)
    wallets = fold_wallets(events)
    assert read_model(store, tables["wallet_balance"]) == wallets
    assert min(row["balance_cents"] for row in wallets.values()) >= 0
    stands_at = {one.log: one.position for one in status(store, "customer_activity").progress}
    assert read_model(store, tables["customer_activity"]) == fold_activity(events, stands_at)
    failure = status(store, "fraud_check").failure
    assert failure is not None and failure.position is not None
    assert read_model(store, tables["fraud_check"], "score", "verdict") == fold_cards(events, failure.position)
    derived = list(store.read_log("derived-wallet_balance", limit=None))
    assert len(derived) == sum(row["movements"] for row in wallets.values())
    last = {event.aggregate_id: event.data["balance"] for event in derived}
    assert last == {id_: row["balance_cents"] for id_, row in wallets.items() if row["movements"]}


@pytest.fixture(scope="module", params=backends)
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStore]:
    """A demo of 3,000 events on each database."""
    url, drop = create_database(request.param, tmp_path_factory.mktemp("small"))
    make_demo(url, events=3_000)
    store = EventStore.open(url)
    yield store
    store.close()
    drop()


# --- on every database ------------------------------------------------------------------------------------------------


def test_a_small_demo_holds_together_on_every_database(small: EventStore) -> None:
    events = [event for log in ("main", "support") for event in small.read_log(log, limit=None)]
    assert 0.9 * 3_000 < len(events) < 1.1 * 3_000
    check_store(small, events)


def test_the_demo_is_append_only_like_any_store(small: EventStore) -> None:
    with pytest.raises(AppendOnly), small.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM projectionist_events WHERE position = 1")


# --- the whole demo ---------------------------------------------------------------------------------------------------


def test_the_whole_demo_holds_together(demo: EventStore, demo_events: Events) -> None:
    assert 49_000 < len(demo_events) < 51_000
    check_store(demo, demo_events)
    assert 3_000 < status(demo, "customer_activity").lag < 10_000


def test_it_tells_of_ninety_days_that_end_now(demo: EventStore, demo_events: Events) -> None:
    now = dt.datetime.now(dt.UTC)
    per_day = Counter((now - event.recorded_at).days for event in demo_events)
    assert per_day.pop(90, 1) == 1  # the first event is of the very moment 90 days before the demo was made
    assert set(per_day) == set(range(90))
    assert min(per_day.values()) > 150
    assert demo.log("main").last_at > now - dt.timedelta(hours=3)  # type: ignore[operator]
    nights = sum(event.type == "order.placed" and event.recorded_at.hour in (1, 2, 3) for event in demo_events)
    evenings = sum(event.type == "order.placed" and event.recorded_at.hour in (18, 19, 20) for event in demo_events)
    assert nights * 5 < evenings


def test_every_event_says_when_it_occurred_by_whom_and_for_whom(demo_events: Events) -> None:
    for event in demo_events:
        occurred_at = dt.datetime.fromisoformat(event.metadata["occurred_at"])
        assert dt.timedelta(0) <= event.recorded_at - occurred_at < dt.timedelta(seconds=2)
        assert event.actor == event.metadata["actor"]
    actors = Counter(event.actor for event in demo_events)
    assert {"cron", "payment-service", "maria@shop.test", "系統"} <= set(actors) and len(actors) > 100
    assert set(Counter(event.metadata["tenant"] for event in demo_events)) == {"acme", "globex", "initech"}
    revisions = {(event.type, event.metadata["revision"]) for event in demo_events}
    assert {("order.placed", 1), ("order.placed", 2), ("payment.captured", 3)} <= revisions


def test_causes_are_events_that_came_before_in_the_same_correlation(demo_events: Events) -> None:
    by_id = {event.id: event for event in demo_events}
    assert len(by_id) == len(demo_events)
    caused = [event for event in demo_events if event.causation_id]
    assert len(caused) > 0.6 * len(demo_events)
    for event in caused:
        cause = by_id[str(event.causation_id)]
        assert cause.correlation_id == event.correlation_id
        assert (cause.recorded_at, cause.metadata["tenant"]) <= (event.recorded_at, event.metadata["tenant"])
    chains = Counter((by_id[str(event.causation_id)].type, event.type) for event in caused)
    for link in (
        ("order.placed", "payment.captured"),
        ("payment.captured", "wallet.debited"),
        ("wallet.debited", "order.shipped"),
        ("order.shipped", "order.delivered"),
        ("order.delivered", "ticket.opened"),
        ("order.returned", "payment.refunded"),
    ):
        assert chains[link] > 20, link
    starts = {event.correlation_id for event in demo_events if not event.causation_id}
    assert starts == {event.correlation_id for event in demo_events}


def test_derived_events_name_the_event_that_caused_them(demo: EventStore, demo_events: Events) -> None:
    by_id = {event.id: event for event in demo_events}
    for event in demo.read_log("derived-wallet_balance", limit=None):
        cause = by_id[str(event.causation_id)]
        assert cause.type in ("wallet.credited", "wallet.debited")
        assert (cause.aggregate_id, cause.correlation_id) == (event.aggregate_id, event.correlation_id)


def test_payloads_that_would_trouble_a_careless_page_are_there(demo_events: Events) -> None:
    notes = [event.data["note"] for event in demo_events if "note" in event.data]
    for part in ("<script>", "=HYPERLINK", "\n", "\t", "🎁", "'; DROP TABLE", "\u202e"):
        assert any(part in note for note in notes), part
    assert any(note.startswith(("=", "+", "-", "@")) for note in notes)
    assert max(len(note) for note in notes) > 1_000
    ids = {event.aggregate_id for event in demo_events}
    assert {"Ünal/Söhne, Büro 3", "50% off? #1", "株式会社 桜"} <= ids


def test_every_aggregate_folds_to_a_state(demo: EventStore, demo_events: Events) -> None:
    wallets = fold_wallets(demo_events)
    orders = fold_orders(demo_events)
    assert {event.aggregate_type for event in demo_events} == set(domain.aggregates)
    states: dict[str, dict[object, Any]] = {name: {} for name in domain.aggregates}
    for event in demo_events:
        definition, kept = domain.aggregates[str(event.aggregate_type)], states[str(event.aggregate_type)]
        kept[event.aggregate_id] = definition.evolve(kept.get(event.aggregate_id, definition.initial()), event)
    assert {id_: state["balance"] for id_, state in states["wallet"].items()} == {
        id_: row["balance_cents"] for id_, row in wallets.items()
    }
    paid = {"placed", "paid"}  # an order's own events say nothing of its payment
    for id_, state in states["order"].items():
        assert state["status"] == orders[id_]["status"] or {state["status"], orders[id_]["status"]} == paid
        assert state["currency"] == "EUR" and state["channel"]
    assert {state["status"] for state in states["payment"].values()} == {"captured", "failed", "refunded"}
    assert {state["status"] for state in states["ticket"].values()} == {"open", "closed"}


def test_the_domain_is_found_by_its_name() -> None:
    assert load_domain("webapp.demo.shop:domain") is domain
    assert len(domain.projections) == 5


# --- living with it ---------------------------------------------------------------------------------------------------


def test_the_failed_projection_goes_on_after_a_skip_and_fails_again_when_rebuilt(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    make_demo(path, events=2_000)
    store = EventStore.open(f"sqlite:///{path}")
    fraud_check, order_list = domain.projections["fraud_check"], domain.projections["order_list"]
    before = read_model(store, order_list.tables[0].physical("order_list"))
    rebuild(store, order_list)
    assert read_model(store, order_list.tables[0].physical("order_list")) == before
    at = skip_failed_event(store, "fraud_check", "keyed in by hand, checked on the phone", "ann")
    assert store.event(*at).data["card"] is None
    run_to_head(store, fraud_check)
    assert (status(store, "fraud_check").health, status(store, "fraud_check").skipped) == (Health.up_to_date, 1)
    store.close()


def test_rebuilding_the_failed_projection_stops_at_the_same_event(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    make_demo(path, events=2_000)
    store = EventStore.open(f"sqlite:///{path}")
    failure = status(store, "fraud_check").failure
    assert failure is not None
    with pytest.raises(ProjectionFailed) as caught:
        rebuild(store, domain.projections["fraud_check"])
    assert (caught.value.log, caught.value.position) == (failure.log, failure.position)
    store.close()


def test_the_same_moment_has_the_same_history() -> None:
    moment = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)
    first, second = ([event.to_json() for event in history(1_500, moment)] for _ in range(2))
    assert first == second
    assert first != [event.to_json() for event in history(1_500, moment + dt.timedelta(hours=1))]
