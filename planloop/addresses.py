"""Hosts and ports as people write them, read strictly; and which addresses belong to nobody else.

A resolver takes `0177.0.0.1`, `0x7f.1`, `2130706433` and `127.1` for the local machine. Nothing
here does: a host is a dotted quad, an IPv6 address in brackets, or a name of the domain system.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Host: TypeAlias = str | Address
"""A name in lower case without a final dot, or an address."""

_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DIGITS = re.compile(r"[0-9A-Fa-f:.]+")

_CLOSED_4 = {
    "unspecified": ("0.0.0.0/8",),
    "private": ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16"),
    "loopback": ("127.0.0.0/8",),
    "link-local": ("169.254.0.0/16",),
    "a cloud's own": ("168.63.129.16/32", "192.0.0.0/24"),
    "reserved": (
        *("192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "240.0.0.0/4"),
    ),
    "multicast": ("224.0.0.0/4",),
}
_CLOSED_6 = {
    "unspecified": ("::/128",),
    "loopback": ("::1/128",),
    "private": ("fc00::/7", "fec0::/10", "64:ff9b:1::/48"),
    "link-local": ("fe80::/10",),
    "multicast": ("ff00::/8",),
    "a wrapped IPv4 address": ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "2002::/16"),
    "reserved": ("2001::/23", "2001:db8::/32", "3fff::/20"),
}
_CLOSED: list[tuple[IPv4Network | IPv6Network, str]] = [
    *((IPv4Network(one), kind) for kind, ones in _CLOSED_4.items() for one in ones),
    *((IPv6Network(one), kind) for kind, ones in _CLOSED_6.items() for one in ones),
]
_UNICAST_6 = IPv6Network("2000::/3")
_TRANSLATED = IPv6Network("64:ff9b::/96")
"""How a network without IPv4 names IPv4 addresses: as good or bad as the one within."""


def why_closed(address: Address) -> str | None:
    """Why an address is none of the public internet: `private`, `loopback` and so on; else None.

    Written out, because `ipaddress.is_global` differs from Python to Python, and takes wrapped
    private addresses, multicast and some addresses of clouds for public ones.
    """
    if isinstance(address, IPv6Address) and address in _TRANSLATED:
        return why_closed(IPv4Address(int(address) & 0xFFFFFFFF))
    for network, kind in _CLOSED:
        if address.version == network.version and address in network:
            return kind
    outside = isinstance(address, IPv6Address) and address not in _UNICAST_6
    return "reserved" if outside else None


def read_authority(text: str, default_port: int | None = None) -> tuple[Host, int]:
    """The host and port of `host:port`, or of `host` where there is a default port.

    Raises:
        ValueError: it is none; the message says why, and fits after a colon.
    """
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        raise ValueError("it is no `host:port`")
    host, digits = found.groups()
    if digits is None and default_port is None:
        raise ValueError("it names no port")
    port = int(digits) if digits is not None else default_port
    if port is None or not 0 < port < 65536:
        raise ValueError("a port is a number from 1 to 65535")
    return read_host(host), port


def read_host(text: str) -> Host:
    """A name, a dotted quad, or an IPv6 address in brackets.

    Raises:
        ValueError: it is none; the message says why, and fits after a colon.
    """
    if text.startswith("["):
        return _address_6(text[1:-1])
    name = text.lower().removesuffix(".")
    if not name.isascii():
        raise ValueError("a name is written in ASCII letters, others as `xn--…`")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        return _address_4(name)
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError("it is no name of a host")
    return name


def authority(host: Host, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if isinstance(host, IPv6Address) else f"{host}:{port}"


def _address_4(text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError:
        raise ValueError("an IPv4 address is four decimal numbers") from None


def _address_6(text: str) -> IPv6Address:
    if _DIGITS.fullmatch(text):  # no zone: that would name an interface
        try:
            return IPv6Address(text)
        except ValueError:
            pass
    raise ValueError("it is no IPv6 address")
