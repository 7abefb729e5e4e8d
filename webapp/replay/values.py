"""Values of a read model's columns, so told that those of two databases can be compared."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import sqlalchemy as sa

from webapp.store.dialects import Dialect

_exact = Context(prec=1100)
_sum_tolerance = 1e-10
"""Sums of floating point differ by where batches ended, which is not what anybody looks for."""
_decimal_tolerance = 1e-13
_day = dt.date(2000, 1, 1)


class ColumnValues:
    """What one column of a table in a certain database gives back, and when two values of it are the same."""

    def __init__(self, column: sa.Column[Any], dialect: Dialect, driver: sa.Dialect) -> None:
        self.name = column.name
        self._driver = driver
        own = column.type.dialect_impl(driver)
        self._decorator = own if isinstance(own, sa.types.TypeDecorator) else None
        self._plain: sa.types.TypeEngine[Any] = own.impl_instance if isinstance(own, sa.types.TypeDecorator) else own
        self._float_tolerance = max(_sum_tolerance, 10.0 ** (1 - dialect.float_digits(self._plain)))
        self._time_tolerance = dt.timedelta(seconds=10.0 ** -dialect.time_digits(self._plain))
        self._keeps_decimals = dialect.keeps_decimals
        # Some databases pad with blanks, some take them off; drivers have a type of their own for it.
        self._is_padded = isinstance(column.type, sa.CHAR) or isinstance(self._plain, sa.CHAR)

    def stored(self, value: Any) -> Any:
        """What comes back from the column after a handler wrote this value."""
        decorator = self._decorator
        if decorator is None:
            return self.read(value)
        if type(decorator).process_bind_param is not sa.types.TypeDecorator.process_bind_param:
            value = decorator.process_bind_param(value, self._driver)
        value = _canonical(self._plain, value)
        if type(decorator).process_result_value is not sa.types.TypeDecorator.process_result_value:
            value = decorator.process_result_value(value, self._driver)
        return value

    def read(self, value: Any) -> Any:
        """A value that came from the column, in the form of `stored`."""
        if self._decorator is not None:
            return value
        value = _canonical(self._plain, value)
        return value.rstrip(" ") if self._is_padded and isinstance(value, str) else value

    def is_same(self, one: Any, other: Any) -> bool:
        """Whether two values, in the form of `stored`, are one to this column: to the digits that it keeps."""
        if one is None or other is None:
            return one is other
        if isinstance(one, float) and isinstance(other, float):
            return math.isclose(one, other, rel_tol=self._float_tolerance, abs_tol=1e-12) or (
                math.isnan(one) and math.isnan(other)
            )
        if isinstance(one, Decimal) and isinstance(other, Decimal):
            return one == other or (not self._keeps_decimals and math.isclose(one, other, rel_tol=_decimal_tolerance))
        if isinstance(one, dt.datetime) and isinstance(other, dt.datetime):
            return self._is_same_time(one, other)
        if isinstance(one, dt.time) and isinstance(other, dt.time):
            return self._is_same_time(dt.datetime.combine(_day, one), dt.datetime.combine(_day, other))
        return bool(one == other)

    def _is_same_time(self, one: dt.datetime, other: dt.datetime) -> bool:
        if (one.tzinfo is None) == (other.tzinfo is None):
            pairs = [(one, other)]
        else:  # a column without zones keeps the time on the wall, of the value's own zone or of UTC
            aware, naive = (one, other) if one.tzinfo is not None else (other, one)
            pairs = [(aware.replace(tzinfo=None), naive), (aware.astimezone(dt.UTC).replace(tzinfo=None), naive)]
        return any(first == second or abs(first - second) < self._time_tolerance for first, second in pairs)


def encode_key(values: tuple[Any, ...]) -> bytes:
    """The key of a row as bytes: the same for the same key, from whichever database."""
    return repr([_comparable(value) for value in values]).encode()


def _comparable(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value.normalize(_exact):f}"
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.UTC).replace(tzinfo=None)
    return value


def _canonical(type_: sa.types.TypeEngine[Any], value: Any) -> Any:
    """The value in the one Python type for a column of that type, to the places that it keeps."""
    if value is None:
        return None
    if isinstance(type_, sa.Boolean):
        return bool(value)
    if isinstance(type_, sa.Integer):
        return int(value)
    if isinstance(type_, (sa.Numeric, sa.Float)):
        return _number(type_, value)
    if isinstance(type_, sa.Date) and isinstance(value, dt.datetime):
        return value.date()
    if isinstance(type_, sa.LargeBinary):
        return bytes(value)
    if isinstance(type_, sa.Enum) and type_.enum_class is not None and isinstance(value, str):
        return type_.enum_class[value]
    if isinstance(type_, sa.JSON):
        return json.loads(json.dumps(value))
    return value


def _number(type_: sa.Numeric[Any] | sa.Float[Any], value: Any) -> Any:
    if not type_.asdecimal:
        return float(value)
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    if type_.scale is None or not number.is_finite():
        return number
    return number.quantize(Decimal(1).scaleb(-type_.scale), ROUND_HALF_UP, _exact)
