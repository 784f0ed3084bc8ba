"""One call from its start to its proven end: output, deadline, cuts, outcome.

The event loop calls back when there is something to take, so that a call goes on, and is held to
its limits, whether anybody waits for it or not; and a short call costs no task.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from math import inf
from typing import Protocol

import anyio

from planloop.errors import SandboxLost
from planloop.sandbox import Completed, Limits, OnOutput, Stream
from planloop.sandboxes.capture import Capture
from planloop.sandboxes.link import Ending, Exited, Refused
from planloop.sandboxes.outcome import Cut, Measured, Outcome, outcome

_PIECE = 1 << 16

Guard = Callable[[], AbstractAsyncContextManager[None]]


class RunningCall(Protocol):
    """A started call. Its descriptors do not block."""

    status: int
    """Readable when there is news of the command's own process."""
    stdout: int
    stderr: int

    @property
    def alive(self) -> bool:
        """Whether anything of the call may still live."""
        ...

    def news(self) -> Ending | None:
        """What `status` says: how the command ended, or None if it has just started."""
        ...

    def hurry(self) -> None:
        """Begin to end every process of the call; `end` proves it."""
        ...

    async def end(self) -> int:
        """End every process of the call, proven; returns how many were still there.

        Raises:
            SandboxLost: it could not be proven, and the whole sandbox was ended instead.
        """
        ...

    def oom_kills(self) -> int:
        """Kills for want of memory since the call started."""
        ...

    def remarks(self) -> tuple[str, ...]:
        """What else is to be said of the call's end."""
        ...

    def close(self) -> None:
        """Let go of descriptors."""
        ...


