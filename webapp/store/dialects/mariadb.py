"""MariaDB 10.6 and newer: like MySQL but for the time limit and how it compares text."""

from __future__ import annotations

from webapp.store.dialects.callers import MariaDbCallers
from webapp.store.dialects.mysql import MySql


class MariaDb(MySql):
    """MariaDB through PyMySQL."""

    name = "MariaDB"
    callers = MariaDbCallers()

    def time_limit_sql(self, seconds: float) -> str:
        # MariaDB's limit is in seconds with fractions and holds for every statement, so writers lift it.
        return f"SET SESSION max_statement_time = {seconds}"

    call = "SET STATEMENT max_statement_time = 0 FOR CALL"
