"""What the policy refused, remembered for the notes of calls."""

from __future__ import annotations

import threading
import time

_KEPT = 256
_SHOWN = 10


class Refusals:
    """The newest refusals, each sentence once. Used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}

    def add(self, sentence: str) -> None:
        """Remember one, said now."""
        with self._lock:
            self._last.pop(sentence, None)
            self._last[sentence] = time.monotonic()
            if len(self._last) > _KEPT:
                del self._last[next(iter(self._last))]

    def since(self, when: float) -> tuple[str, ...]:
        """What was said since a monotonic time in seconds, oldest first; a few, and how many
        more.
        """
        with self._lock:
            said = [sentence for sentence, last in self._last.items() if last >= when]
        more = len(said) - _SHOWN
        least = "at least " if len(said) == _KEPT else ""
        rest = (f"network: refused {least}{more} more",) if more > 0 else ()
        return (*said[:_SHOWN], *rest)
