"""What the demo shop's code knows: its aggregates and projections. Serve it with `--domain webapp.demo.shop:domain`."""

from __future__ import annotations

from typing import Any

from webapp.demo.projections import (
    customer_activity,
    fraud_check,
    order_list,
    revenue_by_day,
    wallet_balance,
)  # fmt: skip
from webapp.domain import Domain
from webapp.store import RecordedEvent

State = dict[str, Any]

domain = Domain("demo shop")
domain.add(order_list, revenue_by_day, wallet_balance, customer_activity, fraud_check)


@domain.aggregate("order")
def order(state: State, event: RecordedEvent) -> State:
    """An order from its placing to the customer's door, or back."""
    data = event.data
    match event.type:
        case "order.placed":
            # Revision 1 knew neither currency nor channel.
            return {"status": "placed", "currency": "EUR", "channel": "web", **data}
        case "order.shipped":
            return {**state, "status": "shipped", "carrier": data["carrier"], "tracking": data["tracking"]}
        case "order.delivered":
            return {**state, "status": "delivered"}
        case "order.cancelled":
            return {**state, "status": "cancelled", "reason": data["reason"]}
        case "order.returned":
            return {**state, "status": "returned", "reason": data["reason"]}
    return state


@domain.aggregate("payment")
def payment(state: State, event: RecordedEvent) -> State:
    """One attempt to pay for one thing."""
    data = event.data
    match event.type:
        case "payment.captured":
            return {**state, **data, "status": "captured", "refunded": 0}
        case "payment.failed":
            return {**state, **data, "status": "failed"}
        case "payment.refunded":
            return {**state, "status": "refunded", "refunded": state["refunded"] + data["amount"]}
    return state


@domain.aggregate("wallet")
def wallet(state: State, event: RecordedEvent) -> State:
    """A customer's prepaid money, in cents."""
    data = event.data
    match event.type:
        case "wallet.opened":
            return {"owner": data["owner"], "currency": data["currency"], "balance": 0, "movements": 0}
        case "wallet.credited" | "wallet.debited":
            change = data["amount"] if event.type == "wallet.credited" else -data["amount"]
            return {**state, "balance": state["balance"] + change, "movements": state["movements"] + 1}
    return state


@domain.aggregate("ticket")
def ticket(state: State, event: RecordedEvent) -> State:
    """A customer's trouble, and who helps."""
    data = event.data
    match event.type:
        case "ticket.opened":
            return {**data, "status": "open", "agent": None, "answers": 0}
        case "ticket.assigned":
            return {**state, "agent": data["agent"]}
        case "ticket.answered":
            return {**state, "answers": state["answers"] + 1}
        case "ticket.closed":
            return {**state, "status": "closed", "outcome": data["outcome"]}
    return state
