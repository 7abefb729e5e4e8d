"""Settings: where they come from, and what is said of bad ones."""

from __future__ import annotations

import logging
from dataclasses import fields
from pathlib import Path

import pytest

from webapp.config import Config, _settings, load_config, parse_store, parse_stores
from webapp.errors import InvalidRequest


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No projectionist.toml lies about."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_anything_the_defaults_hold(empty_folder: Path) -> None:
    config = load_config(environment={})
    assert config == Config()
    assert config.database_url == f"sqlite:///{empty_folder}/.projectionist/home.db"


def test_every_field_can_be_set() -> None:
    assert {target for target, _ in _settings.values()} == {field.name for field in fields(Config)}


def test_the_environment_sets_everything() -> None:
    config = load_config(
        environment={
            "PROJECTIONIST_HOME": "/srv/home",
            "PROJECTIONIST_HOME_URL": "postgresql://h/home",
            "PROJECTIONIST_SECRET_KEY": "0123456789abcdef",
            "PROJECTIONIST_ADMIN_PASSWORD": "correct horse",
            "PROJECTIONIST_STORES": "shop=postgresql://h/shop sqlite:///crm.db",
            "PROJECTIONIST_DOMAIN": "shop.domain:domain",
            "PROJECTIONIST_ACTOR_KEYS": "user, tenant",
            "PROJECTIONIST_PAGE_SECONDS": "2.5",
            "PROJECTIONIST_WITH_WORKER": "yes",
            "PROJECTIONIST_WORKERS": "3",
            "PROJECTIONIST_THREADS": "8",
            "PROJECTIONIST_HOST": "0.0.0.0",
            "PORT": "9000",
            "PROJECTIONIST_TRUSTED_PROXIES": "1",
            "PROJECTIONIST_PUBLIC_URL": "https://dash.example/base/",
            "PROJECTIONIST_METRICS_TOKEN": "token-of-16-chars",
            "PROJECTIONIST_ALERT_WEBHOOK": "https://hooks.example/T0/secret?key=1",
            "PROJECTIONIST_ALERT_SECRET": "secret-of-16-chars",
            "PROJECTIONIST_ALERT_LAG_EVENTS": "1000",
            "PROJECTIONIST_ALERT_LAG_SECONDS": "300",
            "PROJECTIONIST_ALERT_STALLED_SECONDS": "60.5",
            "PROJECTIONIST_ALERT_AGAIN_HOURS": "0",
            "PATH": "/bin",
        }
    )
    assert config == Config(
        home_folder=Path("/srv/home"),
        home_url="postgresql://h/home",
        secret_key="0123456789abcdef",
        admin_password="correct horse",
        stores=(("shop", "postgresql://h/shop"), ("crm", "sqlite:///crm.db")),
        domain="shop.domain:domain",
        actor_keys=("user", "tenant"),
        page_seconds=2.5,
        with_worker=True,
        workers=3,
        threads=8,
        host="0.0.0.0",
        port=9000,
        trusted_proxies=1,
        public_url="https://dash.example/base",
        metrics_token="token-of-16-chars",
        alert_webhook="https://hooks.example/T0/secret?key=1",
        alert_secret="secret-of-16-chars",
        alert_lag_events=1000,
        alert_lag_seconds=300.0,
        alert_stalled_seconds=60.5,
        alert_again_hours=0.0,
    )
    for hidden in ("token-of-16", "hooks.example", "secret-of-16"):
        assert hidden not in repr(config)
    assert "correct horse" not in repr(config)
    assert "0123456789abcdef" not in repr(config)


