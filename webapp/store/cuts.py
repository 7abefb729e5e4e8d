"""A place in the merged order of several logs, written as a short text that fits into a URL."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from webapp.errors import InvalidRequest

most_positions = 60  # more would make a URL longer than web servers take; the rest is found again by time
_digits = "0123456789abcdefghijklmnopqrstuvwxyz"
_epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_shape = re.compile(r"(?P<at>-?[0-9a-z]{0,14})\.(?P<log>[A-Za-z0-9_-]*)(?P<positions>(\.[0-9a-z]{9,22})*)")


def microseconds(moment: dt.datetime | None) -> int | None:
    """Whole microseconds since 1970; None for None."""
    return None if moment is None else (moment - _epoch) // dt.timedelta(microseconds=1)


@dataclass(frozen=True)
class Cut:
    """Divides all events into an older and a newer side; reading may go on from it in either direction.

    `positions` holds, under the marks of logs, the last position on the older side. `at` (microseconds) and `log` are
    the time and the log of the event next to the cut, by which logs without a position are divided; None: none yet.
    """

    at: int | None
    log: str | None
    positions: dict[str, int]

    def position_of(self, log: str) -> int | None:
        """The last position of a log on the older side; None if the cut doesn't say."""
        return self.positions.get(mark(log))

    @property
    def key(self) -> tuple[int, str, int] | None:
        """(microseconds, log, position) up to which events are on the older side."""
        if self.at is None or self.log is None:
            return None
        return self.at, self.log, self.positions.get(mark(self.log), 0)

    def encode(self) -> str:
        """The cut as text of letters, digits, dots, - and _."""
        name = base64.urlsafe_b64encode((self.log or "").encode()).decode().rstrip("=")
        at = "" if self.at is None else _base36(self.at)
        return ".".join([at, name, *(key + _base36(position) for key, position in self.positions.items())])

    @classmethod
    def decode(cls, text: str) -> Cut:
        """The cut that a text stands for; raises InvalidRequest for any other text."""
        found = _shape.fullmatch(text)
        try:
            if found is None:
                raise ValueError(text)
            name = found["log"]
            log = base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()
            positions = {part[:8]: int(part[8:], 36) for part in found["positions"].split(".")[1:]}
            at = int(found["at"], 36) if found["at"] else None
        except (ValueError, binascii.Error) as error:
            raise InvalidRequest(
                "That cursor is not one that this list gave out. Start again from the first page.", field="cursor"
            ) from error
        return cls(at, log or None, positions)


def make_cut(at: int | None, log: str | None, positions: Iterable[tuple[str, int, int]]) -> Cut:
    """A cut from (log, position, head) of every log; the largest logs keep their position if there are very many."""
    kept = sorted(positions, key=lambda item: (item[0] != log, -item[2]))[:most_positions]
    return Cut(at, log, {mark(name): position for name, position, _ in kept})


def mark(log: str) -> str:
    """Eight letters and digits that stand for a log's name in a cursor."""
    digest = hashlib.blake2s(log.encode("utf-8", "surrogatepass"), digest_size=5).digest()
    return base64.b32encode(digest).decode().lower()


def _base36(number: int) -> str:
    sign, number = ("-", -number) if number < 0 else ("", number)
    text = ""
    while number or not text:
        number, digit = divmod(number, 36)
        text = _digits[digit] + text
    return sign + text
