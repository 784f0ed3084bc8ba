"""The bare host as a sandbox that protects nothing: only when a person asked for it by flag.

Commands run as this user, in a temporary copy of the workspace; time and output limits hold.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from planloop.errors import SandboxLost, UserError
from planloop.sandbox import (
    WORKSPACE,
    Command,
    Completed,
    FileStamp,
    Limits,
    OnOutput,
    SandboxSpec,
    Snapshot,
)
from planloop.sandboxes import tree
from planloop.sandboxes.calls import follow
from planloop.sandboxes.files import Files
from planloop.sandboxes.marks import make_home
from planloop.sandboxes.paths import inside_directory
from planloop.sandboxes.snapshots import Snapshots

T = TypeVar("T")

_MARK = "PLANLOOP_CALL"
_END_DEADLINE_S = 10.0


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
        self._running: set[_LocalCall] = set()
        self._closed = False

    async def run(self, command: Command, on_output: OnOutput | None = None) -> Completed:
        """As `Sandbox.run`.

        Raises:
            OSError: the working directory or the program does not exist or may not be used.
        """
        self._check_usable()
        call = _LocalCall(command, self._directory(command.cwd), self._environment(command))
        self._running.add(call)
        try:
            return await follow(call, command, self.limits, on_output)
        finally:
            self._running.discard(call)

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
        return await self._thread(lambda: self._snapshots.take(self._files))

    async def forget(self, snapshot: Snapshot) -> None:
        """As `Sandbox.forget`."""
        await self._thread(lambda: self._snapshots.forget(snapshot))

    async def restore(self, snapshot: Snapshot) -> None:
        """As `Sandbox.restore`."""
        self._check_usable()
        await self._end_all()
        await self._thread(lambda: self._snapshots.restore(snapshot, self._files))

    async def close(self) -> None:
        """As `Sandbox.close`."""
        if self._closed:
            return
        self._closed = True
        with anyio.CancelScope(shield=True):
            await self._end_all()
            self._files.close()
            await anyio.to_thread.run_sync(tree.remove, self._home)

    async def _end_all(self) -> None:
        for call in list(self._running):
            await call.end()

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

    def _environment(self, command: Command) -> dict[str, str]:
        temporary = str(self._home / "tmp")
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": temporary,
            "LANG": "C.UTF-8",
            "TMPDIR": temporary,
            "PYTHONDONTWRITEBYTECODE": "1",
            **command.env,
            _MARK: secrets.token_hex(8),
        }


class _LocalCall:
    """A `RunningCall` of this machine, its processes known by a mark in their environment."""

    def __init__(self, command: Command, cwd: str, environment: dict[str, str]) -> None:
        self._mark = f"{_MARK}={environment[_MARK]}".encode()
        argv = list(command.argv) if command.line is None else ["/bin/sh", "-c", command.line]
        with contextlib.ExitStack() as given, tempfile.TemporaryFile() as stdin:
            stdin.write(command.stdin)
            stdin.seek(0)
            self.stdout, out = _pipe(given)
            self.stderr, err = _pipe(given)
            try:
                self._process = subprocess.Popen(
                    argv, cwd=cwd, env=environment, stdin=stdin, stdout=out, stderr=err,
                    start_new_session=True,
                )  # fmt: skip
            except BaseException:
                self.close()
                raise

    async def wait(self) -> int | None:
        code = await anyio.to_thread.run_sync(self._process.wait, abandon_on_cancel=True)
        return -code if code < 0 else code << 8

    async def end(self) -> int:
        deadline = time.monotonic() + _END_DEADLINE_S
        ended: set[int] = set()
        while found := await anyio.to_thread.run_sync(self._living):
            ended |= found
            for pid in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise SandboxLost(f"{len(found)} processes on the bare host could not be ended")
            await anyio.sleep(0.002)
        return len(ended)

    def oom_kills(self) -> int:
        return 0

    def remarks(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        os.close(self.stdout)
        os.close(self.stderr)

    def _living(self) -> set[int]:
        """Processes of this call; without /proc only its own, which leads a group."""
        if not Path("/proc/self/environ").exists():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            return set() if self._process.poll() is not None else {self._process.pid}
        self._process.poll()
        return {int(name) for name in os.listdir("/proc") if name.isdigit() and self._marked(name)}

    def _marked(self, name: str) -> bool:
        try:
            return self._mark in Path("/proc", name, "environ").read_bytes().split(b"\0")
        except OSError:
            return False


def _pipe(given: contextlib.ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    given.callback(os.close, writing)
    return reading, writing