class Following:
    """Follows a started call. `wait`, `end` or `close` must come in the end.

    Args:
        timeout_s: may be infinite.
        on_end: called once, when nothing of the call is followed any more.
    """

    def __init__(
        self,
        call: RunningCall,
        limits: Limits,
        timeout_s: float,
        on_output: OnOutput | None,
        on_end: Callable[[Following], object],
    ) -> None:
        self.started_ns = time.time_ns()
        """By the clock that stamps files."""
        self._started = time.monotonic()
        self._duration_s = 0.0
        self._call = call
        self._on_output = on_output
        self._on_end = on_end
        self._captures: dict[Stream, Capture] = {
            "stdout": Capture(limits.shown_bytes, limits.kept_bytes),
            "stderr": Capture(limits.shown_bytes, limits.kept_bytes),
        }
        self._waiting = 0
        self._cut: Cut | None = None
        self._ending: Ending | None = None
        self._error: BaseException | None = None
        self._completed: Completed | None = None
        self._gone = False
        self._news = asyncio.Event()
        self._over = asyncio.Event()
        self._proving = anyio.Lock(fast_acquire=True)
        self._loop = asyncio.get_running_loop()
        self._timer = self._listen(timeout_s)

    @property
    def over(self) -> bool:
        """Whether the command's own process has ended, or is being ended."""
        return self._over.is_set()

    @property
    def refused(self) -> Refused | None:
        """Why nothing ran, if nothing ran."""
        return self._ending if isinstance(self._ending, Refused) else None

    @property
    def _wait_status(self) -> int | None:
        return self._ending.wait_status if isinstance(self._ending, Exited) else None

    async def started(self) -> Refused | None:
        """Wait until the command runs, or has ended; returns why it does not, if so.

        Cancelling kills the whole tree before the cancellation goes on.
        """
        try:
            await self._news.wait()
        except BaseException:
            await self._kill()
            raise
        return self.refused

    async def ended(self) -> None:
        """Wait until the command's own process has ended, or is being ended."""
        await self._over.wait()

    async def wait(self) -> Completed:
        """Wait for the end. Cancelling ends the waiting, not the call.

        Raises:
            SandboxLost: the sandbox ended under the call, or had to be ended.
        """
        self._waiting += 1
        try:
            await self._over.wait()
        finally:
            self._waiting -= 1
        return await self._proven()

    async def to_the_end(self) -> Completed:
        """As `wait`, but cancelling kills the whole tree before the cancellation goes on.

        Raises:
            SandboxLost: as for `wait`.
        """
        try:
            return await self.wait()
        except BaseException:
            await self._kill()
            raise

    async def end(self) -> Completed:
        """End the call and everything that it left.

        Raises:
            SandboxLost: as for `wait`.
        """
        self._settle("killed")
        return await self._proven()

    def close(self, why: str) -> None:
        """Stop following: the sandbox is gone, and everything in it."""
        self._settle("killed", hurry=False)
        if self._completed is None and self._error is None:
            self._error = SandboxLost(why)
        self._let_go()

    def oom_kills(self) -> int:
        """Kills for want of memory since it started."""
        return self._call.oom_kills()

    def so_far(self) -> Outcome:
        """How its own process ended, whatever it left."""
        return outcome(Measured(cut=self._cut, wait_status=self._wait_status))

    def output(self) -> str:
        """What there is to be seen of both streams so far."""
        return "".join(capture.output().text for capture in self._captures.values())

    # ------------------------------------------------------------ what the event loop calls

    def _listen(self, timeout_s: float) -> asyncio.TimerHandle | None:
        loop, call = self._loop, self._call
        loop.add_reader(call.status, self._hear)
        loop.add_reader(call.stdout, self._pump, "stdout", call.stdout)
        loop.add_reader(call.stderr, self._pump, "stderr", call.stderr)
        return loop.call_later(timeout_s, self._settle, "timeout") if timeout_s < inf else None

    def _hear(self) -> None:
        self._ending = self._call.news()
        self._news.set()
        if self._ending is not None:
            self._settle(None)

    def _pump(self, stream: Stream, descriptor: int) -> None:
        try:
            piece = os.read(descriptor, _PIECE)
        except BlockingIOError:
            return
        if not piece:
            self._loop.remove_reader(descriptor)
            return
        self._take(stream, piece)
        if self._error is not None:
            self._settle("killed")
        elif self._captures[stream].flooded:
            self._settle("output_limit")

    def _take(self, stream: Stream, piece: bytes) -> None:
        self._say(stream, self._captures[stream].feed(piece))

    def _say(self, stream: Stream, text: str) -> None:
        """Tell the listener, whose error ends the call and comes out of it."""
        if not text or self._on_output is None or self._error is not None:
            return
        try:
            self._on_output(stream, text)
        except Exception as error:
            self._error = error

    def _settle(self, cut: Cut | None, *, hurry: bool = True) -> None:
        """The command has ended, or is cut off; the first reason counts."""
        if self._over.is_set():
            return
        self._cut = cut
        self._duration_s = time.monotonic() - self._started
        self._news.set()
        self._over.set()
        if self._timer is not None:
            self._timer.cancel()
        for descriptor in (self._call.status, self._call.stdout, self._call.stderr):
            self._loop.remove_reader(descriptor)
        if hurry and not self._waiting and self._call.alive:
            self._call.hurry()

    # ------------------------------------------------------------ the end, proven

    async def _proven(self) -> Completed:
        await self._make_sure()
        if self._error is not None:
            raise self._error
        assert self._completed is not None
        return self._completed

    async def _kill(self) -> None:
        self._settle("killed", hurry=False)
        await self._make_sure()

    async def _make_sure(self) -> None:
        """Nothing of the call lives on after this."""
        if not self._gone and self._call.alive:
            await self._prove()
        self._finish(0)

    async def _prove(self) -> None:
        with anyio.CancelScope(shield=True):
            async with self._proving:
                if self._gone:
                    return
                try:
                    ended = await self._call.end()
                except SandboxLost as lost:
                    self._error = lost
                    self._let_go()
                else:
                    self._finish(ended)

    def _finish(self, ended: int) -> None:
        if self._gone:
            return
        self._drain("stdout", self._call.stdout)
        self._drain("stderr", self._call.stderr)
        self._completed = self._completion(ended)
        self._let_go()

    def _drain(self, stream: Stream, descriptor: int) -> None:
        """Take what the pipe still holds; never wait for its end, another call may hold it."""
        capture = self._captures[stream]
        with contextlib.suppress(BlockingIOError):
            while not capture.flooded and (piece := os.read(descriptor, _PIECE)):
                self._take(stream, piece)
        self._say(stream, capture.end())

    def _completion(self, ended: int) -> Completed:
        result = outcome(
            Measured(
                cut=self._cut,
                wait_status=self._wait_status,
                ended=ended,
                oom_kills=self._call.oom_kills(),
                remarks=self._call.remarks(),
            )
        )
        captures = self._captures
        return Completed(
            status=result.status,
            exit_code=result.exit_code,
            signal=result.signal,
            stdout=captures["stdout"].output(),
            stderr=captures["stderr"].output(),
            duration_s=self._duration_s,
            notes=(*result.notes, *_troubles(captures)),
            whole={name: one.spool for name, one in captures.items() if one.spool is not None},
        )

    def _let_go(self) -> None:
        if not self._gone:
            self._gone = True
            self._call.close()
            self._on_end(self)


def _troubles(captures: Mapping[Stream, Capture]) -> tuple[str, ...]:
    """Why a long stream could not be kept whole."""
    return tuple(
        f"what is elided of {name} is lost: {one.trouble}"
        for name, one in captures.items()
        if one.trouble is not None
    )


class StartedProcess:
    """A `planloop.sandbox.Process`.

    Args:
        guard: wraps whatever may find the sandbox lost.
    """

    def __init__(self, following: Following, channel: socket.socket | None, guard: Guard) -> None:
        self.following = following
        self.channel = channel
        self._guard = guard

    async def wait(self) -> Completed:
        """As `Process.wait`."""
        async with self._guard():
            return await self.following.wait()

    def oom_kills(self) -> int:
        """As `Process.oom_kills`."""
        return self.following.oom_kills()

    async def end(self) -> Completed:
        """As `Process.end`."""
        async with self._guard():
            return await self.following.end()
