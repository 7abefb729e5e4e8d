"""The adapter only reads, and the right to read is all it needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests.conftest import server_url
from tests.contract.event_source import EventSourceContract
from webapp.adapters import open_source
from webapp.adapters.ecotone import EcotoneSource
from webapp.errors import StoreUnavailable, UnknownLayout
from webapp.store.database import Database, parse_url

password = "only-reads-1"


class Role:
    """A user of the server who may connect to one database."""

    def __init__(self, server: str, url: str, name: str) -> None:
        self._is_postgresql = server == "postgresql"
        self._database = parse_url(url)
        self._server = server_url(server)
        self.name = name if self._is_postgresql else f"{name}@'%'"
        self.url = self._database.set(username=name, password=password).render_as_string(hide_password=False)
        if self._is_postgresql:
            self.run(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        else:
            self.run(f"CREATE USER {self.name} IDENTIFIED BY '{password}'")

    def run(self, statement: str, *, inside: bool = False) -> None:
        engine = sa.create_engine(
            self._database if inside else self._server, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool
        )
        with engine.connect() as connection:
            connection.exec_driver_sql(statement.replace("%", "%%"))

    def may_read(self, what: str = "*") -> None:
        if self._is_postgresql:
            tables = "ALL TABLES IN SCHEMA public" if what == "*" else what
            self.run(f"GRANT SELECT ON {tables} TO {self.name}", inside=True)
        else:
            self.run(f"GRANT SELECT ON {self._database.database}.{what} TO {self.name}")

    def drop(self) -> None:
        if self._is_postgresql:
            self.run(f"DROP OWNED BY {self.name}", inside=True)
            self.run(f"DROP ROLE {self.name}")
        else:
            self.run(f"DROP USER {self.name}")


@pytest.fixture(scope="module")
def reader(server: str, loaded_url: str) -> Iterator[Role]:
    """A role with SELECT on everything in the database, and nothing else."""
    role = Role(server, loaded_url, "ecotone_reader")
    role.may_read()
    yield role
    role.drop()


@pytest.fixture
def stranger(server: str, loaded_url: str) -> Iterator[Role]:
    """A role that may connect to the database, and nothing else."""
    role = Role(server, loaded_url, "ecotone_stranger")
    yield role
    role.drop()


class TestWithOnlySelect(EventSourceContract):
    """The whole contract under a role that may only read."""

    @pytest.fixture
    def source(self, reader: Role) -> Iterator[EcotoneSource]:
        source = open_source(reader.url)
        assert isinstance(source, EcotoneSource)
        yield source
        source.close()


def test_the_role_really_may_not_write(reader: Role) -> None:
    database = Database(reader.url)
    with pytest.raises(StoreUnavailable, match="denied"), database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM projections")
    database.close()


def test_even_a_role_that_may_write_does_not_get_to(source: EcotoneSource) -> None:
    for statement in ("DELETE FROM projections", "UPDATE event_streams SET category = 'x'"):
        with pytest.raises(StoreUnavailable, match=r"(?i)read.?only"), source._reading() as connection:
            connection.exec_driver_sql(statement)


def test_without_the_right_to_read_a_sentence_says_so(stranger: Role, server: str) -> None:
    if server != "postgresql":  # there the database itself is closed to those without any right in it
        stranger.may_read("rm_order_list")
        with pytest.raises(UnknownLayout, match=r"has 1 tables?, but none that is known"):
            open_source(stranger.url)
        return
    with pytest.raises(StoreUnavailable, match="denied a right: permission denied for table event_streams"):
        open_source(stranger.url)


def test_with_the_right_to_read_only_some_tables_a_sentence_says_which_are_hidden(stranger: Role, server: str) -> None:
    stranger.may_read("event_streams")
    if server == "postgresql":
        source = open_source(stranger.url)
        with pytest.raises(StoreUnavailable, match=r"denied a right: permission denied for table _[0-9a-f]{40}\."):
            source.logs()
        source.close()
        return
    with pytest.raises(UnknownLayout, match=r"whose table _[0-9a-f]{40} is missing or hidden .* and 7 more"):
        open_source(stranger.url)
