"""One call from its start to its proven end: output, deadline, cuts, outcome."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Protocol

import anyio

from planloop.sandbox import Command, Completed, Limits, OnOutput, Stream
from planloop.sandboxes.capture import Capture
from planloop.sandboxes.outcome import Cut, Measured, outcome

_PIECE = 1 << 16


class RunningCall(Protocol):
    """A started call. `stdout` and `stderr` are read ends that do not block."""

    stdout: int
    stderr: int

    async def wait(self) -> int | None:
        """The wait status of the command's own process; None if nobody could wait for it."""
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


async def follow(
    call: RunningCall, command: Command, limits: Limits, on_output: OnOutput | None
) -> Completed:
    """Follow a started call to its end. However this is left, no process of the call lives on.

    Raises:
        SandboxLost: the sandbox ended under the call, or had to be ended.
    """
    started = time.monotonic()
    following = _Following(call, limits, on_output)
    try:
        measured = await following.to_the_end(command.timeout_s or limits.timeout_s)
    finally:
        call.close()
    result = outcome(measured)
    return Completed(
        status=result.status,
        exit_code=result.exit_code,
        signal=result.signal,
        stdout=following.captures["stdout"].output(),
        stderr=following.captures["stderr"].output(),
        duration_s=time.monotonic() - started,
        notes=result.notes,
    )


class _Following:
    def __init__(self, call: RunningCall, limits: Limits, on_output: OnOutput | None) -> None:
        self._call = call
        self._on_output = on_output
        self._flooded = False
        self._wait_status: int | None = None
        self.captures: dict[Stream, Capture] = {
            "stdout": Capture(limits.shown_bytes, limits.kept_bytes),
            "stderr": Capture(limits.shown_bytes, limits.kept_bytes),
        }

    async def to_the_end(self, timeout_s: float) -> Measured:
        try:
            cut = await self._watch(timeout_s)
        finally:
            with anyio.CancelScope(shield=True):
                ended = await self._call.end()
        self._drain()
        return Measured(
            cut=cut,
            wait_status=self._wait_status,
            ended=ended,
            oom_kills=self._call.oom_kills(),
            remarks=self._call.remarks(),
        )

    async def _watch(self, timeout_s: float) -> Cut | None:
        with anyio.move_on_after(timeout_s) as deadline:
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(self._pump, "stdout", self._call.stdout, group.cancel_scope)
                    group.start_soon(self._pump, "stderr", self._call.stderr, group.cancel_scope)
                    self._wait_status = await self._call.wait()
                    group.cancel_scope.cancel()
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None
        if self._flooded:
            return "output_limit"
        return "timeout" if deadline.cancelled_caught else None

    async def _pump(self, stream: Stream, descriptor: int, scope: anyio.CancelScope) -> None:
        while True:
            await anyio.wait_readable(descriptor)
            piece = os.read(descriptor, _PIECE)
            if not piece:
                return
            self._take(stream, piece)
            if self.captures[stream].flooded:
                self._flooded = True
                scope.cancel()
                return

    def _take(self, stream: Stream, piece: bytes) -> None:
        text = self.captures[stream].feed(piece)
        if text and self._on_output is not None:
            self._on_output(stream, text)

    def _drain(self) -> None:
        """Take what the pipes still hold; never wait for their end, another call may hold it."""
        self._drain_one("stdout", self._call.stdout)
        self._drain_one("stderr", self._call.stderr)

    def _drain_one(self, stream: Stream, descriptor: int) -> None:
        capture = self.captures[stream]
        with contextlib.suppress(BlockingIOError):
            while not capture.flooded and (piece := os.read(descriptor, _PIECE)):
                self._take(stream, piece)
        if (rest := capture.end()) and self._on_output is not None:
            self._on_output(stream, rest)
