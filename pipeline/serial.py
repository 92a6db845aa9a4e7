"""Frozen dataclasses to JSON and back, by their type hints: plans and journals are plain text."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import types
import typing
from fractions import Fraction
from typing import TypeVar, cast

T = TypeVar("T")
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def to_json(value: object) -> Json:
    """A JSON value; floats that JSON cannot hold become 'nan', 'inf' and '-inf'."""
    if dataclasses.is_dataclass(value):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Fraction):
        return f"{value.numerator:x}/{value.denominator:x}"
    if isinstance(value, float):
        return _number(value)
    return cast("Json", value)


def _number(value: float) -> Json:
    """Whole numbers without a fraction: 1 and 1.0 are equal values and must digest equally."""
    if not math.isfinite(value):
        return str(value)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def from_json(kind: type[T], data: Json) -> T:
    """The value that `to_json` was given; raises TypeError, ValueError or KeyError if malformed."""
    return cast("T", _decode(kind, data))


def digest(value: object) -> str:
    """sha256 of a value's canonical JSON."""
    text = json.dumps(to_json(value), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _decode(kind: object, data: Json) -> object:  # noqa: PLR0911 - one line a kind of type
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        fields = cast("dict[str, Json]", data)
        return cast("type", kind)(
            **{f.name: _decode(hints[f.name], fields[f.name]) for f in dataclasses.fields(kind)}
        )
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(arguments, data)
    if origin is typing.Literal:
        return data
    if origin is tuple:
        return _decode_tuple(arguments, cast("list[Json]", data))
    if origin is dict:
        items = cast("dict[str, Json]", data).items()
        return {_decode(arguments[0], key): _decode(arguments[1], item) for key, item in items}
    if kind is Fraction:
        top, _, bottom = str(data).partition("/")
        return Fraction(int(top, 16), int(bottom, 16))
    return cast("type", kind)(data)


def _decode_union(arguments: tuple[object, ...], data: Json) -> object:
    if data is None:
        return None
    for kind in arguments:
        if typing.get_origin(kind) is typing.Literal and data in typing.get_args(kind):
            return data
    rest = [k for k in arguments if k is not type(None) and typing.get_origin(k) is None]
    rest += [k for k in arguments if typing.get_origin(k) in (tuple, dict)]
    return _decode(rest[0], data)


def _decode_tuple(arguments: tuple[object, ...], data: list[Json]) -> tuple[object, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_decode(arguments[0], item) for item in data)
    return tuple(_decode(k, item) for k, item in zip(arguments, data, strict=True))
