"""A small shop, with everything that makes pages difficult."""

from __future__ import annotations

import uuid

from webapp.store import Append, EventStore, NewEvent

odd_id = "a/b//c \\ d?e=f&g#h %41 ~2F ü 日本 ;x"
odd_type = "Shop\\Sales/Order"
odd_log = "side/log 1"
script = "<script>alert('x')</script>"
correlation = "corr-1"


def placed_id() -> uuid.UUID:
    """The id of order 42's first event."""
    return uuid.UUID("0190f3c4-0000-7000-8000-000000000042")


def fill(store: EventStore) -> None:
    """Orders, wallets, tickets; odd names; hostile payloads; one (type, id) in two logs; 120 quiet orders."""
    meta = {"actor": "ann", "correlation_id": correlation}
    store.append(
        "order", "42",
        [
            NewEvent("order.placed", {"customer": "anna", "total": 100, "status": "open"}, meta, placed_id()),
            NewEvent("order.item_added", {"lines": [{"sku": "pen", "price": 5}], "total": 105}, meta),
            NewEvent(
                "order.paid", {"status": "paid", "paid_at": "2026-10-01T10:15:31Z"},
                {"actor": "payments", "correlation_id": correlation, "causation_id": str(placed_id())},
            ),
            NewEvent("order.cancelled", {"status": "cancelled", "paid_at": None}, {"actor": "ann"}),
        ],
    )  # fmt: skip
    store.append(
        "ticket", "T-1",
        [
            NewEvent("ticket.opened", {"text": script, "note": "tab\tnew\nline"}, {"actor": script}),
            NewEvent("ticket.blown_up", {"text": "x" * 1_000_000 + "THE-END"}),
            NewEvent("ticket.nested", "[" * 10_000 + "]" * 10_000),
            NewEvent("ticket.turned", '{"a":"\u202eevil","b":"\\ud800","n":1e400,"n":2}'),
        ],
    )  # fmt: skip
    store.append(odd_type, odd_id, [NewEvent("Shop\\Order/Was Opened", {"x": 1})])
    store.append("wallet", "w1", [NewEvent("wallet.opened", {"balance": 0})])
    store.append("wallet", "w1", [NewEvent("wallet.opened", {"balance": 7})], log=odd_log)
    store.append_many(
        [Append("order", f"q{number:04}", [NewEvent("order.placed", {"total": number})]) for number in range(120)]
    )
    store.append("wallet", "w2", [NewEvent("wallet.credited", {"amount": 1}) for _ in range(3)], log=odd_log)


def break_payload(store: EventStore, log: str, position: int, text: str) -> None:
    """Puts a text that isn't JSON in place of a stored payload, as a hand in the database might (SQLite only)."""
    with store.database.writing() as connection:
        names = connection.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'projectionist_events'"
        ).scalars()
        for name in list(names):
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        connection.exec_driver_sql(
            "UPDATE projectionist_events SET data = ? WHERE position = ? "
            "AND log_id = (SELECT id FROM projectionist_logs WHERE name = ?)",
            (text, position, log),
        )
