"""`projectionist migrate`: our tables, made or upgraded."""

from __future__ import annotations

import click

from webapp.cli.common import say
from webapp.store import EventStore
from webapp.store.database import parse_url
from webapp.store.migrate import migration_sql


@click.command()
@click.argument("url")
@click.option("--sql", "only_sql", is_flag=True, help="Print the SQL for a DBA to run, and change nothing.")
@click.option("--without-triggers", is_flag=True, help="Leave out the triggers that make events append-only.")
def migrate(url: str, only_sql: bool, without_triggers: bool) -> None:
    """Create or upgrade our own tables in the database at URL. Safe to repeat; several at once wait for each other."""
    if only_sql:
        backend = parse_url(url).get_backend_name()
        click.echo(migration_sql(backend, with_triggers=not without_triggers))
        return
    store = EventStore.open(url)
    try:
        store.migrate(with_triggers=not without_triggers)
        say(f"{store.database.name} is ready.")
    finally:
        store.close()
