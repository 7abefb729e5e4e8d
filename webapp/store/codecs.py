"""Objects as JSON values and back: msgspec for dataclasses, attrs classes and Structs, Pydantic for its own models.

Dates, times, durations, UUIDs and Decimals become text (ISO 8601; a Decimal digit by digit), bytes base64, enums their
values, sets lists in an order that is always the same. An aware datetime keeps its offset, one without a zone stays
without: nothing is made up. Only an offset of odd seconds (zones of before 1900), for which RFC 3339 has no word, is
written in UTC.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from webapp.errors import InvalidDefinition, InvalidEvent
from webapp.store.hints import is_model, is_record, walk
from webapp.store.jsontext import encode, parse_json
from webapp.store.unions import Misfit, ReaderMaker, has_choices, missing
from webapp.store.unknown_keys import refuse_unknown


@dataclasses.dataclass(frozen=True, slots=True)
class ValueType:
    """How a type that is nobody's here is written as a JSON value and read from it."""

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


class Codec:
    """One class's way to JSON values and back; all methods raise Misfit."""

    def write(self, value: Any) -> Any:
        """The object as JSON values."""
        raise NotImplementedError

    def read(self, data: Any) -> Any:
        """The object from JSON values."""
        raise NotImplementedError

    def read_text(self, text: str | bytes) -> Any:
        """The object from JSON text."""
        return self.read(parse(text))

    def check(self, data: Any) -> None:
        """Raises Misfit unless what was written can be read back without losing a key."""
        self.read(data)


def parse(text: str | bytes) -> Any:
    """The value of a JSON text; raises Misfit."""
    try:
        return parse_json(text)
    except ValueError as error:
        raise Misfit(f"its data can't be decoded ({error})", advice="Read the event raw.") from error


def make_codec(cls: Any, values: Mapping[type, ValueType], *, strict: bool) -> Codec:
    """The codec of a class; a strict one refuses keys that the class doesn't have.

    Raises InvalidDefinition for a class of another kind or with a field that couldn't be stored and read back, NameError
    where an annotation names something that isn't defined (yet).
    """
    if is_model(cls):
        return ModelCodec(cls, strict=strict)
    if is_record(cls):
        return RecordCodec(cls, values, strict=strict)
    raise InvalidDefinition(
        f"{cls.__qualname__} is no dataclass, attrs class, Pydantic model or msgspec Struct, so its fields aren't known. "
        "Put @dataclass above it."
    )


_missing = re.compile(r"missing required field `([^`]*)`")
_place = re.compile(r" - at `\$\.?(.*)`$")


def _explain(error: Exception, around: str) -> Misfit:
    """msgspec's sentence in our words; `around` is the path to what was converted."""
    text = str(error) or type(error).__name__
    place, gone = _place.search(text), _missing.search(text)
    path = _join(around, place.group(1) if place else "")
    if gone:
        key = _join(path, gone.group(1))
        return missing(key)
    return Misfit(f"{f'“{path}”: ' if path else ''}{_place.sub('', text)}", path or None)


def _join(path: str, inner: str) -> str:
    return f"{path}{'' if not path or not inner or inner.startswith('[') else '.'}{inner}"


