"""Whose tables a database holds; and a sentence that says what to do where nobody's are whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.conftest import Opened
from tests.adapters.writing import Writer, Written, table_of
from webapp.adapters import open_source
from webapp.errors import InvalidRequest, NeedsMigration, ProjectionistError, StoreUnavailable, UnknownLayout
from webapp.store import EventStore, NewEvent
from webapp.store.database import Database, parse_url


@pytest.fixture
def writer(empty_url: str, server: str) -> Writer:
    writer = Writer(empty_url, server)
    writer.create()
    return writer


def refused(url: str, kind: type[ProjectionistError], sentence: str, **names: str) -> None:
    with pytest.raises(kind, match=sentence) as raised:
        open_source(url, **names)  # type: ignore[arg-type]
    password = url.partition("@")[0].rpartition(":")[2] if "@" in url else ""
    assert not password or password not in str(raised.value)


def test_our_own_store_is_known(database_url: str) -> None:
    store = EventStore.open(database_url)
    store.migrate()
    store.append("order", "1", [NewEvent("order.placed", {})])
    store.close()
    source = open_source(database_url)
    assert source.layout == "projectionist"
    assert [event.type for event in source.read_log("main")] == ["order.placed"]
    source.close()


def test_ecotones_tables_are_known(loaded_url: str, opened: Opened) -> None:
    assert opened(loaded_url).layout == "ecotone"


def test_an_empty_database_is_told_how_to_become_a_store(database_url: str, backend: str) -> None:
    if backend == "sqlite":
        Writer(database_url, backend).run("CREATE TABLE x (y)", "DROP TABLE x")
    refused(database_url, UnknownLayout, "has no tables.* run: projectionist migrate URL$")


def test_tables_of_others_are_told_apart(database_url: str, backend: str) -> None:
    Writer(database_url, backend).run("CREATE TABLE customers (id INT)", "CREATE TABLE projections (id INT)")
    looked = r"Looked for projectionist_events \(our own store\) and event_streams \(Ecotone\)"
    refused(database_url, UnknownLayout, f"has 2 tables, but none that is known. {looked}")


def test_half_of_our_own_tables_are_told_what_lacks(database_url: str, backend: str) -> None:
    store = EventStore.open(database_url)
    store.migrate()
    store.close()
    Writer(database_url, backend).run("DROP TABLE projectionist_version")
    refused(database_url, NeedsMigration, "Run: projectionist migrate URL")
    Writer(database_url, backend).run("DROP TABLE projectionist_events")
    refused(database_url, NeedsMigration, "lacks .*projectionist_events.* Run: projectionist migrate URL")


def test_a_registered_stream_without_its_table_is_named(writer: Writer, empty_url: str) -> None:
    writer.add_streams(["orders", "users", "words"])
    writer.run(f"DROP TABLE {table_of('orders')}")
    refused(empty_url, UnknownLayout, f"names the stream “orders”, whose table {table_of('orders')} is missing")
    writer.run(f"DROP TABLE {table_of('users')}")
    refused(empty_url, UnknownLayout, r"is missing or hidden from this user and 1 more\. Restore it")


def test_a_registry_that_lacks_columns_is_named(empty_url: str, server: str) -> None:
    Writer(empty_url, server).run("CREATE TABLE event_streams (no INT, stream_name CHAR(41), metadata TEXT)")
    refused(
        empty_url, UnknownLayout,
        "has a table event_streams that lacks columns of Ecotone's: category, real_stream_name. Restore them",
    )  # fmt: skip


def test_tables_of_other_names_are_found_by_their_columns(empty_url: str, server: str, opened: Opened) -> None:
    writer = Writer(empty_url, server)
    writer.create("shop_streams", "shop_projections")
    writer.add_streams(["orders"], registry="shop_streams")
    writer.append("orders", [Written(1, ("order", "1", 1))])
    writer.run(
        "INSERT INTO shop_projections (name, position, state, status) VALUES ('p', '{\"orders\": 0}', '[]', 'idle')"
    )
    source = opened(empty_url)
    assert [log.name for log in source.logs()] == ["orders"]
    assert [status.name for status in source.projections()] == ["p"]
    assert source.read_model_tables() == []


def test_of_several_registries_one_has_to_be_chosen(empty_url: str, server: str) -> None:
    writer = Writer(empty_url, server)
    writer.create("a_streams", "a_projections")
    writer.run("DROP TABLE ecotone_projection_state")
    writer.create("b_streams", "b_projections")
    writer.add_streams(["orders"], registry="b_streams")
    refused(empty_url, UnknownLayout, "several tables that can be Ecotone's event_streams: a_streams, b_streams.")
    refused(
        empty_url, UnknownLayout, "several .* Ecotone's projections: a_projections, b_projections. Choose one with",
        event_streams="b_streams",
    )  # fmt: skip
    refused(empty_url, UnknownLayout, "has no table c_streams. Mend the name", event_streams="c_streams")
    source = open_source(empty_url, event_streams="b_streams", projections="b_projections")
    assert [log.name for log in source.logs()] == ["orders"]
    source.close()


def test_ecotone_without_any_projection_yet_is_whole(empty_url: str, server: str, opened: Opened) -> None:
    writer = Writer(empty_url, server)
    writer.create()
    writer.run("DROP TABLE projections", "DROP TABLE ecotone_projection_state")
    source = opened(empty_url)
    assert (list(source.logs()), list(source.projections()), list(source.dead_letters())) == ([], [], [])
    writer.run("CREATE TABLE readings (id INT)")
    assert source.read_model_tables() == ["readings"]


@pytest.fixture
def wrong_urls(loaded_url: str) -> Iterator[dict[str, str]]:
    url = parse_url(loaded_url)
    yield {
        name: changed.render_as_string(hide_password=False)
        for name, changed in {
            "database": url.set(database="not_there"),
            "password": url.set(username="nobody", password="wrong"),
            "port": url.set(port=1),
            "host": url.set(host="no-such-host.invalid"),
        }.items()
    }


def test_a_database_that_is_not_there_is_told_in_a_sentence(wrong_urls: dict[str, str]) -> None:
    refused(wrong_urls["database"], StoreUnavailable, "there is no such database. Create it, or mend the URL")
    refused(wrong_urls["password"], StoreUnavailable, "refused the login. Check user and password")
    refused(wrong_urls["port"], StoreUnavailable, "can't be reached.*Is it running, are host and port right?")
    refused(wrong_urls["host"], StoreUnavailable, "can't be reached.*Is it running, are host and port right?")


def test_a_file_that_is_not_there_or_no_database_is_told_in_a_sentence(tmp_path: Path) -> None:
    refused(f"sqlite:///{tmp_path / 'none.db'}", StoreUnavailable, "there is no such file")
    (tmp_path / "text.db").write_text("hello, this is no database at all" * 100)
    refused(f"sqlite:///{tmp_path / 'text.db'}", StoreUnavailable, "is not an SQLite database")
    refused("oracle://x/y", InvalidRequest, "A “oracle” database is not known")


def test_refusing_leaves_no_connection_open(empty_url: str, server: str) -> None:
    for _ in range(30):
        refused(empty_url, UnknownLayout, "has no tables")
    database = Database(empty_url)
    count = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()",
        "mysql": "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE()",
    }["postgresql" if server == "postgresql" else "mysql"]
    with database.reading() as connection:
        assert connection.exec_driver_sql(count).scalar_one() <= 2
    database.close()
