"""Alembic's entry: runs the revisions on the connection that `webapp.store.migrate` hands over."""

from __future__ import annotations

from typing import Any

from alembic import context

options: Any = {"version_table": "projectionist_version", "transaction_per_migration": False}
connection = context.config.attributes.get("connection")

if connection is not None:
    context.configure(connection=connection, **options)
else:
    context.configure(
        dialect_name=context.config.attributes["dialect_name"],
        literal_binds=True,
        as_sql=True,
        output_buffer=context.config.attributes["output"],
        **options,
    )
with context.begin_transaction():
    context.run_migrations()
