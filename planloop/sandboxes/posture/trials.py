"""Opens a sandbox with small limits and tries each of them, from inside and from the host."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from planloop.errors import SandboxLost, UserError
from planloop.observation import Status
from planloop.sandbox import Command, Completed, Limits, Sandbox
from planloop.sandboxes.posture import judging
from planloop.sandboxes.posture.judging import Row, Said, with_announcement

PROBE_LIMITS = Limits(
    memory_bytes=96_000_000,
    processes=32,
    disk_bytes=16_000_000,
    inodes=400,
    kept_bytes=1_000_000,
    timeout_s=30.0,
)
"""Small, so that trying them costs little where nothing holds them."""

_INSIDE = Path(__file__).with_name("inside.py")
_PROGRAMS, _PROGRAM_BYTES = 4, 40_000_000
"""Together more than memory and disk may take."""
_DEADLINE_S = 1.0
_HOME = os.path.expanduser("~")
_ENGINES = (
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
)


async def try_all(sandbox: Sandbox, host_folder: Path) -> AsyncGenerator[Row, None]:
    """A row for each limit, as soon as it is known.

    Args:
        sandbox: a fresh one with `PROBE_LIMITS`; it is spent afterwards.
        host_folder: a folder of this machine that nothing inside may see, with a file in it.
    """
    trials = _Trials(sandbox, host_folder)
    for name, act in trials.table():
        try:
            yield with_announcement(await act(), sandbox.unenforced)
        except (SandboxLost, OSError) as error:
            said = getattr(error, "message", str(error))
            yield Row(limit=name, holds=False, seen=f"the trial failed: {said}")


async def refuse_untriable(sandbox: Sandbox) -> None:
    """See that the trials can run inside: without their interpreter every limit would look open.

    Raises:
        UserError: they cannot.
        SandboxLost: the sandbox died.
    """
    look = "import sys; sys.exit(sys.version_info < (3, 8))"
    try:
        completed = await sandbox.run(Command(argv=("python3", "-I", "-S", "-c", look)))
        runs = completed.status is Status.OK
    except OSError:
        runs = False
    if not runs:
        raise UserError(
            "its limits cannot be tried: no python3 (3.8 or later) runs in it",
            hint="add python3 to the image",
        )


@dataclasses.dataclass(frozen=True)
class _Trials:
    sandbox: Sandbox
    host_folder: Path

    def table(self) -> tuple[tuple[str, Callable[[], Awaitable[Row]]], ...]:
        """The gentle ones first: a sandbox may not outlive the others."""
        return (
            ("network", self._network),
            ("files outside", self._files),
            ("secrets", self._secrets),
            ("privileges", self._privileges),
            ("kernel doors", self._kernel),
            ("time", self._deadline),
            ("output", self._output),
            ("processes", self._processes),
            ("disk", self._disk),
            ("inodes", self._inodes),
            ("scratch", self._scratch),
            ("memory", self._memory),
        )

    async def _network(self) -> Row:
        with _listening() as (door, port), _waiting() as (other, abstract):
            _, said = await self._say("network", port=port, abstract=abstract)
            return judging.network(said, _came(door) + _came(other))

    async def _files(self) -> Row:
        closed = [str(self.host_folder), "/etc/shadow", _HOME]
        _, said = await self._say("files", closed=closed, engines=_ENGINES)
        return judging.files(said)

    async def _secrets(self) -> Row:
        _, said = await self._say("secrets")
        return judging.secrets(said)

    async def _privileges(self) -> Row:
        _, said = await self._say("privileges")
        return judging.privileges(said)

    async def _kernel(self) -> Row:
        _, said = await self._say("kernel")
        return judging.kernel(said)

    async def _deadline(self) -> Row:
        word = str(30_000 + secrets.randbelow(10_000))
        line = f"(setsid sleep {word} &) ; sleep {word}"
        completed = await self.sandbox.run(Command(line=line, timeout_s=_DEADLINE_S))
        _, left = await self._say("running", word=word)
        return judging.deadline(completed, left, _DEADLINE_S)

    async def _output(self) -> Row:
        flood = "while :; do echo 0123456789012345678901234567890123456789; done"
        return judging.output(await self.sandbox.run(Command(line=flood)), self.sandbox.limits)

    async def _processes(self) -> Row:
        limits = self.sandbox.limits
        _, said = await self._say("processes", most=limits.processes + 16)
        return judging.processes(said, limits)

    async def _disk(self) -> Row:
        limits = self.sandbox.limits
        _, said = await self._say("disk", places=["."], most=3 * limits.disk_bytes)
        stamp = (await self.sandbox.scan()).get("fill")
        return judging.disk(said, stamp.size if stamp else None, limits)

    async def _inodes(self) -> Row:
        limits = self.sandbox.limits
        _, said = await self._say("inodes", most=3 * limits.inodes)
        return judging.inodes(said, len(await self.sandbox.scan()), limits)

    async def _scratch(self) -> Row:
        most = self.sandbox.limits.memory_bytes + self.sandbox.limits.disk_bytes
        completed, said = await self._say("disk", places=["/tmp", "/dev/shm"], most=most)
        return judging.scratch(said, completed, most)

    async def _memory(self) -> Row:
        limits = self.sandbox.limits
        _, alone = await self._say("memory", programs=1, bytes=2 * limits.memory_bytes)
        together, _ = await self._say("memory", programs=_PROGRAMS, bytes=_PROGRAM_BYTES)
        return judging.memory(together, alone, limits, (_PROGRAMS, _PROGRAM_BYTES))

    async def _say(self, topic: str, **settings: object) -> tuple[Completed, Said]:
        """Have one topic tried inside; what it said is believed no more than any text."""
        argv = ("python3", "-I", "-S", "-", topic, json.dumps(settings))
        command = Command(argv=argv, stdin=_INSIDE.read_bytes())
        completed = await self.sandbox.run(command)
        return completed, _parsed(completed.stdout.head)


def _parsed(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


@contextlib.contextmanager
def _listening() -> Iterator[tuple[socket.socket, int]]:
    with socket.create_server(("127.0.0.1", 0)) as door:
        yield door, door.getsockname()[1]


@contextlib.contextmanager
def _waiting() -> Iterator[tuple[socket.socket, str]]:
    """A socket without a file: network namespaces hold it, file permissions do not."""
    name = f"planloop-probe-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(f"\0{name}")
        door.listen(1)
        yield door, name


def _came(door: socket.socket) -> int:
    door.setblocking(False)
    try:
        door.accept()[0].close()
    except BlockingIOError:
        return 0
    return 1
