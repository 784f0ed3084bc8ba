"""The builtins of the language: Python's own, after a look at what they would cost."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any, Final

from planloop.language.limits import LimitExceeded, refuse_bits, refuse_items
from planloop.language.operations import SIZED, Operations
from planloop.values import Value

Arguments = list[Value]
Keywords = dict[str, Value]
Function = Callable[[Operations, Arguments, Keywords], Value]

_TYPES: Final = {
    "bool": bool, "dict": dict, "float": float, "int": int,
    "list": list, "set": set, "str": str, "tuple": tuple,
}  # fmt: skip
_MOST_DIGITS = 10_000
_MOST_MODULAR_BITS = 4_096
_CUBED_BITS_PER_OPERATION = 1_000_000
_MOST_PLACES = 400


def call_function(name: str, operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
    """Call a builtin of the language; the same value and the same errors as Python's own."""
    return FUNCTIONS[name](operations, args, kwargs)


def as_callable(name: str, operations: Operations) -> Callable[..., Value]:
    """A builtin as the function that `key=`, `map` or `filter` is given."""
    return lambda *args: call_function(name, operations, list(args), {})


def types_of(node: ast.expr) -> tuple[type, ...]:
    """The types that the second argument of `isinstance` names."""
    names = node.elts if isinstance(node, ast.Tuple) else [node]
    return tuple(_TYPES[name.id] for name in names if isinstance(name, ast.Name))


