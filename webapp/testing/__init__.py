"""The testing kit: given/when/then for what decides and what projects, a store in memory, and a clock that stands.

```python
from webapp.testing import given

def test_a_withdrawal_lowers_the_balance():
    given(Account, Opened("ann"), Deposited(10)).when(Account.withdraw, 5).then(Withdrawn(5)).then_state({"balance": 5})

def test_nobody_takes_out_more_than_there_is():
    given(Account, Opened("ann")).when(lambda account: account.withdraw(5)).then_raises(Overdrawn, match="0 is less than 5")
```
The same words go for a `Decider`, a class marked `@saga` and a `Projection`; see `given`. With pytest the fixtures
`clock`, `memory_store` and `event_store` are there by themselves, see `webapp.testing.plugin`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from webapp.testing.aggregates import AggregateScenario
    from webapp.testing.clock import Clock
    from webapp.testing.deciders import DeciderScenario
    from webapp.testing.feeding import stream
    from webapp.testing.memory import MemoryStore
    from webapp.testing.memory_snapshots import MemorySnapshots
    from webapp.testing.projections import ProjectionScenario
    from webapp.testing.sagas import SagaScenario
    from webapp.testing.scenario import ScenarioNotChecked
    from webapp.testing.starting import given
    from webapp.testing.temporary import temporary_store

__all__ = [
    "AggregateScenario",
    "Clock",
    "DeciderScenario",
    "MemorySnapshots",
    "MemoryStore",
    "ProjectionScenario",
    "SagaScenario",
    "ScenarioNotChecked",
    "given",
    "stream",
    "temporary_store",
]

_modules = {
    "AggregateScenario": "aggregates",
    "Clock": "clock",
    "DeciderScenario": "deciders",
    "MemorySnapshots": "memory_snapshots",
    "MemoryStore": "memory",
    "ProjectionScenario": "projections",
    "SagaScenario": "sagas",
    "ScenarioNotChecked": "scenario",
    "given": "starting",
    "stream": "feeding",
    "temporary_store": "temporary",
}


def __getattr__(name: str) -> Any:
    """Each part, imported when it is first asked for, so that the pytest plugin costs other projects' tests nothing."""
    if name not in _modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_modules[name]}"), name)
