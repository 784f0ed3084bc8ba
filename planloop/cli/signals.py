"""Ctrl-C and SIGTERM: the first stops the run in good order, the second ends the process."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

_SHOW_CURSOR = b"\x1b[?25h"


class Interrupts:
    """Which signals have come. `received` is the first; None while there was none."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._stop: Callable[[], None] | None = None

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
            _end_at_once(128 + signum)
        self.received = signum
        if self._stop is not None:
            self._stop()


@contextlib.contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Catch Ctrl-C and SIGTERM for the length of the block."""
    found = Interrupts()
    before = {one: signal.signal(one, found.handle) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield found
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _end_at_once(code: int) -> None:
    """No clean-up: sandboxes end with their host process, and the trace is complete so far."""
    with contextlib.suppress(OSError):
        note = b"\nforced: the run was ended without its last word\n"
        os.write(2, (_SHOW_CURSOR if sys.stderr.isatty() else b"") + note)
    os._exit(code)
