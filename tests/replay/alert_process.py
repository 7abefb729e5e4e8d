"""Processes that watch, as `projectionist worker` and each process of the dashboard do; tests kill them."""

from __future__ import annotations

import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from webapp.accounts.home import Home
from webapp.adapters.native import NativeSource
from webapp.alerts import turns, watch
from webapp.alerts.rules import Rules
from webapp.alerts.watch import AlertWatch, Outlet
from webapp.config import Config


def _watch(store_url: str, home_url: str, folder: Path, webhook: str) -> AlertWatch:
    turns.lease_seconds = 1.0
    home = Home.open(Config(home_folder=folder, home_url=home_url))
    source = NativeSource.open(store_url)
    return AlertWatch(home, ["shop"], lambda name: source, Rules(), Outlet(webhook), every_seconds=0.05)


def keep_watching(store_url: str, home_url: str, folder: Path, webhook: str, reports: Connection) -> None:
    """Watches until it's killed."""
    work = _watch(store_url, home_url, folder, webhook)
    reports.send("ready")
    work.run(threading.Event())


def stop_before(
    what: str, store_url: str, home_url: str, folder: Path, webhook: str, reports: Connection
) -> None:  # fmt: skip
    """Watches up to the call of something (`post` or `mark_told`), says so, and waits there to be killed."""

    def say_and_wait(*_: Any) -> None:
        reports.send("there")
        time.sleep(60)

    setattr(watch, what, say_and_wait)
    _watch(store_url, home_url, folder, webhook).step()
