"""What the allow-list says of one connection. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from planloop.addresses import Address, Host, authority, why_closed
from planloop.network import AddressEntry, Entry, NameEntry
from planloop.text import one_line

CLOSED = "its address is {}; only a literal `address:port` opens that"


class Refused(Exception):
    """A connection that is not made. `why` is a clause, `where` the target as far as known."""

    def __init__(self, why: str, where: str = "a connection") -> None:
        super().__init__(why)
        self.why = why
        self.where = where

    def __str__(self) -> str:
        return f"network: refused {one_line(self.where, 120)} ({one_line(self.why, 120)})"


@dataclasses.dataclass(frozen=True)
class Policy:
    """An allow-list."""

    entries: tuple[Entry, ...]

    def check_target(self, host: Host, port: int) -> None:
        """Return if the allow-list has this host and port.

        Raises:
            Refused: it has not.
        """
        if isinstance(host, str):
            self._check_name(host, port)
        elif AddressEntry(host, port) not in self.entries:
            raise Refused("not in the allow-list", authority(host, port))

    def _check_name(self, name: str, port: int) -> None:
        named = [one for one in self.entries if isinstance(one, NameEntry) and one.covers(name)]
        if any(port in one.ports for one in named):
            return
        why = "its port is not in the allow-list" if named else "not in the allow-list"
        raise Refused(why, authority(name, port))


def check_addresses(name: str, port: int, addresses: Sequence[Address]) -> None:
    """Return if all addresses of a name are public ones.

    One that is not spoils all: a name that means this machine or its network now and then is not
    what an allow-list means by it.

    Raises:
        Refused: one of them is not.
    """
    for address in addresses:
        if (kind := why_closed(address)) is not None:
            raise Refused(CLOSED.format(kind), authority(name, port))