def test_a_file_is_read_and_the_environment_goes_over_it_and_overrides_over_both(empty_folder: Path) -> None:
    (empty_folder / "projectionist.toml").write_text(
        'home = "/from/file"\nworkers = 1\nthreads = 2\nwith_worker = true\n[stores]\nshop = "sqlite:///a b.db"\n'
    )
    config = load_config(environment={"PROJECTIONIST_WORKERS": "5"}, threads=7, port=None)
    assert config.home_folder == Path("/from/file")
    assert (config.workers, config.threads, config.with_worker, config.port) == (5, 7, True, 8000)
    assert config.stores == (("shop", "sqlite:///a b.db"),)
    other = empty_folder / "other.toml"
    other.write_text('stores = ["sqlite:///one.db", "two=sqlite:///x.db"]')
    assert load_config(other, {}).stores == (("one", "sqlite:///one.db"), ("two", "sqlite:///x.db"))


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("PROJECTIONIST_WORKERS", "many", "PROJECTIONIST_WORKERS must be a whole number from 1 to 64, not “many”"),
        ("PROJECTIONIST_WORKERS", "0", "from 1 to 64"),
        ("PROJECTIONIST_PAGE_SECONDS", "-1", "PROJECTIONIST_PAGE_SECONDS must be a number from 0.1 to 600"),
        ("PROJECTIONIST_PAGE_SECONDS", "nan", "must be a number"),
        ("PROJECTIONIST_WITH_WORKER", "maybe", "PROJECTIONIST_WITH_WORKER must be true or false, not “maybe”"),
        ("PROJECTIONIST_SECRET_KEY", "short", "PROJECTIONIST_SECRET_KEY is too short"),
        ("PROJECTIONIST_ADMIN_PASSWORD", "short", "PROJECTIONIST_ADMIN_PASSWORD is too short"),
        ("PROJECTIONIST_DOMAIN", "shop", "PROJECTIONIST_DOMAIN must be MODULE:NAME"),
        ("PROJECTIONIST_STORES", "shop", "PROJECTIONIST_STORES: A store is given as"),
        ("PROJECTIONIST_METRICS_TOKEN", "short", "PROJECTIONIST_METRICS_TOKEN is too short to be a secret"),
        ("PROJECTIONIST_ALERT_SECRET", "short", "PROJECTIONIST_ALERT_SECRET is too short to be a secret"),
        (
            "PROJECTIONIST_ALERT_WEBHOOK",
            "file:///etc/passwd",
            "must be an address that begins with https:// or http://",
        ),
        ("PROJECTIONIST_ALERT_WEBHOOK", "https://", "and names a host"),
        ("PROJECTIONIST_ALERT_WEBHOOK", "https://host:port/", "PROJECTIONIST_ALERT_WEBHOOK must be an address"),
        ("PROJECTIONIST_ALERT_WEBHOOK", "https://host/a b", "PROJECTIONIST_ALERT_WEBHOOK must be an address"),
        ("PROJECTIONIST_PUBLIC_URL", "dash.example", "PROJECTIONIST_PUBLIC_URL must be an address"),
        ("PROJECTIONIST_PUBLIC_URL", "https://dash.example/?a=1", "without ? or #"),
        ("PROJECTIONIST_ALERT_LAG_EVENTS", "0", "PROJECTIONIST_ALERT_LAG_EVENTS must be a whole number from 1"),
        ("PROJECTIONIST_ALERT_LAG_SECONDS", "soon", "PROJECTIONIST_ALERT_LAG_SECONDS must be a number from 1"),
        ("PROJECTIONIST_ALERT_STALLED_SECONDS", "nan", "PROJECTIONIST_ALERT_STALLED_SECONDS must be a number"),
        ("PROJECTIONIST_ALERT_AGAIN_HOURS", "-1", "PROJECTIONIST_ALERT_AGAIN_HOURS must be a number from 0"),
        ("PORT", "http", "PORT must be a whole number from 0 to 65535"),
    ],
)
def test_a_bad_value_is_said_with_its_name(variable: str, value: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        load_config(environment={variable: value})
    assert sentence in str(caught.value)
    assert caught.value.field == variable


def test_a_bad_file_is_said(empty_folder: Path) -> None:
    file = empty_folder / "settings.toml"
    with pytest.raises(InvalidRequest, match="can't be read: No such file"):
        load_config(file, {})
    file.write_text("workers = ")
    with pytest.raises(InvalidRequest, match="is not TOML"):
        load_config(file, {})
    file.write_text("wrokers = 2")
    with pytest.raises(InvalidRequest, match="unknown setting “wrokers”"):
        load_config(file, {})
    file.write_text("workers = true")
    with pytest.raises(InvalidRequest, match=r"workers in .*settings.toml must be a whole number"):
        load_config(file, {})


def test_an_unknown_variable_is_only_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert (
            load_config(environment={"PROJECTIONIST_PORT": "tcp://10.0.0.1:80", "PROJECTIONIST_WROKERS": "2"})
            == Config()
        )
    assert "PROJECTIONIST_WROKERS is not a setting" in caplog.text


@pytest.mark.parametrize(
    ("text", "name", "url"),
    [
        ("shop=postgresql://h/db?sslmode=require", "shop", "postgresql://h/db?sslmode=require"),
        ("postgresql://h/db?sslmode=require", "db", "postgresql://h/db?sslmode=require"),
        ("my-Shop_2=sqlite:///x=y.db", "my-Shop_2", "sqlite:///x=y.db"),
        ("sqlite:////var/lib/My Shop.db", "My-Shop", "sqlite:////var/lib/My Shop.db"),
        ("sqlite:///x=y.db", "x-y", "sqlite:///x=y.db"),
        ("mysql://u:p@h", "store", "mysql://u:p@h"),
    ],
)
def test_a_store_has_the_name_given_or_its_databases(text: str, name: str, url: str) -> None:
    assert parse_store(text) == (name, url)


def test_made_up_names_are_numbered_and_given_ones_must_differ() -> None:
    stores = parse_stores(["postgresql://a/db", "postgresql://b/db", "db-2=postgresql://c/db", "sqlite:///home.db"])
    assert [name for name, _ in stores] == ["db", "db-3", "db-2", "home-2"]
    with pytest.raises(InvalidRequest, match="Two stores are named “shop”"):
        parse_stores(["shop=sqlite:///a.db", "shop=sqlite:///b.db"])
    with pytest.raises(InvalidRequest, match="“home” is taken"):
        parse_stores(["home=sqlite:///a.db"])
    with pytest.raises(InvalidRequest, match="too long"):
        parse_store("x" * 65 + "=sqlite:///a.db")


@pytest.mark.parametrize("separator", [" ", "\n", ",", ", ", ";\n"])
def test_stores_in_one_text_may_be_separated_in_any_usual_way(separator: str) -> None:
    text = separator.join(["a=sqlite:///my shop, old.db", "postgresql://h/b", "c=mysql://h/c"])
    config = load_config(environment={"PROJECTIONIST_STORES": text})
    assert config.stores == (("a", "sqlite:///my shop, old.db"), ("b", "postgresql://h/b"), ("c", "mysql://h/c"))


def test_a_password_never_stands_in_a_sentence() -> None:
    with pytest.raises(InvalidRequest) as caught:
        load_config(environment={"PROJECTIONIST_STORES": "shop=postgresql//ann:hidden@h/db"})
    assert "hidden" not in str(caught.value)


def test_a_webhooks_address_never_stands_in_a_sentence() -> None:
    with pytest.raises(InvalidRequest) as caught:
        load_config(environment={"PROJECTIONIST_ALERT_WEBHOOK": "htps://hooks.example/hidden"})
    assert "hidden" not in str(caught.value)


def test_problems_are_watched_for_where_somebody_is_told_or_a_limit_is_set() -> None:
    assert Config().wants_alerts is False
    assert Config(metrics_token="token-of-16-chars", alert_again_hours=1).wants_alerts is False
    assert Config(alert_webhook="https://h/").wants_alerts is True
    for limit in ("alert_lag_events", "alert_lag_seconds", "alert_stalled_seconds"):
        assert Config(**{limit: 5}).wants_alerts is True
