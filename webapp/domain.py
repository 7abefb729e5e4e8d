"""What the code knows and a database can't tell: aggregates and projections, by name."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webapp.errors import InvalidDefinition, InvalidRequest
from webapp.projections.projection import Projection
from webapp.store.aggregates import definition_of
from webapp.store.deciders import Decider, DeciderDefinition
from webapp.store.events import RecordedEvent
from webapp.store.folding import Definition
from webapp.store.history import check_classes
from webapp.store.recording import EventSerializer, RawEvents
from webapp.store.sagas import SagaClass

Evolve = Callable[[Any, RecordedEvent], Any]


@dataclass(frozen=True, slots=True)
class AggregateDefinition:
    """How the state of one type of aggregates follows from its events.

    `initial()` makes the state before the first event, `evolve(state, event)` returns the state after one; `name` is
    the code's name, for people.
    """

    type: str
    initial: Callable[[], Any]
    evolve: Evolve
    name: str


class Domain:
    """Aggregates and projections of one system, given to the dashboard by `--domain MODULE:NAME`."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.aggregates: dict[str, AggregateDefinition] = {}
        self.projections: dict[str, Projection] = {}

    def aggregate(self, type_: str, initial: Callable[[], Any] = dict) -> Callable[[Evolve], Evolve]:
        """Marks a function (state, event) -> state as the fold of a type of aggregates."""

        def register(evolve: Evolve) -> Evolve:
            name = f"{evolve.__module__}.{evolve.__qualname__}"
            self._keep(AggregateDefinition(type_, initial, evolve, name))
            return evolve

        return register

    def add_aggregate(
        self,
        aggregate: type | Decider[Any, Any] | AggregateDefinition,
        aggregate_type: str | None = None,
        *,
        serializer: EventSerializer | None = None,
    ) -> None:
        """Adds what repositories work with, so that pages and `projectionist state` fold with the same code.

        That is a class marked `@aggregate` or `@saga` (or another, with its `aggregate_type`), a Decider with its
        `aggregate_type`, or an AggregateDefinition. `serializer` is the one of its repository. Raises InvalidDefinition.
        """
        if isinstance(aggregate, AggregateDefinition):
            self._keep(aggregate)
        else:
            self._keep(_as_folded(*_define(aggregate, aggregate_type, serializer)))

    def _keep(self, definition: AggregateDefinition) -> None:
        other = self.aggregates.get(definition.type)
        if other is not None:
            raise InvalidDefinition(
                f"The aggregate type {definition.type} is defined twice, by {other.name} and {definition.name}. Keep one."
            )
        self.aggregates[definition.type] = definition

    def add(self, *projections: Projection) -> None:
        """Adds projections; raises InvalidDefinition if a name or a table is taken."""
        for projection in projections:
            if projection.name in self.projections:
                raise InvalidDefinition(f"Two projections are named {projection.name}. Give one another name.")
            owners = {table.name: other.name for other in self.projections.values() for table in other.tables}
            for table in projection.tables:
                if table.name in owners:
                    raise InvalidDefinition(
                        f"The table {table.name} belongs to the projection {owners[table.name]}. "
                        f"Give {projection.name} another."
                    )
            self.projections[projection.name] = projection


def _define(
    aggregate: Any, aggregate_type: str | None, serializer: EventSerializer | None
) -> tuple[Definition, EventSerializer]:
    """The definition of a class or a decider, and the serializer that its events are read with."""
    if isinstance(aggregate, Decider):
        if aggregate_type is None:
            raise InvalidDefinition("A Decider says no type of aggregates. Give add_aggregate(decider, “its type”).")
        return DeciderDefinition(aggregate, aggregate_type), serializer or RawEvents()
    if isinstance(aggregate, type) and "__saga_key__" in vars(aggregate):
        saga = SagaClass.of(aggregate)
        return saga, serializer or saga.aggregate.settings.serializer or RawEvents()
    if isinstance(aggregate, type) and aggregate_type is None and "__aggregate__" not in vars(aggregate):
        name_of: Callable[[type], str] | None = getattr(serializer, "name_of", None)
        aggregate_type = None if name_of is None else name_of(aggregate)
    found = definition_of(aggregate, aggregate_type)
    serializer = serializer or found.settings.serializer or RawEvents()
    check_classes(found.name, found.handlers, serializer)
    return found, serializer


def _as_folded(definition: Definition, serializer: EventSerializer) -> AggregateDefinition:
    """The same for those who fold event by event, as pages do."""

    def evolve(state: Any, event: RecordedEvent) -> Any:
        for recorded, content in serializer.load_all([event]):
            state = definition.evolve(state, content, recorded)
        return state

    return AggregateDefinition(definition.aggregate_type, definition.blank, evolve, definition.name)


def load_domain(name: str) -> Domain:
    """The Domain that MODULE:NAME names, looked for beside the current folder too; raises InvalidRequest saying why not."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise InvalidRequest(f"“{name}” names no domain. Write MODULE:NAME, such as shop.events:domain.", "domain")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InvalidRequest(
            f"The module {error.name} can't be found, looked for {name} from {folder}.", "domain"
        ) from error
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise InvalidRequest(
            f"{module_name} raises {type(error).__name__} when imported: {error} ({last.filename}:{last.lineno}).",
            "domain",
        ) from error
    domain = getattr(module, attribute, None)
    if not isinstance(domain, Domain):
        raise InvalidRequest(f"{module_name} has no Domain named {attribute}.", "domain")
    return domain
