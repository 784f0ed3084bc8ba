"""The host's end of the wire to a sandbox's first process (`guest.py`)."""

from __future__ import annotations

import array
import contextlib
import dataclasses
import errno
import itertools
import json
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import anyio

from planloop.errors import SandboxLost

END_DEADLINE_S = 10.0
"""How long the first process may take to prove that a call's processes are gone."""
_CREDENTIALS = struct.Struct("3i")


@dataclasses.dataclass(frozen=True)
class Greeting:
    """The first process is ready. `pid` is its id as the host sees it, 0 if it cannot."""

    pid: int
    user: int


@dataclasses.dataclass(frozen=True)
class Exited:
    """The command ended; `rest` says whether processes of it live on."""

    wait_status: int
    rest: bool


@dataclasses.dataclass(frozen=True)
class Refused:
    """The command could not be started: `what` is `fork`, `cwd` or `program`."""

    number: int
    what: str


@dataclasses.dataclass(frozen=True)
class Unwatched:
    """Nobody could wait for the command: its keeper was killed, or the sandbox is gone."""


Ending = Exited | Refused | Unwatched


class Orders(Protocol):
    """What a resident sandbox asks of its inside."""

    async def start(
        self, request: Mapping[str, Any], stdin: int, stdout: int, stderr: int
    ) -> tuple[int, int]:
        """Have a command started; returns its id and the descriptor for `ending`."""
        ...

    async def ending(self, status: int) -> Ending:
        """How a started command ended; waits for it."""
        ...

    async def end(self, call: int | None) -> int:
        """End the processes of a call, or with None of every call; returns how many there were."""
        ...

    def close(self) -> None:
        """Let go; everything inside ends."""
        ...


class Link:
    """Orders to a sandbox's first process. Every answer comes by a pipe of its own."""

    def __init__(self, control: socket.socket) -> None:
        control.setblocking(False)
        control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._control = control
        self._ids = itertools.count(1)

    async def greeting(self, deadline_s: float) -> Greeting | None:
        """Wait for the first process; None if it did not come in time or went away."""
        with anyio.move_on_after(deadline_s):
            await anyio.wait_readable(self._control)
            with contextlib.suppress(OSError):
                packet, sender, _, _ = self._control.recvmsg(
                    64, socket.CMSG_SPACE(_CREDENTIALS.size), socket.MSG_CMSG_CLOEXEC
                )
                return self._sender(sender) if packet == b"hello" else None
        return None

    def _sender(self, ancillary: Sequence[tuple[int, int, bytes]]) -> Greeting | None:
        """Who greets: whoever connected, or on a pair that we made ourselves, who sent this."""
        size = _CREDENTIALS.size
        peer = self._control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        sent = [data[:size] for _, kind, data in ancillary if kind == socket.SCM_CREDENTIALS]
        for pid, user, _ in map(_CREDENTIALS.unpack, [peer, *sent]):
            if pid != os.getpid():
                return Greeting(pid, user)
        return None

    async def start(
        self, request: Mapping[str, Any], stdin: int, stdout: int, stderr: int
    ) -> tuple[int, int]:
        """Have a command started; returns its id and the descriptor for `ending`.

        Raises:
            SandboxLost: the first process is gone.
        """
        call = next(self._ids)
        wanted = memory_file("request", json.dumps(request).encode())
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            await self._send("run", call, (wanted, stdin, stdout, stderr, writing))
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(wanted)
            os.close(writing)
        return call, reading

    async def ending(self, status: int) -> Ending:
        """How a started command ended; waits for it."""
        return await read_ending(status)

    async def end(self, call: int | None) -> int:
        """End the processes of a call, or with None of every call; returns how many there were.

        Raises:
            SandboxLost: the first process is gone, or did not prove it in time.
        """
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            try:
                await self._send("end_all" if call is None else "end", call or 0, (writing,))
            finally:
                os.close(writing)
            with anyio.move_on_after(END_DEADLINE_S):
                await anyio.wait_readable(reading)
                if reply := os.read(reading, 32):
                    return int(reply)
                raise SandboxLost("the sandbox ended")
            raise SandboxLost(f"processes did not end within {END_DEADLINE_S:g} s")
        finally:
            os.close(reading)

    def close(self) -> None:
        """Hang up; the first process then exits and everything inside ends with it."""
        self._control.close()

    async def _send(self, order: str, call: int, descriptors: Sequence[int]) -> None:
        packet = json.dumps({"op": order, "id": call}).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        while True:
            try:
                self._control.sendmsg([packet], rights)
                return
            except BlockingIOError:
                await anyio.wait_writable(self._control)
            except OSError as error:
                if error.errno == errno.ETOOMANYREFS:
                    raise SandboxLost("too many descriptors are on their way") from None
                raise SandboxLost("the sandbox ended") from None


async def read_ending(status: int) -> Ending:
    """Wait for the one line that a call's keeper writes, and read it."""
    await anyio.wait_readable(status)
    words = os.read(status, 256).decode("ascii", "replace").split()
    match words:
        case ["exited", wait_status, rest]:
            return Exited(int(wait_status), rest == "1")
        case ["refused", number, what]:
            return Refused(int(number), what)
        case _:
            return Unwatched()


def memory_file(name: str, data: bytes) -> int:
    """A descriptor of a file in memory that holds `data`, at its start."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
