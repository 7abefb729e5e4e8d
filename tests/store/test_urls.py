"""Addresses of databases: how they are written, shown, and what is said when they lead nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import create_database, server_url
from tests.store.helpers import noted, on_servers, positions
from webapp.errors import InvalidRequest, StoreUnavailable
from webapp.store import EventStore
from webapp.store.database import Database, hide_password, parse_url


@pytest.mark.parametrize(
    ("short", "driver"),
    [
        ("sqlite:///shop.db", "sqlite+pysqlite"),
        ("postgresql://u:p@h/d", "postgresql+psycopg"),
        ("postgres://u:p@h/d", "postgresql+psycopg"),
        ("mysql://u:p@h/d", "mysql+pymysql"),
        ("mariadb://u:p@h/d", "mariadb+pymysql"),
        ("mysql+pymysql://u:p@h/d", "mysql+pymysql"),
    ],
)
def test_a_short_form_gets_our_driver(short: str, driver: str) -> None:
    assert parse_url(short).drivername == driver


@pytest.mark.parametrize("text", ["", "shop.db", "/tmp/shop.db", "postgresql:/x", "postgresql://h:port/d"])
def test_what_is_no_url_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"not a database URL\. Write sqlite:///file\.db, postgresql://"):
        parse_url(text)


@pytest.mark.parametrize("text", ["oracle://u:p@h/d", "http://example.org", "mongodb://h/d"])
def test_an_unknown_database_is_refused_with_those_known(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"is not known. Known are sqlite, postgresql, mysql and mariadb"):
        EventStore.open(text)


@pytest.mark.parametrize("text", ["mysql+nosuchdriver://u:p@h/d", "postgresql+nosuchdriver://u@h/d"])
def test_a_driver_that_is_not_there_is_named(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"driver of .*nosuchdriver isn't installed"):
        EventStore.open(text)


def test_a_password_is_never_shown() -> None:
    for url in ("postgresql://ann:s3cret%40@host:5432/shop", "mysql://ann:s3cret%40@host/shop?charset=utf8mb4"):
        shown = hide_password(url)
        assert "s3cret" not in shown
        assert "***" in shown
        assert "pymysql" not in shown
        assert "charset" not in shown


@on_servers
def test_a_password_that_is_refused_is_not_shown_either(database_url: str) -> None:
    url = parse_url(database_url).set(password="wrong-s3cret")
    store = EventStore.open(url)
    with pytest.raises(StoreUnavailable, match=r"refused the login\. Check user and password\.") as raised:
        store.logs()
    assert "s3cret" not in str(raised.value)
    store.close()


@on_servers
def test_a_database_that_is_not_there_is_named(backend: str) -> None:
    store = EventStore.open(server_url(backend).set(database="no_such_database"))
    for action in (store.logs, store.migrate, store.check):
        with pytest.raises(StoreUnavailable, match=r"no_such_database: there is no such database\. Create it, or mend"):
            action()
    store.close()


@on_servers
def test_a_server_that_does_not_answer_is_named(backend: str) -> None:
    store = EventStore.open(server_url(backend).set(port=1, database="shop"))
    with pytest.raises(StoreUnavailable, match=r":1/shop can't be reached.*Is it running, are host and port right\?"):
        store.logs()
    store.close()


@on_servers
def test_a_host_that_is_not_there_is_named(backend: str) -> None:
    store = EventStore.open(server_url(backend).set(host="no-such-host.invalid", database="shop"))
    with pytest.raises(StoreUnavailable, match=r"no-such-host\.invalid.* can't be reached"):
        store.logs()
    store.close()


def test_a_mariadb_server_may_be_reached_by_a_mysql_url(tmp_path: Path) -> None:
    url, drop = create_database("mariadb", tmp_path)
    store = EventStore.open(url.replace("mariadb", "mysql", 1))
    try:
        store.migrate()
        store.append("order", "42", noted(1))
        store.append("order", "42 ", noted(2), expected_version=0)
        assert store.dialect == "MariaDB"
        assert positions(store) == [1, 2]
    finally:
        store.close()
        drop()


def test_a_mysql_server_at_a_mariadb_url_is_told_apart(tmp_path: Path) -> None:
    url, drop = create_database("mysql", tmp_path)
    store = EventStore.open(url.replace("mysql", "mariadb", 1))
    try:
        for action in (store.migrate, store.logs):
            with pytest.raises(InvalidRequest, match=r"is a MySQL server, not MariaDB\. Begin the URL with mysql://"):
                action()
    finally:
        store.close()
        drop()


def test_an_sqlite_file_is_made_when_first_written_not_before(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    store = EventStore.open(f"sqlite:///{path}")
    assert not path.exists()
    store.migrate()
    assert path.exists()
    store.close()


def test_an_sqlite_file_that_must_be_there_is_not_made(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'missing.db'}")
    with pytest.raises(StoreUnavailable, match="there is no such file"), database.reading():
        pass
    assert not (tmp_path / "missing.db").exists()
    database.close()


def test_an_sqlite_folder_that_is_not_there_is_asked_for(tmp_path: Path) -> None:
    store = EventStore.open(f"sqlite:///{tmp_path / 'no' / 'folder.db'}")
    with pytest.raises(StoreUnavailable, match=r"can't be opened. Does its folder exist"):
        store.migrate()
    store.close()


def test_a_file_that_is_no_sqlite_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to look at\n" * 100)
    store = EventStore.open(f"sqlite:///{path}")
    for action in (store.logs, store.migrate):
        with pytest.raises(StoreUnavailable, match=r"is not an SQLite database\. Mend the path"):
            action()
    store.close()
    assert path.read_text().startswith("not a database")


def test_reading_can_not_write(store: EventStore) -> None:
    sentence = {"SQLite": "can't be written. Give this user the right to write the file"}.get(store.dialect, "(?i)read")
    with pytest.raises(StoreUnavailable, match=sentence), store.database.reading() as connection:
        connection.exec_driver_sql("INSERT INTO projectionist_logs (name) VALUES ('x')")
    store.append("order", "1", noted(1))
    assert [log.name for log in store.logs()] == ["main"]


def test_a_store_in_memory_works_in_one_thread_and_in_many() -> None:
    store = EventStore.open("sqlite://")
    store.migrate()
    store.append("order", "1", noted(1, 2))
    assert positions(store) == [1, 2]
    store.close()


def test_opening_touches_nothing(tmp_path: Path) -> None:
    store = EventStore.open("postgresql://ann:secret@no-such-host.invalid/shop")
    assert store.database.name == "postgresql://ann:***@no-such-host.invalid/shop"
    store.close()
    store.close()
    assert not list(tmp_path.iterdir())
