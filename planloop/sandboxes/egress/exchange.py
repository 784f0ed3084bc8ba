"""One HTTP request and its response, passed on between a client and a server.

The body is passed on by the length that its head gives, and not a byte more: what follows would
be a second request, which nobody has checked.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio

from planloop.sandboxes.egress.reaching import Unreachable
from planloop.sandboxes.egress.requests import BadHead, Body, Forward, Response, read_response
from planloop.sandboxes.egress.wire import PIECE, Closed, Idle, Wire, pass_all

MAX_HEAD = 64 << 10
"""Bytes of a head."""
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[\t ]*(?:;[\t -~]*)?\r\n")
_MAX_LINE = 1024
_MAX_TRAILERS = 100
_Send: TypeAlias = Callable[[bytes], Awaitable[None]]


class _Deaf(Exception):
    """The server takes no more of the request."""


async def exchange(request: Forward, client: Wire, server: Wire, idle_s: float) -> None:
    """Send the request, and pass the response on until the server has said all.

    Raises:
        BadHead: the client's body is not well formed, and nothing was answered yet.
        Unreachable: the server's answer is not well formed, and nothing of it was passed on.
        OSError: an end broke or went away.
    """
    await _Exchange(request, client, server, Idle(idle_s)).run()


class _Exchange:
    def __init__(self, request: Forward, client: Wire, server: Wire, idle: Idle) -> None:
        self._request = request
        self._client = client
        self._server = server
        self._idle = idle
        self._answered = False
        self._problem: Exception | None = None

    async def run(self) -> None:
        with self._idle.scope:
            async with anyio.create_task_group() as group:
                group.start_soon(self._to_the_end, self._ask, group.cancel_scope)
                group.start_soon(self._to_the_end, self._answer, group.cancel_scope)
        if self._problem is not None:
            raise self._problem

    async def _to_the_end(
        self, work: Callable[[], Awaitable[None]], both: anyio.CancelScope
    ) -> None:
        """The side that ends first ends the exchange."""
        try:
            await work()
        except (BadHead, OSError) as problem:
            self._problem = Closed() if self._answered else problem
        both.cancel()

    async def _ask(self) -> None:
        try:
            await self._tell(self._request.head)
            await _pass_body(self._request.body, self._client, self._tell)
        except _Deaf:
            await anyio.sleep_forever()  # what it has answered is still to be passed on
        while await self._client.receive():
            pass
        raise Closed

    async def _tell(self, data: bytes) -> None:
        try:
            await self._server.send(data)
        except OSError:
            raise _Deaf from None
        self._idle.moved()

    async def _answer(self) -> None:
        while True:
            response = await self._response()
            self._answered = self._answered or not response.is_interim
            await self._client.send(response.head)
            self._idle.moved()
            if self._answered:
                return await pass_all(self._server, self._client, self._idle)

    async def _response(self) -> Response:
        try:
            head = await self._server.receive_until(b"\r\n\r\n", MAX_HEAD)
            if head is None:
                raise BadHead("its head is too long")
            return read_response(head)
        except (BadHead, Closed) as bad:
            why = str(bad) or "it ends before its head does"
            raise Unreachable(f"its answer cannot be passed on: {why}") from None


async def _pass_body(body: Body, client: Wire, send: _Send) -> None:
    if isinstance(body, int):
        await _pass_bytes(body, client, send)
    else:
        await _pass_chunks(client, send)


async def _pass_bytes(count: int, client: Wire, send: _Send) -> None:
    while count:
        piece = await client.receive(min(count, PIECE))
        if not piece:
            raise Closed
        await send(piece)
        count -= len(piece)


async def _pass_chunks(client: Wire, send: _Send) -> None:
    """Chunks written anew, without extensions and trailers."""
    while size := _chunk_size(await client.receive_until(b"\r\n", _MAX_LINE)):
        await send(b"%x\r\n" % size)
        await _pass_bytes(size, client, send)
        if await client.receive_until(b"\r\n", 2) != b"\r\n":
            raise BadHead("a chunk does not end where it says")
        await send(b"\r\n")
    for _ in range(_MAX_TRAILERS):
        if await client.receive_until(b"\r\n", _MAX_LINE) == b"\r\n":
            return await send(b"0\r\n\r\n")
    raise BadHead("it has too many trailers")


def _chunk_size(line: bytes | None) -> int:
    found = _CHUNK.fullmatch(line or b"")
    if found is None:
        raise BadHead("a chunk is not well formed")
    return int(found.group(1), 16)
