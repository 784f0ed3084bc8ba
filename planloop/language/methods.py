"""The read-only methods and attributes of values, after a look at what they would cost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

from planloop.language import grammar
from planloop.language.limits import LimitExceeded, refuse_collisions, refuse_items, refuse_text
from planloop.language.operations import Operations
from planloop.values import Record, Value

Guard = Callable[[Operations, Value, list[Value], dict[str, Value]], None]

_ENCODINGS: Final = frozenset({"utf-8", "utf8", "ascii", "latin-1", "utf-16", "utf-8-sig"})
_LINE_ENDS: Final = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


class Method:
    """A method looked up on its object, before its arguments are known."""

    __slots__ = ("_name", "_object")

    def __init__(self, owner: Value, name: str) -> None:
        self._object = owner
        self._name = name

    def call(self, operations: Operations, args: list[Value], kwargs: dict[str, Value]) -> Value:
        """Call it; the same value and the same errors as Python's own."""
        owner, name = self._object, self._name
        if isinstance(owner, str | bytes):
            operations.meter.characters(len(owner))
        if guard := _GUARDS.get(name):
            args = list(args)
            guard(operations, owner, args, kwargs)
        return _METHODS[_kind(owner)][name](owner, *args, **kwargs)


def method(owner: Value, name: str) -> Method:
    """The method `name` of a value.

    Raises:
        AttributeError: it has no such method.
        TypeError: it is a record with such a key, which cannot be called.
    """
    if name in _METHODS.get(_kind(owner), {}):
        return Method(owner, name)
    attribute(owner, name)
    raise TypeError(f"{type(owner).__name__!r} value has no method {name!r}, only a key")


def attribute(owner: Value, name: str) -> Value:
    """`owner.name`: a record's key, or a field of a date.

    Raises:
        MissingKey: the record has no such key.
        AttributeError: the value has no such attribute.
    """
    if isinstance(owner, Record):
        return owner.__getattr__(name)
    if name in _ATTRIBUTES.get(type(owner), ()):
        return getattr(owner, name)
    if isinstance(owner, dict) and name in owner:
        hint = f"; use [{name!r}]"
    else:
        hint = "; it is a method: call it" if name in _METHODS.get(_kind(owner), {}) else ""
    raise AttributeError(f"{type(owner).__name__!r} object has no attribute {name!r}{hint}")


def _kind(value: Value) -> type:
    return dict if isinstance(value, dict) else type(value)


def _table(kind: type, names: frozenset[str]) -> dict[str, Callable[..., Any]]:
    return {name: vars(kind)[name] for name in names if name in vars(kind)}


_METHODS: Final[dict[type, dict[str, Callable[..., Any]]]] = {
    str: _table(str, grammar.TEXT_METHODS),
    bytes: _table(bytes, grammar.TEXT_METHODS - {"encode"})
    | {
        "decode": bytes.decode,
        "hex": bytes.hex,
    },
    list: _table(list, grammar.LIST_METHODS),
    tuple: _table(tuple, grammar.LIST_METHODS),
    range: _table(range, grammar.LIST_METHODS),
    dict: _table(dict, grammar.DICT_METHODS),
    set: _table(set, grammar.SET_METHODS),
    int: {"bit_length": int.bit_length},
    bool: {"bit_length": int.bit_length},
    float: {"is_integer": float.is_integer},
    dt.date: _table(dt.date, grammar.OTHER_METHODS),
    dt.datetime: _table(dt.date, grammar.OTHER_METHODS)
    | _table(dt.datetime, grammar.OTHER_METHODS),
    dt.time: _table(dt.time, grammar.OTHER_METHODS),
    dt.timedelta: {"total_seconds": dt.timedelta.total_seconds},
}
_DATE = ("year", "month", "day")
_TIME = ("hour", "minute", "second", "microsecond")
_NUMBER = ("real", "imag")
_ATTRIBUTES: Final = MappingProxyType(
    {
        dt.date: _DATE,
        dt.datetime: (*_DATE, *_TIME),
        dt.time: _TIME,
        dt.timedelta: ("days", "seconds", "microseconds"),
        int: (*_NUMBER, "numerator", "denominator"),
        bool: (*_NUMBER, "numerator", "denominator"),
        float: _NUMBER,
    }
)


