"""A sandbox whose first process serves every call: what both backends share."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from planloop.errors import SandboxLost, UserError
from planloop.sandbox import Command, Completed, FileStamp, Limits, OnOutput, Snapshot
from planloop.sandboxes.calls import follow
from planloop.sandboxes.files import Files
from planloop.sandboxes.link import Ending, Exited, Orders, Refused, memory_file
from planloop.sandboxes.paths import inside_directory
from planloop.sandboxes.snapshots import Snapshots

T = TypeVar("T")

_CLOSE_DEADLINE_S = 30.0
_FORK_RETRIES_S = (0.02, 0.05, 0.1, 0.3, 1.0, 2.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machinery:
    """What a backend gives to a resident sandbox."""

    link: Orders
    files: Files
    unenforced: tuple[str, ...]
    environment: Mapping[str, str]
    oom_kills: Callable[[], int]
    """The kernel's counter of kills for want of memory; always 0 where there is none."""
    how_it_ended: Callable[[], Awaitable[str]]
    """Why the sandbox ended, for a message."""
    destroy: Callable[[], Awaitable[None]]
    """End and remove everything of the backend's; safe to call twice."""


class ResidentSandbox:
    """The contract `planloop.sandbox.Sandbox` over a `Link` or another kind of `Orders`."""

    def __init__(
        self,
        kind: str,
        limits: Limits,
        machinery: Machinery,
        begin: Callable[[], Awaitable[Machinery]],
        snapshots: Snapshots,
    ) -> None:
        self.kind = kind
        self.limits = limits
        self.unenforced = machinery.unenforced
        self._machinery = machinery
        self._begin = begin
        self._snapshots = snapshots
        self._threads = anyio.CapacityLimiter(4)
        self._lost: str | None = None
        self._closed = False
        self._destroying = anyio.Lock()

    async def run(self, command: Command, on_output: OnOutput | None = None) -> Completed:
        """As `Sandbox.run`.

        Raises:
            OSError: the working directory or the program does not exist or may not be used;
                nothing ran.
        """
        for delay in (*_FORK_RETRIES_S, None):
            call = await self._start(command)
            async with self._noticing_loss():
                completed = await follow(call, command, self.limits, on_output)
            if call.refused is None:
                return completed
            if call.refused.what != "fork":
                raise _refusal(command, call.refused)
            if delay is not None:
                await anyio.sleep(delay)
        raise SandboxLost("the sandbox cannot start another process", hint="raise `processes`")

    async def read_file(self, path: str, max_bytes: int = 64_000_000) -> bytes:
        """As `Sandbox.read_file`."""
        return await self._thread(lambda: self._machinery.files.read(path, max_bytes))

    async def write_file(self, path: str, data: bytes) -> None:
        """As `Sandbox.write_file`."""
        await self._thread(lambda: self._machinery.files.write(path, data))

    async def scan(self) -> dict[str, FileStamp]:
        """As `Sandbox.scan`."""
        return await self._thread(self._machinery.files.scan)

    async def copy_in(self, source: Path) -> None:
        """As `Sandbox.copy_in`."""
        await self._thread(lambda: self._machinery.files.copy_in(source))

    async def copy_out(self, target: Path, max_bytes: int, max_files: int) -> tuple[str, ...]:
        """As `Sandbox.copy_out`."""
        files = self._machinery.files
        return await self._thread(lambda: files.copy_out(target, max_bytes, max_files))

    async def snapshot(self) -> Snapshot:
        """As `Sandbox.snapshot`."""
        files = self._machinery.files
        return await self._thread(lambda: self._snapshots.take(files))

    async def forget(self, snapshot: Snapshot) -> None:
        """As `Sandbox.forget`."""
        await anyio.to_thread.run_sync(self._snapshots.forget, snapshot, limiter=self._threads)

    async def restore(self, snapshot: Snapshot) -> None:
        """As `Sandbox.restore`; a lost sandbox is begun anew for it."""
        with anyio.CancelScope(shield=True):
            if self._lost is not None and not self._closed:
                await self._begin_anew()
            self._check_usable()
            async with self._noticing_loss():
                await self._machinery.link.end(None)
            files = self._machinery.files
            await self._thread(lambda: self._snapshots.restore(snapshot, files))

    async def _begin_anew(self) -> None:
        try:
            machinery = await self._begin()
        except UserError as error:
            raise SandboxLost(f"{self._lost}; it cannot be begun anew: {error.what}") from None
        before, self._machinery, self._lost = self._machinery, machinery, None
        before.link.close()
        await anyio.to_thread.run_sync(before.files.close)

    async def close(self) -> None:
        """As `Sandbox.close`."""
        if self._closed:
            return
        self._closed = True
        with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSE_DEADLINE_S):
            self._machinery.link.close()
            await self._destroy()
            await anyio.to_thread.run_sync(self._machinery.files.close)
            await anyio.to_thread.run_sync(self._snapshots.remove)

    async def _start(self, command: Command) -> _Call:
        self._check_usable()
        environment = {**self._machinery.environment, **command.env}
        argv = list(command.argv) if command.line is None else ["/bin/sh", "-c", command.line]
        if not argv:
            raise ValueError("a command needs a line or arguments")
        request = {"argv": argv, "env": environment, "cwd": inside_directory(command.cwd)}
        async with self._noticing_loss():
            return await _Call.start(self._machinery, request, command.stdin)

    async def _thread(self, work: Callable[[], T]) -> T:
        self._check_usable()
        return await anyio.to_thread.run_sync(work, limiter=self._threads)

    async def _destroy(self) -> None:
        async with self._destroying:
            await self._machinery.destroy()

    def _check_usable(self) -> None:
        if self._closed:
            raise SandboxLost("the sandbox is closed")
        if self._lost is not None:
            raise SandboxLost(self._lost)

    @contextlib.asynccontextmanager
    async def _noticing_loss(self) -> AsyncIterator[None]:
        """A loss ends what may still live, and is remembered with its reason."""
        try:
            yield
        except SandboxLost as loss:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSE_DEADLINE_S):
                reason = await self._machinery.how_it_ended()
                await self._destroy()
            self._lost = f"{loss.message}: {reason}" if reason else loss.message
            raise SandboxLost(self._lost) from None


