"""What an allow-list needs inside a sandbox: where to listen, and what programs are told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from planloop.errors import UserError
from planloop.network import AddressEntry, Entry, read_entries

CERTIFICATES = (
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted",
)
"""Where systems keep the certificates that programs trust; no private keys lie there."""
_IPV6 = {"net.ipv6.conf.lo.disable_ipv6": "0"}
_OPEN = "network: open, as `full` asks; this machine and its neighbours can be reached"
_PROXY_PORTS = range(3128, 3128 + 1000)
_MOST_FORWARDED = 60
"""All listening sockets come out of the sandbox in one packet."""
_INSIDE = ("localhost", "127.0.0.1", "::1", "[::1]")
"""Some compare the address with its brackets."""


class Listen(NamedTuple):
    """Where the first process opens a listening TCP socket inside."""

    address: str
    port: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What a network setting means for a sandbox. Nothing at all for `none` and `full`."""

    entries: tuple[Entry, ...] = ()
    listen: tuple[Listen, ...] = ()
    """First the proxy, then one for each literal loopback entry, in order."""
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """To be set for every call."""
    sysctls: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Of the sandbox's own network, for engines that close IPv6 even on loopback."""
    said: tuple[str, ...] = ()
    """What is open, for whoever starts the sandbox and for the trace."""


def plan(network: str | tuple[str, ...]) -> Plan:
    """What `none`, `full` or an allow-list means for a sandbox.

    Raises:
        UserError: it is none of them, or an entry means nothing.
    """
    if network == "none":
        return Plan()
    if network == "full":
        return Plan(said=(_OPEN,))
    entries = read_entries((network,) if isinstance(network, str) else network)
    forwarded = [Listen(str(one.address), one.port) for one in _local(entries)]
    if len(forwarded) > _MOST_FORWARDED:
        raise UserError(
            f"`network` opens {len(forwarded)} ports of this machine; "
            f"at most {_MOST_FORWARDED} can be passed on",
            hint="keep those that the task needs",
        )
    taken = {one.port for one in forwarded}
    proxy = Listen("127.0.0.1", next(port for port in _PROXY_PORTS if port not in taken))
    return Plan(
        entries=entries,
        listen=(proxy, *forwarded),
        environment=_environment(proxy, forwarded),
        sysctls=_IPV6 if any(":" in place.address for place in forwarded) else {},
        said=(f"network: open to {', '.join(map(str, entries))}",),
    )


def _local(entries: tuple[Entry, ...]) -> Iterator[AddressEntry]:
    return (one for one in entries if isinstance(one, AddressEntry) and one.is_local)


def _environment(proxy: Listen, forwarded: list[Listen]) -> dict[str, str]:
    """Programs differ in the spelling that they read."""
    url = f"http://{proxy.address}:{proxy.port}"
    direct = ",".join(dict.fromkeys((*_INSIDE, *(one.address for one in forwarded))))
    names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return {**dict.fromkeys(names, url), "no_proxy": direct, "NO_PROXY": direct}
