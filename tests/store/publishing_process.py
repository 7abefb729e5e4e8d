"""A process that publishes an outbox into a file until it's killed."""

from __future__ import annotations

import os
import time
from pathlib import Path

from webapp.store import EventStore, Publisher, RecordedEvent, RetryPolicy

lease_seconds = 0.6
retry = RetryPolicy(attempts=1_000, first_seconds=0.01, factor=1, most_seconds=0.01)


def publish_until_killed(url: str, path: Path) -> None:
    """Appends a line `stream version` for each event; every seventh event of a stream fails at first."""
    store = EventStore.open(url)
    failed: set[str] = set()
    with path.open("ab", buffering=0) as file:

        def publish(event: RecordedEvent) -> None:
            if event.version is not None and event.version % 7 == 0 and event.id not in failed:
                failed.add(event.id)
                raise ConnectionError("the broker is away")
            file.write(f"{os.getpid()} {event.aggregate_id} {event.version}\n".encode())
            time.sleep(0.001)

        Publisher(store, "mail", publish, retry=retry, batch_size=50, lease_seconds=lease_seconds).run()
