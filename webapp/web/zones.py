"""Time zones: which there are, and which one a person reads times in."""

from __future__ import annotations

import datetime as dt
import functools
import zoneinfo

from webapp.accounts.people import Person


@functools.cache
def known_zones() -> tuple[str, ...]:
    """The names of all time zones that this machine knows, in order."""
    return tuple(sorted(zoneinfo.available_timezones()))


def zone_of(person: Person | None) -> dt.tzinfo:
    """The zone a person has chosen; UTC where there is none, or none that this machine knows."""
    name = person.time_zone if person else None
    return zoneinfo.ZoneInfo(name) if name and name in known_zones() else dt.UTC
