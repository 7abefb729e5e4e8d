"""Column types that mean the same on all four databases."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeDecorator, UserDefinedType


class _MySqlName(UserDefinedType[str]):
    """Text that compares byte by byte, trailing spaces included; the collation of that kind differs per server."""

    cache_ok = True

    def __init__(self, length: int) -> None:
        self.length = length


@compiles(_MySqlName, "mysql")
@compiles(_MySqlName, "mariadb")
def _compile_name(type_: _MySqlName, compiler: Any, **_: Any) -> str:
    # By the server, not by the URL: a MariaDB server is often reached by a mysql:// URL.
    collation = "utf8mb4_nopad_bin" if compiler.dialect.is_mariadb else "utf8mb4_0900_bin"
    return f"VARCHAR({type_.length}) CHARACTER SET utf8mb4 COLLATE {collation}"


class Name(TypeDecorator[str]):
    """A name of at most `length` characters, compared byte by byte: 'Ab' is not 'aB', '42' is not '42 '."""

    impl = sa.String
    cache_ok = True

    def __init__(self, length: int) -> None:
        self.length = length
        super().__init__(length)

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(_MySqlName(self.length))
        if dialect.name == "postgresql":
            # Ordered by bytes like the others, whatever the database's locale says.
            return dialect.type_descriptor(sa.String(self.length, collation="C"))
        return dialect.type_descriptor(sa.String(self.length))


class UtcDateTime(TypeDecorator[dt.datetime]):
    """A moment with microseconds; goes in and comes out timezone-aware, in UTC."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.DateTime(timezone=True))
        return dialect.type_descriptor(sa.DateTime())

    def process_bind_param(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; give it one")
        value = value.astimezone(dt.UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class EventId(TypeDecorator[uuid.UUID]):
    """A UUID in 16 bytes (PostgreSQL: its own type), which keeps indexes narrow."""

    impl = sa.LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.Uuid())
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.BINARY(16))
        return dialect.type_descriptor(sa.LargeBinary(16))

    def process_bind_param(self, value: uuid.UUID | None, dialect: sa.Dialect) -> Any:
        return value if value is None or dialect.name == "postgresql" else value.bytes

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> uuid.UUID | None:
        return value if value is None or isinstance(value, uuid.UUID) else uuid.UUID(bytes=bytes(value))


def LongText() -> Any:
    """Text without a practical limit, kept as written (never json or jsonb, which alter it)."""
    return sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


def BigId() -> Any:
    """A 64-bit number that can count itself up; SQLite does that for INTEGER alone."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


table_arguments: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
}
