"""`projectionist inspect`."""

from __future__ import annotations

from tests.adapters.dumps import read_facts
from tests.cli.running import run, run_json
from tests.queries.seed import fill, odd_log
from webapp.store import EventStore


def test_json_lines_tell_layout_logs_and_types(store: EventStore) -> None:
    fill(store)
    url = store.database.url.render_as_string(hide_password=False)
    records = run_json("inspect", url)
    assert records[0]["kind"] == "layout" and records[0]["layout"] == "projectionist"
    assert records[0]["database"] == store.dialect
    logs = {record["log"]: record for record in records if record["kind"] == "log"}
    assert logs["main"]["head"] == logs["main"]["settled_head"] == logs["main"]["count"] == store.head("main")
    assert logs[odd_log]["count"] == 4 and logs[odd_log]["last_at"].endswith("Z")
    types = {(one["log"], one["event_type"]): one["count"] for one in records if one["kind"] == "event_type"}
    assert types["main", "order.placed"] == 121 and types[odd_log, "wallet.credited"] == 3
    aggregates = {
        (one["log"], one["aggregate_type"]): one["count"] for one in records if one["kind"] == "aggregate_type"
    }
    assert aggregates["main", "order"] == 121


def test_a_report_for_people_names_them_all(shop: str) -> None:
    report = run("inspect", shop).stdout
    for words in ("layout projectionist", "Logs", "Event types", "order.placed", odd_log, "Projections: none"):
        assert words in report


def test_it_tells_what_ecotone_keeps(ecotone_url: str) -> None:
    facts = read_facts("postgresql")["streams"]
    records = run_json("inspect", ecotone_url)
    logs = {record["log"]: record for record in records if record["kind"] == "log"}
    assert {name: (log["head"], log["count"], log["missing"]) for name, log in logs.items()} == {
        name: (stream["head_no"], stream["count"], stream["missing_no"]) for name, stream in facts.items()
    }
    projections = {record["projection"]: record for record in records if record["kind"] == "projection"}
    assert projections["crashed_report"]["health"] == "crashed" and projections["crashed_report"]["position"] == 600
    assert projections["order_list"]["lag"] == 7
    report = run("inspect", ecotone_url).stdout
    assert "crashed" in report and "waiting for a runner" in report
