"""Operators, each bounded before Python's own does the work."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any, Final

from planloop.language.limits import (
    MAX_FORMAT,
    VIEWS,
    LimitExceeded,
    Meter,
    Scale,
    refuse_bits,
    refuse_collisions,
    refuse_items,
    refuse_text,
)
from planloop.values import Value

SEQUENCES: Final = (str, bytes, list, tuple)
CONTAINERS: Final[tuple[type[Any], ...]] = (list, tuple, dict, set, range, *VIEWS)
_LISTS: Final[tuple[type[Any], ...]] = (list, tuple, *VIEWS)
_HASHED: Final[tuple[type[Any], ...]] = (set, dict, *VIEWS)
SIZED: Final[tuple[type[Any], ...]] = (*SEQUENCES, dict, set, range, *VIEWS)

_BINARY: Final[MappingProxyType[type[ast.operator], Callable[[Any, Any], Any]]] = MappingProxyType(
    {
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
        ast.FloorDiv: operator.floordiv,
        ast.Mod: operator.mod,
        ast.Pow: operator.pow,
        ast.LShift: operator.lshift,
        ast.RShift: operator.rshift,
        ast.BitOr: operator.or_,
        ast.BitXor: operator.xor,
        ast.BitAnd: operator.and_,
        ast.MatMult: operator.matmul,
    }
)
_UNARY: Final[MappingProxyType[type[ast.unaryop], Callable[[Any], Any]]] = MappingProxyType(
    {
        ast.UAdd: operator.pos,
        ast.USub: operator.neg,
        ast.Invert: operator.invert,
        ast.Not: operator.not_,
    }
)
_COMPARE: Final[MappingProxyType[type[ast.cmpop], Callable[[Any, Any], Any]]] = MappingProxyType(
    {
        ast.Eq: operator.eq,
        ast.NotEq: operator.ne,
        ast.Lt: operator.lt,
        ast.LtE: operator.le,
        ast.Gt: operator.gt,
        ast.GtE: operator.ge,
        ast.Is: operator.is_,
        ast.IsNot: operator.is_not,
        ast.In: lambda item, container: item in container,
        ast.NotIn: lambda item, container: item not in container,
    }
)


class Operations:
    """Python's operators and conversions on values, charged to one meter."""

    def __init__(self, meter: Meter, scale: Scale) -> None:
        self.meter = meter
        self.scale = scale

    def binary(self, kind: type[ast.operator], left: Value, right: Value) -> Value:
        """`left kind right`, as Python has it."""
        guard = _GUARDS.get(kind)
        if guard is not None:
            guard(self, left, right)
        elif isinstance(left, CONTAINERS):
            self._pairwise(left, right)
        return _BINARY[kind](left, right)

    def unary(self, kind: type[ast.unaryop], operand: Value) -> Value:
        """`kind operand`, as Python has it."""
        return _UNARY[kind](operand)

    def compare(self, kind: type[ast.cmpop], left: Value, right: Value) -> Any:
        """`left kind right`, as Python has it."""
        if kind in (ast.In, ast.NotIn):
            self.search(right, left)
        elif isinstance(left, SIZED) and isinstance(right, SIZED):
            self._compare_deep(left, right)
        return _COMPARE[kind](left, right)

    def search(self, container: Value, item: Value) -> None:
        """Charge for looking for an item in a container."""
        if isinstance(container, _LISTS) and isinstance(item, CONTAINERS):
            self._compare_deep(container, item)
        elif isinstance(container, _LISTS):
            self.meter.characters(len(container) * (1 + _length(item) // 64))
        elif isinstance(container, str | bytes) or (
            isinstance(container, range) and not isinstance(item, int)
        ):
            self.meter.characters(len(container))
        else:
            self.look_up(item)

    def look_up(self, key: Value) -> None:
        """Charge for hashing a key: a tuple hashes all that it holds, each time anew."""
        if isinstance(key, tuple):
            self.meter.characters(self.scale.measure(key, self.meter)[0])

    def text(self, value: Value, convert: Callable[[Value], str] = str) -> str:
        """`str(value)` or `repr(value)`.

        Raises:
            LimitExceeded: the text would be too long.
            TypeError: it would show the order of a set, which has none.
        """
        if type(value) is str and convert is str:
            return str(value)
        size, _, unordered = self.scale.measure(value, self.meter)
        if unordered:
            raise TypeError("a set has no order to be shown in; use sorted(…)")
        refuse_text(size)
        self.meter.characters(size)
        return convert(value)

    def format(self, value: Value, spec: str) -> str:
        """`format(value, spec)`; every number in the spec is bounded."""
        if not spec:
            return self.text(value)
        refuse_wide(spec)
        if isinstance(value, CONTAINERS):
            raise TypeError(
                f"unsupported format string passed to {type(value).__name__}.__format__"
            )
        self.meter.characters(_length(value))
        return format(value, spec)

    def concatenate(self, parts: list[str]) -> str:
        """The parts of an f-string as one string."""
        size = sum(len(part) for part in parts)
        refuse_text(size)
        self.meter.characters(size)
        return "".join(parts)

    def iterate(self, value: Value) -> Iterator[Value]:
        """`iter(value)`; a set is refused, since it has no order."""
        if isinstance(value, set):
            raise TypeError("a set has no order; use sorted(…)")
        return iter(value)

    def items(self, value: Value) -> list[Value]:
        """All items of an iterable, charged for."""
        if isinstance(value, SIZED):
            refuse_items(len(value))
            self.meter.spend(len(value) // 8 + 1)
            return list(self.iterate(value))
        found: list[Value] = []
        for item in self.iterate(value):
            self.meter.spend()
            found.append(item)
        return found

    def make_set(self, items: list[Value]) -> set[Value]:
        """A set of the items; keys made to collide are refused."""
        for item in items:
            self.look_up(item)
        refuse_collisions(items)
        return set(items)

    def make_dict(self, pairs: list[tuple[Value, Value]]) -> dict[Value, Value]:
        """A dict of the pairs; keys made to collide are refused."""
        for key, _ in pairs:
            self.look_up(key)
        if len(pairs) > 1:
            refuse_collisions([key for key, _ in pairs])
        return dict(pairs)

    def _compare_deep(self, left: Value, right: Value) -> None:
        if isinstance(left, range | str | bytes) or isinstance(right, range | str | bytes):
            self.meter.characters(min(_length(left), _length(right)))
            return
        sizes = [self.scale.measure(side, self.meter)[0] for side in (left, right)]
        self.meter.characters(min(sizes))

    def _pairwise(self, left: Value, right: Value) -> None:
        self.meter.characters(8 * (_length(left) + _length(right)))
        if isinstance(left, _HASHED) and isinstance(right, _HASHED):
            refuse_collisions([*left, *right])

    def _add(self, left: Value, right: Value) -> None:
        if isinstance(left, str | bytes):
            refuse_text(len(left) + _length(right))
            self.meter.characters(len(left) + _length(right))
        elif isinstance(left, list | tuple):
            refuse_items(len(left) + _length(right))
            self._pairwise(left, right)

    def _multiply(self, left: Value, right: Value) -> None:
        if isinstance(right, SEQUENCES):
            left, right = right, left
        if isinstance(left, SEQUENCES) and isinstance(right, int):
            self._repeat(left, right)
        elif isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() + right.bit_length()
            refuse_bits(bits)
            self.meter.bits(bits)

    def _repeat(self, sequence: Value, times: int) -> None:
        count = len(sequence) * max(times, 0)
        if isinstance(sequence, str | bytes):
            refuse_text(count)
            self.meter.characters(count)
        else:
            refuse_items(count)
            self.meter.characters(count * 8)

    def _divide(self, left: Value, right: Value) -> None:
        if isinstance(left, int):
            self.meter.bits(left.bit_length())

    def power(self, base: Value, exponent: Value) -> None:
        if isinstance(base, int) and isinstance(exponent, int) and exponent > 0:
            bits = base.bit_length() * exponent if base not in (-1, 0, 1) else 1
            refuse_bits(bits)
            self.meter.bits(bits)

    def _shift(self, left: Value, right: Value) -> None:
        if isinstance(left, int) and isinstance(right, int) and right > 0 and left:
            refuse_bits(left.bit_length() + right)

    def _modulo(self, left: Value, right: Value) -> None:
        if isinstance(left, str | bytes):
            raise LimitExceeded("`%` formats only a constant string in a flow; use an f-string")
        self._divide(left, right)

    def percent(self, template: str, right: Value) -> str:
        """`template % right`, where the template is a constant of the plan."""
        refuse_wide(template)
        shown = [right.values()] if isinstance(right, dict) else [right]
        parts = list(right) if isinstance(right, tuple) else shown
        sizes = [self.scale.measure(part, self.meter) for part in parts]
        if any(unordered for _, _, unordered in sizes):
            raise TypeError("a set has no order to be shown in; use sorted(…)")
        size = sum(found for found, _, _ in sizes)
        repeated = template.count("%") if isinstance(right, dict) else 1
        refuse_text(size * repeated)
        self.meter.characters(size * repeated)
        return str(template % right)


_GUARDS: Final[dict[type[ast.operator], Callable[[Operations, Value, Value], None]]] = {
    ast.Add: Operations._add,
    ast.Mult: Operations._multiply,
    ast.Pow: Operations.power,
    ast.LShift: Operations._shift,
    ast.Mod: Operations._modulo,
    ast.FloorDiv: Operations._divide,
}


def _length(value: Value) -> int:
    return len(value) if isinstance(value, SIZED) else 8


def refuse_wide(spec: str) -> None:
    """Raise `LimitExceeded` if a format holds a number that is too large, or a computed one."""
    if len(spec) > MAX_FORMAT and "%" not in spec:
        raise LimitExceeded(f"a format of a flow may have {MAX_FORMAT:,} characters")
    for number in re.findall(r"\d+", spec if "%" not in spec else _conversions(spec)):
        if len(number) > 6 or int(number) > MAX_FORMAT:
            raise LimitExceeded(f"a width or precision in a flow may be {MAX_FORMAT:,}")


def _conversions(template: str) -> str:
    found = re.findall(r"%(?:\([^)]*\))?[-+ #0-9.*_^EO]*", template)
    if any("*" in part for part in found):
        raise LimitExceeded("a flow formats with `*` in no `%` format")
    return " ".join(re.sub(r"^%\([^)]*\)", "", part) for part in found)
