"""Numbers and times as they stand in sentences."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from webapp.store.source import Count


def amount(number: int | Count, noun: str) -> str:
    """“1 event”, “1,787 events”, “10,000 or more events”."""
    count = number if isinstance(number, Count) else Count(number)
    more = "" if count.exact else " or more"
    return f"{count.number:,}{more} {noun}{'' if count.number == 1 and count.exact else 's'}"


def moment(at: dt.datetime) -> str:
    """A time in UTC, to the second."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def names(all_names: Sequence[str], most: int = 3) -> str:
    """“a”, “a and b”, “a, b, c and 5 more”."""
    shown = list(all_names[:most])
    if len(all_names) > most:
        return f"{', '.join(shown)} and {len(all_names) - most:,} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))