class RecordCodec(Codec):
    """Dataclasses, attrs classes and msgspec Structs."""

    def __init__(self, cls: Any, values: Mapping[type, ValueType], *, strict: bool) -> None:
        self._cls = cls
        self._values = values
        self._is_strict = strict
        self._models: dict[Any, ModelCodec] = {}
        found = list(walk(cls))
        for path, hint in found:
            self._check(path, hint)
        kinds = {hint for _, hint in found if isinstance(hint, type)} | {Any for _, hint in found if hint is Any}
        self._has_times = bool(kinds & {dt.datetime, dt.time, Any})
        has_sets = any(getattr(hint, "__origin__", hint) in (set, frozenset, Any) for _, hint in found)
        self._order: Any = "deterministic" if has_sets else None
        self._reader = ReaderMaker(self._convert).make(cls) if has_choices(cls) else None
        self._decoder = None
        if self._reader is None:
            try:
                decoder = msgspec.json.Decoder(cls, dec_hook=self._read_value)
            except TypeError as error:
                raise InvalidDefinition(f"{cls.__qualname__} can't be stored and read back: {error}.") from error
            self._decoder = None if strict else decoder

    def _check(self, path: str, hint: Any) -> None:
        """Refuses a type that nothing here can read."""
        if not isinstance(hint, type) or is_record(hint) or is_model(hint) or hint in self._values:
            if is_model(hint):
                self._models[hint] = ModelCodec(hint, strict=self._is_strict)
            return
        try:
            is_known = not isinstance(msgspec.inspect.type_info(hint), msgspec.inspect.CustomType)
        except TypeError as error:
            raise InvalidDefinition(f"{self._cls.__qualname__}.{path} can't be stored: {error}.") from error
        if not is_known:
            raise InvalidDefinition(
                f"{self._cls.__qualname__}.{path} is a {hint.__qualname__}, which has no form in JSON yet. Make it a "
                f"dataclass, or say how: serializer.add_value({hint.__qualname__}, write=…, read=…)."
            )

    def write(self, value: Any) -> Any:
        try:
            if self._has_times:
                try:
                    kept = (dt.datetime, dt.time)
                    plain = msgspec.to_builtins(
                        value, str_keys=True, order=self._order, enc_hook=self._write_value, builtin_types=kept
                    )
                    return _with_times(plain)
                except TypeError:
                    pass  # such as a dict with datetimes for keys
            return msgspec.to_builtins(value, str_keys=True, order=self._order, enc_hook=self._write_value)
        except RecursionError as error:
            raise Misfit("it's nested too deep") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise Misfit(str(error)) from error

    def read(self, data: Any) -> Any:
        if self._is_strict:
            refuse_unknown(data, self._cls)
        if self._reader is not None:
            return self._reader(data, "")
        return self._convert(data, self._cls, "")

    def read_text(self, text: str | bytes) -> Any:
        if self._decoder is not None:
            try:
                return self._decoder.decode(text)
            except (ValueError, RecursionError):
                pass  # perhaps only of what msgspec declines in parts that the class doesn't know: 1e400, great depth
        return self.read(parse(text))

    def check(self, data: Any) -> None:
        self.read(data)
        if not self._is_strict:  # or reading has looked already
            refuse_unknown(data, self._cls)

    def _convert(self, data: Any, hint: Any, path: str) -> Any:
        try:
            return msgspec.convert(data, hint, str_keys=True, dec_hook=self._read_value)
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            raise _explain(error, path) from error

    def _write_value(self, value: Any) -> Any:
        value_type = self._values.get(type(value))
        if value_type is not None:
            return value_type.write(value)
        if is_model(type(value)):
            return self._model(type(value)).write(value)
        raise TypeError(f"a value of the type {type(value).__qualname__} has no form in JSON")

    def _read_value(self, hint: Any, data: Any) -> Any:
        if is_model(hint):
            return self._model(hint).read(data)
        return self._values[hint].read(data)

    def _model(self, cls: Any) -> ModelCodec:
        if cls not in self._models:
            self._models[cls] = ModelCodec(cls, strict=self._is_strict)
        return self._models[cls]


def _with_times(value: Any) -> Any:
    """The JSON values with datetimes and times as text; dicts and lists are changed in place."""
    if type(value) is dict:
        for key, inner in value.items():
            if type(inner) is not str:
                value[key] = _with_times(inner)
        return value
    if type(value) is list:
        for at, inner in enumerate(value):
            if type(inner) is not str:
                value[at] = _with_times(inner)
        return value
    if type(value) is tuple:
        return [_with_times(inner) for inner in value]
    if isinstance(value, dt.datetime):
        offset = value.utcoffset()
        if offset is not None and offset % dt.timedelta(minutes=1):
            value = value.astimezone(dt.UTC)
        return msgspec.to_builtins(value)
    if isinstance(value, dt.time):
        offset = value.utcoffset()
        if offset is not None and offset % dt.timedelta(minutes=1):
            raise ValueError(f"the time {value} has an offset of odd seconds, which can't be written")
        return msgspec.to_builtins(value)
    return value


class ModelCodec(Codec):
    """Pydantic's models and dataclasses, by their own rules, under the names of their fields (aliases are read as well)."""

    def __init__(self, cls: Any, *, strict: bool) -> None:
        from pydantic import SecretBytes, SecretStr, TypeAdapter

        self._adapter = TypeAdapter(cls)
        self._extra: Any = "forbid" if strict else None
        fields = getattr(cls, "model_fields", None) or getattr(cls, "__pydantic_fields__", {})
        for name, field in fields.items():
            if any(hint in (SecretStr, SecretBytes) for _, hint in walk(field.annotation)):
                raise InvalidDefinition(
                    f"{cls.__qualname__}.{name} is a secret, of which only asterisks would be stored. "
                    "Take str or bytes, and declare the field sensitive to have it encrypted."
                )

    def write(self, value: Any) -> Any:
        try:
            return self._adapter.dump_python(value, mode="json", round_trip=True, warnings="error")
        except (ValueError, TypeError, RecursionError) as error:
            raise Misfit(str(error)) from error

    def read(self, data: Any) -> Any:
        try:
            return self.read_text(encode(data))
        except InvalidEvent as error:
            raise Misfit(str(error)) from error

    def read_text(self, text: str | bytes) -> Any:
        from pydantic import ValidationError

        try:
            # JSON as JSON, so that a strict model takes text for dates and UUIDs.
            return self._adapter.validate_json(text, extra=self._extra, by_name=True, by_alias=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            key = ".".join(map(str, first["loc"]))
            if first["type"] == "missing":
                raise missing(key) from error
            raise Misfit(f"“{key}”: {first['msg']}" if key else first["msg"], key or None) from error
