"""What revisions are written with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import context, op

from webapp.store import routines, triggers
from webapp.store.columns import table_arguments
from webapp.store.dialects import dialect_for


def create_table(
    name: str,
    *parts: sa.Column[Any] | sa.Constraint,
    indexes: Mapping[str, Sequence[str]] | None = None,
    **options: Any,
) -> None:
    """Makes a table and its indexes (name: columns), or what of it is missing.

    On MySQL and MariaDB, where each statement commits by itself, a migration that was killed leaves what it had made.
    """
    op.create_table(name, *parts, if_not_exists=True, **options, **table_arguments)
    made = set()
    if not context.is_offline_mode():
        made = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(name)}
    for index, columns in (indexes or {}).items():
        if index not in made:
            op.create_index(index, name, list(columns))


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Adds a column, unless a migration that was killed has added it already."""
    if not context.is_offline_mode():
        made = {one["name"] for one in sa.inspect(op.get_bind()).get_columns(table)}
        if column.name in made:
            return
    op.add_column(table, column)


def create_triggers() -> None:
    """Makes the triggers that refuse changes, those that are missing."""
    if context.is_offline_mode():
        wanted = triggers.create_triggers(op.get_context().dialect.name)
    else:
        wanted = triggers.missing_triggers(dialect_for(op.get_bind().dialect), op.get_bind())
    for statement in wanted.values():
        op.execute(sa.text(statement.replace(":", "\\:")))


def replace_trigger(name: str, table: str) -> None:
    """Makes a trigger anew in today's form."""
    on_table = f" ON {table}" if op.get_context().dialect.name == "postgresql" else ""
    op.execute(f"DROP TRIGGER IF EXISTS {name}{on_table}")
    statement = triggers.create_triggers(op.get_context().dialect.name)[name]
    op.execute(sa.text(statement.replace(":", "\\:")))


def create_routine() -> None:
    """Makes the routine that appends in one round trip, where the database can have one."""
    dialect = op.get_context().dialect
    statement = routines.create_routine(dialect.name, getattr(dialect, "is_mariadb", False))
    if statement is None:
        return
    if context.is_offline_mode():
        op.execute(sa.text(statement.replace(":", "\\:")))
    else:
        dialect_for(op.get_bind().dialect).create_routine(op.get_bind(), statement)