def _padded(operations: Operations, owner: Value, args: list[Value], kwargs: Any) -> None:
    if args and isinstance(args[0], int):
        refuse_text(args[0])
        operations.meter.characters(max(args[0], 0))


def _replaced(operations: Operations, owner: Value, args: list[Value], kwargs: Any) -> None:
    if len(args) < 2 or not all(isinstance(found, type(owner)) for found in args[:2]):
        return
    old, new = args[0], args[1]
    count = owner.count(old)
    if len(args) > 2 and isinstance(args[2], int) and args[2] >= 0:
        count = min(count, args[2])
    size = len(owner) + count * max(len(new) - len(old), 0)
    refuse_text(size)
    operations.meter.characters(size)


def _joined(operations: Operations, owner: Value, args: list[Value], kwargs: Any) -> None:
    if len(args) != 1:
        return
    args[0] = operations.items(args[0])
    texts = [len(item) for item in args[0] if isinstance(item, str | bytes)]
    size = sum(texts) + len(owner) * len(texts)
    refuse_text(size)
    operations.meter.characters(size)


def _split(operations: Operations, owner: Value, args: list[Value], kwargs: Any) -> None:
    separator = args[0] if args else kwargs.get("sep")
    if isinstance(separator, type(owner)) and separator:
        pieces = owner.count(separator)
    else:
        pieces = len(owner) // 8
    refuse_items(pieces)
    operations.meter.spend(pieces // 4 + 1)


def _split_lines(operations: Operations, owner: Value, args: list[Value], kwargs: Any) -> None:
    ends = _LINE_ENDS if isinstance(owner, str) else (b"\n", b"\r")
    lines = sum(owner.count(end) for end in ends)
    refuse_items(lines)
    operations.meter.spend(lines // 4 + 1)


def _searched(operations: Operations, owner: Value, args: list[Value], kwargs: Any) -> None:
    if args:
        operations.search(owner, args[0])


def _copied(operations: Operations, owner: Value, args: list[Value], kwargs: Any) -> None:
    operations.meter.spend(len(owner) // 8 + 1)


def _looked_up(operations: Operations, owner: Value, args: list[Value], kwargs: Any) -> None:
    if args:
        operations.look_up(args[0])


def _coded(operations: Operations, owner: Value, args: list[Value], kwargs: Any) -> None:
    for name in (args[0] if args else kwargs.get("encoding", "utf-8"),):
        if isinstance(name, str) and name.lower() not in _ENCODINGS:
            raise LookupError(f"unknown encoding: {name[:50]}; known: {', '.join(_ENCODINGS)}")


def _united(operations: Operations, owner: Value, args: list[Value], kwargs: Any) -> None:
    if not isinstance(owner, set):
        return
    keys = list(owner)
    for index, found in enumerate(args):
        args[index] = list(found) if isinstance(found, set) else operations.items(found)
        keys += args[index]
    operations.meter.spend(len(keys) // 8 + 1)
    refuse_collisions(keys)


def _timed(operations: Operations, owner: Value, args: list[Value], kwargs: Any) -> None:
    for spec in (*args, *kwargs.values()):
        if isinstance(spec, str) and (any(c.isdigit() for c in spec) or len(spec) > 1_000):
            raise LimitExceeded("a date format of a flow has no digits and 1,000 characters")


_GUARDS: Final[dict[str, Guard]] = {
    "center": _padded, "ljust": _padded, "rjust": _padded, "zfill": _padded,
    "replace": _replaced, "join": _joined, "split": _split, "rsplit": _split,
    "splitlines": _split_lines, "count": _searched, "index": _searched,
    "copy": _copied, "get": _looked_up, "encode": _coded, "decode": _coded, "strftime": _timed,
    "union": _united, "difference": _united, "intersection": _united,
    "symmetric_difference": _united, "issubset": _united, "issuperset": _united,
    "isdisjoint": _united,
}  # fmt: skip
