"""How far behind their streams' heads projections are, measured for all of them at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from webapp.adapters.ecotone.heads import Head, rows_counted
from webapp.adapters.ecotone.positions import StreamPosition
from webapp.adapters.ecotone.streams import Stream, gather
from webapp.adapters.ecotone.words import amount, names
from webapp.store.source import Count, Progress

gaps_asked = 1000


@dataclass(frozen=True, slots=True)
class Measured:
    """One position beside its stream; `filled` are watched gaps that have an event by now."""

    progress: Progress
    stream: Stream | None
    filled: tuple[int, ...] = ()

    @property
    def is_behind(self) -> bool:
        """Whether events wait, after the position or in a gap."""
        return self.progress.lag > 0 or bool(self.filled)


def measure(
    connection: sa.Connection,
    streams: Mapping[str, Stream],
    heads: Mapping[str, Head],
    positions: Sequence[StreamPosition],
) -> list[Measured]:
    """Each position with its head, the number of events waiting (exact up to 10,000), and gaps that have filled."""
    pending: dict[int, Count] = {}
    filled: dict[int, list[int]] = {}
    behind, watched = [], []
    for place, at in enumerate(positions):
        stream = streams.get(at.stream)
        if stream is not None and heads[at.stream].last > at.position:
            behind.append(
                f"SELECT {place} AS place, COUNT(*) AS number FROM"
                f" (SELECT 1 AS one FROM {stream.sql} WHERE no > {at.position} LIMIT {rows_counted + 1}) waiting"
            )
        if stream is not None and at.gaps:
            numbers = ", ".join(map(str, at.gaps[:gaps_asked]))
            watched.append(f"SELECT {place} AS place, no AS number FROM {stream.sql} WHERE no IN ({numbers})")
    for row in gather(connection, behind):
        pending[row.place] = Count(min(row.number, rows_counted), exact=row.number <= rows_counted)
    for row in gather(connection, watched):
        filled.setdefault(row.place, []).append(row.number)
    measured = []
    for place, at in enumerate(positions):
        gaps = tuple(sorted(filled.get(place, ())))
        waiting = pending.get(place, Count(0))
        head = heads[at.stream].last if at.stream in heads else 0
        events = Count(waiting.number + len(gaps), waiting.exact)
        progress = Progress(at.stream, at.position, head, pending=events, gaps=at.gaps)
        measured.append(Measured(progress, streams.get(at.stream), gaps))
    return measured


def describe_lag(measured: Sequence[Measured]) -> str:
    """“7 positions (3 events) in orders”, all streams together."""
    late = [one for one in measured if one.is_behind]
    counts = [one.progress.pending for one in late if one.progress.pending is not None]
    events = Count(sum(count.number for count in counts), all(count.exact for count in counts))
    lag = sum(one.progress.lag for one in late)
    return f"{amount(lag, 'position')} ({amount(events, 'event')}) in {names([one.progress.log for one in late])}"


def describe_surprises(measured: Sequence[Measured]) -> str:
    """Sentences about streams that are gone and gaps that have filled, each with a space before it; empty if none."""
    text = ""
    gone = [one.progress.log for one in measured if one.stream is None]
    if gone:
        text += f" It also names {names(gone)}, which {'is' if len(gone) == 1 else 'are'} not in the registry."
    for one in measured:
        empty = len(one.progress.gaps) - len(one.filled)
        if empty:
            text += f" It watches {amount(empty, 'gap')} in {one.progress.log} that no event has filled."
        if one.filled:
            events = amount(len(one.filled), "event")
            numbers = names([str(number) for number in one.filled])
            text += f" {events} appeared in gaps of {one.progress.log} that it watches: {numbers}."
    return text
