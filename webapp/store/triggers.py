"""Append-only, enforced by the database itself: the triggers that refuse to change or remove what was recorded."""

from __future__ import annotations

import re

import sqlalchemy as sa

from webapp.store.dialects import Dialect

events, streams, types = "projectionist_events", "projectionist_streams", "projectionist_types"
_why = "append-only: {what} of {table} is refused, because events are never changed or removed. Record a new event."


def _message(what: str, table: str) -> str:
    return _why.format(what=what, table=table)


refuse = "projectionist_refuse"


def create_triggers(dialect_name: str) -> dict[str, str]:
    """The statements that make the triggers on one database, by the triggers' names, in order.

    On PostgreSQL the first makes the function `projectionist_refuse`, which may be there already.
    """
    make = {"postgresql": _postgresql, "sqlite": _sqlite}.get(dialect_name, _mysql)
    return {_name.search(statement)[1]: statement for statement in make()}  # type: ignore[index]


_name = re.compile(r"CREATE (?:OR REPLACE )?(?:TRIGGER|FUNCTION) (?:IF NOT EXISTS )?(\w+)")


def missing_triggers(dialect: Dialect, connection: sa.Connection) -> dict[str, str]:
    """Those statements of create_triggers whose triggers aren't there; none if all are."""
    present = set(connection.exec_driver_sql(dialect.triggers).scalars())
    missing = {name: sql for name, sql in create_triggers(connection.dialect.name).items() if name not in present}
    return missing if missing.keys() - {refuse} else {}


def _postgresql() -> list[str]:
    # Statement triggers: they cost an INSERT nothing, and refuse TRUNCATE too.
    message = _message("' || TG_OP || '", "' || TG_TABLE_NAME || '")
    statements = [
        f"CREATE OR REPLACE FUNCTION {refuse}() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN\n"
        f"    RAISE EXCEPTION USING MESSAGE = '{message}';\n"
        "END $body$"
    ]
    for table, update in ((events, "UPDATE"), (streams, "UPDATE OF id, type_id, aggregate_id")):
        for operation in (update, "DELETE", "TRUNCATE"):
            statements.append(
                f"CREATE TRIGGER {table}_no_{operation.split()[0].lower()} BEFORE {operation} ON {table} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {refuse}()"
            )
    for operation in ("UPDATE OF id, log_id, kind, name", "DELETE", "TRUNCATE"):
        statements.append(
            f"CREATE TRIGGER {types}_no_{operation.split()[0].lower()} BEFORE {operation} ON {types} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {refuse}()"
        )
    return statements


def _sqlite() -> list[str]:
    statements = []
    for table, operation, short in (
        (events, "UPDATE", "update"),
        (events, "DELETE", "delete"),
        (streams, "UPDATE OF id, type_id, aggregate_id", "update"),
        (streams, "DELETE", "delete"),
        (types, "UPDATE OF id, log_id, kind, name", "update"),
        (types, "DELETE", "delete"),
    ):
        statements.append(
            f"CREATE TRIGGER {table}_no_{short} BEFORE {operation} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{_message(short.upper(), table)}'); END"
        )
    # INSERT OR REPLACE removes rows without asking the DELETE trigger (unless recursive_triggers is on).
    for table, taken in (
        (
            events,
            f"EXISTS (SELECT 1 FROM {events} WHERE log_id = NEW.log_id AND position = NEW.position) "
            f"OR EXISTS (SELECT 1 FROM {events} WHERE stream_id = NEW.stream_id AND version = NEW.version) "
            f"OR EXISTS (SELECT 1 FROM {events} WHERE id = NEW.id)",
        ),
        (streams, f"EXISTS (SELECT 1 FROM {streams} WHERE id = NEW.id OR (type_id = NEW.type_id AND aggregate_id = NEW.aggregate_id))"),
        (types, f"EXISTS (SELECT 1 FROM {types} WHERE id = NEW.id OR (log_id = NEW.log_id AND kind = NEW.kind AND name = NEW.name))"),
    ):  # fmt: skip
        statements.append(
            f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} WHEN {taken} "
            f"BEGIN SELECT RAISE(ABORT, 'UNIQUE constraint failed; {_message('INSERT over an existing row', table)}'); END"
        )
    return statements


def _mysql() -> list[str]:
    statements = []
    for table, operation in ((events, "UPDATE"), (events, "DELETE"), (streams, "DELETE"), (types, "DELETE")):
        statements.append(
            f"CREATE TRIGGER IF NOT EXISTS {table}_no_{operation.lower()} BEFORE {operation} ON {table} FOR EACH ROW "
            f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{_message(operation, table)}'"
        )
    for table, fixed in ((streams, ("id", "type_id", "aggregate_id")), (types, ("id", "log_id", "kind", "name"))):
        same = " AND ".join(f"NEW.{column} <=> OLD.{column}" for column in fixed)
        statements.append(
            f"CREATE TRIGGER IF NOT EXISTS {table}_no_update BEFORE UPDATE ON {table} FOR EACH ROW BEGIN IF NOT ({same}) "
            f"THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{_message('UPDATE', table)}'; END IF; END"
        )
    return statements
