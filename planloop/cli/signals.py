"""Ctrl-C and SIGTERM: the first stops the run in good order, the second ends the process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

_CAUGHT = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
_SHOW_CURSOR = b"\x1b[?25h"
_FORCED = b"\nforced: the run was ended without its last word\n"


class Interrupts:
    """Which signals have come. `received` is the first; None while there was none.

    Args:
        remove_copies: called before the process is ended at once; a third signal cuts it short.
    """

    def __init__(self, remove_copies: Callable[[], None]) -> None:
        self.received: int | None = None
        self._stop: Callable[[], None] | None = None
        self._remove_copies = remove_copies
        self._forced = False

    def call(self, stop: Callable[[], None]) -> None:
        """What the first signal does; called from the signal handler, so it must not block."""
        self._stop = stop
        if self.received is not None:
            stop()

    @property
    def exit_code(self) -> int | None:
        """128 and the signal's number; None if there was none."""
        return None if self.received is None else 128 + self.received

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """A signal came."""
        if self.received is not None:
            self._end_at_once(128 + signum)
        self.received = signum
        if self._stop is not None:
            self._stop()

    def _end_at_once(self, code: int) -> None:
        """Sandboxes end with their host process, and the trace is complete so far."""
        if not self._forced:
            self._forced = True
            with contextlib.suppress(OSError):
                os.write(2, (_SHOW_CURSOR if sys.stderr.isatty() else b"") + _FORCED)
            with contextlib.suppress(Exception):
                self._remove_copies()
        os._exit(code)


@contextlib.contextmanager
def interrupts(remove_copies: Callable[[], None]) -> Iterator[Interrupts]:
    """Catch Ctrl-C, SIGTERM and a closed terminal for the length of the block."""
    found = Interrupts(remove_copies)
    before = {one: signal.signal(one, found.handle) for one in _CAUGHT}
    try:
        yield found
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
