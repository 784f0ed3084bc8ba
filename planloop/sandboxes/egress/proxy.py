"""What happens to one connection that came from inside."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from ipaddress import ip_address

import anyio

from planloop.sandboxes.egress.exchange import MAX_HEAD, exchange
from planloop.sandboxes.egress.planning import Listen
from planloop.sandboxes.egress.policy import Refused
from planloop.sandboxes.egress.reaching import Reach, Unreachable, connect
from planloop.sandboxes.egress.requests import BadHead, Forward, read_request
from planloop.sandboxes.egress.wire import Duty, Wire, relay
from planloop.text import one_line

HEAD_S = 10.0
"""How long a request's head may take to arrive."""
IDLE_S = 300.0
"""How long a connection may stand still."""
_REASONS = {400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway"}


@dataclasses.dataclass(frozen=True)
class Proxied:
    """An HTTP proxy: tunnels by CONNECT, and single requests with an absolute target."""

    reach: Reach
    refuse: Callable[[Refused], None]
    duty: Duty

    async def serve(self, client: Wire) -> None:
        """Serve one connection."""
        try:
            await self._serve(client)
        except Refused as refused:
            await self._refuse(client, 403, refused)
        except BadHead as bad:
            await self._refuse(client, 400, Refused(str(bad), "a doubtful request"))
        except Unreachable as error:
            await _answer(client, 502, str(error))

    async def _serve(self, client: Wire) -> None:
        with anyio.fail_after(HEAD_S):
            head = await client.receive_until(b"\r\n\r\n", MAX_HEAD)
        if head is None:
            raise BadHead("its head is too long")
        request = read_request(head)
        server = Wire(await self.reach.connect(request.host, request.port), self.duty)
        try:
            if isinstance(request, Forward):
                await exchange(request, client, server, IDLE_S)
            else:
                await client.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await relay(client, server, IDLE_S)
        finally:
            server.close()

    async def _refuse(self, client: Wire, status: int, refused: Refused) -> None:
        self.refuse(refused)
        await _answer(client, status, str(refused))


@dataclasses.dataclass(frozen=True)
class Forwarded:
    """A port of this machine's loopback, reached at the same place inside."""

    place: Listen
    duty: Duty

    async def serve(self, client: Wire) -> None:
        """Serve one connection."""
        server = Wire(await connect(ip_address(self.place.address), self.place.port), self.duty)
        try:
            await relay(client, server, IDLE_S)
        finally:
            server.close()


async def _answer(client: Wire, status: int, said: str) -> None:
    text = f"planloop: {one_line(said, 300)}\n".encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    )
    await client.send(head.encode("ascii") + text)
