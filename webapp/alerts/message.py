"""A message as it goes over the wire: JSON that says what, where, since when and how to go on, and its signature."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from webapp.alerts.rows import Alert
from webapp.alerts.rules import Kind
from webapp.alerts.telling import Happening, Telling

signature_header, id_header = "Projectionist-Signature", "Projectionist-Message"
_named_in_text = 5


@dataclass(frozen=True, slots=True)
class Message:
    """The body and the headers of one POST; the same things told once more have the same `id`."""

    id: str
    body: bytes
    headers: dict[str, str]


def write_message(
    tellings: Sequence[Telling], now: dt.datetime, public_url: str | None, secret: str | None
) -> Message:  # fmt: skip
    """One message for all of it; `secret` signs it, `public_url` is where its links begin."""
    told = [f"{one.alert.id} {one.happening} {one.alert.told_at}" for one in tellings]
    id_ = hashlib.sha256("\n".join(told).encode()).hexdigest()[:32]
    counts = Counter(one.happening for one in tellings)
    content = {
        "id": id_,
        "sent_at": _time(now),
        "text": _text(tellings, counts),
        "counts": {happening.value: counts[happening] for happening in Happening},
        "dashboard": public_url,
        "alerts": [_entry(one, public_url) for one in tellings],
    }
    body = json.dumps(content).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "Projectionist", id_header: id_}
    if secret is not None:
        headers[signature_header] = f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
    return Message(id_, body, headers)


def link_to(alert: Alert, public_url: str | None) -> str | None:
    """The page where to go on, None where the dashboard's own address isn't known."""
    if public_url is None:
        return None
    page = f"{public_url}/stores/{quote(alert.store, safe='')}"
    if alert.projection:
        return f"{page}/projections/{quote(alert.projection.encode('utf-8', 'replace'), safe='')}"
    return f"{page}/dead-letters" if alert.kind == Kind.dead_letters else page


def _entry(telling: Telling, public_url: str | None) -> dict[str, Any]:
    alert = telling.alert
    return {
        "id": alert.id,
        "event": telling.happening.value,
        "kind": alert.kind,
        "store": alert.store,
        "projection": alert.projection or None,
        "since": _time(alert.begun_at),
        "ended_at": _time(alert.ended_at) if telling.happening is Happening.ended and alert.ended_at else None,
        "what": alert.sentence,
        "how_to_go_on": None if telling.happening is Happening.ended else Kind(alert.kind).advice,
        "link": link_to(alert, public_url),
    }


def _text(tellings: Sequence[Telling], counts: Counter[Happening]) -> str:
    """The message in words, for receivers that show only these."""
    heads = [f"{counts[one]} {one.value}" for one in Happening if counts[one]]
    lines = [_line(one) for one in tellings[:_named_in_text]]
    more = len(tellings) - len(lines)
    return "\n".join([f"Projectionist: {', '.join(heads)}", *lines, *([f"and {more:,} more"] if more else [])])


def _line(telling: Telling) -> str:
    alert = telling.alert
    where = f"{alert.projection} in {alert.store}" if alert.projection else alert.store
    kind = alert.kind.replace("_", " ")
    if telling.happening is Happening.ended:
        return f"Ended: {where}: {kind}"
    return f"{'Still' if telling.happening is Happening.lasts else 'New'}: {where}: {kind}: {alert.sentence}"


def _time(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
