"""Replays as rows: who may ask, who may claim, and what wishes do to each status."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from tests.store.helpers import run_together
from webapp.accounts import activity
from webapp.accounts.home import Home
from webapp.accounts.tables import replays
from webapp.errors import NotFound, ReplayConflict
from webapp.replay import jobs
from webapp.replay.jobs import ReplayJob


def request(home: Home, projection: str = "counts", store: str = "shop") -> int:
    return jobs.request_replay(home, store, projection, started_by="ann", reason="new column", batch_size=100)


def claim(home: Home, runner: str = "runner") -> ReplayJob:
    job = jobs.claim_replay(home, runner)
    assert job is not None
    return job


def status(home: Home, id_: int) -> tuple[str, str | None]:
    job = jobs.find_replay(home, id_)
    return job.status, job.wish


def silence(home: Home, id_: int) -> None:
    """As if the job's runner had given no sign for a minute."""
    with home.database.writing() as connection:
        earlier = home.database.dialect.clock(connection) - dt.timedelta(seconds=60)
        connection.execute(sa.update(replays).where(replays.c.id == id_).values(heartbeat_at=earlier))


def test_a_request_is_queued_with_who_and_why(home: Home) -> None:
    id_ = request(home)
    job = jobs.find_replay(home, id_, "shop")
    assert (job.store, job.projection, job.kind, job.status) == ("shop", "counts", "rebuild", "queued")
    assert (job.started_by, job.reason, job.batch_size, job.done) == ("ann", "new column", 100, 0)
    assert job.is_active and job.shown_status == "queued" and job.seconds_left is None
    assert job.created_at.tzinfo is not None


def test_a_projection_has_one_at_a_time(home: Home) -> None:
    first = request(home)
    with pytest.raises(ReplayConflict, match=f"counts has replay {first} under way. Wait for it, or cancel it first"):
        request(home)
    request(home, "others")
    request(home, store="office")
    jobs.end_replay(home, claim(home), "done")
    assert request(home) > first


def test_of_many_who_ask_at_once_one_gets_it(home: Home) -> None:
    activity.record(home, "ann", "person.logged_in")
    for number in range(5):
        outcomes = run_together(*[lambda number=number: request(home, f"p{number}")] * 4)  # type: ignore[misc]
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ReplayConflict"] * 3 + ["int"]


def test_what_is_not_there_is_not_found(home: Home) -> None:
    id_ = request(home)
    for call in (jobs.find_replay, jobs.pause_replay, jobs.resume_replay, jobs.cancel_replay):
        with pytest.raises(NotFound, match="no replay “999”"):
            call(home, 999)
    with pytest.raises(NotFound):
        jobs.find_replay(home, id_, "office")


def test_the_newest_come_first(home: Home) -> None:
    first, second = request(home), request(home, "others")
    request(home, store="office")
    assert [job.id for job in jobs.list_replays(home, "shop")] == [second, first]
    assert [job.id for job in jobs.list_replays(home, "shop", "counts")] == [first]
    assert [job.id for job in jobs.list_replays(home, "shop", limit=1)] == [second]
    jobs.end_replay(home, claim(home), "done")
    assert [job.id for job in jobs.list_replays(home, "shop", only_active=True)] == [second]


def test_of_two_claims_one_wins(home: Home) -> None:
    for number in range(5):
        id_ = request(home, f"p{number}")
        claims = run_together(*(lambda name=f"r{n}": jobs.claim_replay(home, name) for n in range(4)))  # type: ignore[misc]
        won = [job for job in claims if job is not None]
        assert [job.id for job in won] == [id_]
        assert jobs.find_replay(home, id_).runner == won[0].runner


def test_jobs_are_claimed_in_the_order_they_came(home: Home) -> None:
    ids = [request(home, f"p{number}") for number in range(3)]
    assert [claim(home, f"r{number}").id for number in range(3)] == ids
    assert jobs.claim_replay(home, "idle") is None


