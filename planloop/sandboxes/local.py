"""The bare host as a sandbox that protects nothing: only when a person asked for it by flag.

Commands run as this user, in a temporary copy of the workspace; time and output limits hold.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from planloop.errors import SandboxLost, UserError
from planloop.marks import make_home
from planloop.sandbox import (
    WORKSPACE,
    Command,
    Completed,
    FileStamp,
    Limits,
    OnOutput,
    SandboxSpec,
    Service,
    ServiceState,
    Snapshot,
)
from planloop.sandboxes import tree
from planloop.sandboxes.calls import Following, StartedProcess
from planloop.sandboxes.files import Files
from planloop.sandboxes.local_call import LocalCall
from planloop.sandboxes.paths import inside_directory
from planloop.sandboxes.services import Services
from planloop.sandboxes.snapshots import Snapshots

T = TypeVar("T")


def open_local(spec: SandboxSpec, *, run_id: str, state_dir: Path) -> LocalSandbox:
    """A folder on this machine to run commands in.

    Raises:
        UserError: this system has no descriptors of folders (Windows).
    """
    if os.open not in os.supports_dir_fd:
        raise UserError("sandbox `unsafe-local` does not run on this system")
    return LocalSandbox(spec.limits, make_home(state_dir, run_id))


class LocalSandbox:
    """The contract `planloop.sandbox.Sandbox` without any protection."""

    kind = "unsafe-local"
    unenforced: tuple[str, ...] = (
        "isolation: none, commands run on the bare host as this user",
        "memory, process, disk and inode limits: none",
    )

    def __init__(self, limits: Limits, home: Path) -> None:
        self.limits = limits
        self._home = home
        self._workspace = home / "workspace"
        for name in ("workspace", "tmp"):
            (home / name).mkdir()
        self._files = Files(tree.open_root(self._workspace), None)
        self._snapshots = Snapshots(home, "local")
        self._running: dict[Following, LocalCall] = {}
        self._services = Services(self._start_service, self.run)
        self._closed = False

    async def run(self, command: Command, on_output: OnOutput | None = None) -> Completed:
        """As `Sandbox.run`."""
        return await self._follow(command, on_output, self._timeout_s(command)).to_the_end()

    async def start(
        self, command: Command, on_output: OnOutput | None = None, *, channel: bool = False
    ) -> StartedProcess:
        """As `Sandbox.start`."""
        if not channel:
            following = self._follow(command, on_output, self._timeout_s(command))
            return StartedProcess(following, None, contextlib.nullcontext)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            try:
                following = self._follow(command, on_output, self._timeout_s(command), theirs)
            except BaseException:
                ours.close()
                raise
        return StartedProcess(following, ours, contextlib.nullcontext)

    async def background(self, service: Service) -> ServiceState:
        """As `Sandbox.background`."""
        return await self._services.begin(service)

    def services(self) -> tuple[ServiceState, ...]:
        """As `Sandbox.services`."""
        return self._services.states()

    async def read_file(self, path: str, max_bytes: int = 64_000_000) -> bytes:
        """As `Sandbox.read_file`."""
        return await self._thread(lambda: self._files.read(path, max_bytes))

    async def write_file(self, path: str, data: bytes) -> None:
        """As `Sandbox.write_file`."""
        await self._thread(lambda: self._files.write(path, data))

    async def scan(self) -> dict[str, FileStamp]:
        """As `Sandbox.scan`."""
        return await self._thread(self._files.scan)

    async def copy_in(self, source: Path) -> None:
        """As `Sandbox.copy_in`."""
        await self._thread(lambda: self._files.copy_in(source))

    async def copy_out(self, target: Path, max_bytes: int, max_files: int) -> tuple[str, ...]:
        """As `Sandbox.copy_out`."""
        return await self._thread(lambda: self._files.copy_out(target, max_bytes, max_files))

    async def snapshot(self) -> Snapshot:
        """As `Sandbox.snapshot`."""
        since = min((following.started_ns for following in self._running), default=None)
        return await self._thread(lambda: self._snapshots.take(self._files, since))

    async def forget(self, snapshot: Snapshot) -> None:
        """As `Sandbox.forget`."""
        await self._thread(lambda: self._snapshots.forget(snapshot))

    async def restore(self, snapshot: Snapshot, *, keep_running: bool = False) -> None:
        """As `Sandbox.restore`; nothing here can be paused."""
        self._check_usable()
        if keep_running:
            await self._thread(lambda: self._snapshots.restore(snapshot, self._files))
            return
        await self._end_all()
        await self._thread(lambda: self._snapshots.restore(snapshot, self._files))
        await self._services.begin_again()

    async def close(self) -> None:
        """As `Sandbox.close`."""
        if self._closed:
            return
        self._closed = True
        with anyio.CancelScope(shield=True):
            for following, call in list(self._running.items()):
                following.close("the sandbox is closed")
                await call.end()
            self._files.close()
            await anyio.to_thread.run_sync(self._snapshots.remove)
            await anyio.to_thread.run_sync(tree.remove, self._home)

    async def _end_all(self) -> None:
        for following in list(self._running):
            with contextlib.suppress(Exception):  # an error of its listener is for its waiter
                await following.end()

    async def _start_service(self, command: Command) -> StartedProcess:
        return StartedProcess(self._follow(command, None, inf), None, contextlib.nullcontext)

    def _follow(
        self,
        command: Command,
        on_output: OnOutput | None,
        timeout_s: float,
        channel: socket.socket | None = None,
    ) -> Following:
        self._check_usable()
        environment = {**self._environment(), **command.env}
        call = LocalCall(command, self._directory(command.cwd), environment, channel)
        following = Following(call, self.limits, timeout_s, on_output, self._running.pop)
        self._running[following] = call
        return following

    def _timeout_s(self, command: Command) -> float:
        return command.timeout_s or self.limits.timeout_s

    async def _thread(self, work: Callable[[], T]) -> T:
        self._check_usable()
        return await anyio.to_thread.run_sync(work)

    def _check_usable(self) -> None:
        if self._closed:
            raise SandboxLost("the sandbox is closed")

    def _directory(self, cwd: str) -> str:
        inside = inside_directory(cwd)
        if inside == WORKSPACE or inside.startswith(WORKSPACE + "/"):
            return str(self._workspace) + inside[len(WORKSPACE) :]
        return inside

    def _environment(self) -> dict[str, str]:
        temporary = str(self._home / "tmp")
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": temporary,
            "LANG": "C.UTF-8",
            "TMPDIR": temporary,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
