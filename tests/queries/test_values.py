"""States as rows, and what changed between two of them."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from webapp.queries.values import compare, most_rows, to_plain, to_rows


class Status(enum.Enum):
    open = "open"


@dataclass
class Order:
    total: Decimal = Decimal("12.50")
    status: Status = Status.open
    tags: set[str] = field(default_factory=lambda: {"b", "a"})
    at: dt.date = dt.date(2026, 10, 1)


class Wallet:
    def __init__(self) -> None:
        self.balance = 3
        self.owner = None


def test_any_class_becomes_plain() -> None:
    assert to_plain(Order()) == {"total": "12.50", "status": "open", "tags": ["a", "b"], "at": "2026-10-01"}
    assert to_plain({1: Wallet()}) == {"1": {"balance": 3, "owner": None}}
    loop: dict[str, Any] = {}
    loop["self"] = loop
    assert "…" in repr(to_plain(loop))


def test_rows_have_paths() -> None:
    assert to_rows({"a": {"b": [1, {"c": "x"}]}, "empty": {}, "none": None}) == {
        "a.b[0]": "1", "a.b[1].c": '"x"', "empty": "{}", "none": "null",
    }  # fmt: skip
    assert to_rows(7) == {"state": "7"}
    assert to_rows(None) == to_rows({}) == {}
    assert len(to_rows({str(number): number for number in range(10_000)})) == most_rows


def test_a_changed_value_is_one_removed_and_one_added() -> None:
    before, after = {"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "9", "d": "4"}
    rows = compare(before, after, {"b": "v1", "c": "v1"}, {"b": "v2", "d": "v2"})
    assert [(row.kind, row.path, row.text, row.by) for row in rows] == [
        ("same", "a", "1", None), ("removed", "b", "2", "v1"), ("added", "b", "9", "v2"),
        ("removed", "c", "3", "v1"), ("added", "d", "4", "v2"),
    ]  # fmt: skip
