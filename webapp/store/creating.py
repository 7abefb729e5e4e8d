"""Making a log by hand, which is only needed for one whose writers don't wait for each other."""

from __future__ import annotations

import sqlalchemy as sa

from webapp.errors import Conflict, InvalidRequest
from webapp.store.database import Database
from webapp.store.events import checked_name, log_limit
from webapp.store.tables import logs

orderings = ("dense", "parallel")


def create_log(database: Database, name: str, ordering: str) -> None:
    """See EventStore.create_log."""
    checked_name(name, "log", log_limit)
    if ordering not in orderings:
        raise InvalidRequest(f"A log's ordering is {' or '.join(orderings)}, not {ordering!r}.", field="ordering")
    dialect = database.dialect
    parallel = dialect.parallel
    if not parallel.is_kept:
        ordering = "dense"
    is_parallel = ordering == "parallel"
    with database.writing() as connection:
        if is_parallel:
            parallel.check(connection)
        # Appends that make the log meanwhile are waited for, and have made it dense.
        dialect.lock_log_name(connection, name)
        cursor = connection.connection.cursor()
        sql = (
            f"{dialect.insert_or_ignore} projectionist_logs (name, ordering) VALUES ({{p}}, {{p}}) "
            f"{dialect.ignore_conflict}"
        )
        cursor.execute(sql.replace("{p}", dialect.parameter), (name, ordering))
        row = connection.execute(sa.select(logs.c.id, logs.c.ordering).where(logs.c.name == name)).one()
        if (row.ordering == "parallel") != is_parallel:
            raise Conflict(
                f"The log {name} is there already, and is {row.ordering}. A log keeps its ordering: choose another name."
            )
        if is_parallel:
            parallel.create(connection, row.id)