class _Call:
    """A `RunningCall` over the link."""

    def __init__(self, machinery: Machinery, stdout: int, stderr: int) -> None:
        self._machinery = machinery
        self._oom_kills_before = machinery.oom_kills()
        self._id = 0
        self._status = -1
        self._ending: Ending | None = None
        self.stdout = stdout
        self.stderr = stderr

    @classmethod
    async def start(cls, machinery: Machinery, request: Mapping[str, Any], stdin: bytes) -> _Call:
        with contextlib.ExitStack() as given, contextlib.ExitStack() as kept:
            stdout, stderr = _pipe(kept, given), _pipe(kept, given)
            source = _stdin(stdin)
            given.callback(os.close, source)
            call = cls(machinery, stdout[0], stderr[0])
            call._id, call._status = await machinery.link.start(
                request, source, stdout[1], stderr[1]
            )
            kept.pop_all()
        return call

    @property
    def refused(self) -> Refused | None:
        """Why nothing ran, if nothing ran."""
        return self._ending if isinstance(self._ending, Refused) else None

    async def wait(self) -> int | None:
        self._ending = await self._machinery.link.ending(self._status)
        return self._ending.wait_status if isinstance(self._ending, Exited) else None

    async def end(self) -> int:
        match self._ending:
            case Refused() | Exited(rest=False):
                return 0
            case _:
                return await self._machinery.link.end(self._id)

    def oom_kills(self) -> int:
        return self._machinery.oom_kills() - self._oom_kills_before

    def remarks(self) -> tuple[str, ...]:
        if self._ending is None or isinstance(self._ending, Exited | Refused):
            return ()
        return ("the process that watches the call was killed by something inside",)

    def close(self) -> None:
        for descriptor in (self.stdout, self.stderr, self._status):
            os.close(descriptor)


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


def _refusal(command: Command, refused: Refused) -> OSError:
    program = "/bin/sh" if command.line is not None else command.argv[0]
    what = command.cwd if refused.what == "cwd" else program
    if refused.number == errno.E2BIG:
        return OSError(errno.E2BIG, "the arguments are too long")
    return OSError(refused.number, os.strerror(refused.number), what)
