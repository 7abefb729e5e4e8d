"""The demo shop's five read models. One of them has a bug that shows at a single event."""

from __future__ import annotations

import sqlalchemy as sa

from webapp.projections import Context, Projection, Table
from webapp.store import NewEvent, RecordedEvent
from webapp.store.columns import Name, UtcDateTime

order_list = Projection(
    "order_list",
    tables=[
        Table(
            "order_list",
            sa.Column("order_id", Name(20), primary_key=True),
            sa.Column("tenant", Name(20)),
            sa.Column("customer", Name(60)),
            sa.Column("status", Name(12)),
            sa.Column("items", sa.Integer),
            sa.Column("total_cents", sa.BigInteger),
            sa.Column("placed_at", UtcDateTime),
            sa.Column("changed_at", UtcDateTime),
        )
    ],
    description="Every order with where it stands",
)


@order_list.on("order.placed")
def add_order(event: RecordedEvent, context: Context) -> None:
    order = event.data
    context.table("order_list").upsert(
        event.aggregate_id, tenant=event.metadata["tenant"], customer=order["customer"], status="placed",
        items=sum(line["quantity"] for line in order["lines"]), total_cents=order["total"],
        placed_at=event.recorded_at, changed_at=event.recorded_at,
    )  # fmt: skip


@order_list.on("payment.captured")
def mark_paid(event: RecordedEvent, context: Context) -> None:
    if "order" in event.data:
        context.table("order_list").upsert(event.data["order"], status="paid", changed_at=event.recorded_at)


@order_list.on("order.shipped", "order.delivered", "order.cancelled", "order.returned")
def follow_order(event: RecordedEvent, context: Context) -> None:
    status = event.type.removeprefix("order.")
    context.table("order_list").upsert(event.aggregate_id, status=status, changed_at=event.recorded_at)


revenue_by_day = Projection(
    "revenue_by_day",
    tables=[
        Table(
            "revenue_by_day",
            sa.Column("day", sa.Date, primary_key=True),
            sa.Column("tenant", Name(20), primary_key=True),
            sa.Column("payments", sa.Integer, default=0),
            sa.Column("revenue_cents", sa.BigInteger, default=0),
            sa.Column("refunded_cents", sa.BigInteger, default=0),
        )
    ],
    description="What came in and what went back, by day and tenant",
)


@revenue_by_day.on("payment.captured")
def add_revenue(event: RecordedEvent, context: Context) -> None:
    if "order" in event.data:  # the rest tops up wallets, which is not revenue yet
        key = (event.recorded_at.date(), event.metadata["tenant"])
        context.table("revenue_by_day").increment(key, payments=1, revenue_cents=event.data["amount"])


@revenue_by_day.on("payment.refunded")
def add_refund(event: RecordedEvent, context: Context) -> None:
    key = (event.recorded_at.date(), event.metadata["tenant"])
    context.table("revenue_by_day").increment(key, refunded_cents=event.data["amount"])


wallet_balance = Projection(
    "wallet_balance",
    tables=[
        Table(
            "wallet_balance",
            sa.Column("wallet_id", Name(60), primary_key=True),
            sa.Column("tenant", Name(20)),
            sa.Column("balance_cents", sa.BigInteger, default=0),
            sa.Column("movements", sa.Integer, default=0),
            sa.Column("moved_at", UtcDateTime),
        )
    ],
    emits=True,
    description="Money in each wallet; tells others of every change by an event of its own",
)


@wallet_balance.on("wallet.opened")
def open_wallet(event: RecordedEvent, context: Context) -> None:
    wallet = context.table("wallet_balance")
    wallet.upsert(event.aggregate_id, tenant=event.metadata["tenant"], balance_cents=0, movements=0)


@wallet_balance.on("wallet.credited", "wallet.debited")
def move_money(event: RecordedEvent, context: Context) -> None:
    wallet, wallet_id = context.table("wallet_balance"), str(event.aggregate_id)
    change = event.data["amount"] if event.type == "wallet.credited" else -event.data["amount"]
    wallet.increment(wallet_id, balance_cents=change, movements=1)
    wallet.upsert(wallet_id, moved_at=event.recorded_at)
    row = wallet.get(wallet_id) or {}
    # A type of its own: one (type, id) in two logs would make everybody say which log they mean.
    context.emit(
        "wallet_balance",
        wallet_id,
        NewEvent(
            "wallet.balance_changed",
            {"balance": row["balance_cents"], "change": change},
            metadata={
                "actor": "wallet_balance",
                "tenant": event.metadata["tenant"],
                "correlation_id": event.correlation_id,
                "causation_id": event.id,
            },
        ),
    )


customer_activity = Projection(
    "customer_activity",
    logs=["main", "support"],
    tables=[
        Table(
            "customer_activity",
            sa.Column("customer", Name(60), primary_key=True),
            sa.Column("tenant", Name(20)),
            sa.Column("orders", sa.Integer, default=0),
            sa.Column("ordered_cents", sa.BigInteger, default=0),
            sa.Column("tickets", sa.Integer, default=0),
            sa.Column("last_seen_at", UtcDateTime),
        )
    ],
    batch_size=500,
    description="What each customer ordered and asked, from two logs",
)


@customer_activity.on("order.placed")
def count_order(event: RecordedEvent, context: Context) -> None:
    customer, table = event.data["customer"], context.table("customer_activity")
    table.increment(customer, orders=1, ordered_cents=event.data["total"])
    table.upsert(customer, tenant=event.metadata["tenant"], last_seen_at=event.recorded_at)


@customer_activity.on("ticket.opened")
def count_ticket(event: RecordedEvent, context: Context) -> None:
    customer, table = event.data["customer"], context.table("customer_activity")
    table.increment(customer, tickets=1)
    table.upsert(customer, tenant=event.metadata["tenant"], last_seen_at=event.recorded_at)


fraud_check = Projection(
    "fraud_check",
    tables=[
        Table(
            "fraud_check",
            sa.Column("payment_id", Name(20), primary_key=True),
            sa.Column("customer", Name(60)),
            sa.Column("card_country", Name(2)),
            sa.Column("amount_cents", sa.BigInteger),
            sa.Column("score", sa.Integer),
            sa.Column("verdict", Name(10)),
            sa.Column("checked_at", UtcDateTime),
        )
    ],
    description="A score for every payment by card. Stands at a payment that came without its card",
)


@fraud_check.on("payment.captured")
def check_payment(event: RecordedEvent, context: Context) -> None:
    payment = event.data
    if payment["method"] != "card":
        return
    # The bug of the demo: whoever wrote this had never seen a payment keyed in by hand, whose card is null.
    country = payment["card"]["country"]
    score = payment["amount"] // 2_000 + (0 if country in ("DE", "AT", "NL", "FR") else 25)
    verdict = "look at it" if score >= 40 else "fine"
    context.table("fraud_check").upsert(
        event.aggregate_id, customer=payment["customer"], card_country=country, amount_cents=payment["amount"],
        score=score, verdict=verdict, checked_at=event.recorded_at,
    )  # fmt: skip
    context.state[verdict] = context.state.get(verdict, 0) + 1
