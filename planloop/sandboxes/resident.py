"""A sandbox whose first process serves every call: what both backends share."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from math import inf
from pathlib import Path
from typing import NoReturn, TypeVar

import anyio
import anyio.to_thread

from planloop.errors import SandboxLost, UserError
from planloop.sandbox import (
    Command,
    Completed,
    FileStamp,
    Limits,
    OnOutput,
    Service,
    ServiceState,
    Snapshot,
)
from planloop.sandboxes.calls import Following, StartedProcess
from planloop.sandboxes.files import Files
from planloop.sandboxes.fitting import must_fit
from planloop.sandboxes.link import Orders, Refused
from planloop.sandboxes.link_call import LinkCall, OomCounter, start_call
from planloop.sandboxes.paths import inside_directory
from planloop.sandboxes.scarce import descriptors_are_ours, with_descriptors
from planloop.sandboxes.services import Services
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
    refusals: Callable[[float], tuple[str, ...]] = lambda _: ()
    """What the network's policy refused since a monotonic time, one sentence each."""
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
        self.because = ""
        """Why it was taken in place of another kind."""
        self.unenforced = machinery.unenforced
        self._machinery = machinery
        self._begin = begin
        self._snapshots = snapshots
        self._services = Services(partial(self._start, timeout_s=inf), self.run)
        self._calls: dict[Following, LinkCall] = {}
        self._oom = OomCounter(machinery.oom_kills)
        self._threads = anyio.CapacityLimiter(4)
        self._changing = anyio.Lock(fast_acquire=True)
        self._still: anyio.Event | None = None
        """Calls that are asked for wait for it."""
        self._lost: str | None = None
        self._closed = False
        self._destroying = anyio.Lock()

    async def run(self, command: Command, on_output: OnOutput | None = None) -> Completed:
        """As `Sandbox.run`."""
        timeout_s = command.timeout_s or self.limits.timeout_s
        for delay in (*_FORK_RETRIES_S, None):
            machinery = self._machinery
            try:
                following = await self._follow(command, on_output, timeout_s)
                completed = await following.to_the_end()
            except SandboxLost as loss:
                await self._lose(machinery, loss)
            if following.refused is None:
                return completed
            await _wait_for_room(command, following.refused, delay)
        raise AssertionError("the last refusal raises")

    async def start(
        self, command: Command, on_output: OnOutput | None = None, *, channel: bool = False
    ) -> StartedProcess:
        """As `Sandbox.start`."""
        timeout_s = command.timeout_s or self.limits.timeout_s
        return await self._start(command, on_output, channel=channel, timeout_s=timeout_s)

    async def background(self, service: Service) -> ServiceState:
        """As `Sandbox.background`."""
        return await self._services.begin(service)

    def services(self) -> tuple[ServiceState, ...]:
        """As `Sandbox.services`."""
        return self._services.states()

    async def read_file(self, path: str, max_bytes: int = 64_000_000) -> bytes:
        """As `Sandbox.read_file`."""
        return await self._thread(lambda: self._machinery.files.read(path, max_bytes))

    async def write_file(self, path: str, data: bytes) -> None:
        """As `Sandbox.write_file`."""
        async with self._changing:
            await self._thread(lambda: self._machinery.files.write(path, data))

    async def scan(self) -> dict[str, FileStamp]:
        """As `Sandbox.scan`."""
        return await self._thread(self._machinery.files.scan)

    async def copy_in(self, source: Path) -> None:
        """As `Sandbox.copy_in`."""
        async with self._changing:
            with must_fit(self.limits, source):
                await self._thread(lambda: self._machinery.files.copy_in(source))

    async def copy_out(
        self, target: Path, max_bytes: int, max_files: int, *, any_links: bool = False
    ) -> tuple[str, ...]:
        """As `Sandbox.copy_out`; with `any_links` for a copy that is never followed."""
        files = self._machinery.files
        return await self._thread(
            lambda: files.copy_out(target, max_bytes, max_files, any_links=any_links)
        )

    async def snapshot(self) -> Snapshot:
        """As `Sandbox.snapshot`; what runs is paused for it."""
        async with self._changing, self._stillness():
            self._check_usable()
            living = [following.started_ns for following, call in self._calls.items() if call.alive]
            files, since = self._machinery.files, min(living, default=None)
            async with self._paused(bool(living)):
                return await self._thread(lambda: self._snapshots.take(files, since))

    async def forget(self, snapshot: Snapshot) -> None:
        """As `Sandbox.forget`."""
        async with self._changing:
            await self._thread(lambda: self._snapshots.forget(snapshot))

    async def restore(self, snapshot: Snapshot, *, keep_running: bool = False) -> None:
        """As `Sandbox.restore`; a lost sandbox is begun anew for it."""
        if keep_running and self._lost is None:
            await self._restore_paused(snapshot)
            return
        with anyio.CancelScope(shield=True):
            async with self._changing, self._stillness():
                if self._lost is not None and not self._closed:
                    await self._begin_anew()
                self._check_usable()
                await self._end_all()
                files = self._machinery.files
                await self._thread(lambda: self._snapshots.restore(snapshot, files))
        await self._services.begin_again()

    async def _restore_paused(self, snapshot: Snapshot) -> None:
        with anyio.CancelScope(shield=True):
            async with self._changing, self._stillness():
                self._check_usable()
                files = self._machinery.files
                async with self._paused(any(call.alive for call in self._calls.values())):
                    await self._thread(lambda: self._snapshots.restore(snapshot, files))

    async def close(self) -> None:
        """As `Sandbox.close`."""
        if self._closed:
            return
        self._closed = True
        with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSE_DEADLINE_S):
            self._machinery.link.close()
            await self._destroy()
            self._let_go("the sandbox is closed")
            await anyio.to_thread.run_sync(self._machinery.files.close)
            await anyio.to_thread.run_sync(self._snapshots.remove)

    # ------------------------------------------------------------ starting

    async def _follow(
        self,
        command: Command,
        on_output: OnOutput | None,
        timeout_s: float,
        channel: socket.socket | None = None,
        *,
        tell: bool = False,
    ) -> Following:
        argv = list(command.argv) if command.line is None else ["/bin/sh", "-c", command.line]
        if not argv:
            raise ValueError("a command needs a line or arguments")
        request = {"argv": argv, "cwd": inside_directory(command.cwd), "tell": tell}
        door = None if channel is None else channel.fileno()
        call = await with_descriptors(partial(self._call, command, request, door))
        following = Following(call, self.limits, timeout_s, on_output, self._calls.pop)
        self._calls[following] = call
        return following

    async def _call(
        self, command: Command, request: dict[str, object], channel: int | None
    ) -> LinkCall:
        if self._still is not None:
            await self._still.wait()
        self._check_usable()
        return await start_call(
            self._machinery.link,
            {**request, "env": {**self._machinery.environment, **command.env}},
            command.stdin,
            channel,
            oom_kills=self._oom.since_now(alone=not self._calls),
            refusals=self._machinery.refusals,
        )

    async def _start(
        self,
        command: Command,
        on_output: OnOutput | None = None,
        *,
        channel: bool = False,
        timeout_s: float,
    ) -> StartedProcess:
        for delay in (*_FORK_RETRIES_S, None):
            guard = partial(self._noticing_loss, self._machinery)
            with contextlib.ExitStack() as kept, contextlib.ExitStack() as given:
                with descriptors_are_ours():
                    ours, theirs = _pair(kept, given) if channel else (None, None)
                async with guard():
                    following = await self._follow(command, on_output, timeout_s, theirs, tell=True)
                    refused = await following.started()
                if refused is None:
                    kept.pop_all()
                    return StartedProcess(following, ours, guard)
            await following.wait()
            await _wait_for_room(command, refused, delay)
        raise AssertionError("the last refusal raises")

    # ------------------------------------------------------------ pausing, ending, losing

    @contextlib.asynccontextmanager
    async def _stillness(self) -> AsyncIterator[None]:
        """Calls that are asked for meanwhile start afterwards."""
        self._still = still = anyio.Event()
        try:
            yield
        finally:
            self._still = None
            still.set()

    @contextlib.asynccontextmanager
    async def _paused(self, anything: bool) -> AsyncIterator[None]:
        if not anything:
            yield
            return
        machinery = self._machinery
        async with self._noticing_loss(machinery):
            moved = 0
            try:
                moved = await machinery.link.pause()
                if not moved:
                    yield
            finally:
                with anyio.CancelScope(shield=True):
                    moved += await machinery.link.resume()
                if moved:
                    raise SandboxLost("something inside does not stand still when it is paused")

    async def _end_all(self) -> None:
        async with self._noticing_loss(self._machinery):
            await self._machinery.link.end(None)
        for call in self._calls.values():
            call.swept()

    async def _begin_anew(self) -> None:
        try:
            machinery = await self._begin()
        except UserError as error:
            raise SandboxLost(f"{self._lost}; it cannot be begun anew: {error.what}") from None
        before, self._machinery, self._lost = self._machinery, machinery, None
        self._oom = OomCounter(machinery.oom_kills)
        before.link.close()
        await anyio.to_thread.run_sync(before.files.close)

    async def _thread(self, work: Callable[[], T]) -> T:
        self._check_usable()
        with descriptors_are_ours():
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
    async def _noticing_loss(self, machinery: Machinery) -> AsyncIterator[None]:
        try:
            yield
        except SandboxLost as loss:
            await self._lose(machinery, loss)

    async def _lose(self, machinery: Machinery, loss: SandboxLost) -> NoReturn:
        """A loss ends what may still live, and is remembered with its reason."""
        if machinery is not self._machinery or self._closed or self._lost is not None:
            raise loss
        with anyio.CancelScope(shield=True), anyio.move_on_after(_CLOSE_DEADLINE_S):
            reason = await machinery.how_it_ended()
            await self._destroy()
        if self._lost is None:
            self._lost = f"{loss.message}: {reason}" if reason else loss.message
        self._let_go(self._lost)
        raise SandboxLost(self._lost) from None

    def _let_go(self, why: str) -> None:
        for following in list(self._calls):
            following.close(why)


