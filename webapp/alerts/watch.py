"""The loop that watches: looks at every store, and tells what changed. Of all processes, one does so at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from webapp.accounts.home import Home
from webapp.alerts.looking import Looker
from webapp.alerts.message import write_message
from webapp.alerts.rows import read_marks, reconcile
from webapp.alerts.rules import Rules
from webapp.alerts.sending import post
from webapp.alerts.telling import Happening, list_untold, mark_told, note_failure
from webapp.alerts.turns import Watch, claim_watch, release_watch, renew_watch
from webapp.config import Config
from webapp.errors import LeaseLost, ProjectionistError
from webapp.store.leases import worker_name
from webapp.store.source import EventSource

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outlet:
    """Whom to tell, and how often; without a `webhook` alerts are only shown."""

    webhook: str | None = None
    secret: str | None = None
    public_url: str | None = None
    again_hours: float = 24.0

    @classmethod
    def from_config(cls, config: Config) -> Outlet:
        """As the settings say."""
        return cls(config.alert_webhook, config.alert_secret, config.public_url, config.alert_again_hours)


class AlertWatch:
    """Watches stores by name for what the rules call a problem. Make it after any fork, and run it in one thread."""

    def __init__(
        self,
        home: Home,
        stores: Sequence[str],
        open_source: Callable[[str], EventSource],
        rules: Rules,
        outlet: Outlet,
        *,
        every_seconds: float = 15.0,
        settle_seconds: float = 60.0,
    ) -> None:
        self.home = home
        self.stores = stores
        self.outlet = outlet
        self.every_seconds = every_seconds
        self.settle_seconds = settle_seconds
        self._looker = Looker(rules, open_source)
        self._owner = worker_name()
        self._watch: Watch | None = None
        self._said = ""

    def run(self, stopping: threading.Event) -> None:
        """Watches until the event is set; nothing that goes wrong ends it."""
        while not stopping.is_set():
            wait = self.every_seconds
            try:
                wait = min(wait, self.step(stopping))
                self._said = ""
            except LeaseLost:
                self._watch = None
            except Exception as error:
                if str(error) != self._said:  # it is tried again and again, maybe for days
                    unexpected = None if isinstance(error, ProjectionistError) else error
                    log.warning("alerts can't be watched for now: %s", error, exc_info=unexpected)
                    self._said = str(error)
            stopping.wait(wait)
        self._release()

    def step(self, stopping: threading.Event | None = None) -> float:
        """One look at each store, and a message if there is something to tell; gives how long to wait for the next.

        Does nothing while another process has the right to watch; raises LeaseLost where it lost that underway.
        """
        self._watch = claim_watch(self.home, self._owner)
        if self._watch is None:
            return self.every_seconds
        for store in self.stores:
            if stopping is not None and stopping.is_set():
                return 0.0
            memory = self._watch.memory.get(store)
            look = self._looker.look(store, read_marks(self.home, store), memory)
            keeps = self.outlet.webhook is not None
            self._watch = reconcile(self.home, self._watch, look, self.settle_seconds, keeps_ended=keeps)
        return self._tell(self._watch)

    def _tell(self, watch: Watch) -> float:
        webhook = self.outlet.webhook
        if webhook is None:
            return self.every_seconds
        if watch.wait_seconds > 0:
            return watch.wait_seconds
        tellings = list_untold(self.home, self.stores, self.outlet.again_hours)
        if not tellings:
            return self.every_seconds
        renew_watch(self.home, watch)
        with self.home.database.reading() as connection:
            now = self.home.database.dialect.clock(connection)
        message = write_message(tellings, now, self.outlet.public_url, self.outlet.secret)
        failure = post(webhook, message)
        if failure is not None:
            wait = note_failure(self.home, watch)
            log.warning("message %s could not be sent: %s. The next try is in %g s", message.id, failure, wait)
            return wait
        mark_told(self.home, watch, tellings)
        parts = [f"{sum(one.happening is each for one in tellings)} {each}" for each in Happening]
        log.info("message %s was sent: %s", message.id, ", ".join(parts))
        return self.every_seconds

    def _release(self) -> None:
        try:
            if self._watch is not None:
                release_watch(self.home, self._watch)
        except Exception as error:
            log.warning("the right to watch stays until it runs out: %s", error)
