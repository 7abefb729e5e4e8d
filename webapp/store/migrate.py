"""Creating and upgrading our own tables: Alembic, run from code, one at a time per database."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from webapp.errors import NeedsMigration, StoreUnavailable
from webapp.store.database import Database
from webapp.store.routines import block as routine_block
from webapp.store.triggers import missing_triggers

log = logging.getLogger(__name__)
_package = Path(__file__).resolve().parent.parent
_folders = {"store": _package / "store/migrations/versions", "home": _package / "accounts/migrations"}
_version_table = "projectionist_version"


def _config(branches: Sequence[str]) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_package / "store/migrations"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(str(_folders[branch]) for branch in branches))
    return config


def migrate(database: Database, branches: Sequence[str] = ("store",), *, with_triggers: bool = True) -> None:
    """Brings our tables to this version's form, under a lock, since several workers may start at once; safe to repeat.

    With triggers, also makes those that an earlier migration without them left out. Raises StoreUnavailable saying
    which right is missing where triggers can't be made.
    """
    with_triggers = with_triggers and "store" in branches
    with database.writing() as connection:
        present = current_versions(connection)
        _refuse_newer(database, present)
        is_current = set(expected_versions(branches)) <= present
        if is_current and not (with_triggers and missing_triggers(database.dialect, connection)):
            return
    database.dialect.prepare_database(database)
    with database.writing() as connection, database.dialect.migration_lock(connection):
        config = _config(_all_branches(connection, branches))
        config.attributes |= {"connection": connection, "triggers": with_triggers}
        try:
            for branch in branches:
                command.upgrade(config, f"{branch}@head")
            if with_triggers:
                for statement in missing_triggers(database.dialect, connection).values():
                    connection.exec_driver_sql(statement)
        except sa.exc.DBAPIError as error:
            if not _is_about_triggers(error):
                raise
            if not is_current:
                raise StoreUnavailable(
                    f"{database.name} doesn't let this user make triggers: {error.orig}. Grant TRIGGER (on MySQL with a "
                    "binary log also set log_bin_trust_function_creators=1), or run migrate with --without-triggers."
                ) from error
            # On MySQL and MariaDB a user without that right can't see either whether they are there.
            log.info("%s: this user can't make triggers that may be missing: %s", database.name, error.orig)
    log.info("migrated %s (%s)", database.name, ", ".join(branches))


def _all_branches(connection: sa.Connection, branches: Sequence[str]) -> list[str]:
    """The branches asked for and those already there: Alembic wants to know every revision that the table names."""
    present = {version.rpartition("_")[0] for version in current_versions(connection)}
    return [branch for branch in _folders if branch in branches or branch in present]


def _is_about_triggers(error: sa.exc.DBAPIError) -> bool:
    is_denied = any(word in str(error.orig) for word in ("denied", "SUPER", "must be owner"))
    return "TRIGGER" in (error.statement or "").upper() and is_denied


def migration_sql(dialect_name: str, branches: Sequence[str] = ("store",), *, with_triggers: bool = True) -> str:
    """The SQL that makes our tables from nothing on one kind of database, for a DBA to read and run."""
    output = io.StringIO()
    config = _config(branches)
    config.attributes |= {"dialect_name": dialect_name, "output": output, "triggers": with_triggers}
    config.output_buffer = output
    for branch in branches:
        command.upgrade(config, f"{branch}@head", sql=True)
    # The command-line clients of MySQL and MariaDB would end a statement at its inner semicolons.
    trigger = re.compile(r"^(CREATE TRIGGER IF NOT EXISTS .* BEGIN .* END);$", re.MULTILINE)
    script = output.getvalue()
    for block in (trigger, routine_block):
        script = block.sub(r"DELIMITER //\n\1//\nDELIMITER ;", script)
    return script


def current_versions(connection: sa.Connection) -> set[str]:
    """The revisions that the database says it has, none where it was never migrated."""
    return set(MigrationContext.configure(connection, opts={"version_table": _version_table}).get_current_heads())


def expected_versions(branches: Sequence[str]) -> list[str]:
    """The newest revision of each branch in this version of the code."""
    return list(ScriptDirectory.from_config(_config(branches)).get_heads())


def _refuse_newer(database: Database, present: set[str]) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config(list(_folders))).walk_revisions()}
    if present - known:
        raise NeedsMigration(
            f"The tables in {database.name} were made by a newer version of Projectionist "
            f"({', '.join(sorted(present - known))}). Install that version."
        )


def check(database: Database, branches: Sequence[str] = ("store",)) -> None:
    """Raises NeedsMigration, with the command to run, unless our tables are there in this version's form."""
    with database.reading() as connection:
        present = current_versions(connection)
    _refuse_newer(database, present)
    missing = set(expected_versions(branches)) - present
    if missing:
        raise NeedsMigration(
            f"{database.name} needs our tables made or upgraded ({', '.join(sorted(missing))} missing). "
            "Run: projectionist migrate URL"
        )
