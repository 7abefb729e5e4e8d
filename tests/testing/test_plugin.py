"""A project of somebody else's that tests with the plugin, which pytest finds by itself."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

pytest_plugins = ("pytester",)

DOMAIN = """
from dataclasses import dataclass

from webapp.store import Aggregate, Serializer, aggregate, applies

serializer = Serializer()


@serializer.event("account.opened")
@dataclass(frozen=True)
class Opened:
    owner: str


@serializer.event("account.withdrawn")
@dataclass(frozen=True)
class Withdrawn:
    amount: int


class Overdrawn(Exception):
    pass


@aggregate("account", id="number", serializer=serializer)
@dataclass
class Account(Aggregate):
    number: str
    balance: int = 10

    def withdraw(self, amount):
        if amount > self.balance:
            raise Overdrawn(f"{self.balance} is less than {amount}")
        self.record(Withdrawn(amount))

    @applies(Opened)
    def _opened(self, event):
        pass

    @applies(Withdrawn)
    def _withdrawn(self, event):
        self.balance -= event.amount
"""

TESTS = """
from bank import Account, Opened, Overdrawn, Withdrawn

from webapp.store import EventStore, NewEvent, Repository
from webapp.testing import given


def test_passes():
    given(Account, Opened("ann")).when(Account.withdraw, 5).then(Withdrawn(5)).then_state({"balance": 5})


def test_fails():
    given(Account, Opened("ann")).when(lambda account: account.withdraw(5)).then(Withdrawn(6))


def test_raises_unexpectedly():
    given(Account, Opened("ann")).when(Account.withdraw, 50).then(Withdrawn(50))


def test_proves_nothing():
    given(Account, Opened("ann")).when(Account.withdraw, 5)


def test_time_is_the_stores_and_the_tests(clock, memory_store):
    accounts = Repository(memory_store, Account)
    accounts.execute_or_create("1", Account.withdraw, 1)
    clock.advance(hours=1)
    saved = accounts.execute("1", Account.withdraw, 2)
    assert saved.aggregate.balance == 7
    assert saved.events[0].recorded_at == clock.now == memory_store.log("main").last_at
    assert clock.now.isoformat() == "2026-01-01T13:00:00+00:00"


def test_stores_are_new_each_time(memory_store, event_store):
    assert [*memory_store.logs(), *event_store.logs()] == []
    assert isinstance(event_store, EventStore)
    for store in (memory_store, event_store):
        assert store.append("order", "1", [NewEvent("noted", 1)], expected_version=0)[0].position == 1


def test_stores_are_new_again(memory_store, event_store):
    assert [*memory_store.logs(), *event_store.logs()] == []
"""


def test_a_project_tests_with_it_and_failures_are_readable(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(bank=DOMAIN, test_bank=TESTS)
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--tb=short", "-rA")
    done.assert_outcomes(passed=4, failed=3)
    done.stdout.fnmatch_lines(
        [
            "test_bank.py:*: in test_fails",
            "E   AssertionError: Account recorded other events than expected.",
            'E       "type": "account.withdrawn", │   "type": "account.withdrawn",',
            'E   ≠     "amount": 6*│     "amount": 5',
            "test_bank.py:*: in test_raises_unexpectedly",
            "E   AssertionError: Account raised Overdrawn: 10 is less than 50.",
            "E   The step's own error:",
            '*bank.py", line *, in withdraw',
            "*ScenarioNotChecked: A step of Account was never looked at. End the scenario with then*",
        ]
    )
    about_failures = done.stdout.str().partition("___ test_proves_nothing")[0]
    assert "webapp/testing" not in about_failures, "our own frames are left out"


def test_a_projects_own_fixture_of_the_name_takes_its_place(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import pytest\n\n@pytest.fixture\ndef clock():\n    return 'ours'\n")
    pytester.makepyfile("def test_it(clock):\n    assert clock == 'ours'\n")
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_its_fixtures_say_what_they_are(pytester: pytest.Pytester) -> None:
    done = pytester.runpytest_subprocess("--fixtures", "-p", "no:cacheprovider")
    done.stdout.fnmatch_lines_random(
        [
            "clock -- *webapp/testing/plugin.py*", "*A clock that stands until it is moved*",
            "memory_store -- *", "event_store -- *",
        ]
    )  # fmt: skip


def test_it_costs_a_project_that_asks_for_nothing_next_to_nothing() -> None:
    assert [found.name for found in entry_points(group="pytest11") if found.value == "webapp.testing.plugin"] == [
        "projectionist"
    ]
    script = (
        "import sys, pytest; before = set(sys.modules); import webapp.testing.plugin; "
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "['webapp', 'webapp.testing', 'webapp.testing.plugin']\n"


def test_the_kit_works_where_flask_and_pytest_are_not() -> None:
    script = """
import sys
sys.modules.update(dict.fromkeys(("flask", "werkzeug", "jinja2", "pytest"), None))
import webapp.testing
for name in webapp.testing.__all__:
    getattr(webapp.testing, name)
layers = {"web", "queries", "audit", "replay", "domain", "accounts", "adapters", "cli", "app"}
print(sorted(name for name in sys.modules if name.startswith("webapp.") and name.split(".")[1] in layers))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    import webapp.testing

    with pytest.raises(AttributeError, match="has no attribute 'gven'"):
        webapp.testing.gven  # noqa: B018