async def open_resident(
    kind: str,
    limits: Limits,
    begin: Callable[[], Awaitable[Machinery]],
    make_snapshots: Callable[[], Snapshots],
) -> ResidentSandbox:
    """Begin a sandbox; nothing of it is left where its snapshots cannot be kept."""
    machinery = await begin()
    try:
        snapshots = make_snapshots()
    except BaseException:
        with anyio.CancelScope(shield=True):
            machinery.link.close()
            await machinery.destroy()
            machinery.files.close()
        raise
    return ResidentSandbox(kind, limits, machinery, begin, snapshots)


async def _wait_for_room(command: Command, refused: Refused, delay: float | None) -> None:
    """Wait before another try, if what was refused was only one more process.

    Raises:
        OSError: the working directory or the program may not be used.
        SandboxLost: there was no room for another process for too long.
    """
    if refused.what != "fork":
        raise _refusal(command, refused)
    if delay is None:
        raise SandboxLost("the sandbox cannot start another process", hint="raise `processes`")
    await anyio.sleep(delay)


def _pair(
    kept: contextlib.ExitStack, given: contextlib.ExitStack
) -> tuple[socket.socket, socket.socket]:
    """A channel; the host's end does not block."""
    ours, theirs = socket.socketpair()
    kept.callback(ours.close)
    given.callback(theirs.close)
    ours.setblocking(False)
    return ours, theirs


def _refusal(command: Command, refused: Refused) -> OSError:
    program = "/bin/sh" if command.line is not None else command.argv[0]
    what = command.cwd if refused.what == "cwd" else program
    if refused.number == errno.E2BIG:
        return OSError(errno.E2BIG, "the arguments are too long")
    return OSError(refused.number, os.strerror(refused.number), what)
