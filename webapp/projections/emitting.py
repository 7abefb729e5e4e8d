"""Derived logs: where a projection's own events go, and what becomes of them when it's deleted."""

from __future__ import annotations

import sqlalchemy as sa

from webapp.projections.projection import Projection
from webapp.projections.tables import projections
from webapp.store.dialects import Dialect
from webapp.store.tables import logs


def find_derived_log(connection: sa.Connection, dialect: Dialect, projection: Projection) -> str:
    """The name of the projection's log, made when it first emits; a retired one of the name is left alone."""
    current = sa.select(projections.c.derived_log).where(projections.c.name == projection.name)
    name = connection.execute(current).scalar_one_or_none()
    if name is not None:
        return str(name)
    taken = set(
        connection.execute(sa.select(logs.c.name).where(logs.c.name.startswith(projection.derived_log))).scalars()
    )
    name, number = projection.derived_log, 1
    while name in taken:
        number += 1
        name = f"{projection.derived_log}-{number}"
    connection.execute(sa.insert(logs).values(name=name, derived_from=projection.name))
    connection.execute(sa.update(projections).where(projections.c.name == projection.name).values(derived_log=name))
    return name


def retire_derived_log(connection: sa.Connection, dialect: Dialect, name: str) -> None:
    """Closes a derived log for good: it stays readable as evidence, and takes no more events."""
    connection.execute(sa.update(logs).where(logs.c.name == name).values(retired_at=dialect.clock(connection)))
