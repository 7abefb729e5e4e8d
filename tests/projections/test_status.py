"""What pages say of a projection is what its rows say."""

from __future__ import annotations

import datetime as dt

import pytest

from tests.projections.helpers import counting, expire_leases, fill
from webapp.adapters.native import NativeSource
from webapp.errors import ProjectionFailed
from webapp.projections import Context, Follower, init_projection, pause_projection, run_to_head, skip_failed_event
from webapp.projections.status import list_read_model_tables, list_statuses
from webapp.replay import Phase, Rebuild
from webapp.store import EventStore, RecordedEvent
from webapp.store.source import Health, ProjectionStatus


def status(store: EventStore) -> ProjectionStatus:
    [found] = list_statuses(store)
    return found


def test_one_that_has_not_begun(store: EventStore) -> None:
    fill(store, 3)
    init_projection(store, counting())
    found = status(store)
    assert (found.name, found.health, found.status, found.generation) == ("counts", Health.not_started, "running", 1)
    assert found.tables == ("counts",) and found.progress == () and found.engine == "projectionist"


def test_one_at_the_head_and_then_behind(store: EventStore) -> None:
    fill(store, 3)
    follower = Follower(store, counting())
    follower.step()
    found = status(store)
    assert (found.health, found.progress[0].position, found.progress[0].head) == (Health.up_to_date, 3, 3)
    assert found.locked_until is not None and found.locked_until.tzinfo is not None
    fill(store, 2, first=4)
    found = status(store)
    assert (found.health, found.explanation) == (Health.behind, "2 events behind")
    assert found.progress[0].lag == 2
    expire_leases(store)
    found = status(store)
    assert found.health is Health.crashed and "its worker went silent" in found.explanation
    follower.release()
    found = status(store)
    assert found.health is Health.waiting and "no worker follows" in found.explanation


def test_one_that_is_paused(store: EventStore) -> None:
    fill(store, 3)
    run_to_head(store, counting())
    pause_projection(store, "counts")
    assert (status(store).health, status(store).explanation) == (Health.paused, "paused at the head")
    fill(store, 1)
    assert status(store).explanation == "paused, 1 event behind"


def test_one_that_failed_and_one_that_left_an_event_out(store: EventStore) -> None:
    fill(store, 3)

    def handler(event: RecordedEvent, context: Context) -> None:
        context.state["last"] = event.position
        if event.position == 2:
            raise RuntimeError("no stock")

    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=30)
    with pytest.raises(ProjectionFailed):
        run_to_head(store, counting(handler=handler))
    found = status(store)
    assert found.health is Health.failed
    assert found.explanation == "failed at main:2: RuntimeError: no stock"
    failure = found.failure
    assert failure is not None
    assert (failure.log, failure.position, failure.message) == ("main", 2, "RuntimeError: no stock")
    assert failure.traceback is not None and 'raise RuntimeError("no stock")' in failure.traceback
    assert failure.at is not None and before < failure.at < before + dt.timedelta(seconds=60)
    assert found.state == {"last": 1}
    skip_failed_event(store, "counts", "known", "ann")
    run_to_head(store, counting(handler=handler))
    found = status(store)
    assert (found.health, found.skipped, found.failure) == (Health.up_to_date, 1, None)


def test_one_that_is_being_rebuilt(store: EventStore) -> None:
    fill(store, 30)
    run_to_head(store, counting())
    work = Rebuild(store, counting(), batch_size=10)
    while work.done < 10:
        work.step()
    found = status(store)
    assert found.health is Health.rebuilding
    assert found.explanation == "generation 2 is being built; 1 serves meanwhile"
    assert found.progress[0].position == 30  # what readers see
    while work.phase is not Phase.done:
        work.step()
    assert (status(store).health, status(store).generation) == (Health.up_to_date, 2)


def test_the_native_source_tells_of_all_of_them(store: EventStore) -> None:
    source = NativeSource(store.database)
    assert list(source.projections()) == [] and list(source.read_model_tables()) == []
    fill(store, 3, log="a")
    run_to_head(store, counting("first", logs=["a", "not_yet"]))
    init_projection(store, counting("second"))
    assert [one.name for one in source.projections()] == ["first", "second"]
    assert list(source.read_model_tables()) == list_read_model_tables(store) == ["first", "second"]
