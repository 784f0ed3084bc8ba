"""The contract of sandboxes: isolated processes and files. Backends live in `planloop.sandboxes`.

What runs inside is hostile. A sandbox measures outcomes by wait status, the host's clock and the
host's own kills; nothing that the inside prints or claims may decide one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from planloop.observation import Output, Status

WORKSPACE = "/workspace"
"""Where the workspace lies inside every sandbox; calls start there."""

Stream = Literal["stdout", "stderr"]
OnOutput = Callable[[Stream, str], None]
"""Called with decoded pieces of output while a command runs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a sandbox and of one call in it. Sizes in bytes, times in seconds."""

    memory_bytes: int = 2_000_000_000
    processes: int = 128
    disk_bytes: int = 1_000_000_000
    inodes: int = 100_000
    shown_bytes: int = 64_000
    """Kept per stream in the observation, half from each end."""
    kept_bytes: int = 64_000_000
    """Per stream; past it the call is ended as `output_limit`."""
    timeout_s: float = 120.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class SandboxSpec:
    """Which sandbox a task asks for."""

    kind: str = "auto"
    """`auto`, `bubblewrap`, `docker`, `none`, or `unsafe-local` (by flag or argument only)."""
    image: str | None = None
    network: str | tuple[str, ...] = "none"
    limits: Limits = dataclasses.field(default_factory=Limits)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """One process to run: a shell line, or an argument list."""

    line: str | None = None
    """Run by `/bin/sh -c`."""
    argv: tuple[str, ...] = ()
    """Run as it is, if `line` is None."""
    cwd: str = "."
    """Relative to the workspace, or absolute inside the sandbox."""
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    stdin: bytes = b""
    timeout_s: float | None = None
    """None for the sandbox's own limit."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Completed:
    """How a command ended. `exit_code` is None when a signal ended it."""

    status: Status
    """`ok` (exit 0), `failed`, `timeout`, `oom`, `killed` or `output_limit`."""
    exit_code: int | None
    signal: int | None = None
    stdout: Output = dataclasses.field(default_factory=Output)
    stderr: Output = dataclasses.field(default_factory=Output)
    duration_s: float = 0.0
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class FileStamp:
    """Enough of a file's metadata to see that it changed."""

    size: int
    mtime_ns: int
    ctime_ns: int
    mode: int


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A state of the workspace that `restore` can bring back. Valid for the sandbox's life."""

    id: str


@runtime_checkable
class Sandbox(Protocol):
    """One live sandbox with a workspace in it.

    Every method may raise `SandboxLost`. Paths are relative to the workspace or absolute inside
    the sandbox; file methods follow no link out of the workspace.
    """

    kind: str
    limits: Limits
    unenforced: tuple[str, ...]
    """Limits that cannot be enforced here, each a sentence that says why."""

    async def run(self, command: Command, on_output: OnOutput | None = None) -> Completed:
        """Run a command to its end and end everything that it leaves running.

        Cancelling kills the whole tree before the cancellation goes on.

        Raises:
            OSError: the working directory or the program is missing or may not be used;
                nothing ran.
            ValueError: the command or its working directory is nonsense.
        """
        ...

    async def read_file(self, path: str, max_bytes: int = 64_000_000) -> bytes:
        """The bytes of a regular file.

        Raises:
            FileNotFoundError, IsADirectoryError, PermissionError, OSError: as `open` would.
            ValueError: the path is nonsense, leaves the workspace, or the file is too large.
        """
        ...

    async def write_file(self, path: str, data: bytes) -> None:
        """Replace or create a file inside the workspace, with its parent folders.

        Raises:
            IsADirectoryError, PermissionError, OSError, ValueError: as for `read_file`.
        """
        ...

    async def scan(self) -> dict[str, FileStamp]:
        """Every regular file and link of the workspace by relative path, links not followed."""
        ...

    async def copy_in(self, source: Path) -> None:
        """Put the files of a trusted host folder into the (empty) workspace."""
        ...

    async def copy_out(self, target: Path, max_bytes: int, max_files: int) -> tuple[str, ...]:
        """Copy the workspace's regular files and harmless links into an empty host folder.

        Returns what was refused, one sentence each (devices, sockets, too large, over the bounds).
        """
        ...

    async def snapshot(self) -> Snapshot:
        """Remember the workspace as it is now."""
        ...

    async def forget(self, snapshot: Snapshot) -> None:
        """Give up a snapshot and the room that it takes. Safe to call twice."""
        ...

    async def restore(self, snapshot: Snapshot) -> None:
        """Bring the workspace back to a snapshot; everything that still runs is ended."""
        ...

    async def close(self) -> None:
        """End and remove everything. Safe to call twice."""
        ...
