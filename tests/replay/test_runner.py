"""One job, step by step: progress told, wishes obeyed between batches, ends recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from tests.projections.helpers import checkpoint_of, counted, counting, expected, fill, row_of, tables
from webapp.accounts.home import Home
from webapp.errors import ReplayConflict
from webapp.projections import Context, Projection, run_to_head
from webapp.replay import Phase, Rebuild, jobs, rebuild, runner
from webapp.replay.jobs import ReplayJob
from webapp.replay.runner import JobRunner
from webapp.store import EventStore, RecordedEvent


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_report_seconds", 0)
    monkeypatch.setattr(runner, "_lease_wait_seconds", 0.01)
    monkeypatch.setattr(runner, "_outage_seconds", 0.01)


@pytest.fixture
def job_id(home: Home, store: EventStore) -> int:
    """A queued job over a projection at the head of 50 events, ten a batch."""
    fill(store, 50)
    run_to_head(store, counting())
    return jobs.request_replay(home, "shop", "counts", started_by="ann", batch_size=10)


def claim(
    home: Home,
    store: EventStore,
    projection: Projection | None = None,
    name: str = "runner",
    stopping: threading.Event | None = None,
) -> JobRunner:
    job = jobs.claim_replay(home, name)
    assert job is not None
    return JobRunner(home, job, store, projection or counting(), stopping)


def run_until(work: JobRunner, is_there: Callable[[], bool]) -> None:
    while not is_there():
        assert work.step()


def acts(home: Home) -> list[tuple[str, str | None]]:
    return [(event.type, event.actor) for event in home.events.read_log("main")]


def test_it_rebuilds_and_tells_how_far_it_is(home: Home, store: EventStore, job_id: int) -> None:
    work = claim(home, store)
    told: list[ReplayJob] = []
    while work.step():
        told.append(jobs.find_replay(home, job_id))
    job = jobs.find_replay(home, job_id)
    assert (job.status, job.phase, job.done, job.total, job.generation) == ("done", "done", 50, 50, 2)
    assert job.ended_at is not None and job.runner is None and job.message is None
    done = [one.done for one in told]
    assert done == sorted(done) and set(done) >= {10, 20, 30, 40, 50}
    assert {one.phase for one in told} >= {"prepare", "replay", "swap"}
    rates = [one.rate for one in told if one.done >= 20]
    assert all(rate is not None and rate > 0 for rate in rates)
    assert any(one.seconds_left is not None and one.seconds_left > 0 for one in told)
    assert counted(store) == expected(store) and row_of(store).generation == 2
    assert acts(home) == [("replay.done", "ann")]


def test_a_pause_stops_it_after_the_batch_in_hand_and_another_goes_on(
    home: Home, store: EventStore, job_id: int
) -> None:
    work = claim(home, store)
    run_until(work, lambda: work.rebuild.done == 20)
    jobs.pause_replay(home, job_id)
    assert work.step() is False
    job = jobs.find_replay(home, job_id)
    assert (job.status, job.wish, job.done, job.runner) == ("paused", None, 20, None)
    assert jobs.claim_replay(home, "another") is None
    jobs.resume_replay(home, job_id)
    other = claim(home, store, name="another")
    run_until(other, lambda: other.rebuild.phase is Phase.replay)
    assert other.rebuild.done == 20  # it needn't wait for a lease, nor begin anew
    other.run()
    assert jobs.find_replay(home, job_id).status == "done"
    assert counted(store) == expected(store)


def test_a_cancelled_job_drops_what_was_built(home: Home, store: EventStore, job_id: int) -> None:
    work = claim(home, store)
    run_until(work, lambda: work.rebuild.done == 20)
    assert "counts__g2" in tables(store)
    jobs.cancel_replay(home, job_id)
    work.run()
    assert jobs.find_replay(home, job_id).status == "cancelled"
    assert tables(store) == {"counts"} and row_of(store).generation == 1
    assert acts(home) == [("replay.cancelled", "ann")]


def test_a_paused_job_may_be_cancelled_by_whichever_worker(home: Home, store: EventStore, job_id: int) -> None:
    work = claim(home, store)
    run_until(work, lambda: work.rebuild.done == 20)
    jobs.pause_replay(home, job_id)
    work.run()
    jobs.cancel_replay(home, job_id)
    claim(home, store, name="another").run()
    assert jobs.find_replay(home, job_id).status == "cancelled"
    assert tables(store) == {"counts"}


def test_a_job_of_a_killed_worker_is_cancelled_at_once(home: Home, store: EventStore, job_id: int) -> None:
    killed = claim(home, store)
    run_until(killed, lambda: killed.rebuild.done == 20)  # its lease runs on
    with home.database.writing() as connection:
        connection.execute(sa.text("UPDATE projectionist_replays SET status = 'queued', wish = 'cancel'"))
    claim(home, store, name="another").run()
    assert jobs.find_replay(home, job_id).status == "cancelled"
    assert tables(store) == {"counts"}
    assert killed.step() is False


def test_cancelling_comes_too_late_once_it_serves(home: Home, store: EventStore, job_id: int) -> None:
    work = claim(home, store)
    run_until(work, lambda: work.rebuild.phase is Phase.clean)
    jobs.cancel_replay(home, job_id)
    work.run()
    assert jobs.find_replay(home, job_id).status == "done"
    assert row_of(store).generation == 2


def test_a_stopping_worker_gives_the_job_back(home: Home, store: EventStore, job_id: int) -> None:
    stopping = threading.Event()
    work = claim(home, store, stopping=stopping)
    run_until(work, lambda: work.rebuild.done == 20)
    stopping.set()
    assert work.step() is False
    assert jobs.find_replay(home, job_id).status == "queued"
    assert checkpoint_of(store, generation=2).owner is None
    claim(home, store, name="another").run()
    assert jobs.find_replay(home, job_id).status == "done"


def test_an_event_that_fails_fails_the_job_with_its_sentence(home: Home, store: EventStore, job_id: int) -> None:
    broken = [33]

    def handler(event: RecordedEvent, context: Context) -> None:
        if event.position in broken:
            raise RuntimeError("no stock")

    projection = counting(handler=handler)
    claim(home, store, projection).run()
    job = jobs.find_replay(home, job_id)
    assert job.status == "failed" and job.message is not None and job.done == 32
    assert job.message.startswith("Projection counts failed at main:33: RuntimeError: no stock. Mend its handler")
    assert row_of(store).status == "running"  # what serves is untouched
    with pytest.raises(ReplayConflict):  # it holds its projection until it's resumed or cancelled
        jobs.request_replay(home, "shop", "counts", started_by="ann")
    broken.clear()
    jobs.resume_replay(home, job_id)
    claim(home, store, projection).run()
    assert jobs.find_replay(home, job_id).status == "done"
    assert counted(store) == expected(store)


def test_what_nobody_expected_fails_the_job_too(
    home: Home, store: EventStore, job_id: int, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Rebuild):
        def step(self) -> int:
            raise ZeroDivisionError("oops")

    work = claim(home, store)
    work.rebuild = Broken(store, counting(), replay_id=job_id)
    work.run()
    message = jobs.find_replay(home, job_id).message
    assert message == "ZeroDivisionError: oops. The log of the dashboard has the traceback."
    assert "ZeroDivisionError" in caplog.text


def test_a_runner_that_lost_its_job_stops_and_gives_the_lease_back(home: Home, store: EventStore, job_id: int) -> None:
    silent = claim(home, store)
    run_until(silent, lambda: silent.rebuild.done == 20)
    with home.database.writing() as connection:
        connection.execute(sa.text("UPDATE projectionist_replays SET status = 'queued', runner = NULL"))
    other = claim(home, store, name="another")
    assert other.step() is True  # waits for the lease
    assert silent.step() is False
    other.run()
    assert jobs.find_replay(home, job_id).status == "done"
    assert counted(store) == expected(store)


def test_it_waits_for_another_rebuild_of_the_projection(home: Home, store: EventStore, job_id: int) -> None:
    by_hand = Rebuild(store, counting())
    by_hand.step()
    work = claim(home, store)
    for _ in range(3):
        assert work.step() is True and work.rebuild.phase is Phase.prepare
    while by_hand.phase is not Phase.done:
        by_hand.step()
    work.run()
    assert jobs.find_replay(home, job_id).status == "done"
    assert row_of(store).generation == 3


def test_a_database_that_is_away_for_a_while_is_waited_for(home: Home, store: EventStore, job_id: int) -> None:
    work = claim(home, store)
    run_until(work, lambda: work.rebuild.done == 20)
    url = store.database.engine.url
    store.database.engine.dispose()
    away = url.set(database=f"{url.database}_away/x")
    store.database.engine, kept = sa.create_engine(away), store.database.engine
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runner, "_outages_endured", 2)
            assert work.step() is True and work.step() is True
    finally:
        store.database.engine.dispose()
        store.database.engine = kept
    work.run()
    assert jobs.find_replay(home, job_id).status == "done"
    assert counted(store) == expected(store)


def test_a_rebuild_by_hand_and_one_by_job_follow_each_other(home: Home, store: EventStore, job_id: int) -> None:
    rebuild(store, counting())
    claim(home, store).run()
    assert row_of(store).generation == 3
    assert tables(store) == {"counts", "counts__g2"}
