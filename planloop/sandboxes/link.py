"""The host's end of the wire to a sandbox's first process (`guest.py`)."""

from __future__ import annotations

import array
import contextlib
import dataclasses
import errno
import itertools
import os
import re
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import anyio

from planloop.errors import InfrastructureError, SandboxLost, UserError
from planloop.sandboxes.scarce import with_descriptors

END_DEADLINE_S = 10.0
"""How long the first process may take to prove that a call's processes are gone."""
_CREDENTIALS = struct.Struct("3i")
_CANNOT_LISTEN = re.compile(rb"refused ([0-9]{1,4}) ([0-9a-fA-F.:]{1,60})")
_MOST_LISTENERS = 64
_ROOM = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4 * (1 + _MOST_LISTENERS))


@dataclasses.dataclass(frozen=True)
class Greeting:
    """The first process is ready. `pid` is its id as the host sees it, 0 if it cannot."""

    pid: int
    user: int
    descriptors: tuple[int, ...] = ()
    """Of the workspace's folder, then listening sockets in the order asked for. Whoever takes the
    greeting closes them."""


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
        self,
        request: Mapping[str, Any],
        stdin: int,
        stdout: int,
        stderr: int,
        channel: int | None = None,
    ) -> tuple[int, int]:
        """Have a command started; returns its id and the descriptor for `news`.

        Args:
            request: `argv`, `env`, `cwd`, and `tell` if its start is to be told.
            channel: becomes descriptor 3 of the command.
        """
        ...

    async def end(self, call: int | None) -> int:
        """End the processes of a call, or with None of every call; returns how many there were."""
        ...

    def hurry(self, call: int) -> None:
        """Begin to end the processes of a call that nobody waits for; `end` proves it."""
        ...

    async def pause(self) -> int:
        """Stop everything that runs inside; returns how many processes could not be stopped yet.

        `start` then waits with the command, and `end` works.
        """
        ...

    async def resume(self) -> int:
        """Let everything go on after `pause`; returns how many moved in it all the same."""
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
        """Wait for the first process; None if it did not come in time or went away.

        Raises:
            UserError: it cannot listen inside where it was told to.
        """
        with anyio.move_on_after(deadline_s):
            await anyio.wait_readable(self._control)
            with contextlib.suppress(OSError):
                return self._greeted(*self._control.recvmsg(256, _ROOM, socket.MSG_CMSG_CLOEXEC))
        return None

    def _greeted(
        self, packet: bytes, ancillary: Sequence[tuple[int, int, bytes]], *_: object
    ) -> Greeting | None:
        descriptors = _descriptors(ancillary)
        sender = self._sender(ancillary)
        with contextlib.ExitStack() as held:
            for descriptor in descriptors:
                held.callback(os.close, descriptor)
            if packet == b"hello" and sender is not None and descriptors:
                root = _readable(descriptors[0])
                held.pop_all()
                os.close(descriptors[0])
                return Greeting(*sender, (root, *descriptors[1:]))
        if refusal := _CANNOT_LISTEN.fullmatch(packet):
            why, where = os.strerror(int(refusal[1])), refusal[2].decode()
            raise UserError(
                f"nothing can listen on {where} inside the sandbox: {why}",
                hint="ports below 1024 are closed to bubblewrap: use `docker`, or a higher port",
            )
        return None

    def _sender(self, ancillary: Sequence[tuple[int, int, bytes]]) -> tuple[int, int] | None:
        """Who greets: whoever connected, or on a pair that we made ourselves, who sent this."""
        size = _CREDENTIALS.size
        peer = self._control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        sent = [data[:size] for _, kind, data in ancillary if kind == socket.SCM_CREDENTIALS]
        for pid, user, _ in map(_CREDENTIALS.unpack, [peer, *sent]):
            if pid != os.getpid():
                return pid, user
        return None

    async def start(
        self,
        request: Mapping[str, Any],
        stdin: int,
        stdout: int,
        stderr: int,
        channel: int | None = None,
    ) -> tuple[int, int]:
        """As `Orders.start`.

        Raises:
            SandboxLost: the first process is gone.
            ValueError: a string of the request cannot be given to a program.
        """
        call = next(self._ids)
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        wanted = None
        try:
            wanted = memory_file("request", _request(request))
            streams = (wanted, stdin, stdout, stderr, writing)
            given = streams if channel is None else (*streams, channel)
            await self._send("run", call, given)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
            if wanted is not None:
                os.close(wanted)
        return call, reading

    async def end(self, call: int | None) -> int:
        """End the processes of a call, or with None of every call; returns how many there were.

        Raises:
            SandboxLost: the first process is gone, or did not prove it in time.
        """
        return await self._ask("end_all" if call is None else "end", call or 0)

    def hurry(self, call: int) -> None:
        """As `Orders.hurry`."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as given:
            for descriptor in (pipe := os.pipe()):
                given.callback(os.close, descriptor)
            self._control.sendmsg([f"end {call}".encode()], _rights(pipe[1:]))
            # An error: the sandbox is gone or busy, or no descriptor is left. `end` will tell.

    async def pause(self) -> int:
        """As `Orders.pause`.

        Raises:
            SandboxLost: the first process is gone, or did not answer in time.
        """
        return await self._ask("pause")

    async def resume(self) -> int:
        """As `Orders.resume`.

        Raises:
            SandboxLost: the first process is gone, or did not answer in time.
        """
        return await self._ask("resume")

    async def _ask(self, order: str, call: int = 0) -> int:
        """Give an order whose reply, by a pipe of its own, is a number."""
        try:
            reading, writing = await with_descriptors(_pipe)
        except InfrastructureError as error:
            raise SandboxLost(f"{error.message}, and what runs must not go on") from None
        os.set_blocking(reading, False)
        try:
            try:
                await self._send(order, call, (writing,))
            finally:
                os.close(writing)
            with anyio.move_on_after(END_DEADLINE_S):
                await anyio.wait_readable(reading)
                if (reply := os.read(reading, 32)).isdigit():
                    return int(reply)
                raise SandboxLost("the sandbox ended")
            raise SandboxLost(f"processes did not end within {END_DEADLINE_S:g} s")
        finally:
            os.close(reading)

    def close(self) -> None:
        """Hang up; the first process then exits and everything inside ends with it."""
        self._control.close()

    async def _send(self, order: str, call: int, descriptors: Sequence[int]) -> None:
        packet = f"{order} {call}".encode()
        rights = _rights(descriptors)
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


async def _pipe() -> tuple[int, int]:
    return os.pipe()


def _request(request: Mapping[str, Any]) -> bytes:
    """A request as the first process reads it."""
    argv, tell = request["argv"], "1" if request.get("tell") else ""
    variables = [f"{name}={value}" for name, value in request["env"].items()]
    texts = (request["cwd"], tell, str(len(argv)), *argv, *variables)
    pieces = [os.fsencode(one) for one in texts]
    if any(b"\0" in piece for piece in pieces):
        raise ValueError("a command, its folder and its environment hold no NUL")
    return b"\0".join(pieces)


def _rights(descriptors: Sequence[int]) -> list[tuple[int, int, array.array[int]]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> tuple[int, ...]:
    found = array.array("i")
    for _, kind, data in ancillary:
        if kind == socket.SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return tuple(found)


def _readable(place: int) -> int:
    """A descriptor of a folder whose place (O_PATH) is known, to read it by."""
    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)


def news(status: int) -> Ending | None:
    """What a call's status descriptor, which is readable, says; None: it has just started."""
    _, told, said = os.read(status, 256).decode("ascii", "replace").rpartition("started ")
    match said.split():
        case ["exited", wait_status, rest]:
            return Exited(int(wait_status), rest == "1")
        case ["refused", number, what]:
            return Refused(int(number), what)
        case [] if told:
            return None
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
