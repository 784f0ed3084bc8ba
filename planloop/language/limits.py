"""What an evaluation may cost, measured before each step. More is for a program."""

from __future__ import annotations

from typing import Any, Final

from planloop.errors import PlanloopError
from planloop.values import MAX_BITS, MAX_DEPTH, Value

MAX_SOURCE_BYTES: Final = 65_536
MAX_NESTING: Final = 100
"""Levels of an expression's syntax tree."""
MAX_STATEMENTS: Final = 1_000
MAX_OPERATIONS: Final = 200_000
"""A statement."""
MAX_FLOW_OPERATIONS: Final = 2_000_000
"""All statements of a flow together."""
INLINE_OPERATIONS: Final = 10_000
"""In one go on the event loop; a longer evaluation goes on in a thread."""
MAX_ITEMS: Final = 1_000_000
"""Of one list, set or dict that a flow builds."""
MAX_TEXT: Final = 10_000_000
"""Characters of one string that a flow builds."""
MAX_SIZE: Final = 20_000_000
"""Characters that a built value would print as, about; shared parts count each time."""
MAX_KEPT: Final = 100_000_000
"""The sizes of all values together that a flow builds and binds."""
MAX_FORMAT: Final = 1_000
"""Of any width or precision in a format."""
MAX_COLLISIONS: Final = 1_000
"""Keys of one set or dict that hash alike without being equal."""

NODES_PER_OPERATION: Final = 4
CHARACTERS_PER_OPERATION: Final = 64
BITS_PER_OPERATION: Final = 512
CONTAINER_SIZE: Final = 64
"""What a list or dict counts for besides its items, in characters: it takes memory and time."""

VIEWS: Final[tuple[type[Any], ...]] = (type({}.keys()), type({}.values()), type({}.items()))


class LimitExceeded(PlanloopError):
    """An expression would cost more than a flow may; a program can do it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; more is for a program")


class Paused(Exception):
    """Internal: so much was computed in one go that the event loop should get its turn."""


class Meter:
    """Counts the operations of one statement.

    Args:
        spent: operations that the statement has used before.
        inline: how many more may follow in one go.

    Raises, from `spend`:
        LimitExceeded: the statement has used up its operations.
        Paused: the operations that may follow in one go are used up.
    """

    __slots__ = ("_pause_at", "spent")

    def __init__(self, spent: int = 0, inline: int = MAX_OPERATIONS) -> None:
        self.spent = spent
        self._pause_at = min(spent + inline, MAX_OPERATIONS)

    def spend(self, operations: int = 1) -> None:
        """Charge for work that is about to be done."""
        self.spent += operations
        if self.spent > self._pause_at:
            if self.spent > MAX_OPERATIONS:
                raise LimitExceeded(f"a statement may take {MAX_OPERATIONS:,} operations")
            raise Paused

    def bits(self, count: int) -> None:
        """Charge for arithmetic on integers of so many bits."""
        self.spend(count // BITS_PER_OPERATION)

    def characters(self, count: int) -> None:
        """Charge for going through so much text, or so many simple items."""
        self.spend(count // CHARACTERS_PER_OPERATION + 1)


Measure = tuple[int, int, bool]
"""Size in characters, about; depth; whether it holds a set, which has no order."""


class Scale:
    """Measures values as if they were trees, in time that sharing does not blow up."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Value, Measure]] = {}
        self._kept_size = 0

    def measure(self, value: Value, meter: Meter) -> Measure:
        """Size, depth and order of a value.

        Raises:
            LimitExceeded: it is larger or deeper than a flow may build.
        """
        if not isinstance(value, _CONTAINERS):
            return _flat_size(value), 0, False
        return self._container(value, meter, {})

    def keep(self, value: Value, measure: Measure) -> None:
        """Remember the measure of a value that stays, since a name holds it.

        Raises:
            LimitExceeded: the flow holds too much.
        """
        self._kept_size += measure[0]
        if self._kept_size > MAX_KEPT:
            raise LimitExceeded(f"the values that a flow builds may have {MAX_KEPT:,} characters")
        if isinstance(value, _CONTAINERS):
            self._kept[id(value)] = (value, measure)

    def _container(self, value: Value, meter: Meter, seen: dict[int, Measure]) -> Measure:
        key = id(value)
        if key in seen:
            return seen[key]
        if key in self._kept:
            return self._kept[key][1]
        if isinstance(value, range):
            return len(value) * 8, 1, False
        meter.spend(len(value) // NODES_PER_OPERATION + 1)
        size, depth, unordered = CONTAINER_SIZE, 0, isinstance(value, set) and len(value) > 1
        for part in _parts(value):
            if isinstance(part, _CONTAINERS):
                inner_size, inner_depth, inner_unordered = self._container(part, meter, seen)
                size += inner_size
                depth = max(depth, inner_depth)
                unordered = unordered or inner_unordered
            else:
                size += _flat_size(part)
        _refuse_large(size, depth + 1)
        seen[key] = size, depth + 1, unordered
        return seen[key]


_CONTAINERS: Final[tuple[type[Any], ...]] = (list, dict, tuple, set, range, *VIEWS)


def _parts(value: Value) -> list[Value] | Value:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value


def _flat_size(value: Value) -> int:
    if isinstance(value, str | bytes):
        return len(value) + 8
    if isinstance(value, int):
        return value.bit_length() // 3 + 8
    return 24


def _refuse_large(size: int, depth: int) -> None:
    if size > MAX_SIZE:
        raise LimitExceeded(f"a value of a flow may hold about {MAX_SIZE:,} characters")
    if depth > MAX_DEPTH:
        raise LimitExceeded(f"a value of a flow may be {MAX_DEPTH} levels deep")


def refuse_items(count: int) -> None:
    """Raise `LimitExceeded` if a list of so many items may not be built."""
    if count > MAX_ITEMS:
        raise LimitExceeded(f"a list of a flow may have {MAX_ITEMS:,} items")


def refuse_text(count: int) -> None:
    """Raise `LimitExceeded` if a string of so many characters may not be built."""
    if count > MAX_TEXT:
        raise LimitExceeded(f"a string of a flow may have {MAX_TEXT:,} characters")


def refuse_bits(count: int) -> None:
    """Raise `LimitExceeded` if an integer of so many bits may not be computed."""
    if count > MAX_BITS:
        raise LimitExceeded(f"an integer of a flow may have {MAX_BITS:,} bits")


def refuse_collisions(keys: list[Value]) -> None:
    """Raise `LimitExceeded` if the keys were chosen to make a hash table slow.

    Raises:
        TypeError: a key cannot be hashed.
    """
    if len(keys) <= MAX_COLLISIONS or all(type(key) is str for key in keys):
        return
    first: dict[int, Value] = {}
    collisions = 0
    for key in keys:
        collisions += first.setdefault(hash(key), key) != key
        if collisions > MAX_COLLISIONS:
            raise LimitExceeded("the keys of this set or dict hash alike")
