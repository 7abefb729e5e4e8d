"""A replay as its page tells of it: words, percentages, spans."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from webapp.queries.replays import ReplayLine, ReplayPage
from webapp.replay.jobs import ReplayJob

began = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)


def job(status: str = "running", **values: Any) -> ReplayJob:
    fields: dict[str, Any] = {
        "id": 7, "store": "shop", "projection": "orders", "kind": "rebuild", "status": status, "wish": None,
        "reason": None, "started_by": "ann", "created_at": began, "claimed_at": began, "ended_at": None,
        "heartbeat_at": began + dt.timedelta(seconds=20), "runner": "x", "generation": 7, "batch_size": 2000,
        "total": 4_999_300, "done": 3_204_000, "rate": 100.0, "phase": "replay", "message": None,
    }  # fmt: skip
    return ReplayJob(**fields | values)


def test_the_sentence_says_what_readers_see() -> None:
    page = ReplayPage(job(), serving=6)
    assert page.sentence == (
        "3,204,000 of 4,999,300 events · generation 7 is built beside generation 6, which keeps serving"
    )
    assert (page.percentage, page.badge, page.average) == (64, "rebuilding 64 %", 160_200)
    assert ReplayPage(job("done", done=5, total=5), serving=8).sentence == (
        "5 events · generation 7 was followed by generation 8"
    )
    assert ReplayPage(job("queued", total=None, generation=None)).sentence == "No event was read yet."


@pytest.mark.parametrize(
    ("values", "status", "can"),
    [
        ({"status": "queued"}, "queued", "pause cancel"),
        ({"status": "running"}, "running", "pause cancel"),
        ({"status": "running", "wish": "pause"}, "pausing", "resume cancel"),
        ({"status": "running", "wish": "cancel"}, "cancelling", ""),
        ({"status": "running", "is_stale": True}, "interrupted", "resume cancel"),
        ({"status": "paused"}, "paused", "resume cancel"),
        ({"status": "failed"}, "failed", "resume cancel"),
        ({"status": "done"}, "done", ""),
        ({"status": "cancelled", "wish": "cancel"}, "cancelled", ""),
    ],
)
def test_only_what_makes_sense_can_be_done(values: dict[str, Any], status: str, can: str) -> None:
    page = ReplayPage(job(**values), serving=6)
    assert page.status == status
    assert {act for act in ("pause", "resume", "cancel") if getattr(page, f"can_{act}")} == set(can.split())


def test_nothing_is_a_hundred_percent_before_it_is_done() -> None:
    assert ReplayLine(job(done=10, total=10)).percentage == 99
    assert ReplayLine(job("done", done=10, total=10)).percentage == 100
    assert ReplayLine(job(done=0, total=0)).percentage == 0


def test_after_the_swap_it_cannot_be_cancelled() -> None:
    page = ReplayPage(job(phase="clean"), serving=7)
    assert not page.can_cancel
    assert page.sentence.endswith("generation 7 serves already")


def test_how_long_it_took_counts_from_the_request() -> None:
    ended = began + dt.timedelta(seconds=40)
    assert ReplayLine(job("done", ended_at=ended)).seconds == 40
    assert ReplayLine(job("running", ended_at=ended)).seconds is None, "resumed after a failure"
