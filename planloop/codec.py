"""Frozen dataclasses to plain JSON and back, checked by their own annotations.

Values inside them are tagged as `planloop.values.encode` says.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Hashable
from enum import Enum
from functools import cache
from typing import Any, Literal

from planloop.values import Value, decode, encode

ENVELOPE = frozenset({"seq", "at"})
"""Fields that a log adds around what it holds."""


def to_plain(thing: Any) -> Any:
    """Plain JSON for a dataclass; fields that are empty by default, and are so, are left out."""
    if thing is None or type(thing) in (str, int, bool, float):
        return encode(thing)
    if isinstance(thing, Enum):
        return thing.value
    if dataclasses.is_dataclass(thing):
        found, shape = {}, typing.cast(Hashable, type(thing))
        for name, is_value, omitted in _fields(shape):
            item = getattr(thing, name)
            if omitted and (item is None or item == ()):
                continue
            found[name] = encode(item) if is_value else to_plain(item)
        return found
    if isinstance(thing, list | tuple):
        return [to_plain(item) for item in thing]
    return encode(thing)


@cache
def _fields(kind: Hashable) -> tuple[tuple[str, bool, bool], ...]:
    """Name, whether it holds a value, whether an empty one is left out, of each field."""
    found: Any = kind
    hints = typing.get_type_hints(found)
    empty = (dataclasses.MISSING, None, ())
    return tuple(
        (field.name, _is_value(hints[field.name]), field.default in empty)
        for field in dataclasses.fields(found)
    )


def _is_value(hint: Hashable) -> bool:
    return hint is Any or typing.get_origin(hint) is dict


@cache
def reader(hint: Hashable) -> Callable[[Any], Any]:
    """A function that rebuilds a value of this type from plain JSON, checking as it goes."""
    shape: Any = hint
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return decode
    if origin is dict:
        return _arguments_reader
    if dataclasses.is_dataclass(hint):
        return _dataclass_reader(shape)
    if origin is tuple and inner[-1] is Ellipsis:
        item = reader(inner[0])
        return lambda found: tuple(item(one) for one in _listed(found))
    if origin is tuple:
        readers = [reader(one) for one in inner]
        return lambda found: tuple(r(one) for r, one in zip(readers, _listed(found), strict=True))
    if origin in (typing.Union, types.UnionType):
        (some,) = [one for one in inner if one is not type(None)]
        read = reader(some)
        return lambda found: None if found is None else read(found)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    if origin is Literal:
        return _literal_reader(inner)
    return _scalar_reader(hint)


def _dataclass_reader(kind: Any) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    readers = {field.name: reader(hints[field.name]) for field in fields}
    missing = {
        field.name: () if typing.get_origin(hints[field.name]) is tuple else None
        for field in fields
        if field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
        and _may_be_empty(hints[field.name])
    }

    def read(found: Any) -> Any:
        unknown = set(found) - set(readers) - ENVELOPE
        if unknown:
            raise ValueError(f"unknown fields {sorted(unknown)}")
        given = {name: readers[name](item) for name, item in found.items() if name in readers}
        return kind(**{**missing, **given})

    return read


def _may_be_empty(hint: Hashable) -> bool:
    return hint is Any or typing.get_origin(hint) is tuple or type(None) in typing.get_args(hint)


def _listed(found: Any) -> list[Any]:
    if not isinstance(found, list):
        raise ValueError(f"expected a list, got {found!r:.80}")  # noqa: TRY004
    return found


def _arguments_reader(found: Any) -> dict[str, Value]:
    value = decode(found)
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, got {found!r:.80}")  # noqa: TRY004
    return value


def _literal_reader(allowed: tuple[Any, ...]) -> Callable[[Any], Any]:
    def read(found: Any) -> Any:
        if found not in allowed:
            raise ValueError(f"{found!r} is none of {allowed}")
        return found

    return read


def _scalar_reader(kind: Any) -> Callable[[Any], Any]:
    def read(found: Any) -> Any:
        number = decode(found) if kind is float else found
        if kind is float and isinstance(number, int) and not isinstance(number, bool):
            return float(number)
        if not isinstance(number, kind) or (kind is int and isinstance(number, bool)):
            raise ValueError(f"expected {kind.__name__}, got {found!r:.80}")
        return number

    return read
