"""The settings, read once: environment variables `PROJECTIONIST_*`, then `projectionist.toml`, then defaults."""

from __future__ import annotations

import logging
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from webapp.errors import InvalidRequest

log = logging.getLogger(__name__)
prefix = "PROJECTIONIST_"
default_file = Path("projectionist.toml")
reserved_store_names = ("home",)
default_actor_keys = ("actor", "executorId", "userId")
_named = re.compile(r"([A-Za-z0-9_-]+)=(.*)", re.DOTALL)
_between_stores = re.compile(r"[\s,;]+(?=(?:[A-Za-z0-9_-]+=)?[a-z][a-z0-9+]*://)")


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, checked. `stores` are (name, URL); `secret_key` None means the one kept in the home folder."""

    home_folder: Path = Path(".projectionist")
    home_url: str = ""
    secret_key: str | None = field(default=None, repr=False)
    admin_password: str | None = field(default=None, repr=False)
    stores: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    domain: str | None = None
    actor_keys: tuple[str, ...] = default_actor_keys
    page_seconds: float = 5.0
    with_worker: bool = False
    workers: int = 2
    threads: int = 4
    host: str = "127.0.0.1"
    port: int = 8000
    trusted_proxies: int = 0
    public_url: str | None = None
    metrics_token: str | None = field(default=None, repr=False)
    alert_webhook: str | None = field(default=None, repr=False)
    alert_secret: str | None = field(default=None, repr=False)
    alert_lag_events: int | None = None
    alert_lag_seconds: float | None = None
    alert_stalled_seconds: float | None = None
    alert_again_hours: float = 24.0

    @property
    def wants_alerts(self) -> bool:
        """Whether problems are watched for: there is somebody to tell, or a limit was set."""
        limits = (self.alert_lag_events, self.alert_lag_seconds, self.alert_stalled_seconds)
        return self.alert_webhook is not None or any(limit is not None for limit in limits)

    @property
    def database_url(self) -> str:
        """Where our own database is: `home_url`, or a file in the home folder."""
        return self.home_url or f"sqlite:///{self.home_folder.absolute() / 'home.db'}"


def load_config(file: Path | None = None, environment: Mapping[str, str] | None = None, **overrides: Any) -> Config:
    """The settings of a file (`projectionist.toml` if there is one), over it the environment, over both the overrides.

    Overrides are ready values, and None among them means "not given". Raises InvalidRequest naming the setting.
    """
    values = _from_file(file) | _from_environment(os.environ if environment is None else environment)
    values |= {name: value for name, value in overrides.items() if value is not None}
    return Config(**values)


def parse_stores(texts: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Names and URLs of several "[NAME=]URL"; names made from URLs are numbered until they are unique."""
    parsed = [(parse_store(text), bool(_named.match(text.strip()))) for text in texts]
    taken: set[str] = set(reserved_store_names)
    for (name, _), is_given in parsed:
        if is_given:
            if name in taken:
                raise InvalidRequest(f"Two stores are named “{name}”. Give each a name of its own: NAME=URL.", "stores")
            taken.add(name)
    result = []
    for (name, url), is_given in parsed:
        number, unique = 1, name
        while not is_given and unique in taken:
            number += 1
            unique = f"{name}-{number}"
        taken.add(unique)
        result.append((unique, url))
    return tuple(result)


def parse_store(text: str) -> tuple[str, str]:
    """The name and URL of "[NAME=]URL"; without a name it is the database's. Raises InvalidRequest with a sentence."""
    text = text.strip()
    match = _named.match(text)
    name, url = match.groups() if match else (None, text)
    try:
        database = make_url(url).database or "store"
    except (ArgumentError, ValueError) as error:
        raise InvalidRequest(
            "A store is given as [NAME=]URL, such as shop=postgresql://user:password@host/shop or sqlite:///shop.db; "
            "one of those given isn't.",
            field="stores",
        ) from error
    if name is None:
        stem = Path(database).stem if url.startswith("sqlite") else database
        return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:60] or "store", url
    if name in reserved_store_names:
        raise InvalidRequest(f"The store name “{name}” is taken by the dashboard itself. Choose another one.", "stores")
    if len(name) > 64:
        raise InvalidRequest(f"The store name “{name[:40]}…” is too long; at most 64 characters fit.", "stores")
    return name, url


