"""What everybody is given: the same events, as an application has them in hand."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TYPES = ("order.placed", "order.paid", "order.packed", "order.shipped")


@dataclass(frozen=True)
class Given:
    """Events for one aggregate, which stands at `version` before them."""

    aggregate_id: str
    version: int
    events: list[tuple[str, dict[str, Any], dict[str, Any]]]
    """Type, data and metadata of each."""


def _event(chance: random.Random, number: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
    data = {
        "order": number,
        "customer": f"customer-{chance.randint(1, 5000)}",
        "total": chance.randint(100, 99999) / 100,
        "lines": [{"sku": f"sku-{chance.randint(1, 900)}", "quantity": chance.randint(1, 9)} for _ in range(2)],
        "note": "leave it at the door, please",
    }
    metadata = {"correlation_id": f"c-{number // 4}", "causation_id": f"m-{number}", "actor": "ann"}
    return TYPES[number % len(TYPES)], data, metadata


def appends(
    calls: int, events: int, aggregates: int, seed: int, calls_for_each: int = 1
) -> Iterator[list[Given]]:  # fmt: skip
    """`calls` lists of `events` events each, spread evenly over `aggregates` new aggregates, which get so many calls."""
    chance = random.Random(seed)
    number = 0
    for at in range(calls):
        if at % calls_for_each == 0:
            ids, version = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(aggregates)], 0
        call = []
        for aggregate_id in ids:
            share = [_event(chance, number + n) for n in range(events // aggregates)]
            number += len(share)
            call.append(Given(aggregate_id, version, share))
        version += events // aggregates
        yield call
