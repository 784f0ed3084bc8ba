"""Frames between the host and an interpreter: bounded, strict JSON, never more than was asked for.

What comes from inside is hostile: sizes are refused before anything is held, and nothing is taken
for what it only resembles.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio

from planloop.values import MAX_DEPTH

MOST_FROM_INSIDE = 16 << 20
"""Bytes of one frame."""
SEND_DEADLINE_S = 30.0
_SIZE = struct.Struct(">I")
_PIECE = 1 << 18


class Forged(Exception):
    """A frame that our own code inside would not have sent."""


class HungUp(Exception):
    """The other end is gone."""


class Frames:
    """The host's end of a stream of frames. Owns its socket."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._held = bytearray()
        self._waiting = 0
        self.received_bytes = 0
        """Size of the newest frame."""
        self._closed = False
        self._sending = anyio.Lock(fast_acquire=True)

    async def send(self, frame: Mapping[str, Any]) -> None:
        """Send a frame.

        Raises:
            HungUp: nobody is there, or nobody reads it within the deadline.
        """
        data = json.dumps(frame, allow_nan=False, separators=(",", ":")).encode()
        rest = memoryview(_SIZE.pack(len(data)) + data)
        async with self._sending:
            with anyio.move_on_after(SEND_DEADLINE_S):
                while rest:
                    try:
                        rest = rest[self._channel.send(rest) :]
                    except BlockingIOError:
                        await self._ready(anyio.wait_writable)
                    except OSError:
                        raise HungUp from None
                return
            raise HungUp

    async def receive(self) -> dict[str, Any]:
        """The next frame.

        Raises:
            HungUp: nobody is there any more.
            Forged: it is none.
        """
        size = _SIZE.unpack(await self._exactly(_SIZE.size))[0]
        if size > MOST_FROM_INSIDE:
            raise Forged(f"a frame of {size} bytes")
        self.received_bytes = size
        return read_frame(await self._exactly(size))

    def is_over(self) -> bool:
        """Whether the other end is gone."""
        if self._closed:
            return True
        try:
            return not self._channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Hang up; whoever waits here hears it. Safe to call twice."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_RDWR)
            self._let_go()

    async def _ready(self, wait: Callable[[socket.socket], Awaitable[None]]) -> None:
        if self._closed:
            raise HungUp
        self._waiting += 1
        try:
            await wait(self._channel)
        finally:
            self._waiting -= 1
            self._let_go()

    def _let_go(self) -> None:
        """Close the socket, but not under one that waits for it: that would wait for ever."""
        if self._closed and not self._waiting:
            self._channel.close()

    async def _exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            try:
                piece = self._channel.recv(min(_PIECE, max(size - len(self._held), 4096)))
            except BlockingIOError:
                await self._ready(anyio.wait_readable)
                continue
            except OSError:
                piece = b""
            if not piece:
                raise HungUp
            self._held += piece
        data = bytes(self._held[:size])
        del self._held[:size]
        return data


def read_frame(data: bytes) -> dict[str, Any]:
    """The object that a frame holds.

    Raises:
        Forged: it is not strict JSON, too deep, or no object.
    """
    try:
        frame = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise Forged(f"a frame that is no JSON: {type(error).__name__}") from None
    if not isinstance(frame, dict):
        raise Forged("a frame that is no object")
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _depth(frame) > MAX_DEPTH + 4:
        raise Forged("a frame that is nested too deeply")
    return frame


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _depth(frame: Any) -> int:
    level, depth = [frame], 0
    while level:
        depth += 1
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
    return depth
