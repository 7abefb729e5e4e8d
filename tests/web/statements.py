"""Every SELECT that pages send to SQLite, and whether something bounds what it reads: a limit, or a unique key."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

catalogs = {
    # One row for each name in somebody's code, not for each event: a page may list them all.
    "projectionist_logs", "projectionist_types", "projectionist_projections", "projectionist_checkpoints",
    "projectionist_version", "sqlite_master", "sqlite_temp_master",
    # One row for each event that a person chose to leave out of a projection, by hand.
    "projectionist_skips",
}  # fmt: skip
most_rows = 10_001
most_counted = 1_000
"""Events that may be counted one by one, what totals kept elsewhere don't hold yet; less than tests have in a log."""
_outer_limit = re.compile(r"\bLIMIT (\d+)(?: OFFSET (\d+))?\s*$")
_inner_limits = re.compile(r"\bLIMIT \d+(?: OFFSET 0)?\s*\)")
_words = "WHERE|ON|JOIN|INNER|LEFT|ORDER|GROUP|LIMIT|UNION|CROSS|OUTER"
_from = re.compile(rf'\b(?:FROM|JOIN)\s+"?(\w+)"?(?:\s+(?:AS\s+)?(?!(?:{_words})\b)(\w+))?', re.IGNORECASE)
_access = re.compile(
    r"(?P<how>SCAN|SEARCH) (?P<name>\S+)(?: USING (?P<using>.*?)(?: \((?P<terms>.*)\))?)?(?: LEFT-JOIN)?$"
)
_one_end = re.compile(
    r"(?:^\s*|\()SELECT (?:max|min)\((?:\w+\.)?(\w+)\) FROM \w+(?: \w+)? WHERE ([^()]*)(?:\)|$)", re.IGNORECASE
)
_subquery = re.compile(r"SCALAR SUBQUERY|^CO-ROUTINE|^MATERIALIZE")
_gathers = re.compile(
    r"\b(count|sum|avg|total|max|min|group_concat)\s*\(|\bGROUP BY\b|\bSELECT DISTINCT\b", re.IGNORECASE
)


@dataclass
class Statements:
    """What was sent, by the page that sent it: (page, database file, SQL with its values in it)."""

    page: str = ""
    sent: list[tuple[str, str, str]] = field(default_factory=list)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Hears every connection to SQLite that is made inside the block, whoever makes it and however it's used."""

        def listen(connection: Any, _record: Any) -> None:
            file = connection.execute("PRAGMA database_list").fetchone()[2]
            if not file:  # a scratch of the process itself, which is as large as what it put there
                return
            connection.set_trace_callback(lambda sql: self.sent.append((self.page, file, sql)))

        sa.event.listen(sa.pool.Pool, "connect", listen)
        try:
            yield
        finally:
            sa.event.remove(sa.pool.Pool, "connect", listen)

    def complaints(self) -> list[str]:
        """A sentence for each SELECT that nothing bounds, each text once."""
        seen: dict[tuple[str, str], str] = {}
        for page, file, sql in self.sent:
            if page and re.match(r"\s*(SELECT|WITH)\b", sql, re.IGNORECASE):
                seen.setdefault((file, re.sub(r"'[^']*'|\d+", "?", sql)), f"{page}\0{sql}")
        found = []
        for (file, _), text in seen.items():
            page, _, sql = text.partition("\0")
            connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
            try:
                wrong = judge(connection, sql)
            finally:
                connection.close()
            if wrong:
                found.append(f"{page} sends a query {wrong}: {sql}")
        return found


def judge(connection: sqlite3.Connection, sql: str) -> str | None:
    """What is wrong with a SELECT, as a phrase; None if it can't read more, however long the logs grow."""
    limit = _outer_limit.search(sql)
    if limit is not None and int(limit[2] or 0) > 0:
        return "that counts its way to a page by OFFSET"
    plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()
    names = {alias: table for table, alias in _tables(sql)}
    excused = _limited_subqueries(sql, plan)
    unbounded = [
        detail for number, parent, _, detail in plan
        if parent not in excused and not _is_bounded(connection, sql, detail, names, plan)
    ]  # fmt: skip
    if not unbounded:
        return None
    if _gathers.search(sql):
        return f"that gathers over rows without a bound ({unbounded[0]})"
    if limit is None or int(limit[1]) > most_rows:
        return f"without a limit ({unbounded[0]})"
    return None


def _tables(sql: str) -> Iterator[tuple[str, str]]:
    for table, alias in _from.findall(sql):
        yield table, table
        if alias:
            yield table, alias


def _limited_subqueries(sql: str, plan: list[tuple[int, int, int, str]]) -> set[int]:
    """The steps of the plan that are subqueries, if each has a limit of its own."""
    subqueries = {number for number, _, _, detail in plan if _subquery.search(detail)}
    return subqueries if len(_inner_limits.findall(sql)) >= len(subqueries) else set()


def _takes_one_end(connection: sqlite3.Connection, sql: str, access: re.Match[str]) -> bool:
    """Whether it asks for nothing but the first or last value in one range of an index, which is where that stands."""
    given = re.findall(r"(\w+)=\?", access["terms"] or "")
    index = (access["using"] or "").split()[-1:]
    columns = [row[2] for name in index for row in connection.execute(f"PRAGMA index_info({name})")]
    if columns[: len(given)] != given:
        return False
    asked = [(column, rest) for column, rest in _one_end.findall(sql) if not re.search(r"\bGROUP BY\b", rest)]
    return bool(asked) and all(column in columns[len(given) : len(given) + 1] for column, _ in asked)


def _is_short_range(sql: str, access: re.Match[str]) -> bool:
    """Whether it goes from one number to another, and those never lie far apart."""
    terms = access["terms"] or ""
    column = next((name for name in re.findall(r"(\w+)>\?", terms) if f"{name}<?" in terms), None)
    ranges = re.findall(rf"\b{column} > (\d+) AND (?:\w+\.)?{column} <=? (\d+)", sql)
    return bool(ranges) and all(int(end) - int(start) <= most_counted for start, end in ranges)


def _is_bounded(
    connection: sqlite3.Connection, sql: str, detail: str, names: dict[str, str], plan: list[tuple[int, int, int, str]]
) -> bool:
    access = _access.match(detail)
    if access is None or detail == "SCAN CONSTANT ROW":
        return True  # sorting, subqueries and the like read no table themselves
    name = access["name"]
    if any(re.fullmatch(rf"(CO-ROUTINE|MATERIALIZE) {re.escape(name)}", step) for *_, step in plan):
        return True  # what it's made of has steps of its own
    table = names.get(name, name)
    if table in catalogs:
        return True
    return access["how"] == "SEARCH" and (
        _is_unique(connection, table, access["using"] or "", access["terms"] or "")
        or _takes_one_end(connection, sql, access)
        or _is_short_range(sql, access)
    )


def _is_unique(connection: sqlite3.Connection, table: str, using: str, terms: str) -> bool:
    """Whether a search gives every column of a unique key a value (or one of some listed values)."""
    given = set(re.findall(r"(\w+)=\?", terms))
    if "INTEGER PRIMARY KEY" in using:
        return "rowid" in given
    keys = []
    for _, index, is_unique, *_ in connection.execute(f"PRAGMA index_list({table})"):
        if is_unique:
            keys.append({row[2] for row in connection.execute(f"PRAGMA index_info({index})")})
    return any(key <= given for key in keys)
