"""Fields that hold one of several classes, such as `payment: Card | Cash`: told apart by what is stored.

msgspec refuses such unions unless they are tagged Structs, so the way down to them is walked here; everything off that
way is still msgspec's. Classes are told apart by a field that all have with another Literal each
(`kind: Literal["card"] = "card"`), else by a required key that only one of them has.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal, get_args, get_origin

import msgspec

from webapp.errors import InvalidDefinition
from webapp.store.hints import bare, fields_of, is_model, is_record, is_union, walk

Reader = Callable[[Any, str], Any]
Convert = Callable[[Any, Any, str], Any]
"""(data, type, path) -> value, for types without choices."""


class Misfit(ValueError):
    """Data that doesn't fit a class; `key` is the one that is missing or wrong, where that is known.

    `advice` says what to do, about an event of {revision}.
    """

    def __init__(
        self,
        reason: str,
        key: str | None = None,
        advice: str = "Let the class take it, or add an upcaster from revision {revision}.",
    ) -> None:
        self.key = key
        self.advice = advice
        super().__init__(reason)


def missing(key: str) -> Misfit:
    """A key that isn't there and has no default."""
    advice = "Give the field a default, or add an upcaster from revision {revision}."
    return Misfit(f"the key “{key}” is missing", key, advice)


def is_choice(hint: Any) -> bool:
    """Whether it's a union of several classes that msgspec can't tell apart by itself."""
    records = [member for member in get_args(hint) if is_record(member) or is_model(member)] if is_union(hint) else []
    return len(records) > 1 and not all(_is_tagged(member) for member in records)


def _is_tagged(member: Any) -> bool:
    cls = get_origin(member) or member
    return issubclass(cls, msgspec.Struct) and cls.__struct_config__.tag is not None


def has_choices(hint: Any) -> bool:
    """Whether there is such a union anywhere in a type."""
    return any(is_choice(inner) for _, inner in walk(hint))


class ReaderMaker:
    """Makes the functions that read a type from JSON values, once per codec."""

    def __init__(self, convert: Convert) -> None:
        self._convert = convert
        self._records: dict[Any, list[Reader]] = {}

    def make(self, hint: Any) -> Reader:
        """The reader of a type; raises InvalidDefinition for classes that nothing tells apart."""
        if not has_choices(hint):
            return lambda data, path: self._convert(data, hint, path)
        hint = bare(hint)
        if is_record(hint):
            return self._record(hint)
        if is_union(hint):
            return self._choice(hint)
        return self._container(hint)

    def _record(self, hint: Any) -> Reader:
        cell = self._records.get(hint)
        if cell is None:
            cell = self._records[hint] = []
            cell.append(self._new_record(hint))
        found = cell
        return lambda data, path: found[0](data, path)  # noqa: PLW0108 -- a class that holds itself is still being made

    def _new_record(self, hint: Any) -> Reader:
        cls = get_origin(hint) or hint
        fields = [(field, self.make(field.type)) for field in fields_of(hint)]

        def read(data: Any, path: str) -> Any:
            if not isinstance(data, Mapping):
                raise Misfit(f"{path or 'the data'} is no JSON object", path)
            given: dict[str, Any] = {}
            late: dict[str, Any] = {}
            for field, read_field in fields:
                inner = f"{path}.{field.key}" if path else field.key
                if field.key in data:
                    (given if field.is_init else late)[field.name] = read_field(data[field.key], inner)
                elif field.is_required and field.is_init:
                    raise missing(inner)
            try:
                made = cls(**given)
            except (TypeError, ValueError) as error:
                raise Misfit(f"{cls.__qualname__} refuses it: {error}", path or None) from error
            for name, value in late.items():
                object.__setattr__(made, name, value)
            return made

        return read

    def _choice(self, hint: Any) -> Reader:
        members = [bare(member) for member in get_args(hint)]
        if any(is_model(member) for member in members):
            raise InvalidDefinition(
                f"{hint} holds Pydantic models: make the class around it one too, so that Pydantic chooses."
            )
        records = [member for member in members if is_record(member)]
        rest = [member for member in members if member not in records]
        others: Any = functools.reduce(operator.or_, rest) if rest else None
        readers = {index: self.make(record) for index, record in enumerate(records)}
        choose = _make_chooser(records, hint)

        def read(data: Any, path: str) -> Any:
            if not isinstance(data, Mapping):
                if others is None:
                    raise Misfit(f"{path} is no JSON object", path)
                return self._convert(data, others, path)
            index = choose(data)
            if index is None:
                names = " nor ".join(_name(record) for record in records)
                raise Misfit(f"what stands at {path} is neither {names}", path)
            return readers[index](data, path)

        return read

    def _container(self, hint: Any) -> Reader:
        origin, arguments = get_origin(hint), get_args(hint)
        if not isinstance(origin, type):
            raise _unclear(hint)
        if issubclass(origin, Mapping):
            read_key, read_value = (self.make(argument) for argument in arguments)
            return lambda data, path: {
                read_key(key, path): read_value(value, f"{path}.{key}") for key, value in _mapping(data, path).items()
            }
        if issubclass(origin, tuple) and arguments[-1] is not Ellipsis:
            readers = [self.make(argument) for argument in arguments]
            return lambda data, path: tuple(
                read(item, f"{path}[{at}]")
                for at, (read, item) in enumerate(zip(readers, _list(data, path), strict=False))
            )
        if not issubclass(origin, Sequence | AbstractSet):
            raise _unclear(hint)
        read_item = self.make(arguments[0])
        kinds: tuple[type, ...] = (tuple, frozenset, set)
        collect = next((kind for kind in kinds if issubclass(origin, kind)), list)
        return lambda data, path: collect(
            read_item(item, f"{path}[{at}]") for at, item in enumerate(_list(data, path))
        )  # fmt: skip


def _mapping(data: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise Misfit(f"{path} is no JSON object", path)
    return data


def _list(data: Any, path: str) -> Sequence[Any]:
    if not isinstance(data, list | tuple):
        raise Misfit(f"{path} is no JSON array", path)
    return data


def _name(hint: Any) -> str:
    return getattr(hint, "__qualname__", None) or str(hint)


def _unclear(hint: Any) -> InvalidDefinition:
    return InvalidDefinition(
        f"{hint} holds classes that stored data can't tell apart. Give each a field of one name with its own text, "
        'such as kind: Literal["card"] = "card".'
    )


def _make_chooser(records: list[Any], hint: Any) -> Callable[[Mapping[str, Any]], int | None]:
    """What says by its keys which of the classes stored data is."""
    fields = [{field.key: field for field in fields_of(record)} for record in records]
    for key in set.intersection(*(set(known) for known in fields)):
        literals = [
            get_args(known[key].type) if get_origin(bare(known[key].type)) is Literal else () for known in fields
        ]
        values = {value: index for index, some in enumerate(literals) for value in some}
        if all(literals) and len(values) == sum(map(len, literals)):
            return lambda data: values.get(data.get(key))
    own = [
        {key for key, field in known.items() if field.is_required and not any(key in other for other in fields if other is not known)}
        for known in fields
    ]  # fmt: skip
    without = [index for index, keys in enumerate(own) if not keys]
    if len(without) > 1:
        raise _unclear(hint)

    def choose(data: Mapping[str, Any]) -> int | None:
        for index, keys in enumerate(own):
            if keys and keys <= data.keys():
                return index
        return without[0] if without else None

    return choose
