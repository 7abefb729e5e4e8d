"""The second time of an event: when it occurred in the world, as its writer says, beside when it was recorded."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from webapp.errors import InvalidEvent

occurred_key = "occurred_at"
"""The metadata key that holds it, so that every layout and every format carries it."""


def dated_metadata(type_: str, metadata: Any, occurred_at: dt.datetime) -> dict[str, Any]:
    """The metadata with the time under `occurred_at`, RFC 3339 in UTC with microseconds and Z.

    Raises InvalidEvent for a time without a zone, and for metadata that isn't a mapping or says the time itself.
    """
    if not isinstance(occurred_at, dt.datetime) or occurred_at.utcoffset() is None:
        raise InvalidEvent(
            f"The occurred_at of {type_} must be a datetime with its zone, such as datetime.now(UTC); "
            f"{occurred_at!r} is not."
        )
    if metadata is not None and not isinstance(metadata, Mapping):
        raise InvalidEvent(
            f"The metadata of {type_} must be a mapping when occurred_at is given. "
            "Decode it, or write occurred_at into its text."
        )
    if metadata and occurred_key in metadata:
        raise InvalidEvent(f"The metadata of {type_} says occurred_at already. Give it once.")
    try:
        moment = occurred_at.astimezone(dt.UTC)
    except OverflowError as error:
        raise InvalidEvent(f"The occurred_at of {type_} lies outside the years 1 to 9999 in UTC.") from error
    return {**(metadata or {}), occurred_key: moment.isoformat(timespec="microseconds").replace("+00:00", "Z")}


def read_occurred_at(metadata: Any) -> dt.datetime | None:
    """The time that metadata says, aware, in UTC; None where there is none that can be read."""
    text = metadata.get(occurred_key) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
        return None if moment.utcoffset() is None else moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None
