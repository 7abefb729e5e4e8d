"""A whole server of two processes: one message for one problem, and one text of metrics for both."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.projections.helpers import counting, fill, wait_for
from tests.replay.receiving import receiving
from tests.serving.browser import serving
from webapp.projections import checkpoints, run_to_head
from webapp.store import EventStore

token = "a-token-for-prometheus"


def test_two_processes_tell_once_and_measure_once(tmp_path: Path) -> None:
    store = EventStore.open(f"sqlite:///{tmp_path / 'shop.db'}")
    store.migrate()
    fill(store, 10)
    run_to_head(store, counting())
    failure = {"log": "main", "position": 4, "message": "no", "at": None, "traceback": None}
    with store.database.writing() as connection:
        checkpoints.change_projection(connection, store.database.dialect, "counts", status="failed", failure=failure)
    store.close()
    with receiving() as receiver:
        environment = {"PROJECTIONIST_METRICS_TOKEN": token, "PROJECTIONIST_ALERT_WEBHOOK": receiver.url}
        with serving(tmp_path, "--store", f"shop=sqlite:///{tmp_path / 'shop.db'}", environment=environment) as server:
            wait_for(lambda: receiver.requests)
            asked = urllib.request.Request(server.url + "/metrics", headers={"Authorization": f"Bearer {token}"})
            costs, pids = set(), set()
            for _ in range(20):
                with urllib.request.urlopen(asked, timeout=20) as answer:
                    families = list(text_string_to_metric_families(answer.read().decode()))
                samples = {sample.name: sample for family in families for sample in family.samples}
                costs.add(samples["projectionist_collection_seconds"].value)
                pids.add(int(samples["process_open_fds"].labels["pid"]))
                assert samples["projectionist_projection_failed"].value == 1
            assert pids <= set(server.workers())
            assert len(costs) < 20  # the processes hand one text to each other
            assert server.stop() < 20
        assert receiver.told() == [("began", "failed", "counts")]
        log = server.log.read_text()
    assert "was sent: 1 began" in log
    assert "Traceback" not in log
    for hidden in (token, "very-secret"):
        assert hidden not in log
