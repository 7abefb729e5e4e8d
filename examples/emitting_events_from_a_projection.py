"""A projection that tells others: it keeps each wallet's balance, and emits an event for every change of it.

Others follow the derived log `derived-wallet_balance` instead of working the balance out again; here that's a
notification service. A row and the event that tells of it commit in one transaction. A rebuild makes the rows anew but
emits nothing, so that nobody is notified twice. Derived logs are append-only like any log: deleting the projection
retires its log, which stays readable, and a new projection of that name starts a new one.

    python examples/emitting_events_from_a_projection.py [URL]    URL of an empty database, else a temporary file
"""

from __future__ import annotations

import sys
import tempfile
import uuid

import sqlalchemy as sa

from webapp.errors import Conflict, ProjectionistError
from webapp.projections import Context, Projection, Table, delete_projection, run_to_head
from webapp.replay import rebuild
from webapp.store import EventStore, NewEvent, RecordedEvent
from webapp.store.columns import Name

# --- commands ---------------------------------------------------------------------------------------------------------


def add_money(store: EventStore, wallet_id: str, amount: int) -> None:
    """Money into a wallet, which is made on first use."""
    print(f"Adding {amount} to balance")
    _append(store, wallet_id, NewEvent("MoneyWasAddedToWallet", {"walletId": wallet_id, "amount": amount}))


def subtract_money(store: EventStore, wallet_id: str, amount: int) -> None:
    """Money out of a wallet."""
    print(f"Subtracting {amount} from balance")
    _append(store, wallet_id, NewEvent("MoneyWasSubtractedFromWallet", {"walletId": wallet_id, "amount": amount}))


def _append(store: EventStore, wallet_id: str, event: NewEvent) -> None:
    version = len(list(store.read_stream("wallet", wallet_id)))
    events = [event] if version else [NewEvent("WalletWasInitialized", {"walletId": wallet_id}), event]
    store.append("wallet", wallet_id, events, expected_version=version)


# --- the projection ---------------------------------------------------------------------------------------------------


def make_wallet_balance() -> Projection:
    """The projection wallet_balance: a row for each wallet, and an event for each change."""
    projection = Projection(
        "wallet_balance",
        tables=[
            Table(
                "wallet_balance",
                sa.Column("wallet_id", Name(36), primary_key=True),
                sa.Column("current_balance", sa.Integer, default=0),
            )
        ],
        emits=True,
    )

    @projection.on("MoneyWasAddedToWallet")
    def add(event: RecordedEvent, context: Context) -> None:
        change_balance(event, context, event.data["amount"])

    @projection.on("MoneyWasSubtractedFromWallet")
    def subtract(event: RecordedEvent, context: Context) -> None:
        change_balance(event, context, -event.data["amount"])

    return projection


def change_balance(event: RecordedEvent, context: Context, amount: int) -> None:
    """Writes the row and emits the derived event: both commit together, or neither does."""
    wallet_id, balances = event.data["walletId"], context.table("wallet_balance")
    balances.increment(wallet_id, current_balance=amount)
    row = balances.get(wallet_id)  # sees what this batch has done so far
    assert row is not None
    data = {"walletId": wallet_id, "currentBalance": row["current_balance"]}
    context.emit("wallet_balance", wallet_id, NewEvent("WalletBalanceWasChanged", data))


class NotificationService:
    """Follows the derived log and tells of every balance once."""

    def __init__(self, log: str) -> None:
        self.log = log
        self.position = 0

    def notify(self, store: EventStore) -> None:
        """Tells what is new since the last time."""
        for event in store.read_log(self.log, after=self.position):
            print("Balance after change is ", event.data["currentBalance"])
            self.position = event.position


# --- the story --------------------------------------------------------------------------------------------------------


def main(url: str) -> None:
    """Runs the example on an empty database; prints six lines and checks the rest in silence."""
    store = EventStore.open(url)
    store.migrate()
    wallet_id = str(uuid.uuid4())
    wallet_balance, derived = make_wallet_balance(), "derived-wallet_balance"
    service = NotificationService(derived)

    for command, amount in ((add_money, 100), (subtract_money, 10), (add_money, 50)):
        command(store, wallet_id, amount)
        run_to_head(store, wallet_balance)
        service.notify(store)

    assert [event.type for event in store.read_log("main")] == [
        "WalletWasInitialized", "MoneyWasAddedToWallet", "MoneyWasSubtractedFromWallet", "MoneyWasAddedToWallet",
    ]  # fmt: skip
    assert emitted_balances(store, derived) == [100, 90, 140]
    assert current_balance(store, wallet_id) == 140

    # A rebuild runs every event again; nothing is emitted, so the service has nothing to tell.
    rebuild(store, wallet_balance)
    service.notify(store)
    assert emitted_balances(store, derived) == [100, 90, 140]
    assert current_balance(store, wallet_id) == 140

    # Deleting the projection retires its log: it stays as evidence, and takes no more events.
    delete_projection(store, "wallet_balance")
    assert store.log(derived).is_retired
    assert emitted_balances(store, derived) == [100, 90, 140]
    try:
        store.append("wallet_balance", wallet_id, [NewEvent("WalletBalanceWasChanged", {})], log=derived)
        raise AssertionError("a retired log took an event")
    except Conflict:
        pass

    # A new projection of that name starts from the first event, with a log of its own.
    run_to_head(store, make_wallet_balance())
    assert emitted_balances(store, f"{derived}-2") == [100, 90, 140]
    assert emitted_balances(store, derived) == [100, 90, 140]
    assert not store.log(f"{derived}-2").is_retired
    store.close()


def emitted_balances(store: EventStore, log: str) -> list[int]:
    """The balances that a derived log tells of, in order."""
    return [event.data["currentBalance"] for event in store.read_log(log)]


def current_balance(store: EventStore, wallet_id: str) -> int | None:
    """A wallet's balance as its row has it, None if there is no row."""
    query = sa.text("SELECT current_balance FROM wallet_balance WHERE wallet_id = :id")
    with store.database.reading() as connection:
        return connection.execute(query, {"id": wallet_id}).scalar_one_or_none()


if __name__ == "__main__":
    try:
        with tempfile.TemporaryDirectory() as folder:
            main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db")
    except ProjectionistError as error:
        sys.exit(str(error))
