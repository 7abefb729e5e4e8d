"""Loads the databases that the real Ecotone wrote into servers, once each; MariaDB gets a translation of MySQL's."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from webapp.store.database import parse_url

folder = Path(__file__).parent.parent / "data" / "ecotone"


def read_dump(name: str) -> str:
    """The SQL of a dump."""
    return gzip.decompress((folder / f"{name}.sql.gz").read_bytes()).decode()


def read_facts(backend: str) -> dict[str, Any]:
    """What was counted in a dump by other means; MariaDB holds MySQL's data."""
    facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())
    return facts["postgresql" if backend == "postgresql" else "mysql"]


def load_dump(url: str, backend: str, name: str | None = None) -> None:
    """Fills an empty database."""
    text = read_dump(name or ("ecotone-pg" if backend == "postgresql" else "ecotone-mysql"))
    run_script(url, to_mariadb(text) if backend == "mariadb" else text, backend)


def run_script(url: str, text: str, backend: str) -> None:
    """Runs SQL of several statements through the driver's cursor, as a client would."""
    engine = sa.create_engine(parse_url(url), poolclass=sa.pool.NullPool)
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        statements = [text] if backend == "postgresql" else [line for line in text.splitlines() if line[:2] != "--"]
        for statement in filter(None, statements):
            cursor.execute(statement)  # without parameters, so % stands for itself
        connection.commit()
    finally:
        connection.close()


def to_mariadb(text: str) -> str:
    """MySQL's dump as Ecotone would have made it on MariaDB: JSON as text with a check, its names of keys."""
    return "\n".join(_table_to_mariadb(line) if line.startswith("CREATE TABLE") else line for line in text.splitlines())


def _table_to_mariadb(line: str) -> str:
    checked = r"`\1` longtext\2 CHECK (`\1` IS NULL OR JSON_VALID(`\1`))"
    line = re.sub(r"`(\w+)` json( NOT NULL| DEFAULT NULL)", checked, line)
    line = line.replace("utf8mb4_0900_ai_ci", "utf8mb4_unicode_ci")
    line = line.replace(" STORED NOT NULL", " STORED")  # MariaDB has no generated columns that are NOT NULL
    return line.replace("UNIQUE KEY `aggregate_version`", "UNIQUE KEY `ix_aggregate_version`")
