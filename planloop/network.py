"""Entries of an allow-list: where a sandbox may connect. Pure; the backends hold to it."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Sequence
from typing import TypeAlias

from planloop.addresses import Address, Host, authority, read_authority, why_closed
from planloop.errors import UserError
from planloop.text import one_line

WEB_PORTS = (80, 443)
"""The ports of an entry that names none."""
MAX_ENTRIES = 200
_EXAMPLES = "write a name such as `acme.org` or `acme.org:8443`, or an address with its port"


@dataclasses.dataclass(frozen=True)
class NameEntry:
    """A name of the domain system. Its addresses must be public ones."""

    name: str
    ports: tuple[int, ...] = WEB_PORTS
    below: bool = False
    """Whether it stands for every name below, as `*.name`, and not for itself."""

    def __str__(self) -> str:
        name = f"*.{self.name}" if self.below else self.name
        return name if self.ports == WEB_PORTS else f"{name}:{self.ports[0]}"

    def covers(self, host: Host) -> bool:
        """Whether a host is meant, whatever the port."""
        if not isinstance(host, str):
            return False
        return host.endswith(f".{self.name}") if self.below else host == self.name


@dataclasses.dataclass(frozen=True)
class AddressEntry:
    """One port of one address, which may be a private one."""

    address: Address
    port: int

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine's loopback."""
        return self.address.is_loopback

    def __str__(self) -> str:
        return authority(self.address, self.port)


Entry: TypeAlias = NameEntry | AddressEntry


def whose(entry: Entry) -> str:
    """Whose an entry is, for the person who is asked to open it; nothing for the public's."""
    kind = why_closed(entry.address) if isinstance(entry, AddressEntry) else None
    match kind:
        case None:
            return ""
        case "loopback":
            return "a service of this machine"
        case "link-local" | "a cloud's own":
            return "where clouds hand out credentials"
        case _:
            return "an address of your own network"


def read_entries(texts: Sequence[str]) -> tuple[Entry, ...]:
    """The entries of an allow-list.

    Raises:
        UserError: one of them means nothing, or there are none or too many.
    """
    if not texts:
        raise UserError("`network` is an empty list", hint="write `network: none`")
    if len(texts) > MAX_ENTRIES:
        raise UserError(
            f"`network` has {len(texts)} entries; at most {MAX_ENTRIES} are read",
            hint="`*.example.com` stands for every name below `example.com`",
        )
    return tuple(dict.fromkeys(read_entry(text) for text in texts))


def read_entry(text: str) -> Entry:
    """`acme.org`, `acme.org:8443`, `*.example.com`, `127.0.0.1:8080` or `[::1]:8080`.

    Raises:
        UserError: it means nothing here.
    """
    below = text.startswith("*.")
    bare = text.removeprefix("*.")
    if _is_bare_address(bare):
        raise _wrong(text, "an address needs its port", f"write `{_with_port(bare)}`")
    try:
        host, port = read_authority(bare, default_port=WEB_PORTS[0])
    except ValueError as error:
        raise _wrong(text, str(error), _ascii_hint(bare) or _EXAMPLES) from None
    if isinstance(host, str):
        return _name_entry(text, host, (port,) if ":" in bare else WEB_PORTS, below)
    if below:
        raise _wrong(text, "an address has nothing below it", f"write `{bare}`")
    return _address_entry(text, host, port)


def _name_entry(text: str, name: str, ports: tuple[int, ...], below: bool) -> NameEntry:
    if name == "localhost" or name.endswith(".localhost"):
        raise _wrong(text, "a name may not mean this machine", "write `127.0.0.1:PORT`")
    if "." not in name:
        raise _wrong(text, "a name needs a dot", _EXAMPLES)
    return NameEntry(name, ports, below)


def _address_entry(text: str, address: Address, port: int) -> AddressEntry:
    kind = why_closed(address)
    if kind in ("unspecified", "multicast", "a wrapped IPv4 address"):
        raise _wrong(text, f"its address is {kind}", "write the address of one machine")
    return AddressEntry(address, port)


def _is_bare_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _with_port(text: str) -> str:
    bare = text.removeprefix("[").removesuffix("]")
    return f"[{bare}]:8080" if ":" in bare else f"{bare}:8080"


def _ascii_hint(text: str) -> str | None:
    """How a name in other letters is written, so that a person sees which name it is."""
    if text.isascii() or len(text) > 253:
        return None
    try:
        return f"write `{one_line(text.encode('idna').decode('ascii'), 260)}`"
    except UnicodeError:
        return None


def _wrong(text: str, why: str, hint: str) -> UserError:
    return UserError(f"`network` cannot allow `{one_line(text, 80)}`: {why}", hint=hint)
