"""What Ecotone's own demos leave behind: streams, types and events named by PHP classes."""

from __future__ import annotations

from tests.adapters.conftest import Opened
from webapp.store.source import Count, Health

wallet, product = "App\\Domain\\Wallet", "App\\WorkingWithAggregateDirectly\\Product"


def test_class_named_streams_are_read(demos_url: str, opened: Opened) -> None:
    source = opened(demos_url)
    assert [(log.name, log.count, log.head, log.strategy, log.category) for log in source.logs()] == [
        (wallet, Count(4), 4, "partition", None),
        (product, Count(4), 4, "partition", None),
        ("projection_wallet_balance", Count(3), 3, "simple", None),
    ]
    (owner,) = source.aggregates(wallet)
    assert [event.type.rpartition("\\")[2] for event in source.read_stream(wallet, owner.id)] == [
        "WalletWasInitialized", "MoneyWasAddedToWallet", "MoneyWasSubtractedFromWallet", "MoneyWasAddedToWallet",
    ]  # fmt: skip
    assert [event.data["currentBalance"] for event in source.read_log("projection_wallet_balance")] == [100, 90, 140]
    products = source.aggregates(product)
    assert [one.version for one in products] == [2, 2]
    first, second = source.read_stream(product, products[0].id)
    assert (first.data_text, second.data["price"]) == (
        f'{{"productId":"{products[0].id}","price":0.0}}',
        100,
    )
    assert {type_.name: type_.count for type_ in source.event_types() if type_.log == product} == {
        "App\\WorkingWithAggregateDirectly\\Event\\PriceWasChanged": Count(2),
        "App\\WorkingWithAggregateDirectly\\Event\\ProductWasRegistered": Count(2),
    }


def test_its_one_projection_is_up_to_date(demos_url: str, opened: Opened) -> None:
    source = opened(demos_url)
    (status,) = source.projections()
    assert (status.name, status.health, status.emits_to) == (
        "wallet_balance", Health.up_to_date, "projection_wallet_balance",
    )  # fmt: skip
    assert [(progress.log, progress.position, progress.lag) for progress in status.progress] == [(wallet, 4, 0)]
    assert dict(source.overview_facts()) == {"Documents": Count(1)}
    assert source.dead_letters() == []
