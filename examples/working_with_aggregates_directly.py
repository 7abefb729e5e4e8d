"""An aggregate without any framework: load it from its events, decide, save what follows, and notice a second writer.

`ProductRepository` is all the glue there is. It loads a product by folding its events, and saves new events under the
version that the decision was made on. A save on an older version is refused with a sentence that names the product.

    python examples/working_with_aggregates_directly.py [URL]    URL of an empty database, else a temporary file
"""

from __future__ import annotations

import sys
import tempfile
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from webapp.errors import ProjectionistError
from webapp.store import EventStore, NewEvent, RecordedEvent, WrongExpectedVersion


@dataclass(frozen=True)
class Product:
    """A product as its events made it; its functions decide, and return what happened."""

    product_id: str
    price: int
    version: int

    @staticmethod
    def register(product_id: str, price: int) -> list[NewEvent]:
        """What registering a product comes to."""
        return [NewEvent("ProductWasRegistered", {"productId": product_id, "price": price})]

    def change_price(self, price: int) -> list[NewEvent]:
        """What changing the price comes to: nothing, if it's the price already."""
        return [NewEvent("PriceWasChanged", {"productId": self.product_id, "price": price})] * (price != self.price)

    @staticmethod
    def from_events(events: Iterable[RecordedEvent]) -> Product | None:
        """The product that a stream of events tells of, None for an empty one."""
        product: Product | None = None
        for event in events:
            price, version = event.data["price"], event.version or 0
            if product is None:
                product = Product(event.data["productId"], price, version)
            else:
                product = replace(product, price=price, version=version)
        return product


class ProductRepository:
    """Loads and saves products."""

    def __init__(self, store: EventStore) -> None:
        self.store = store

    def save(self, product_id: str, version: int, events: Sequence[NewEvent]) -> None:
        """Appends what happened to a product seen at `version` (0: a new one); raises WrongExpectedVersion."""
        self.store.append("product", product_id, events, expected_version=version)

    def find(self, product_id: str) -> Product | None:
        """The product, None if nothing ever happened to it."""
        return Product.from_events(self.store.read_stream("product", product_id))

    def get(self, product_id: str) -> Product:
        """The product; raises LookupError."""
        product = self.find(product_id)
        if product is None:
            raise LookupError(f"There is no product {product_id}.")
        return product


class ProductService:
    """The same in the words of the business, for those who needn't know of versions."""

    def __init__(self, products: ProductRepository) -> None:
        self.products = products

    def register_product(self, product_id: str, price: int) -> None:
        """Registers a new product."""
        self.products.save(product_id, 0, Product.register(product_id, price))

    def change_price(self, product_id: str, price: int) -> None:
        """Changes the price of one that exists."""
        product = self.products.get(product_id)
        self.products.save(product_id, product.version, product.change_price(price))

    def get_price(self, product_id: str) -> int:
        """The price now."""
        return self.products.get(product_id).price


def main(url: str) -> None:
    """Runs the example on an empty database."""
    store = EventStore.open(url)
    store.migrate()
    print("Running example!")
    products = ProductRepository(store)

    # By the repository, step by step.
    first = str(uuid.uuid4())
    products.save(first, 0, Product.register(first, 50))
    product = products.get(first)
    products.save(first, product.version, product.change_price(100))
    assert products.get(first).price == 100

    # By the service.
    second, service = str(uuid.uuid4()), ProductService(products)
    service.register_product(second, 50)
    service.change_price(second, 100)
    assert service.get_price(second) == 100

    # Two products of two events each, numbered 1 and 2.
    for product_id in (first, second):
        assert [event.version for event in store.read_stream("product", product_id)] == [1, 2]

    # Somebody who thinks that the product is new is told so, and nothing is stored.
    try:
        products.save(first, 0, Product.register(first, 70))
        raise AssertionError("a stale save went through")
    except WrongExpectedVersion as error:
        assert error.stream == f"product/{first}" and f"product/{first} is at version 2" in str(error)
    assert len(list(store.read_stream("product", first))) == 2

    # A product to which nothing ever happened.
    assert products.find(str(uuid.uuid4())) is None
    print("Success!")
    store.close()


if __name__ == "__main__":
    try:
        with tempfile.TemporaryDirectory() as folder:
            main(sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{folder}/example.db")
    except ProjectionistError as error:
        sys.exit(str(error))
