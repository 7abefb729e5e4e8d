"""Jinja filters: how numbers, times, ids and hostile payloads look to people."""

from __future__ import annotations

import datetime as dt
import enum
import re
import zlib
from typing import Any
from urllib.parse import urlencode

from flask import Flask, g, request
from markupsafe import Markup

from webapp.queries.texts import show_text
from webapp.store.events import utc
from webapp.store.source import Count
from webapp.web.zones import zone_of

_classes = {
    "up to date": "ok", "completed": "ok", "done": "ok", "finished": "ok",
    "behind": "late", "paused": "late", "interrupted": "late", "cancelled": "late", "waiting for a runner": "late",
    "stale": "late", "pausing": "late", "cancelling": "late",
    "failed": "fail", "crashed": "fail",
    "running": "run", "rebuilding": "run", "queued": "run", "claimed": "run", "pending": "run",
}  # fmt: skip

_browsers = {"Edg": "Edge", "OPR/": "Opera", "Firefox": "Firefox", "Chrome": "Chrome", "Safari": "Safari"}
_systems = {
    "Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Windows": "Windows", "Mac OS": "macOS", "Linux": "Linux"
}  # fmt: skip
_longest_colored = 128 * 1024
_tokens = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*"(?=\s*:))|(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<number>-?\b\d[\d.eE+-]*)|(?P<word>\b(?:true|false|null)\b)"
)


def number(value: float | None, missing: str = "–") -> str:
    """A number with thousands separators: 1,234,567 or 12.5."""
    if value is None:
        return missing
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}".removesuffix(".0")


def count_text(value: Count | int | None) -> str:
    """A Count: 1,234, or “10,000+” where counting stopped."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return number(value)
    return number(value.number) if value.exact else f"{number(value.number)}+"


def count_of(value: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: “1 event”, “2 events”."""
    return f"{number(value)} {noun if value == 1 else plural or noun + 's'}"


def duration(seconds: float | None) -> str:
    """A span in the two largest units that say something: “850 ms”, “12 s”, “3 min 5 s”, “2 d 4 h”."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    whole = round(seconds)
    parts: list[str] = []
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if whole >= size or parts:
            amount, whole = divmod(whole, size)
            parts.append(f"{amount} {unit}" if amount else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)


def zone() -> dt.tzinfo:
    """The time zone in which the person reads times."""
    return zone_of(g.get("person"))


def time(at: dt.datetime, with_seconds: bool = True) -> Markup:
    """A `<time>` in the person's zone, the exact moment in UTC beside it; of this year without the year."""
    at = at.replace(tzinfo=dt.UTC) if at.tzinfo is None else at
    local = at.astimezone(zone())
    year = "" if local.year == dt.datetime.now(zone()).year else f" {local.year}"
    shown = f"{local.day} {local:%b}{year} {local.strftime('%H:%M:%S' if with_seconds else '%H:%M')}"
    exact = utc(at)
    return Markup('<time class="nowrap" datetime="{}" title="{} · {} {}">{}</time>').format(
        exact, exact, f"{local:%Y-%m-%d %H:%M:%S.%f}", local.tzname(), shown
    )


def ago(at: dt.datetime | None) -> str:
    """How long ago something was: “12 s ago”."""
    if at is None:
        return "never"
    seconds = (dt.datetime.now(dt.UTC) - at).total_seconds()
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


def short_id(value: str, keep: int = 16) -> str:
    """A long id with its middle left out: “01a2b3c4…199f”."""
    text = str(value)
    return text if len(text) <= keep + 4 else f"{text[: keep - 5]}…{text[-5:]}"


def hue(name: str | None) -> str:
    """A class h0 … h11, the same for the same name on every machine."""
    return f"h{zlib.crc32((name or '').encode('utf-8', 'surrogatepass')) % 12}"


def health_word(health: Any) -> str:
    """The word of a Health or another status enum; text stays as it is."""
    return str(health.value) if isinstance(health, enum.Enum) else str(health)


def health_class(word: str) -> str:
    """The badge's colour class for a status word; none for one we don't know."""
    return _classes.get(word, "")


def colored(text: str) -> Markup:
    """JSON text as HTML with its keys, texts, numbers and words told apart; the text itself stays as it is."""
    if len(text) > _longest_colored:
        return Markup.escape(text)
    parts: list[Markup] = []
    at = 0
    for token in _tokens.finditer(text):
        parts += [Markup.escape(text[at : token.start()]), _span(token)]
        at = token.end()
    return Markup("").join([*parts, Markup.escape(text[at:])])


def _span(token: re.Match[str]) -> Markup:
    return Markup('<span class="{}">{}</span>').format(token.lastgroup, token[0])


def browser_words(agent: str | None) -> str:
    """What a browser says of itself in a few words: “Firefox on Linux”."""
    if not agent:
        return "unknown"
    name = next((word for sign, word in _browsers.items() if sign in agent), agent.partition("/")[0][:40])
    system = next((word for sign, word in _systems.items() if sign in agent), None)
    return f"{name} on {system}" if system else name


def with_argument(name: str, value: str | None) -> str:
    """This page's address with one argument of its query set, or taken out where the value is None."""
    pairs = [(key, each) for key, each in request.args.items(multi=True) if key != name]
    query = urlencode([*pairs, (name, value)] if value is not None else pairs)
    return f"?{query}"


def register(app: Flask) -> None:
    """Makes the filters known to the app's templates."""
    filters = (
        number, count_text, count_of, duration, time, ago, short_id, hue, health_word, health_class, colored, show_text,
        browser_words,
    )  # fmt: skip
    app.jinja_env.globals["with_argument"] = with_argument
    app.jinja_env.filters |= {function.__name__: function for function in filters}
