"""What was done by whom: every act becomes an event in home's own store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from webapp.accounts.home import Home
from webapp.store import Append, NewEvent


def record(
    home: Home,
    actor: str | None,
    type: str,
    data: Mapping[str, Any] | None = None,
    *,
    person: str | None = None,
    store: str | None = None,
    address: str | None = None,
    connection: sa.Connection | None = None,
) -> None:
    """Appends an act to home's events: about a person or a store (one of them), or else about the actor.

    With a connection it joins that transaction, last before its commit, since it holds the log's counter from here on.
    `actor` None means the program itself. Never put hashes, tokens or passwords into `data`: events can't be forgotten.
    """
    aggregate = ("store", store) if store is not None else ("person", person or actor or "system")
    metadata = {"actor": actor or "system"} | ({"address": address} if address else {})
    append = Append(*aggregate, [NewEvent(type, dict(data or {}), metadata)])
    if connection is None:
        home.events.append_many([append])
    else:
        home.events.append_in(connection, [append])
