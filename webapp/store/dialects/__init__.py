"""What differs between databases, as named operations; nobody else asks a dialect its name."""

from __future__ import annotations

from sqlalchemy import Dialect as SqlAlchemyDialect

from webapp.store.dialects.base import Dialect
from webapp.store.dialects.mariadb import MariaDb
from webapp.store.dialects.mysql import MySql
from webapp.store.dialects.postgresql import PostgreSql
from webapp.store.dialects.sqlite import Sqlite

__all__ = ["Dialect", "dialect_for"]


def dialect_for(connected: SqlAlchemyDialect) -> Dialect:
    """Our operations for a SQLAlchemy dialect that has connected once: a mysql:// URL may lead to a MariaDB server."""
    if connected.name == "postgresql":
        return PostgreSql()
    if connected.name == "sqlite":
        return Sqlite()
    return MariaDb() if getattr(connected, "is_mariadb", False) else MySql()
