"""Throttling of logins, counted by all workers together."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from tests.accounts.conftest import password
from webapp.accounts import tables, throttle
from webapp.accounts.home import Home
from webapp.accounts.people import add_person, set_password
from webapp.accounts.throttle import begin_attempt, end_attempt
from webapp.config import Config
from webapp.errors import TooManyLogins


@pytest.fixture
def other(home: Home, settings: Config) -> Iterator[Home]:
    """A second worker on the same home."""
    other = Home.open(settings)
    yield other
    other.close()


def test_two_workers_count_together(home: Home, other: Home) -> None:
    for number in range(throttle.username_limit):
        begin_attempt((home, other)[number % 2], "ann", f"192.0.2.{number}")
    for worker in (home, other):
        with pytest.raises(TooManyLogins, match=r"Too many failed logins\. Try again in 15 minutes") as caught:
            begin_attempt(worker, "ann", "192.0.2.99")
        assert 880 <= caught.value.retry_after_seconds <= 901
    begin_attempt(other, "bob", "192.0.2.99")


def test_one_address_is_held_up_whatever_names_it_tries(home: Home) -> None:
    for number in range(throttle.address_limit):
        begin_attempt(home, f"name-{number}", "192.0.2.1")
    with pytest.raises(TooManyLogins):
        begin_attempt(home, "another", "192.0.2.1")
    begin_attempt(home, "another", "192.0.2.2")


def test_refused_attempts_do_not_prolong_the_wait(home: Home) -> None:
    for number in range(throttle.username_limit):
        begin_attempt(home, "ann", f"192.0.2.{number}")
    for _ in range(5):
        with pytest.raises(TooManyLogins):
            begin_attempt(home, "ann", "192.0.2.99")
    earlier = throttle.window - dt.timedelta(seconds=2)
    statement = sa.update(tables.login_attempts).values(attempted_at=dt.datetime.now(dt.UTC) - earlier)
    home.database.retrying(lambda connection: connection.execute(statement))
    with pytest.raises(TooManyLogins) as caught:
        begin_attempt(home, "ann", "192.0.2.99")
    assert caught.value.retry_after_seconds <= 3
    statement = sa.update(tables.login_attempts).values(attempted_at=dt.datetime.now(dt.UTC) - throttle.window)
    home.database.retrying(lambda connection: connection.execute(statement))
    begin_attempt(home, "ann", "192.0.2.99")


def test_of_many_attempts_at_once_no_more_than_the_limit_pass(home: Home, other: Home) -> None:
    def attempt(number: int) -> bool:
        try:
            begin_attempt((home, other)[number % 2], "ann", f"192.0.2.{number}")
        except TooManyLogins:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        passed = sum(pool.map(attempt, range(40)))
    assert passed <= throttle.username_limit


def test_a_success_clears_only_the_own_failures(home: Home) -> None:
    for _ in range(throttle.username_limit - 1):
        begin_attempt(home, "ann", "192.0.2.1")
    begin_attempt(home, "bob", "192.0.2.1")
    attempt = begin_attempt(home, "ann", "192.0.2.1")
    end_attempt(home, attempt, "ann", "192.0.2.1")
    with home.database.reading() as connection:
        left = connection.execute(sa.select(tables.login_attempts.c.address)).scalars().all()
    assert left == ["192.0.2.1"], "bob's failure stays"


def test_a_new_password_lets_its_owner_try_at_once(home: Home) -> None:
    add_person(home, "ann", password, [])
    for number in range(throttle.username_limit):
        begin_attempt(home, "ann", f"192.0.2.{number}")
    set_password(home, "ann", "another good one")
    begin_attempt(home, "ann", "192.0.2.99")


def test_what_was_typed_as_a_name_is_not_kept(home: Home) -> None:
    begin_attempt(home, "my secret password", "192.0.2.1")
    with home.database.reading() as connection:
        row = connection.execute(sa.select(tables.login_attempts)).one()
    assert "secret" not in " ".join(str(value) for value in row)
