"""given(decider, events).when(commands).then(events)."""

from __future__ import annotations

import pytest

from tests.store.test_deciders import FIT, LIGHT, Broke, Bulb, Fitted, Lit, bulb, serializer
from webapp.errors import AlreadyEnded
from webapp.store import Decider
from webapp.testing import given


def test_commands_are_decided_on_the_events_given() -> None:
    given(bulb, Fitted(60), serializer=serializer).when(LIGHT).then(Lit()).then_state(Bulb(60, 1))
    given(bulb, serializer=serializer).when(FIT, LIGHT).then(Fitted(60), Lit()).then_state({"uses_left": 1})
    given(bulb, Fitted(60), Lit(), Lit(), serializer=serializer).when(LIGHT).then(Broke())


def test_refusals_and_ends_are_expected_by_kind() -> None:
    given(bulb, serializer=serializer).when(("smash", None)).then_raises(ValueError, match="no such command")
    given(bulb, Broke(), serializer=serializer).when(LIGHT).then_raises(AlreadyEnded).then_raises(Exception)


def test_a_decider_of_plain_values_is_claimed_by_them() -> None:
    counter: Decider[int, int] = Decider(
        0, lambda by, _: ("counted", {"by": by}) if by else None, lambda n, event: n + event.data["by"]
    )
    scenario = given(counter, ("counted", {"by": 2})).when(3).then(("counted", {"by": 3})).then_state(5)
    scenario.when(0).then_nothing().then_state(lambda n: n == 5)
    with pytest.raises(AssertionError, match=r"≠ 6 +│ 5"):
        scenario.then_state(6)
    with pytest.raises(AssertionError, match=r"≠ 5\.0 +│ 5"):
        scenario.then_state(5.0)
