"""Times as people type them."""

from __future__ import annotations

import datetime as dt
import re

from webapp.errors import InvalidRequest

accepted = "a date such as 2026-10-01, a time such as 2026-10-01 14:30, or a span back from now such as -7d or -30m"
_relative = re.compile(r"-\s*(\d{1,6})\s*([smhdw])")
_units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_time(
    text: str, *, zone: dt.tzinfo = dt.UTC, now: dt.datetime | None = None, field: str | None = None
) -> dt.datetime:
    """The moment a text stands for, in UTC; a date is its first moment, and `zone` holds where the text names none.

    Accepts ISO 8601, spans back from now (-7d, -2h, -30m), “now”, “today” and “yesterday”. Raises InvalidRequest.
    """
    now = now or dt.datetime.now(dt.UTC)
    typed = text.strip().lower()
    try:
        span = _relative.fullmatch(typed)
        if span:
            return now - dt.timedelta(**{_units[span[2]]: int(span[1])})
        if typed == "now":
            return now
        if typed in ("today", "yesterday"):
            day = now.astimezone(zone).date() - dt.timedelta(days=typed == "yesterday")
            return dt.datetime.combine(day, dt.time(), zone).astimezone(dt.UTC)
        # A + in a URL means a space, so the offset of a time pasted there may have lost its sign.
        iso = re.sub(r" (\d\d:?\d\d)$", r"+\1", typed) if "t" in typed else typed
        moment = dt.datetime.fromisoformat(iso.upper())
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(f"“{text}” is not a time. Write {accepted}.", field=field) from error
