"""Bounded representations of anything, in bounded time: a `__repr__` may be hostile."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from .errors import Gone, Late, PlanStopped, class_name
from .values import Record

SHOWN = 200
"""Characters of one shown value."""
SHOWN_WHOLE = 4_000
"""Characters of a value that a bare expression or a note shows."""
SHOWN_TEXT = 10_000
REPR_S = 1.0


def shown(value: Any, width: int = SHOWN) -> str:
    """A bounded representation of anything; never raises what the value raised."""
    try:
        text = bounded(value, width, 0)
    except (PlanStopped, Gone, Late):
        raise
    except BaseException as error:
        return f"<unprintable: {class_name(error)}>"
    return text if len(text) <= width else text[: width - 1] + "…"


def bounded(value: Any, width: int, depth: int) -> str:
    kind = type(value)
    if kind in (str, bytes):
        return repr(value[:width])
    if kind in (bool, float, type(None)):
        return repr(value)
    if kind is int:
        return repr(value) if value.bit_length() < 10_000 else f"<int of {value.bit_length()} bits>"
    if kind in (dict, Record, list, tuple, set, frozenset):
        return "…" if depth > 3 else bounded_items(value, width, depth)
    text = repr(value)
    return str.__getitem__(text, slice(width * 2))


def bounded_items(value: Any, width: int, depth: int) -> str:
    brackets: dict[type, tuple[str, str]] = {list: ("[", "]"), tuple: ("(", ")")}
    opening, closing = brackets.get(type(value), ("{", "}"))
    parts: list[str] = []
    room = width
    for count, item in enumerate(value):
        if room <= 0 or count > 50:
            parts.append(f"… {len(value) - count} more")
            break
        text = bounded(item, room, depth + 1)
        if isinstance(value, dict):
            text += ": " + bounded(value[item], room, depth + 1)
        parts.append(text)
        room -= len(text) + 2
    return opening + ", ".join(parts) + closing


def shown_value(value: Any) -> str:
    """What a note or a bare expression shows."""
    if type(value) is str:
        return str(value[:SHOWN_TEXT])
    return shown(value, SHOWN_WHOLE)


def shown_in_time(value: Any) -> str:
    """The same; where that takes too long, a word instead."""
    if threading.current_thread() is not threading.main_thread():
        return shown_value(value)  # the host's clock is over it
    with bounded_time(REPR_S):
        return shown_value(value)
    return f"<{class_name(value)}: showing it takes too long>"


@contextlib.contextmanager
def bounded_time(seconds: float) -> Iterator[None]:
    """Interrupt the block in the main thread; a `__repr__` may be endless."""

    def ring(*_: Any) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds / 10)  # again for the next hostile one
    try:
        yield
    except Late:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
