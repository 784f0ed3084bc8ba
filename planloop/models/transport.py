"""HTTP. The one module that knows which client library is used."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

from planloop._version import __version__
from planloop.models.address import is_loopback
from planloop.models.retry import AttemptFailed, Failure
from planloop.models.secret import Secret

if TYPE_CHECKING:
    import httpx


class Response:
    """A response whose body has not been read yet."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        """Names in any case."""
        self._response = response

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives.

        Raises:
            AttemptFailed: the connection ends early.
        """
        import httpx

        try:
            async for chunk in self._response.aiter_raw():
                yield chunk
        except httpx.TransportError as error:
            raise AttemptFailed(_ended_early(error)) from None

    async def start(self, limit: int) -> bytes:
        """The first `limit` bytes of the body, or as much of them as comes."""
        body = bytearray()
        try:
            async with aclosing(self.chunks()) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) >= limit:
                        break
        except AttemptFailed:
            pass
        return bytes(body[:limit])


class Transport:
    """Posts to one server over connections that are kept.

    Each event loop has connections of its own, since one model may serve several runs in turn.
    """

    def __init__(self, base_url: str, secret: Secret | None, *, connect_s: float) -> None:
        self._secret = secret
        self._connect_s = connect_s
        # A proxy set for the outside world cannot reach this machine's own servers.
        self._proxies = not is_loopback(base_url)
        self._tls = self._proxies or base_url.startswith("https:")
        self._open: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Connections] = (
            weakref.WeakKeyDictionary()
        )

    @asynccontextmanager
    async def post(self, url: str, body: bytes) -> AsyncIterator[Response]:
        """Send `body`; redirects are not followed.

        Raises:
            AttemptFailed: nobody answers, or the connection ends before the response begins.
        """
        import httpx

        client = await self._client()
        try:
            request = client.build_request("POST", url, content=body)
            response = await client.send(request, stream=True)
            try:
                yield Response(response)
            finally:
                await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise AttemptFailed(_no_connection(error)) from None
        except httpx.TransportError as error:
            raise AttemptFailed(_ended_early(error)) from None

    async def close(self) -> None:
        """Close the connections of this event loop. Those of others close when these end."""
        connections = self._open.pop(asyncio.get_running_loop(), None)
        if connections is not None:
            await connections.guard.aclose()

    async def _client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        connections = self._open.get(loop)
        if connections is None:
            client = self._new_client()
            connections = self._open[loop] = _Connections(client, self._until_loop_ends(client))
            await anext(connections.guard)
        return connections.client

    async def _until_loop_ends(self, client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
        # An event loop closes the generators that are still open when it ends, and that is the
        # only word of its end that anyone gets.
        try:
            yield
        finally:
            self._open.pop(asyncio.get_running_loop(), None)
            await client.aclose()

    def _headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"planloop/{__version__}",
        }
        if self._secret is not None:
            headers["Authorization"] = f"Bearer {self._secret.reveal()}"
        return headers

    def _new_client(self) -> httpx.AsyncClient:
        import httpx

        return httpx.AsyncClient(
            headers=self._headers(),
            verify=True if self._tls else _trusting_nobody(),
            timeout=httpx.Timeout(None, connect=self._connect_s),
            follow_redirects=False,
            trust_env=self._proxies,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
        )


def _trusting_nobody() -> ssl.SSLContext:
    """For where no TLS can happen: loading the world's certificates takes 20 ms."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclasses.dataclass(frozen=True)
class _Connections:
    """Those of one event loop, and what closes them with it."""

    client: httpx.AsyncClient
    guard: AsyncGenerator[None, None]


def _ended_early(error: httpx.TransportError) -> Failure:
    return Failure("cut", f"the connection ended early ({type(error).__name__})")


def _no_connection(error: httpx.TransportError) -> Failure:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = cause.verify_message
            return Failure("refused", f"the server's certificate is not trusted ({reason})")
        cause = cause.__cause__ or cause.__context__
    return Failure("connection", f"no connection ({error or type(error).__name__})")
