"""Closing the books: a stream ends, goes on in a new one, and both say so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.store.helpers import count_events, noted, run_together
from webapp.errors import InvalidEvent, InvalidRequest, NotFound, StreamClosed, WrongExpectedVersion
from webapp.store import Append, EventStore, NewEvent, Repository, aggregate, applies

orderings = pytest.mark.parametrize("ordering", ["dense", "parallel"])


def close(store: EventStore, old: str = "2026", new: str = "2027", **options: Any) -> list[Any]:
    return store.close_stream(
        "account",
        old,
        [NewEvent("closed", {"balance": 9})],
        into=new,
        opening_events=[NewEvent("opened", {"balance": 9})],
        **options,
    )


@orderings
def test_a_closed_stream_goes_on_in_a_new_one_and_both_say_so(store: EventStore, ordering: str) -> None:
    store.create_log("books", ordering)
    store.append("account", "2026", noted(1, 2), log="books")
    recorded = close(store, expected_version=2, log="books")
    assert [(event.aggregate_id, event.version, event.type) for event in recorded] == [
        ("2026", 3, "closed"),
        ("2027", 1, "opened"),
    ]
    assert [event.metadata for event in recorded] == [{"continued_by": "2027"}, {"continues": "2026"}]
    assert store.settled_head("books") >= recorded[-1].position
    assert [event.id for event in store.read_log("books", limit=None)][-2:] == [event.id for event in recorded]
    before, after = (store.stream_links("account", name) for name in ("2026", "2027"))
    assert (before.continues, before.continued_by) == (None, "2027")
    assert (after.continues, after.continued_by) == ("2026", None)
    close(store, "2027", "2028", log="books")
    middle = store.stream_links("account", "2027", log="books")
    assert (middle.continues, middle.continued_by) == ("2026", "2028")


@orderings
@pytest.mark.parametrize("expected", [None, 2, 3])
def test_a_closed_stream_takes_no_events_and_names_the_one_that_does(
    store: EventStore, ordering: str, expected: int | None
) -> None:
    store.create_log("main", ordering)
    store.append("account", "2026", noted(1, 2))
    close(store)
    stored = count_events(store)
    with pytest.raises(StreamClosed, match=r"account/2026 is closed and goes on as account/2027\. Append there\."):
        store.append("account", "2026", noted(3), expected_version=expected)
    with pytest.raises(StreamClosed), store.database.writing() as connection:
        store.append_in(connection, [Append("account", "2026", noted(3), expected)])
    with pytest.raises(StreamClosed, match="goes on as account/2027"):
        close(store, "2026", "2030")
    assert count_events(store) == stored
    assert store.append("account", "2027", noted(3))[0].version == 2


@orderings
def test_what_can_not_be_closed_leaves_everything_as_it_was(store: EventStore, ordering: str) -> None:
    store.create_log("main", ordering)
    store.append("account", "2026", noted(1))
    store.append("account", "taken", noted(1))
    with pytest.raises(WrongExpectedVersion, match="account/2026 is at version 1, not at version 7"):
        close(store, expected_version=7)
    with pytest.raises(WrongExpectedVersion, match="account/taken is at version 1, not new"):
        close(store, new="taken")
    with pytest.raises(InvalidRequest, match="can't continue itself"):
        close(store, new="2026")
    with pytest.raises(InvalidEvent, match="at least one event that closes it"):
        store.close_stream("account", "2026", [], into="2027", opening_events=noted(1))
    with pytest.raises(InvalidEvent, match="must be an object"):
        store.close_stream("account", "2026", [NewEvent("closed", 1, "[1]")], into="2027", opening_events=noted(1))
    assert count_events(store) == 2
    assert store.stream_links("account", "2026").continued_by is None
    assert store.append("account", "2026", noted(2))[0].version == 2


@orderings
def test_of_those_who_close_and_append_at_once_none_writes_behind_the_end(store: EventStore, ordering: str) -> None:
    store.create_log("main", ordering)
    store.append("account", "2026", noted(1))
    outcomes = run_together(
        *(lambda new=new: close(store, new=new) for new in ("a", "b", "c")),
        *(lambda number=number: store.append("account", "2026", noted(number)) for number in range(5)),
    )
    closed = [outcome for outcome in outcomes[:3] if isinstance(outcome, list)]
    assert len(closed) == 1
    assert all(isinstance(outcome, list | StreamClosed) for outcome in outcomes), outcomes
    events = list(store.read_stream("account", "2026"))
    assert [event.version for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events].index("closed") == len(events) - 1
    assert store.stream_links("account", "2026").continued_by == closed[0][1].aggregate_id


def test_closing_again_with_the_same_events_changes_nothing(store: EventStore) -> None:
    store.append("account", "2026", noted(1))
    ids = ["018f0000-0000-7000-8000-000000000001", "018f0000-0000-7000-8000-000000000002"]

    def close_with_ids() -> list[str]:
        closing, opening = (NewEvent(name, None, id=id_) for name, id_ in zip(("closed", "opened"), ids, strict=True))
        recorded = store.close_stream("account", "2026", [closing], into="2027", opening_events=[opening])
        return [event.id for event in recorded]

    assert close_with_ids() == close_with_ids() == ids
    assert count_events(store) == 3


def test_a_repository_still_loads_what_was_closed(store: EventStore) -> None:
    @aggregate("account")
    class Account:
        balance: int = 0

        @applies("noted")
        def note(self, event: Any) -> None:
            self.balance += event.data["n"]

        @applies("closed")
        def close(self, event: Any) -> None:
            pass

        @applies("opened")
        def open(self, event: Any) -> None:
            self.balance = event.data["balance"]

    store.append("account", "2026", noted(4, 5))
    close(store)
    accounts = Repository(store, Account)
    assert accounts.load("2026").balance == accounts.load("2027").balance == 9
    with pytest.raises(StreamClosed, match="goes on as account/2027"):
        accounts.execute("2026", lambda account: [NewEvent("noted", {"n": 1})])
    accounts.execute("2027", lambda account: [NewEvent("noted", {"n": 1})])
    assert accounts.load("2027").balance == 10


def test_links_of_a_stream_that_is_not_there_are_not_found(store: EventStore) -> None:
    with pytest.raises(NotFound, match="account/2026"):
        store.stream_links("account", "2026")
    with pytest.raises(NotFound, match="no such"):
        store.stream_links("account", "2026", log="no such")
