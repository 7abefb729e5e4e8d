"""The dashboard under gunicorn, with a worker for replays in each of its processes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from gunicorn.app.base import BaseApplication

from webapp.accounts.home import Home
from webapp.alerts.rules import Rules
from webapp.alerts.watch import AlertWatch, Outlet
from webapp.app import create_app
from webapp.config import Config
from webapp.domain import Domain
from webapp.errors import ProjectionistError, UnknownLayout
from webapp.replay.worker import Worker
from webapp.store.database import Database, pool_overflow, pool_size
from webapp.store.native import EventStore
from webapp.web.context import Dashboard
from webapp.web.sources import Sources

log = logging.getLogger(__name__)


def open_writable(sources: Sources) -> Callable[[str], EventStore]:
    """A function that gives a store of our own layout by name, and raises UnknownLayout for one that is only attached."""

    def open_store(name: str) -> EventStore:
        source = sources.open(name)
        if not isinstance(source, EventStore):
            raise UnknownLayout(f"The store {name} is attached read-only, so projections can't be run in it.")
        return source

    return open_store


def make_worker(config: Config, home: Home, domain: Domain, sources: Sources, *, follow: bool) -> Worker:
    """A worker for replays in the configured stores; with `follow` it also keeps their projections up to date.

    It watches for alerts where the settings want that.
    """
    names = tuple(name for name, _ in config.stores) if follow and domain.projections else ()
    watch = None
    if config.wants_alerts:
        watched = [name for name, _ in config.stores]
        watch = AlertWatch(home, watched, sources.open, Rules.from_config(config), Outlet.from_config(config)).run
    return Worker(home, domain, open_writable(sources), follow=names, watch=watch)


def pool_warnings(config: Config) -> list[str]:
    """A sentence for each store whose server allows fewer connections than our processes may want."""
    wanted = config.workers * (pool_size + pool_overflow)
    warnings = []
    for name, url in config.stores:
        database = Database(url, pool_size=1)
        try:
            with database.reading() as connection:
                limit = database.dialect.connection_limit(connection)
        except ProjectionistError as error:
            warnings.append(f"{name}: {error}")
            continue
        finally:
            database.close()
        if limit is not None and wanted > limit:
            warnings.append(
                f"{name}: its server allows {limit} connections, and {config.workers} workers may want {wanted}. "
                "Lower --workers, or raise the server's limit."
            )
    return warnings


class Server(BaseApplication):
    """gunicorn with the app made before the port opens, and our background threads started after each fork."""

    def __init__(self, config: Config, home: Home) -> None:
        self.settings = config
        self.app = create_app(config, home)
        self.background: Worker | None = None
        home.close()  # connections must not be shared by the processes to come
        super().__init__()

    def load_config(self) -> None:
        """gunicorn's settings."""
        settings: dict[str, Any] = {
            "bind": f"{self.settings.host}:{self.settings.port}",
            "workers": self.settings.workers,
            "threads": self.settings.threads,
            "worker_class": "gthread",
            "preload_app": True,
            "timeout": 60,
            "graceful_timeout": 8,
            "keepalive": 5,
            "post_worker_init": lambda worker: self.start_background(),
            "worker_exit": lambda server, worker: self.stop_background(),
        }
        if "control_socket_disable" in self.cfg.settings:  # newer ones listen in the user's home, one for all servers
            settings["control_socket_disable"] = True
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """The WSGI app."""
        return self.app

    def start_background(self) -> None:
        """Starts taking replays in this process, and following live if asked to."""
        parts: Dashboard = self.app.extensions["projectionist"]
        follow = self.settings.with_worker
        self.background = make_worker(self.settings, parts.home, parts.domain, parts.sources, follow=follow)
        self.background.start()

    def stop_background(self) -> None:
        """Lets batches in hand commit, and gives connections back."""
        if self.background is not None and not self.background.stop():
            log.warning("a batch was still at work at the end; it rolls back and is done again")
        parts: Dashboard = self.app.extensions["projectionist"]
        parts.close()