def test_a_job_whose_runner_went_silent_is_interrupted_and_goes_to_another(home: Home) -> None:
    id_ = request(home)
    first = claim(home, "first")
    assert jobs.claim_replay(home, "second") is None
    silence(home, id_)
    job = jobs.find_replay(home, id_)
    assert job.is_stale and job.shown_status == "interrupted" and job.is_active
    assert claim(home, "second").runner == "second"
    assert jobs.find_replay(home, id_).shown_status == "running"
    assert jobs.report_progress(home, first, done=5) is None
    assert jobs.end_replay(home, first, "done") is False
    assert status(home, id_) == ("running", None)


def test_of_many_who_claim_a_silent_job_one_wins(home: Home) -> None:
    id_ = request(home)
    claim(home, "first")
    silence(home, id_)
    claims = run_together(*(lambda name=f"r{n}": jobs.claim_replay(home, name) for n in range(4)))  # type: ignore[misc]
    assert len([job for job in claims if job is not None]) == 1


def test_progress_is_a_sign_of_life_and_brings_wishes(home: Home) -> None:
    id_ = request(home)
    job = claim(home)
    silence(home, id_)
    reported = jobs.report_progress(home, job, phase="replay", done=250, total=1000, rate=50.0, generation=2)
    assert reported is not None and not reported.is_stale and reported.wish is None
    assert (reported.done, reported.total, reported.phase, reported.seconds_left) == (250, 1000, "replay", 15.0)
    jobs.pause_replay(home, id_)
    reported = jobs.report_progress(home, job)
    assert reported is not None and reported.wish == "pause"


def paused(home: Home, id_: int) -> None:
    jobs.pause_replay(home, id_)


def running(home: Home, id_: int) -> None:
    claim(home)


def interrupted(home: Home, id_: int) -> None:
    claim(home)
    silence(home, id_)


def failed(home: Home, id_: int) -> None:
    jobs.end_replay(home, claim(home), "failed", "no stock")


def done(home: Home, id_: int) -> None:
    jobs.end_replay(home, claim(home), "done")


def cancelled(home: Home, id_: int) -> None:
    jobs.end_replay(home, claim(home), "cancelled")


def queued(home: Home, id_: int) -> None:
    pass


wishes: list[tuple[Callable[[Home, int], None], tuple[str, str | None] | None, ...]] = [
    # from              pause                  resume             cancel
    (queued, ("paused", None), None, ("queued", "cancel")),
    (paused, None, ("queued", None), ("queued", "cancel")),
    (running, ("running", "pause"), ("running", None), ("running", "cancel")),
    (interrupted, ("running", "pause"), ("queued", None), ("running", "cancel")),
    (failed, None, ("queued", None), ("queued", "cancel")),
    (done, None, None, None),
    (cancelled, None, None, None),
]  # type: ignore[assignment]


def test_what_a_wish_does_to_each_status(home: Home) -> None:
    calls = (jobs.pause_replay, jobs.resume_replay, jobs.cancel_replay)
    for reach, *outcomes in wishes:
        for call, outcome in zip(calls, outcomes, strict=True):
            id_ = request(home, f"{reach.__name__}_{call.__name__}")
            reach(home, id_)
            if outcome is None:
                with pytest.raises(ReplayConflict, match=f"Replay {id_} is {reach.__name__}, so it can't be"):
                    call(home, id_)
            else:
                call(home, id_)
                assert status(home, id_) == outcome, (reach.__name__, call.__name__)
            with home.database.writing() as connection:
                connection.execute(sa.update(replays).values(status="done"))


def test_a_failure_is_told_and_forgotten_when_it_is_resumed(home: Home) -> None:
    id_ = request(home)
    failed(home, id_)
    job = jobs.find_replay(home, id_)
    assert (job.status, job.message, job.runner) == ("failed", "no stock", None) and job.ended_at is not None
    jobs.resume_replay(home, id_)
    job = jobs.find_replay(home, id_)
    assert (job.status, job.message, job.ended_at) == ("queued", None, None)


def test_a_wish_to_cancel_outlives_a_worker_that_stops(home: Home) -> None:
    id_ = request(home)
    job = claim(home)
    jobs.cancel_replay(home, id_)
    jobs.end_replay(home, job, "queued")
    assert status(home, id_) == ("queued", "cancel")
    jobs.end_replay(home, claim(home), "cancelled")
    assert status(home, id_) == ("cancelled", None)
