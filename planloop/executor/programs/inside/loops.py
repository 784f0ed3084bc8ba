"""How far loops are, so that a failure can say so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

MOST_LOOPS = 64


class Counting:
    """An iterator that counts."""

    def __init__(self, iterator: Iterator[Any]) -> None:
        self._iterator = iterator
        self.count = 0

    def __iter__(self) -> Counting:
        return self

    def __next__(self) -> Any:
        item = next(self._iterator)
        self.count += 1
        return item


class Loops:
    """The newest loops and comprehensions of a statement, by their places in the text."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, Any, int]] = []

    def clear(self) -> None:
        """Another statement begins."""
        self._entries.clear()

    def watch(self, where: str, iterable: Iterable[Any]) -> Iterator[Any]:
        """The iterator of a loop. One that knows how much is left need not be counted."""
        iterator: Any = iter(iterable)
        left = getattr(iterator, "__length_hint__", None)
        if left is None:
            iterator = Counting(iterator)
        if len(self._entries) > MOST_LOOPS:
            del self._entries[: MOST_LOOPS // 2]
        self._entries.append((where, iterator, left() if left is not None else 0))
        return iterator  # type: ignore[no-any-return]

    def iteration(self, where: str) -> int | None:
        """Which iteration the newest loop at a place is in, from 1; None if it is not known."""
        for found, iterator, total in reversed(self._entries):
            if found == where:
                if isinstance(iterator, Counting):
                    return iterator.count
                return int(total - iterator.__length_hint__())
        return None
