"""A writer that may be killed at any moment, server and all: a program that notes what it tries and what it was told.

    python -m tests.store.killed_writer URL LOG NUMBER NOTES STOP

Each line of the file NOTES is JSON: `["try", turn, ids]` before an append, `["stored", turn, [[id, position, version], …]]`
once it's acknowledged, `["unknown", turn, error, sentence]` when it isn't. It ends when the file STOP is there.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

from webapp.errors import ProjectionistError
from webapp.store import Append, EventStore, NewEvent, RecordedEvent
from webapp.store.events import uuid7

retry_seconds = 0.1


def make_appends(chance: random.Random, log: str, number: str, turn: int) -> list[Append]:
    """One append, or two that are to be stored together; each event with an id of its own."""
    own = Append("note", f"{number}-{turn // 8}", make_events(chance, number, turn), log=log)
    if chance.random() < 0.3:
        return [own, Append("note", "everybody", make_events(chance, number, turn), log=log)]
    return [own]


def make_events(chance: random.Random, number: str, turn: int) -> list[NewEvent]:
    """One to three events."""
    return [NewEvent("noted", {"writer": number, "turn": turn}, id=str(uuid7())) for _ in range(chance.randint(1, 3))]


def append(store: EventStore, chance: random.Random, appends: list[Append]) -> list[RecordedEvent]:
    """What was recorded, in one of the ways there are."""
    if chance.random() < 0.3:
        return store.database.retrying(lambda connection: store.append_in(connection, appends))
    return store.append_many(appends)


def run(url: str, log: str, number: str, notes: Path, stop: Path) -> None:
    """Appends until told to stop. What has an unknown outcome is tried again, the very same, in three of four cases."""
    store, chance, turn = EventStore.open(url), random.Random(number), 0
    with notes.open("a", buffering=1) as file:

        def note(*what: Any) -> None:
            file.write(json.dumps(what) + "\n")

        while not stop.exists():
            turn += 1
            appends = make_appends(chance, log, number, turn)
            note("try", turn, [str(event.id) for one in appends for event in one.events])
            while True:
                try:
                    recorded = append(store, chance, appends)
                except ProjectionistError as error:
                    note("unknown", turn, type(error).__name__, str(error))
                    time.sleep(retry_seconds)
                    if chance.random() < 0.25:
                        break
                else:
                    note("stored", turn, [(event.id, event.position, event.version) for event in recorded])
                    break
    store.close()


if __name__ == "__main__":
    url_, log_, number_, notes_, stop_ = sys.argv[1:]
    run(url_, log_, number_, Path(notes_), Path(stop_))