# --- reading --------------------------------------------------------------------------------------------------------


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None and not default_file.exists():
        return {}
    file = file or default_file
    try:
        content = tomllib.loads(file.read_text())
    except OSError as error:
        raise InvalidRequest(f"The settings file {file} can't be read: {error.strerror}.", "config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The settings file {file} is not TOML: {error}.", "config") from error
    values = {}
    for name, value in content.items():
        if name not in _settings:
            known = ", ".join(sorted(_settings))
            raise InvalidRequest(f"The settings file {file} has an unknown setting “{name}”. Known are {known}.", name)
        target, convert = _settings[name]
        values[target] = convert(f"{name} in {file}", value)
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for variable, text in environment.items():
        name = "port" if variable == "PORT" else variable.removeprefix(prefix).lower()
        is_ours = variable == "PORT" or (variable.startswith(prefix) and name != "port")
        if not is_ours or text == "":
            continue
        if name not in _settings:
            # Only a warning: platforms make up variables too, from the names of services.
            log.warning("the environment variable %s is not a setting and was left alone", variable)
            continue
        target, convert = _settings[name]
        values[target] = convert(variable, text)
    return values


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidRequest(f"{name} must be text that isn't empty.", name)
    return value


def _secret(name: str, value: Any) -> str:
    if len(_text(name, value)) < 16:
        raise InvalidRequest(f"{name} is too short to be a secret; give at least 16 random characters.", name)
    return str(value)


def _password(name: str, value: Any) -> str:
    if len(_text(name, value)) < 10:
        raise InvalidRequest(f"{name} is too short; a password has at least 10 characters.", name)
    return str(value)


def _folder(name: str, value: Any) -> Path:
    return Path(_text(name, value)).expanduser()


def _list(name: str, value: Any) -> tuple[str, ...]:
    parts = re.split(r"[\s,]+", value.strip()) if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) and part for part in parts):
        raise InvalidRequest(f"{name} must be a list of names.", name)
    return tuple(parts)


def _stores(name: str, value: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(value, dict):
        value = [f"{key}={url}" for key, url in value.items()]
    parts = [part for part in _between_stores.split(value.strip()) if part] if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise InvalidRequest(f"{name} must be a list of [NAME=]URL.", name)
    try:
        return parse_stores(parts)
    except InvalidRequest as error:
        raise InvalidRequest(f"{name}: {error}", name) from error


def _domain(name: str, value: Any) -> str:
    if not re.fullmatch(r"[\w.]+:[\w.]+", _text(name, value)):
        raise InvalidRequest(f"{name} must be MODULE:NAME, such as shop.domain:domain.", name)
    return str(value)


def _address(name: str, value: Any) -> str:
    """An http or https address; the sentence leaves it out, for webhooks have their secret in it."""
    text = _text(name, value).strip()
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_good = False
    if not is_good or not text.isascii() or any(ord(character) <= 32 for character in text):
        raise InvalidRequest(f"{name} must be an address that begins with https:// or http:// and names a host.", name)
    return text


def _base_address(name: str, value: Any) -> str:
    text = _address(name, value)
    if "?" in text or "#" in text:
        raise InvalidRequest(f"{name} must be where the dashboard begins, without ? or #.", name)
    return text.rstrip("/")


def _flag(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return words[str(value).strip().lower()]
    except KeyError as error:
        raise InvalidRequest(f"{name} must be true or false, not “{value}”.", name) from error


def _number(low: float, high: float, kind: type[int] | type[float] = int) -> Callable[[str, Any], Any]:
    def convert(name: str, value: Any) -> int | float:
        try:
            number = kind(value)
        except (TypeError, ValueError):
            number = kind(low - 1)
        if isinstance(value, bool) or not low <= number <= high:
            what = "a whole number" if kind is int else "a number"
            raise InvalidRequest(f"{name} must be {what} from {low} to {high}, not “{value}”.", name)
        return number

    return convert


_settings: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "home": ("home_folder", _folder),
    "home_url": ("home_url", _text),
    "secret_key": ("secret_key", _secret),
    "admin_password": ("admin_password", _password),
    "stores": ("stores", _stores),
    "domain": ("domain", _domain),
    "actor_keys": ("actor_keys", _list),
    "page_seconds": ("page_seconds", _number(0.1, 600, float)),
    "with_worker": ("with_worker", _flag),
    "workers": ("workers", _number(1, 64)),
    "threads": ("threads", _number(1, 256)),
    "host": ("host", _text),
    "port": ("port", _number(0, 65535)),
    "trusted_proxies": ("trusted_proxies", _number(0, 10)),
    "public_url": ("public_url", _base_address),
    "metrics_token": ("metrics_token", _secret),
    "alert_webhook": ("alert_webhook", _address),
    "alert_secret": ("alert_secret", _secret),
    "alert_lag_events": ("alert_lag_events", _number(1, 10**15)),
    "alert_lag_seconds": ("alert_lag_seconds", _number(1, 10**9, float)),
    "alert_stalled_seconds": ("alert_stalled_seconds", _number(1, 10**9, float)),
    "alert_again_hours": ("alert_again_hours", _number(0, 10_000, float)),
}
"""Every setting by its outside name: the field it fills and how its value is checked."""
