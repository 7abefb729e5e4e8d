"""Classes of every kind that a serializer takes, as tests store them."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgspec
import pydantic

T = TypeVar("T")
Cents = NewType("Cents", int)


class Colour(enum.Enum):
    red = "red"
    blue = "blue"


class Level(enum.IntEnum):
    low = 1
    high = 9


@dataclass(frozen=True)
class Line:
    sku: str
    price: Decimal
    quantity: int = 1


@dataclass(frozen=True)
class Everything:
    """One field of each type that stands in JSON by another."""

    text: str
    number: int
    real: float
    flag: bool
    price: Decimal
    id: UUID
    day: dt.date
    at: dt.datetime
    clock: dt.time
    span: dt.timedelta
    raw: bytes
    colour: Colour
    level: Level
    tags: frozenset[str]
    levels: set[int]
    pair: tuple[int, str]
    many: tuple[Decimal, ...]
    lines: list[Line]
    by_day: dict[dt.date, Decimal]
    by_number: dict[int, list[UUID]]
    kind: Literal["a", "b"]
    maybe: dt.datetime | None
    either: int | str
    cents: Cents


class Point(NamedTuple):
    x: int
    y: int


class Extra(TypedDict):
    note: str


@dataclass(frozen=True)
class Box(Generic[T]):
    held: T


@dataclass
class Node:
    value: int
    children: list[Node] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Oddities:
    point: Point
    extra: Extra
    box: Box[Decimal]
    node: Node
    anything: Any
    limited: Annotated[int, msgspec.Meta(ge=0)]
    some: Sequence[int]
    mapping: Mapping[str, Line]


@attrs.define
class AttrsPaid:
    amount: Decimal
    at: dt.datetime
    lines: list[Line] = attrs.field(factory=list)


@attrs.frozen
class AttrsPositive:
    amount: int = attrs.field(validator=attrs.validators.gt(0))


class StructShipped(msgspec.Struct, rename="camel", frozen=True):
    shipped_at: dt.datetime
    line_items: list[Line]
    carrier: str = "post"


class ModelAddress(pydantic.BaseModel):
    street: str
    since: dt.date


class ModelMoved(pydantic.BaseModel):
    address: ModelAddress
    fee: Decimal
    customer_id: UUID = pydantic.Field(alias="customerId")
    colours: set[Colour] = set()
    at: dt.datetime

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def label(self) -> str:
        return self.address.street.upper()


@dataclass
class HoldsModel:
    address: ModelAddress
    others: list[ModelAddress]


@pydantic.dataclasses.dataclass
class ModelRated:
    stars: int = pydantic.Field(ge=1, le=5)


@dataclass(frozen=True)
class Card:
    number: str
    kind: Literal["card"] = "card"


@dataclass(frozen=True)
class Transfer:
    iban: str
    at: dt.datetime
    kind: Literal["transfer"] = "transfer"


@dataclass(frozen=True)
class Cash:
    given: Decimal


@dataclass(frozen=True)
class Voucher:
    code: str


@dataclass(frozen=True)
class PaidSomehow:
    """Unions of classes, told apart by a Literal, and by their keys, at several depths."""

    payment: Card | Transfer
    rest: Cash | Voucher | None
    all: list[Card | Transfer]
    by_name: dict[str, tuple[Cash | Voucher, ...]]
    both: tuple[int, Cash | Voucher]
    at: dt.datetime | None = None


@dataclass(frozen=True)
class Twin:
    code: str


@dataclass
class Ambiguous:
    value: Voucher | Twin


class Money:
    """A class of nobody's kind."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    __hash__ = None  # type: ignore[assignment]


@dataclass
class HoldsMoney:
    money: Money
    more: list[Money]
