"""Whose tables a database holds, told by their names, else by their columns."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from webapp.adapters.ecotone import EcotoneSource
from webapp.adapters.ecotone.projections import v1_columns
from webapp.adapters.ecotone.servers import Server, server_for
from webapp.adapters.ecotone.source import actor_keys as default_actor_keys
from webapp.adapters.ecotone.streams import Registry
from webapp.adapters.ecotone.streams import columns as registry_columns
from webapp.adapters.native import NativeSource
from webapp.errors import NeedsMigration, UnknownLayout
from webapp.store.database import Database, page_seconds, parse_url
from webapp.store.source import EventSource
from webapp.store.tables import metadata as our_tables

looked_for = "projectionist_events (our own store) and event_streams (Ecotone)"


def open_source(
    url: str | sa.URL,
    *,
    actor_keys: Sequence[str] = default_actor_keys,
    event_streams: str | None = None,
    projections: str | None = None,
    page_seconds: float = page_seconds,
) -> EventSource:
    """The store of events that a database holds, whoever wrote it.

    Our own tables go first, then Ecotone's. `event_streams` and `projections` name Ecotone's two tables where several
    could be meant; tables with other names than the usual ones are found by their columns. `page_seconds` is the time
    limit of a reading statement.
    Raises UnknownLayout, NeedsMigration or StoreUnavailable with a sentence that says what is missing and what to do.
    """
    database = Database(parse_url(url), page_seconds=page_seconds)
    try:
        with database.reading() as connection:
            tables = set(sa.inspect(connection).get_table_names())
            found = None
            if "projectionist_events" not in tables or event_streams:
                found = _find_ecotone(database, connection, tables, event_streams, projections)
        if found is not None:
            return EcotoneSource(database, event_streams=found[0], projections=found[1], actor_keys=actor_keys)
        if not any(name.startswith("projectionist_") for name in tables):
            raise _unknown(database, tables)
        missing = sorted(set(our_tables.tables) - tables)
        if missing:
            raise NeedsMigration(f"{database.name} lacks {', '.join(missing)}. Run: projectionist migrate URL")
    except BaseException:
        database.close()
        raise
    database.close()
    return _open_ours(url, page_seconds)


def _open_ours(url: str | sa.URL, page_seconds: float) -> EventSource:
    store = NativeSource.open(url, page_seconds=page_seconds)
    try:
        store.check()
    except BaseException:
        store.close()
        raise
    return store


def _find_ecotone(
    database: Database, connection: sa.Connection, tables: set[str], event_streams: str | None, projections: str | None
) -> tuple[str, str | None] | None:
    """Ecotone's registry and V1's projections, None if there is no registry; raises UnknownLayout for half a layout."""
    if database.dialect.name == "SQLite":
        return None
    server = server_for(database)

    def find(usual: str, columns: frozenset[str], named: str | None) -> str | None:
        """The table of a purpose: the one named, else the usual one, else the only one with its columns."""
        if named is not None and named not in tables:
            raise UnknownLayout(
                f"{database.name} has no table {named}. Mend the name, or leave it out to have it found."
            )
        wanted = named or (usual if usual in tables else None)
        if wanted is not None:
            lacking = columns - server.columns_of(connection, wanted)
            if not lacking or lacking == columns:  # without rights none is seen, and reading it tells which to grant
                return wanted
        fitting = server.tables_with(connection, columns)
        if len(fitting) > 1:
            raise UnknownLayout(
                f"{database.name} has several tables that can be Ecotone's {usual}: {', '.join(fitting)}. "
                f"Choose one with {usual}=…"
            )
        if wanted is not None and not fitting:
            raise UnknownLayout(
                f"{database.name} has a table {wanted} that lacks columns of Ecotone's: {', '.join(sorted(lacking))}. "
                f"Restore them, or name another table with {usual}=…"
            )
        return fitting[0] if fitting else None

    registry = find("event_streams", registry_columns, event_streams)
    if registry is None:
        return None
    _require_streams(database, server, connection, registry)
    return registry, find("projections", v1_columns, projections)


def _require_streams(database: Database, server: Server, connection: sa.Connection, registry: str) -> None:
    missing = [stream for stream in Registry(server, registry).all(connection) if stream.strategy is None]
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        stream = missing[0]
        raise UnknownLayout(
            f"{database.name}: {registry} names the stream “{stream.name}”, whose table {stream.table} is missing or "
            f"hidden from this user{more}. Restore it, grant SELECT on it, or remove the row of a deleted stream."
        )


def _unknown(database: Database, tables: set[str]) -> UnknownLayout:
    if not tables:
        return UnknownLayout(
            f"{database.name} has no tables (or none that this user may see). To make it an event store of our own, "
            "run: projectionist migrate URL"
        )
    return UnknownLayout(
        f"{database.name} has {len(tables):,} tables, but none that is known. Looked for {looked_for}. "
        "Is it the right database, and the right schema? A new store of our own is made by: projectionist migrate URL"
    )
