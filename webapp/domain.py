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
from webapp.store.events import RecordedEvent

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
            if type_ in self.aggregates:
                raise InvalidDefinition(f"The aggregate type {type_} is defined twice. Keep one.")
            name = f"{evolve.__module__}.{evolve.__qualname__}"
            self.aggregates[type_] = AggregateDefinition(type_, initial, evolve, name)
            return evolve

        return register

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
