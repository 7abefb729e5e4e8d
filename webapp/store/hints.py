"""The fields of dataclasses, attrs classes and msgspec Structs, and all types that their annotations name."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NewType, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from webapp.errors import InvalidDefinition


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """A field: its name in the class, its key in the JSON, its type, and whether the JSON must have it."""

    name: str
    key: str
    type: Any
    is_required: bool
    is_init: bool = True


def is_model(cls: Any) -> bool:
    """Whether Pydantic made the class: a model, or a dataclass of its own kind."""
    return isinstance(cls, type) and hasattr(cls, "__pydantic_validator__")


def is_record(hint: Any) -> bool:
    """Whether it is a class whose fields are known here, generic ones with their arguments included."""
    cls = get_origin(hint) or hint
    if not isinstance(cls, type) or is_model(cls):
        return False
    return issubclass(cls, msgspec.Struct) or dataclasses.is_dataclass(cls) or hasattr(cls, "__attrs_attrs__")


def fields_of(hint: Any) -> list[Field]:
    """The fields of a record in order; NameError where an annotation names something that isn't defined (yet)."""
    cls = get_origin(hint) or hint
    hints = get_type_hints(cls, include_extras=True)
    given = dict(zip(getattr(cls, "__parameters__", ()), get_args(hint), strict=False))
    return [
        dataclasses.replace(field, type=_fill(hints.get(field.name, Any), given)) for field in _bare_fields(cls)
    ]  # fmt: skip


def _bare_fields(cls: Any) -> Iterator[Field]:
    if issubclass(cls, msgspec.Struct):
        for info in msgspec.structs.fields(cls):
            yield Field(info.name, info.encode_name, Any, info.required)
    elif dataclasses.is_dataclass(cls):
        for field in dataclasses.fields(cls):
            is_bare = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            yield Field(field.name, field.name, Any, is_bare, field.init)
    else:
        from attrs import NOTHING

        for attribute in cls.__attrs_attrs__:
            if attribute.name.startswith("_"):
                raise InvalidDefinition(
                    f"The field {attribute.name} of {cls.__qualname__} is private, so it would not be stored. "
                    "Name it without the underscore."
                )
            yield Field(attribute.name, attribute.name, Any, attribute.default is NOTHING, attribute.init)


def _fill(hint: Any, given: dict[Any, Any]) -> Any:
    """The type with the class's type variables replaced by what they stand for, Any where nothing is given."""
    if isinstance(hint, TypeVar):
        return given.get(hint, Any)
    parameters = getattr(hint, "__parameters__", ())
    if parameters and get_origin(hint) is not None:
        return hint[tuple(given.get(parameter, Any) for parameter in parameters)]
    return hint


def bare(hint: Any) -> Any:
    """The type without Annotated, NewType and named aliases around it."""
    while True:
        if get_origin(hint) is Annotated:
            hint = get_args(hint)[0]
        elif isinstance(hint, NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":  # `type Name = …`, from Python 3.12 on
            hint = hint.__value__
        else:
            return hint


def is_union(hint: Any) -> bool:
    """Whether it is a union, in either spelling."""
    return get_origin(hint) in (Union, types.UnionType)


def walk(hint: Any, path: str = "", seen: frozenset[Any] = frozenset()) -> Iterator[tuple[str, Any]]:
    """Every type that a type is made of, itself first, with the path of fields that leads there; records once a path."""
    hint = bare(hint)
    yield path, hint
    if get_origin(hint) is Literal:
        return
    if is_record(hint):
        if hint not in seen:
            for field in fields_of(hint):
                yield from walk(field.type, f"{path}.{field.name}" if path else field.name, seen | {hint})
    elif typing.is_typeddict(hint) or (isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields")):
        for name, type_ in get_type_hints(hint).items():
            yield from walk(type_, f"{path}.{name}" if path else name, seen)
    else:
        for argument in get_args(hint):
            if argument is not Ellipsis and not isinstance(argument, list):
                yield from walk(argument, path, seen)
