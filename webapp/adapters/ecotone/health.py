"""What status, lock and lag of a projection mean, as far as Ecotone's tables allow to say."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from webapp.adapters.ecotone.progress import Measured, describe_lag, describe_surprises
from webapp.adapters.ecotone.words import moment, names
from webapp.store.source import Health

wishes = frozenset({"stopping", "resetting", "deleting", "deleting incl emitted events"})
at_rest = frozenset({"idle", "running"})
Verdict = tuple[Health, str]


def judge_v1(
    status: str, locked_until: dt.datetime | None, now: dt.datetime, measured: Sequence[Measured],
    unread: Sequence[str], server: str,
) -> Verdict:  # fmt: skip
    """Health and explanation of a V1 projection; `unread` are streams that it can't read on this server.

    “idle” and “running” say nothing at rest: Ecotone writes either when it releases the lock.
    """
    is_locked = locked_until is not None and locked_until > now
    if status in wishes:
        return _judge_wish(status, locked_until, is_locked)
    if status not in at_rest:
        return Health.failed, f"“{status}” is not a status that Ecotone knows; every run fails until it is mended."
    if is_locked and locked_until is not None:
        lag = f"; behind by {describe_lag(measured)}" if _is_behind(measured) else ""
        return Health.running, f"Running: its runner holds the lock until {moment(locked_until)}{lag}."
    if status == "running" and locked_until is not None:
        lag = f" It stands behind by {describe_lag(measured)}." if _is_behind(measured) else ""
        return Health.crashed, f"Crashed: lock expired at {moment(locked_until)} and nobody released it.{lag}"
    return _judge_lag(measured, unread, server)


def _judge_wish(status: str, locked_until: dt.datetime | None, is_locked: bool) -> Verdict:
    if is_locked and locked_until is not None:
        return Health.running, f"'{status}' was requested; a runner holds the lock until {moment(locked_until)}."
    expired = f" The last lock expired at {moment(locked_until)}." if locked_until is not None else ""
    return Health.waiting, f"Nobody runs it: '{status}' was requested and no runner has obeyed.{expired}"


def _judge_lag(measured: Sequence[Measured], unread: Sequence[str], server: str) -> Verdict:
    if not measured:
        return Health.not_started, "It has no position yet: no run of it has read an event."
    rest = describe_surprises(measured)
    if not _is_behind(measured):
        return Health.up_to_date, f"Up to date in every stream that its position names.{rest}"
    why = " No runner holds its lock, so nothing has triggered it since."
    if unread:
        rest += (
            f" It stands at 0 in {names(unread)}: on {server}, V1 projections read nothing from streams of the "
            "aggregate strategy, and report no error."
        )
        if all(one.progress.log in unread for one in measured if one.is_behind):
            why = ""
    return Health.behind, f"Behind by {describe_lag(measured)}.{why}{rest}"


def judge_v2(measured: Sequence[Measured], is_initialized: bool) -> Verdict:
    """Health and explanation of a global V2 projection, which keeps neither errors nor times."""
    rest = describe_surprises(measured)
    if not measured:
        if is_initialized:
            return Health.up_to_date, "Initialized, with nothing to read so far."
        return Health.not_started, "It has no position yet: no run of it has read an event."
    if not _is_behind(measured):
        return Health.up_to_date, f"Up to date in every stream that its position names.{rest}"
    lag = describe_lag(measured)
    if is_initialized:
        return Health.behind, f"Behind by {lag}; Ecotone doesn't say whether it is running or failing.{rest}"
    return Health.unknown, (
        f"Catching up or failed: its first run hasn't reached the head, and it is behind by {lag}. "
        f"Ecotone keeps no error; if the position doesn't move, it failed.{rest}"
    )


def judge_bad_position(text: str, reason: str) -> Verdict:
    """Health and explanation of a V2 projection whose position is not in Ecotone's form."""
    if text.isdigit():
        return Health.unknown, f"Its position is the bare {text}, which Ecotone takes for nothing: it will start over."
    return Health.failed, f"Its position can't be read ({reason}); every run fails with “Invalid position format”."


def _is_behind(measured: Sequence[Measured]) -> bool:
    return any(one.is_behind for one in measured)
