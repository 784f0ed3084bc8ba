"""The contract of sandboxes: isolated processes and files. Backends live in `planloop.sandboxes`.

What runs inside is hostile. A sandbox measures outcomes by wait status, the host's clock and the
host's own kills; nothing that the inside prints or claims may decide one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from planloop.observation import Output, Status

if TYPE_CHECKING:
    import socket

WORKSPACE = "/workspace"
"""Where the workspace lies inside every sandbox; calls start there."""

ENVIRONMENT = "/opt/planloop/env"
"""Where what a setup installed lies inside; its `bin` is first on PATH."""

Stream = Literal["stdout", "stderr"]
LEAST: Mapping[str, int] = {
    "memory_bytes": 32_000_000,
    "processes": 8,
    "disk_bytes": 64_000,
    "inodes": 16,
    "shown_bytes": 1,
    "kept_bytes": 1,
}
"""What each of `Limits` is at least: with less no sandbox could begin."""

OnOutput = Callable[[Stream, str], None]
"""Called with decoded pieces of output while a command runs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a sandbox and of one call in it. Sizes in bytes, times in seconds.

    Raises:
        ValueError: one is below what `LEAST` says, or a time is not above 0.
    """

    memory_bytes: int = 2_000_000_000
    processes: int = 128
    disk_bytes: int = 1_000_000_000
    inodes: int = 100_000
    shown_bytes: int = 64_000
    """Kept per stream in the observation, half from each end."""
    kept_bytes: int = 64_000_000
    """Per stream; past it the call is ended as `output_limit`."""
    timeout_s: float = 120.0

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            value = getattr(self, name)
            if not value >= least:
                raise ValueError(f"`{name}` is {value}; it must be at least {least:,}")
        _check_time("timeout_s", self.timeout_s)

    @property
    def files_bytes(self) -> int:
        """The room for files, which lie in memory: never more than memory."""
        return min(self.disk_bytes, self.memory_bytes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SandboxSpec:
    """Which sandbox a task asks for."""

    kind: str = "auto"
    """`auto`, `bubblewrap`, `docker`, `none`, or `unsafe-local` (by flag or argument only)."""
    image: str | None = None
    network: str | tuple[str, ...] = "none"
    """`none`, `full`, or the allowed host names and literal `address:port` entries."""
    limits: Limits = dataclasses.field(default_factory=Limits)
    runtime: str | None = None
    """Another runtime of the engine (`runsc`, `kata-runtime`); docker only."""
    environment: Path | Literal["new"] | None = None
    """A host folder shown read-only at `ENVIRONMENT`; or `new` for an empty one that may be
    written, within the disk limit, and copied out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """One process to run: a shell line, or an argument list.

    Raises:
        ValueError: its time limit is not above 0.
    """

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

    def __post_init__(self) -> None:
        if self.timeout_s is not None:
            _check_time("timeout_s", self.timeout_s)


def _check_time(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"`{name}` is {value}; it must be above 0")


class Spool(Protocol):
    """A whole output stream on the host's disk; it is gone when nobody holds it any more."""

    size: int
    """In bytes."""

    def pieces(self) -> Iterator[bytes]:
        """Its bytes from the beginning, in bounded pieces. Blocking."""
        ...


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
    whole: Mapping[Stream, Spool] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )
    """Each stream that is longer than what is shown of it, up to `Limits.kept_bytes`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PortReady:
    """Something listens on a port of the sandbox's own 127.0.0.1."""

    port: int
    kind: Literal["port"] = "port"


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputReady:
    """A line of the service's output matches a regular expression."""

    pattern: str
    kind: Literal["output"] = "output"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CommandReady:
    """A shell line inside the sandbox exits 0."""

    line: str
    kind: Literal["command"] = "command"


Ready: TypeAlias = PortReady | OutputReady | CommandReady


@dataclasses.dataclass(frozen=True, kw_only=True)
class Service:
    """A named process that lives until the run ends. Its command's time limit does not count."""

    name: str
    command: Command
    ready: Ready
    ready_s: float = 30.0
    """How long it may take until it is ready."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServiceState:
    """A service as views show it."""

    name: str
    what: str
    """Its command, on one line."""
    alive: bool
    detail: str
    """`ready on port 8000`, or how it ended and the end of its output."""


class Process(Protocol):
    """A started command that the host follows without waiting for it."""

    channel: socket.socket | None
    """The host's end of a stream socket (non-blocking) whose other end is descriptor 3 inside;
    None if none was asked for. Whoever asked for it closes it."""

    async def wait(self) -> Completed:
        """Wait for its end by itself, by its time limit, or by `end`. May be called again."""
        ...

    def oom_kills(self) -> int:
        """Kills for want of memory in its sandbox since it started, by the kernel's counter."""
        ...

    async def end(self) -> Completed:
        """End its whole tree, proven; `killed` unless it had ended before."""
        ...


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

    Every method may raise `SandboxLost`, or its base `InfrastructureError` where the machine lacks
    room for what is asked and the sandbox goes on. Paths are relative to the workspace or absolute
    inside the sandbox; file methods follow no link out of the workspace.
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

    async def start(
        self, command: Command, on_output: OnOutput | None = None, *, channel: bool = False
    ) -> Process:
        """Start a command and go on. It ends with the sandbox or a `restore` at the latest.

        Raises:
            OSError, ValueError: as for `run`.
        """
        ...

    async def background(self, service: Service) -> ServiceState:
        """Start a service and wait until it is ready. `restore` starts it again.

        A service of the same name is ended first. One that is not ready in time, or ends before,
        is ended and forgotten; the state then says so with `alive=False`.
        """
        ...

    def services(self) -> tuple[ServiceState, ...]:
        """The services of this sandbox, as they are now."""
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
        """Put the files of a trusted host folder into the (empty) workspace.

        Raises:
            UserError: they have no room there.
        """
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

    async def restore(self, snapshot: Snapshot, *, keep_running: bool = False) -> None:
        """Bring the workspace back to a snapshot; everything that still runs is ended.

        With `keep_running` it is paused meanwhile, and goes on.
        """
        ...

    async def close(self) -> None:
        """End and remove everything. Safe to call twice."""
        ...
