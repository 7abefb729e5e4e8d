"""Home: the dashboard's own database and folder."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path

from webapp.config import Config
from webapp.errors import InvalidRequest, StoreUnavailable
from webapp.store import EventStore
from webapp.store.database import parse_url
from webapp.store.migrate import migrate

log = logging.getLogger(__name__)


class Home:
    """People, sessions and replays as rows, and what was done by whom as events. Thread-safe; `close()` when done."""

    def __init__(self, events: EventStore, secret_key: str) -> None:
        self.events = events
        self.database = events.database
        self.secret_key = secret_key

    @classmethod
    def open(cls, config: Config) -> Home:
        """Home with its folder made and its tables migrated; several processes may do so at once.

        Raises InvalidRequest where the folder can't be used, StoreUnavailable where the database can't be reached.
        """
        is_kept_in_folder = not config.home_url or config.secret_key is None
        if is_kept_in_folder:
            _make_folder(config.home_folder)
        secret_key = config.secret_key or _kept_secret(config.home_folder / "secret.key")
        url = parse_url(config.database_url)
        if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
            _make_private_file(Path(url.database))
        events = EventStore.open(config.database_url)
        try:
            migrate(events.database, branches=("store", "home"))
        except BaseException:
            events.close()
            raise
        return cls(events, secret_key)

    def close(self) -> None:
        """Gives the connections back; may be called twice."""
        self.events.close()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(
            f"The home folder {folder} can't be made: {error.strerror}. Set PROJECTIONIST_HOME to one that can.", "home"
        ) from error
    if folder.stat().st_mode & 0o077:
        log.warning("the home folder %s can be read by others; chmod 700 closes it", folder)


def _make_private_file(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StoreUnavailable(
            f"The file {path} can't be opened: {error.strerror}. Check PROJECTIONIST_HOME or PROJECTIONIST_HOME_URL."
        ) from error


def _kept_secret(path: Path) -> str:
    """The secret in the file, made if there is none; of several processes that make one at once, one wins."""
    if not path.exists():
        mine = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(mine, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(48))
            try:
                os.link(mine, path)
            except FileExistsError:
                pass
            finally:
                mine.unlink()
        except OSError as error:
            raise InvalidRequest(
                f"The secret key can't be kept in {path}: {error.strerror}. Set PROJECTIONIST_HOME or "
                "PROJECTIONIST_SECRET_KEY.",
                "home",
            ) from error
    try:
        secret = path.read_text().strip()
    except OSError as error:
        raise InvalidRequest(f"The secret key in {path} can't be read: {error.strerror}.", "home") from error
    if len(secret) < 16:
        raise InvalidRequest(f"The secret key in {path} is too short. Remove the file and a new one is made.", "home")
    return secret
