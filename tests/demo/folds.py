"""What the demo's read models must hold, worked out from the log in another way than the projections do."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from webapp.store import EventStore, RecordedEvent

Rows = dict[Any, dict[str, Any]]


def fold_orders(events: Iterable[RecordedEvent]) -> Rows:
    rows: Rows = {}
    for event in events:
        data, order_id = (
            event.data,
            event.data.get("order") if event.type.startswith("payment.") else event.aggregate_id,
        )
        if event.type == "order.placed":
            rows[order_id] = {
                "tenant": event.metadata["tenant"], "customer": data["customer"], "total_cents": data["total"],
                "items": sum(line["quantity"] for line in data["lines"]), "placed_at": event.recorded_at,
            }  # fmt: skip
            status = "placed"
        elif event.type == "payment.captured" and order_id:
            status = "paid"
        elif event.aggregate_type == "order":
            status = event.type.split(".")[1]
        else:
            continue
        rows[order_id] |= {"status": status, "changed_at": event.recorded_at}
    return rows


def fold_revenue(events: Iterable[RecordedEvent]) -> Rows:
    rows: Rows = defaultdict(lambda: {"payments": 0, "revenue_cents": 0, "refunded_cents": 0})
    for event in events:
        key = (event.recorded_at.date(), event.metadata["tenant"])
        if event.type == "payment.captured" and event.data.get("order"):
            rows[key]["payments"] += 1
            rows[key]["revenue_cents"] += event.data["amount"]
        elif event.type == "payment.refunded":
            rows[key]["refunded_cents"] += event.data["amount"]
    return dict(rows)


def fold_wallets(events: Iterable[RecordedEvent]) -> Rows:
    signs = {"wallet.opened": 0, "wallet.credited": 1, "wallet.debited": -1}
    rows: Rows = {}
    for event in events:
        if event.type in signs:
            row = rows.setdefault(
                event.aggregate_id,
                {"tenant": event.metadata["tenant"], "balance_cents": 0, "movements": 0, "moved_at": None},
            )
            if signs[event.type]:
                row["balance_cents"] += signs[event.type] * event.data["amount"]
                row["movements"] += 1
                row["moved_at"] = event.recorded_at
    return rows


def fold_activity(events: Iterable[RecordedEvent], up_to: Mapping[str, int]) -> Rows:
    kinds = {"order.placed": "orders", "ticket.opened": "tickets"}
    tenants: dict[str, str] = {}
    seen: dict[str, dt.datetime] = {}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for event in events:
        if event.type in kinds and event.position <= up_to[event.log]:
            customer = event.data["customer"]
            counts[customer][kinds[event.type]] += 1
            counts[customer]["ordered_cents"] += event.data.get("total", 0)
            tenants[customer] = event.metadata["tenant"]
            seen[customer] = max(event.recorded_at, seen.get(customer, event.recorded_at))
    return {
        customer: {name: count[name] for name in ("orders", "ordered_cents", "tickets")}
        | {"tenant": tenants[customer], "last_seen_at": seen[customer]}
        for customer, count in counts.items()
    }


def fold_cards(events: Iterable[RecordedEvent], before: int) -> Rows:
    rows: Rows = {}
    for event in events:
        if event.type == "payment.captured" and event.position < before and event.data["method"] == "card":
            rows[event.aggregate_id] = {
                "customer": event.data["customer"], "card_country": event.data["card"]["country"],
                "amount_cents": event.data["amount"], "checked_at": event.recorded_at,
            }  # fmt: skip
    return rows


def read_model(store: EventStore, table: sa.Table, *but: str) -> Rows:
    """The rows of a read model by key, without the columns named in `but`."""
    keys = [column.name for column in table.primary_key]
    with store.database.reading() as connection:
        found = [dict(row._mapping) for row in connection.execute(sa.select(table))]
    return {
        row[keys[0]] if len(keys) == 1 else tuple(row[key] for key in keys): {
            name: value for name, value in row.items() if name not in keys and name not in but
        }
        for row in found
    }