def _plain(function: Callable[..., Any]) -> Function:
    def call(operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
        return function(*args, **kwargs)

    return call


def _text(function: Callable[..., str]) -> Function:
    def call(operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
        if len(args) == 1 and not kwargs:
            return operations.text(args[0], function)
        return function(*args, **kwargs)

    return call


def _int(operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
    if args and isinstance(args[0], str | bytes) and len(args[0]) > _MOST_DIGITS:
        raise LimitExceeded(f"a number of a flow may have {_MOST_DIGITS:,} digits")
    found = int(*args, **kwargs)
    refuse_bits(found.bit_length())
    return found


def _float(operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
    if args and isinstance(args[0], str | bytes):
        operations.meter.characters(len(args[0]))
    return float(*args, **kwargs)


def _round(operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
    places = args[1] if len(args) > 1 else kwargs.get("ndigits")
    if isinstance(places, int) and abs(places) > _MOST_PLACES:
        raise LimitExceeded(f"a flow rounds to at most {_MOST_PLACES} places")
    return round(*args, **kwargs)


def _pow(operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
    given = [*args, *kwargs.values()]
    if len(given) == 2:
        operations.power(*given if args else (kwargs.get("base"), kwargs.get("exp")))
    else:
        bits = max((one.bit_length() for one in given if isinstance(one, int)), default=0)
        if bits > _MOST_MODULAR_BITS:
            raise LimitExceeded(f"a modular power of a flow may have {_MOST_MODULAR_BITS:,} bits")
        operations.meter.spend(bits**3 // _CUBED_BITS_PER_OPERATION)
    return pow(*args, **kwargs)


def _consume(function: Callable[..., Any]) -> Function:
    """For builtins that go through one iterable; sets are fine where order does not show."""

    def call(operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
        if len(args) != 1 or kwargs:
            return function(*args, **kwargs)
        return function(_unordered(operations, args[0]))

    return call


def _unordered(operations: Operations, value: Value) -> Value:
    """An iterable whose order will not show, charged for."""
    if isinstance(value, SIZED):
        operations.meter.spend(len(value) // 8 + 1)
        return value
    return _counted(operations, operations.iterate(value))


def _counted(operations: Operations, items: Iterator[Value]) -> Iterator[Value]:
    for item in items:
        operations.meter.spend()
        yield item


def _collect(function: Callable[..., Any]) -> Function:
    """For `list` and `tuple`."""

    def call(operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
        if len(args) != 1 or kwargs:
            return function(*args, **kwargs)
        return function(operations.items(args[0]))

    return call


def _set(operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
    if len(args) != 1 or kwargs:
        return set(*args, **kwargs)
    found = args[0]
    if isinstance(found, set):
        operations.meter.spend(len(found) // 8 + 1)
        return set(found)
    return operations.make_set(operations.items(found))


def _dict(operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
    if len(args) != 1 or isinstance(args[0], dict):
        for found in args[:1]:
            operations.meter.spend(len(found) // 8 + 1)
        return dict(*args, **kwargs)
    pairs = [
        tuple(operations.items(pair)) if isinstance(pair, SIZED) else pair
        for pair in operations.items(args[0])
    ]
    keys = [pair[0] for pair in pairs if isinstance(pair, tuple) and len(pair) == 2]
    if len(keys) == len(pairs):
        operations.make_dict(pairs)
    return dict(pairs, **kwargs)


def _sum(operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
    if not args:
        return sum(*args, **kwargs)
    found = args[0]
    items = list(found) if isinstance(found, set) else operations.items(found)
    if isinstance(found, set) and not all(isinstance(item, int) for item in items):
        raise TypeError("a set has no order to be summed in; use sorted(…)")
    parts = sum(len(item) for item in items if isinstance(item, list | tuple))
    refuse_items(parts)
    # Adding lists copies what was added before, each time.
    operations.meter.characters(parts * len(items) // 2)
    return sum(items, *args[1:], **kwargs)


def _ordering(operations: Operations, items: list[Value]) -> None:
    """Charge for comparing items with one another until they are in order."""
    rounds = max(len(items).bit_length(), 1)
    operations.meter.spend(len(items) * rounds // 16 + 1)
    if any(isinstance(item, SIZED) for item in items):
        size, _, _ = operations.scale.measure(items, operations.meter)
        operations.meter.characters(size * rounds)


def _keys(operations: Operations, found: Value, items: list[Value], key: Value) -> list[Value]:
    if key is None:
        return items
    if isinstance(found, set) and len(items) > 1:
        raise TypeError("a set has no order in which equal keys stay; use sorted(…) first")
    return [key(item) for item in items]


def _gather(operations: Operations, found: Value) -> list[Value]:
    return list(found) if isinstance(found, set) else operations.items(found)


def _sorted(operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
    if len(args) != 1 or not kwargs.keys() <= {"key", "reverse"}:
        return sorted(*args, **kwargs)
    items = _gather(operations, args[0])
    keys = _keys(operations, args[0], items, kwargs.get("key"))
    _ordering(operations, keys)
    order = sorted(range(len(items)), key=keys.__getitem__, reverse=kwargs.get("reverse", False))
    return [items[index] for index in order]


def _extreme(function: Callable[..., Any]) -> Function:
    """For `min` and `max`."""

    def call(operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
        if not args or not kwargs.keys() <= {"key", "default"}:
            return function(*args, **kwargs)
        found = args[0] if len(args) == 1 else args
        items = _gather(operations, found)
        if not items or (len(args) > 1 and "default" in kwargs):
            return function(items, *args[1:], **kwargs)
        keys = _keys(operations, found, items, kwargs.get("key"))
        _ordering(operations, keys)
        return items[function(range(len(items)), key=keys.__getitem__)]

    return call


def _lazy(function: Callable[..., Any], functions: int = 0) -> Function:
    """For builtins that make an iterator of iterables, after so many functions."""

    def call(operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
        iterables = [operations.iterate(found) for found in args[functions:]]
        made = function(*args[:functions], *iterables, **kwargs)
        return _counted(operations, made)

    return call


def _enumerate(operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
    given = [*(operations.iterate(found) for found in args[:1]), *args[1:]]
    make: Callable[..., Iterator[Value]] = enumerate
    return _counted(operations, make(*given, **kwargs))


def _reversed(operations: Operations, args: Arguments, kwargs: Keywords) -> Value:
    return _counted(operations, reversed(*args, **kwargs))


FUNCTIONS: Final = MappingProxyType(
    {
        "abs": _plain(abs), "bin": _plain(bin), "bool": _plain(bool), "chr": _plain(chr),
        "divmod": _plain(divmod), "hex": _plain(hex), "isinstance": _plain(isinstance),
        "len": _plain(len), "next": _plain(next), "oct": _plain(oct), "ord": _plain(ord),
        "range": _plain(range), "repr": _text(repr), "str": _text(str),
        "int": _int, "float": _float, "round": _round, "pow": _pow,
        "all": _consume(all), "any": _consume(any),
        "list": _collect(list), "tuple": _collect(tuple), "set": _set, "dict": _dict,
        "sum": _sum, "sorted": _sorted, "min": _extreme(min), "max": _extreme(max),
        "zip": _lazy(zip), "map": _lazy(map, 1), "filter": _lazy(filter, 1),
        "enumerate": _enumerate, "reversed": _reversed,
    }
)  # fmt: skip
