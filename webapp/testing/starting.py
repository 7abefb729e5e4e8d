"""Where every scenario begins."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from webapp.errors import InvalidRequest
from webapp.projections.projection import Projection
from webapp.store.deciders import Decider
from webapp.testing.aggregates import AggregateScenario
from webapp.testing.deciders import DeciderScenario
from webapp.testing.projections import ProjectionScenario
from webapp.testing.sagas import SagaScenario

C = TypeVar("C")
S = TypeVar("S")


@overload
def given(subject: Decider[C, S], /, *events: Any, **options: Any) -> DeciderScenario[C, S]: ...
@overload
def given(subject: Projection, /, *events: Any, **options: Any) -> ProjectionScenario: ...
@overload
def given(subject: type[Any], /, *events: Any, **options: Any) -> Any: ...
def given(subject: Any, /, *events: Any, **options: Any) -> Any:
    """A scenario of what is tested, after the events that have happened before.

    ```python
    given(Account, Opened("ann"), Deposited(10)).when(Account.withdraw, 5).then(Withdrawn(5))
    given(bulb, Fitted(60), serializer=serializer).when(("light", None)).then(Lit())
    given(Fulfilment, OrderPlaced("42")).after(days=3).then(Send("order.cancel", {"order": "42"}), Complete())
    given(totals).when(stream("order", "42", OrderPlaced(5))).then_rows("totals", {"42": {"total": 5}})
    ```
    A class is an aggregate's, or a saga's if it's marked `@saga`; events may be objects that the serializer knows,
    NewEvent, or (type, data). Options: `serializer` and `clock` for all, `id` for an aggregate or decider (one is made
    up if the test doesn't care), `aggregate_type` for a decider, `store` for a projection. Raises InvalidRequest for
    what is none of these, and what the events themselves raise.
    """
    if isinstance(subject, Decider):
        return DeciderScenario(subject, events, **options)
    if isinstance(subject, Projection):
        return ProjectionScenario(subject, events, **options)
    if not isinstance(subject, type):
        raise InvalidRequest(
            f"given() takes a class marked @aggregate or @saga, a Decider or a Projection; {subject!r:.80} is none of "
            "these.",
            "subject",
        )
    if "__saga_key__" in vars(subject):
        return SagaScenario(subject, events, **options)
    return AggregateScenario(subject, events, **options)
