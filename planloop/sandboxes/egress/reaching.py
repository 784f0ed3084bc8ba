"""Names to checked addresses, and connections to exactly those."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from collections.abc import Callable, Sequence
from typing import TypeAlias

import anyio
import anyio.to_thread

from planloop.addresses import Address, Host, authority
from planloop.sandboxes.egress.policy import CLOSED, Policy, Refused, check_addresses

Resolve: TypeAlias = "Callable[[str], Sequence[Address]]"
"""The addresses of a name, from a thread that may wait; raises OSError."""
CONNECT_S = 5.0
"""How long one address may take to answer."""
_MOST_ADDRESSES = 4
_LOOKUPS_AT_ONCE = 8


class Unreachable(OSError):
    """An allowed target that does not answer. The message says why."""


class Reach:
    """Connects to what a policy allows, looked up and checked anew for each connection."""

    def __init__(self, policy: Policy, resolve: Resolve) -> None:
        self._policy = policy
        self._resolve = resolve
        self._lookups = anyio.CapacityLimiter(_LOOKUPS_AT_ONCE)

    async def connect(self, host: Host, port: int) -> socket.socket:
        """A connection to a host, if the policy allows it.

        Raises:
            Refused: it does not.
            Unreachable: nothing answers there.
        """
        self._policy.check_target(host, port)
        if not isinstance(host, str):
            return await self._first_answering([host], port)
        addresses = await self._lookup(host)
        check_addresses(host, port, addresses)
        if any(is_own(one) for one in addresses):
            raise Refused(CLOSED.format("this machine's own"), authority(host, port))
        return await self._first_answering(addresses[:_MOST_ADDRESSES], port)

    async def _lookup(self, name: str) -> Sequence[Address]:
        try:
            return await anyio.to_thread.run_sync(
                self._resolve, name, limiter=self._lookups, abandon_on_cancel=True
            )
        except OSError as error:
            raise Unreachable(f"the name {name} has no address: {error.strerror}") from None

    async def _first_answering(self, addresses: Sequence[Address], port: int) -> socket.socket:
        why = "it does not answer"
        for address in addresses:
            try:
                return await connect(address, port)
            except OSError as error:
                why = error.strerror or why
        raise Unreachable(why)


async def connect(address: Address, port: int) -> socket.socket:
    """A connection to one address.

    Raises:
        OSError: it cannot be made in time.
    """
    connection = socket.socket(_family(address), socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            connection.connect((str(address), port))
        with anyio.fail_after(CONNECT_S):
            await anyio.wait_writable(connection)
        if number := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(number, os.strerror(number))
    except BaseException:
        connection.close()
        raise
    return connection


def resolve(name: str) -> Sequence[Address]:
    """The addresses that this machine's resolver knows for a name; blocks.

    Raises:
        OSError: it knows none.
    """
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    texts = (str(place[0]).partition("%")[0] for *_, place in found)
    return tuple(dict.fromkeys(ipaddress.ip_address(text) for text in texts))


def is_own(address: Address) -> bool:
    """Whether an address is one of this machine's: it would be its own source."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as asking, contextlib.suppress(OSError):
        asking.connect((str(address), 9))  # sends nothing
        return bool(asking.getsockname()[0] == str(address))
    return False


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6
