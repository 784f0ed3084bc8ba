"""Connections that do not block, with a bounded buffer, and bytes passed between two of them."""

from __future__ import annotations

import contextlib
import socket
import time

import anyio
import anyio.lowlevel

PIECE = 1 << 16
"""Bytes that are held at most on the way from one end to the other."""
_LAST_WORD_S = 1.0
_LOOK_EVERY_S = 0.05


class Closed(OSError):
    """The other end went away before it had said all."""


class Duty:
    """Holds the calling thread to a share of one core, so that a flood inside a sandbox leaves the
    rest of this process its turn.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._wall, self._worked = time.monotonic(), time.thread_time()

    def rest(self) -> None:
        """Wait, if this thread has worked more than its share since it was last looked at."""
        wall, worked = time.monotonic(), time.thread_time()
        if wall - self._wall < _LOOK_EVERY_S:
            return
        ahead = (worked - self._worked) / self._share - (wall - self._wall)
        self._wall, self._worked = wall, worked
        if ahead > 0:
            time.sleep(min(ahead, _LOOK_EVERY_S))
            self._wall = time.monotonic()


class Wire:
    """One end of a TCP connection. Owns its socket; `close` ends it."""

    def __init__(self, connection: socket.socket, duty: Duty) -> None:
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._duty = duty
        self._held = b""

    async def receive(self, most: int = PIECE) -> bytes:
        """Some bytes; none when the other end has said all.

        Raises:
            OSError: the connection broke.
        """
        if self._held:
            piece, self._held = self._held[:most], self._held[most:]
            return piece
        await anyio.lowlevel.checkpoint()
        self._duty.rest()
        while True:
            try:
                return self._connection.recv(most)
            except BlockingIOError:
                await anyio.wait_readable(self._connection)

    async def receive_until(self, end: bytes, most: int) -> bytes | None:
        """Bytes up to and with `end`; None if it does not come within `most` bytes.

        Raises:
            Closed: the other end said all before that.
            OSError: the connection broke.
        """
        taken = bytearray()
        seen = 0
        while (found := taken.find(end, seen)) < 0:
            seen = max(0, len(taken) - len(end) + 1)
            if len(taken) >= most:
                return None
            piece = await self.receive(most)
            if not piece:
                raise Closed
            taken += piece
        after = found + len(end)
        self._held = bytes(taken[after:]) + self._held
        return bytes(taken[:after])

    async def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            OSError: the connection broke.
        """
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._connection.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._connection)

    def said_all(self) -> None:
        """Tell the other end that no more comes."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    async def last_word(self) -> None:
        """Say that no more comes and let the other end read: closing with bytes unread would take
        back what was sent.
        """
        self.said_all()
        self._held = b""
        with contextlib.suppress(OSError), anyio.move_on_after(_LAST_WORD_S):
            while await self.receive():
                pass

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


class Idle:
    """A scope that ends when nothing has moved for a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.scope = anyio.CancelScope()
        self.moved()

    def moved(self) -> None:
        """Something moved."""
        self.scope.deadline = anyio.current_time() + self._seconds


async def relay(one: Wire, other: Wire, idle_s: float) -> None:
    """Pass bytes both ways until both ends have said all, one breaks, or nothing moves."""
    idle = Idle(idle_s)
    with idle.scope:
        async with anyio.create_task_group() as group:
            group.start_soon(_pass_all, one, other, idle, group.cancel_scope)
            group.start_soon(_pass_all, other, one, idle, group.cancel_scope)


async def _pass_all(source: Wire, target: Wire, idle: Idle, both: anyio.CancelScope) -> None:
    try:
        await pass_all(source, target, idle)
        target.said_all()
    except OSError:
        both.cancel()


async def pass_all(source: Wire, target: Wire, idle: Idle) -> None:
    """Pass bytes on until the source has said all.

    Raises:
        OSError: one end broke.
    """
    while piece := await source.receive():
        await target.send(piece)
        idle.moved()
