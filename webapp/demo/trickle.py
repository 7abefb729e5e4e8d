"""Live traffic for the demo: every few seconds somebody buys something, and orders under way move on.

`python -m webapp.demo.trickle URL` runs until its standard input ends, so it never outlives who started it.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import random
import select
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from webapp.demo.flows import Customer, Shop
from webapp.demo.simulation import Flow, Happening, describe
from webapp.errors import NotFound, ProjectionistError
from webapp.store import Append, EventStore, NewEvent
from webapp.store.events import uuid7

log = logging.getLogger(__name__)
every_seconds = 4.0
_regulars = 40
_most_under_way = 20
_first_day = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@dataclass(slots=True)
class _UnderWay:
    flow: Flow
    happening: Happening
    tenant: str
    correlation_id: str


class Trickle:
    """Appends to a demo store step by step. In a step one flow begins, and each under way comes to its next event.

    Raises NotFound for a store without customers.
    """

    def __init__(self, store: EventStore, chance: random.Random) -> None:
        self.store, self.chance = store, chance
        customers = find_regulars(store)
        if not customers:
            raise NotFound("customer", "any", "Live traffic needs a store that `projectionist demo` made.")
        # Numbers by the clock, which are above those of the history and of any trickle before this one.
        seconds = int((dt.datetime.now(dt.UTC) - _first_day).total_seconds())
        self.shop = Shop.go_on(chance, customers, seconds)
        self._under_way: list[_UnderWay] = []

    def step(self) -> int:
        """The number of events appended, all or none; what failed is tried again in the next step."""
        if len(self._under_way) < _most_under_way:
            self._under_way.append(self._begin())
        now = dt.datetime.now(dt.UTC)
        recorded = self.store.append_many([_append(one, now) for one in self._under_way])
        self._under_way = [
            one for one, event in zip(self._under_way, recorded, strict=True) if _advance(one, event.id)
        ]  # fmt: skip
        return len(recorded)

    def _begin(self) -> _UnderWay:
        customer, draw = self.chance.choice(self.shop.customers), self.chance.random()
        if draw < 0.1:
            flow = self.shop.complain(customer)
        elif draw < 0.2:
            flow = self.shop.top_up(customer, self.chance.choice([2_000, 5_000, 10_000]))
        else:
            flow = self.shop.buy(customer)
        return _UnderWay(flow, next(flow), customer.tenant, str(uuid7()))


def _append(one: _UnderWay, now: dt.datetime) -> Append:
    happening = one.happening
    metadata = describe(happening, one.tenant, one.correlation_id, now)
    event = NewEvent(happening.type, happening.data, metadata)
    return Append(happening.aggregate_type, happening.aggregate_id, [event], log=happening.log)


def _advance(one: _UnderWay, event_id: str) -> bool:
    """Whether the flow goes on; then its next happening is at hand."""
    try:
        one.happening = one.flow.send(uuid.UUID(event_id))
    except StopIteration:
        return False
    return True


def find_regulars(store: EventStore) -> list[Customer]:
    """Some of the store's customers, with what is free in their wallets."""
    customers = []
    for wallet in store.aggregates("wallet", limit=_regulars):
        opened, *moves = store.read_stream("wallet", wallet.id, log=wallet.log)
        free = sum(move.data["amount"] * (1 if move.type == "wallet.credited" else -1) for move in moves)
        tenant, country = opened.metadata["tenant"], opened.data["country"]
        customers.append(Customer(wallet.id, opened.data["owner"], tenant, country, free))
    return customers


def run(url: str) -> None:
    """Goes on until standard input ends; a store that can't be written for a while is waited for."""
    store = EventStore.open(url)
    try:
        trickle = Trickle(store, random.Random())  # noqa: S311 - made-up data
        while not select.select([sys.stdin], [], [], every_seconds)[0]:
            try:
                trickle.step()
            except ProjectionistError as error:
                log.warning("no live traffic just now: %s", error)
    finally:
        store.close()


@contextmanager
def running(url: str) -> Iterator[None]:
    """Live traffic in a process of its own while the block runs.

    It ends with the block, and also when this process is killed: its standard input is a pipe from here.
    """
    command = [sys.executable, "-m", "webapp.demo.trickle", url]
    process, owner = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True), os.getpid()
    try:
        yield
    finally:
        if os.getpid() == owner:  # a server's forked workers come by here too when they end
            process.terminate()
            process.communicate()  # waits for it, and closes the pipe


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    run(sys.argv[1])
