"""Every number that is known of Ecotone's databases by other means is what the adapter tells."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from typing import Any

import pytest

from webapp.adapters.ecotone import EcotoneSource
from webapp.store.events import EventFilter, RecordedEvent
from webapp.store.source import Capability, Count

Facts = dict[str, Any]


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.fixture
def orders(source: EcotoneSource) -> list[RecordedEvent]:
    return list(source.read_log("orders", limit=None))


def test_it_tells_every_stream(source: EcotoneSource, facts: Facts) -> None:
    logs = {log.name: log for log in source.logs()}
    assert logs.keys() == facts["streams"].keys()
    for name, fact in facts["streams"].items():
        log = source.log(name)
        assert log.head == log.settled_head == logs[name].head == fact["head_no"]
        assert log.count == logs[name].count == Count(fact["count"])
        assert list(log.missing) == fact["missing_no"]
        assert log.category == fact["category"]
        assert log.details["table"] == fact["table"]
        assert json.loads(log.details.get("metadata", "[]")) == fact["stream_metadata"]
        assert log.first_at == at(fact["first_created_at"])
        assert log.last_at == at(fact["last_created_at"])


def test_it_knows_each_strategy(source: EcotoneSource) -> None:
    wallet = "wallet-{0}{0}{0}{0}{0}{0}{0}{0}-{0}{0}{0}{0}-4{0}{0}{0}-8{0}{0}{0}-{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}"
    assert {log.name: log.strategy for log in source.logs()} == {
        "orders": "partition",
        "Shop\\Support\\Ticket": "partition",
        "page_views": "simple",
        "projection_order_totals": "simple",
        wallet.format(1): "aggregate",
        wallet.format(2): "aggregate",
        wallet.format(3): "aggregate",
        wallet.format(4): "partition",  # configured as aggregate; Ecotone makes the other table all the same
    }


def test_it_tells_which_projection_emits_into_a_stream(source: EcotoneSource) -> None:
    emitted = {log.name: log.derived_from for log in source.logs() if log.derived_from}
    assert emitted == {"projection_order_totals": "order_totals"}
    statuses = {status.name: status.emits_to for status in source.projections() if status.emits_to}
    assert statuses == {"order_totals": "projection_order_totals"}


def test_it_reads_every_event(source: EcotoneSource, facts: Facts) -> None:
    for name, fact in facts["streams"].items():
        events = list(source.read_log(name, limit=None))
        assert len(events) == fact["count"]
        assert events[0].position == fact["min_no"]
        assert events[-1].position == fact["head_no"]
        assert Counter(event.type for event in events) == fact["event_types"]
        assert len({event.aggregate_id for event in events} - {None}) == fact["aggregates"]
        assert len({event.correlation_id for event in events} - {None}) == fact["correlations"]
        assert (events[0].recorded_at, events[-1].recorded_at) == (
            at(fact["first_created_at"]), at(fact["last_created_at"]),
        )  # fmt: skip


def test_it_counts_types_of_events(source: EcotoneSource, facts: Facts) -> None:
    counted = {(type_.log, type_.name): type_.count for type_ in source.event_types()}
    assert counted == {
        (name, type_): Count(number)
        for name, fact in facts["streams"].items()
        for type_, number in fact["event_types"].items()
    }


def test_it_counts_aggregates(source: EcotoneSource, facts: Facts) -> None:
    counted = {type_.log: type_.count for type_ in source.aggregate_types()}
    assert counted == {name: Count(fact["aggregates"]) for name, fact in facts["streams"].items() if fact["aggregates"]}
    assert {type_.name for type_ in source.aggregate_types()} == {"order", "wallet", "Shop\\Support\\Ticket"}
    assert len(source.aggregates("order", limit=1000)) == facts["streams"]["orders"]["aggregates"]
    assert [wallet.version for wallet in source.aggregates("wallet")] == [93, 70, 90, 100]
    assert len(source.aggregates("Shop\\Support\\Ticket", prefix="T-00", limit=1000)) == 125
    assert len(source.aggregates("Shop\\Support\\Ticket", prefix="T-01", limit=1000)) == 50


def test_it_tells_who_did_it(source: EcotoneSource, facts: Facts, orders: list[RecordedEvent]) -> None:
    assert Counter(event.actor for event in orders) == facts["orders_by_executor"]
    for who, number in facts["orders_by_executor"].items():
        found = list(source.read_log("orders", limit=None, where=EventFilter(actor=who), with_payload=False))
        assert len(found) == number


def test_it_keeps_metadata_whole(facts: Facts, orders: list[RecordedEvent]) -> None:
    assert Counter(event.metadata["tenant"] for event in orders) == facts["orders_by_tenant"]
    assert Counter(str(event.metadata["revision"]) for event in orders) == facts["orders_by_revision"]
    for event in orders:
        assert event.metadata["id"] == event.id
        assert event.metadata["parentId"] == event.causation_id
        assert event.metadata["_aggregate_version"] == event.version


def test_it_keeps_payloads_whole(source: EcotoneSource, orders: list[RecordedEvent], server: str) -> None:
    texts = [event.data_text for event in orders if isinstance(event.data_text, str)]
    for special in ("お茶", '<script>alert(\\"x\\")</script>', "<b>Pen</b>"):
        assert any(special in text for text in texts), special
    assert max(len(text) for text in texts) > 1500
    view = source.event("page_views", 1)
    assert view.data["big"] == 9007199254740993
    if server == "postgresql":
        assert max(len(text) for text in texts) == 1582
        assert isinstance(view.data_text, str)
        assert view.data_text.startswith('{"url":"/p/491","ms":836,"score":60.625,')


def test_simple_streams_belong_to_no_aggregate(source: EcotoneSource) -> None:
    for log in ("page_views", "projection_order_totals"):
        for event in source.read_log(log, limit=50):
            assert (event.aggregate_type, event.aggregate_id, event.version) == (None, None, None)
            assert (event.correlation_id, event.causation_id, event.actor) == (None, None, None)
    assert source.event("projection_order_totals", 1).metadata_text == "[]"


def test_it_tells_positions_states_and_locks_of_v1(source: EcotoneSource, facts: Facts) -> None:
    statuses = {status.name: status for status in source.projections() if status.engine == "Ecotone V1"}
    assert statuses.keys() == facts["projections"].keys()
    for name, fact in facts["projections"].items():
        status = statuses[name]
        assert {progress.log: progress.position for progress in status.progress} == fact["position"]
        assert status.state == fact["state"]
        assert status.status == fact["status"]
        assert status.locked_until == (fact["locked_until"] and at(fact["locked_until"]))
        for progress in status.progress:
            assert progress.head == facts["streams"][progress.log]["head_no"]


def test_it_tells_positions_and_states_of_v2(source: EcotoneSource, facts: Facts) -> None:
    statuses = {status.name: status for status in source.projections() if status.engine == "Ecotone V2"}
    assert statuses.keys() == facts["projection_state_global"].keys()
    for name, fact in facts["projection_state_global"].items():
        written = "".join(
            f"{progress.log}={progress.position}:{','.join(map(str, progress.gaps))};"
            for progress in statuses[name].progress
        )
        assert written == fact["last_position"]
        assert statuses[name].status == fact["metadata"]["initialization_status"]
        assert statuses[name].state == fact["user_state"]


def test_it_counts_partitions(source: EcotoneSource, facts: Facts) -> None:
    found = {status.name: status.partitions for status in source.projections() if status.partitions is not None}
    assert found == facts["projection_state_partitions"]


def test_it_counts_what_else_there_is(source: EcotoneSource, facts: Facts) -> None:
    assert dict(source.overview_facts()) == {
        "Dead letters": Count(facts["tables"]["ecotone_error_messages"]),
        "Messages remembered as handled": Count(facts["tables"]["ecotone_deduplication"]),
        "Messages waiting in queue mail": Count(facts["tables"]["enqueue"]),
        "Rows in rm_order_list": Count(facts["tables"]["rm_order_list"]),
        "Rows in rm_orders_v2": Count(facts["tables"]["rm_orders_v2"]),
        "Snapshots": Count(facts["tables"]["ecotone_document_store"]),
    }
    assert source.read_model_tables() == ["rm_order_list", "rm_orders_v2"]


def test_it_shows_dead_letters(source: EcotoneSource, facts: Facts) -> None:
    assert Capability.dead_letters in source.capabilities
    letters = source.dead_letters()
    assert len(letters) == facts["tables"]["ecotone_error_messages"]
    for listed in letters:
        assert (listed.type, listed.error_class, listed.channel) == (
            "Shop\\Order\\OrderWasCancelled", "DomainException", "mail",
        )  # fmt: skip
        letter = source.dead_letter(listed.id)
        assert isinstance(letter.payload_text, str)
        order = json.loads(letter.payload_text)["orderId"]
        assert letter.error == f"SMTP 421 service not available for order {order}"
        assert letter.traceback is not None
        assert letter.traceback.startswith("#0 /srv/vendor/")
        assert json.loads(letter.headers_text or "")["correlationId"] == letter.correlation_id
