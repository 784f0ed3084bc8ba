"""One call of a resident sandbox, over its link."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from planloop.sandboxes.link import Ending, Exited, Orders, Refused, memory_file, news


class OomCounter:
    """The kernel's counter, read no more often than it can have changed."""

    def __init__(self, read: Callable[[], int]) -> None:
        self._read = read
        self._last: int | None = None

    def since_now(self, *, alone: bool) -> Callable[[], int]:
        """What counts the kills from now on.

        Args:
            alone: whether nothing has lived inside since the last count.
        """
        before = self._last if alone and self._last is not None else self._count()
        return lambda: self._count() - before

    def _count(self) -> int:
        """It only grows: where it cannot be read, what was seen last counts."""
        self._last = max(self._last or 0, self._read())
        return self._last


@dataclasses.dataclass(eq=False, kw_only=True)
class LinkCall:
    """A `RunningCall`."""

    link: Orders
    number: int
    status: int
    stdout: int
    stderr: int
    oom_kills: Callable[[], int]
    refusals: Callable[[float], tuple[str, ...]]
    _started: float = dataclasses.field(default_factory=time.monotonic, init=False)
    _ending: Ending | None = dataclasses.field(default=None, init=False)
    _swept: bool = dataclasses.field(default=False, init=False)

    @property
    def alive(self) -> bool:
        """Whether anything of it may still live."""
        match self._ending:
            case Refused() | Exited(rest=False):
                return False
            case _:
                return not self._swept

    def swept(self) -> None:
        """Everything inside was ended, and this call with it."""
        self._swept = True

    def news(self) -> Ending | None:
        """As `RunningCall.news`."""
        self._ending = news(self.status)
        return self._ending

    def hurry(self) -> None:
        """As `RunningCall.hurry`."""
        self.link.hurry(self.number)

    async def end(self) -> int:
        """As `RunningCall.end`."""
        return await self.link.end(self.number)

    def remarks(self) -> tuple[str, ...]:
        """As `RunningCall.remarks`."""
        refusals = self.refusals(self._started)
        if self._swept or self._ending is None or isinstance(self._ending, Exited | Refused):
            return refusals
        return ("the process that watches the call was killed by something inside", *refusals)

    def close(self) -> None:
        """As `RunningCall.close`."""
        for descriptor in (self.stdout, self.stderr, self.status):
            os.close(descriptor)


async def start_call(
    link: Orders,
    request: Mapping[str, Any],
    stdin: bytes,
    channel: int | None,
    *,
    oom_kills: Callable[[], int],
    refusals: Callable[[float], tuple[str, ...]],
) -> LinkCall:
    """Have a command started.

    Raises:
        SandboxLost: the sandbox is gone.
        ValueError: a string of the request cannot be given to a program.
    """
    with contextlib.ExitStack() as given, contextlib.ExitStack() as kept:
        stdout, stderr = _pipe(kept, given), _pipe(kept, given)
        source = _stdin(stdin)
        given.callback(os.close, source)
        number, status = await link.start(request, source, stdout[1], stderr[1], channel)
        kept.pop_all()
    return LinkCall(
        link=link,
        number=number,
        status=status,
        stdout=stdout[0],
        stderr=stderr[0],
        oom_kills=oom_kills,
        refusals=refusals,
    )


def _pipe(kept: contextlib.ExitStack, given: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe for output; its read end does not block and stays with the host."""
    reading, writing = os.pipe()
    kept.callback(os.close, reading)
    given.callback(os.close, writing)
    os.set_blocking(reading, False)
    return reading, writing


def _stdin(data: bytes) -> int:
    if data:
        return memory_file("stdin", data)
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
