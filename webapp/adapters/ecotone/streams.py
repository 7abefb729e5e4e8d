"""Which streams there are: Ecotone's registry, with the strategy that each table was made for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from webapp.adapters.ecotone.servers import Server, Strategy

columns = frozenset({"no", "real_stream_name", "stream_name", "metadata", "category"})
streams_a_page = 2000
tables_a_query = 100
emitted = "projection_"


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream: its real name, its table, and that table as an identifier in SQL; no strategy: no such table."""

    name: str
    table: str
    sql: str
    category: str | None
    strategy: Strategy | None
    metadata: str | None = None

    @property
    def is_indexed(self) -> bool:
        """Whether its events can be looked up by aggregate."""
        return self.strategy == "partition"

    @property
    def derived_from(self) -> str | None:
        """The projection that emits into it, which its name tells."""
        return self.name.removeprefix(emitted) if self.name.startswith(emitted) else None


class Registry:
    """Reads `event_streams`. A table's strategy never changes, so it is remembered. Thread-safe."""

    def __init__(self, server: Server, table: str) -> None:
        self.table = table
        self._server = server
        self._strategies: dict[str, Strategy] = {}

    def all(self, connection: sa.Connection) -> list[Stream]:
        """Every stream, by name in byte order."""
        rows: list[Any] = []
        while True:
            query = f"WHERE no > {rows[-1].no if rows else 0} ORDER BY no LIMIT {streams_a_page}"
            page = self._rows(connection, query, {})
            rows += page
            if len(page) < streams_a_page:
                return sorted(self._streams(connection, rows), key=lambda stream: stream.name.encode())

    def find(self, connection: sa.Connection, name: str) -> Stream | None:
        """The stream of that very name, None if there is none."""
        rows = self._rows(connection, f"WHERE {self._server.is_named(name)} ORDER BY no LIMIT 10", {"name": name})
        return next((stream for stream in self._streams(connection, rows) if stream.name == name), None)

    def _rows(self, connection: sa.Connection, condition: str, parameters: dict[str, Any]) -> Sequence[Any]:
        columns = f"no, real_stream_name, stream_name, category, {self._server.text_of('metadata')} AS metadata"
        query = f"SELECT {columns} FROM {self._server.quote(self.table)} {condition}"
        return connection.execute(sa.text(query), parameters).all()

    def _streams(self, connection: sa.Connection, rows: Iterable[Any]) -> list[Stream]:
        found = [(row, row.stream_name.rstrip()) for row in rows]
        if any(table not in self._strategies for _, table in found):
            self._strategies = self._server.strategies(connection)
        return [
            Stream(
                row.real_stream_name,
                table,
                self._server.quote(table),
                row.category,
                self._strategies.get(table),
                row.metadata,
            )
            for row, table in found
        ]


def gather(
    connection: sa.Connection, branches: Sequence[str], parameters: dict[str, Any] | None = None
) -> Iterator[Any]:
    """The rows of many small queries, a hundred to a statement, so that thousands of streams cost tens of them."""
    for start in range(0, len(branches), tables_a_query):
        statement = "\nUNION ALL\n".join(f"({branch})" for branch in branches[start : start + tables_a_query])
        yield from connection.execute(sa.text(statement), parameters or {})
