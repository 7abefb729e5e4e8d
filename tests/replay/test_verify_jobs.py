"""A verification as a job: what is kept, resumed, refused and let go."""

from __future__ import annotations

import threading

import pytest

from tests.projections.helpers import counting, fill
from tests.store.helpers import execute
from webapp.accounts.home import Home
from webapp.errors import ReplayConflict
from webapp.projections import Projection, run_to_head
from webapp.replay import jobs
from webapp.replay.runner import JobRunner
from webapp.store import EventStore


def ask(home: Home, kind: str = "verify") -> int:
    return jobs.request_replay(home, "shop", "counts", kind=kind, started_by="ann", batch_size=10)


def claim(
    home: Home, store: EventStore, projection: Projection | None = None, stopping: threading.Event | None = None
) -> JobRunner:
    job = jobs.claim_replay(home, "runner")
    assert job is not None
    return JobRunner(home, job, store, projection or counting(), stopping)


def prepare(store: EventStore) -> None:
    fill(store, 50)
    run_to_head(store, counting())


def test_what_it_found_is_kept_with_the_job_and_told_among_the_acts(store: EventStore, home: Home) -> None:
    prepare(store)
    execute(store, "UPDATE counts SET total = 0 WHERE id = 'n2'")
    replay_id = ask(home)
    assert jobs.find_result(home, replay_id) is None
    claim(home, store).run()
    job = jobs.find_replay(home, replay_id)
    assert (job.status, job.done, job.total, job.message) == ("done", 50, 50, None)
    found = jobs.find_result(home, replay_id)
    assert found is not None and (found["equal"], found["different"], found["rows"]) == (False, 1, 5)
    assert found["differences"][0]["key"] == {"id": "n2"}
    assert found["differences"][0]["live"]["total"] == 0
    [act] = home.events.read_stream("store", "shop")
    assert act.type == "replay.done"
    assert (act.data["kind"], act.data["equal"], act.data["rows_that_differ"]) == ("verify", False, 1)
    assert "n2" not in (act.data_text or ""), "rows must not get into a log that forgets nothing"


def test_one_that_was_stopped_is_taken_up_by_another_worker(store: EventStore, home: Home) -> None:
    prepare(store)
    replay_id = ask(home)
    stopping = threading.Event()
    work = claim(home, store, stopping=stopping)
    for _ in range(4):
        assert work.step()
    stopping.set()
    assert not work.step()
    assert jobs.find_replay(home, replay_id).status == "queued"
    claim(home, store).run()
    found = jobs.find_result(home, replay_id)
    assert found is not None and found["equal"] and found["events"] == 50


def test_a_cancelled_one_lets_go_of_the_store(store: EventStore, home: Home) -> None:
    prepare(store)
    replay_id = ask(home)
    work = claim(home, store)
    for _ in range(8):  # to where it holds a moment
        assert work.step()
    assert store.database.engine.pool.checkedout() == 1  # type: ignore[attr-defined]
    jobs.cancel_replay(home, replay_id)
    work._reported_at = 0.0
    work.run()
    assert jobs.find_replay(home, replay_id).status == "cancelled"
    assert store.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    assert jobs.find_result(home, replay_id) is None


def test_it_holds_its_projection_while_it_runs_but_not_after_a_failure(store: EventStore, home: Home) -> None:
    prepare(store)
    first = ask(home)
    with pytest.raises(ReplayConflict, match=f"replay {first} under way"):
        ask(home, "rebuild")

    def broken(event: object, context: object) -> None:
        raise RuntimeError("broken")

    claim(home, store, counting(handler=broken)).run()
    job = jobs.find_replay(home, first)
    assert job.status == "failed" and "main:1: RuntimeError: broken" in (job.message or "")
    second = ask(home, "rebuild")
    assert [one.id for one in jobs.list_replays(home, "shop", only_active=True)] == [second]
    claim(home, store).run()
    jobs.resume_replay(home, first)
    claim(home, store).run()
    found = jobs.find_result(home, first)
    assert found is not None and found["equal"] and found["generation"] == 2
