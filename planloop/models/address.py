"""Base URLs: checked before a key or a word is sent to them."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from planloop.errors import UserError
from planloop.text import one_line


def checked_base_url(text: str, where: str | None = None) -> str:
    """A base URL without its trailing slash.

    Args:
        text: what the user or a file wrote.
        where: how an error names its place.

    Raises:
        UserError: it is no http or https address with a host, or carries a password or a query.
    """
    try:
        parts = urlsplit(text.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _refused(text, "is no address", where) from None
    if parts.username is not None or parts.password is not None:
        raise UserError(
            "the base URL carries a user name or password",
            where=where,
            hint="put the key into `PLANLOOP_API_KEY` and leave it out of the address",
        )
    if parts.scheme not in ("http", "https") or not host:
        raise _refused(text, "is no http or https address with a host", where)
    if parts.query or parts.fragment:
        raise _refused(text, "has a query or a fragment", where)
    if any(character.isspace() or not character.isprintable() for character in text.strip()):
        raise _refused(text, "holds white space or control characters", where)
    return text.strip().rstrip("/").removesuffix("/chat/completions")


def host_of(base_url: str) -> str:
    """The host of an address, in lower case; empty if it has none."""
    return (urlsplit(base_url).hostname or "").rstrip(".")


def is_loopback(base_url: str) -> bool:
    """Whether an address is this machine."""
    host = host_of(base_url)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _refused(text: str, what: str, where: str | None) -> UserError:
    return UserError(
        f"the base URL `{one_line(text, 100)}` {what}",
        where=where,
        hint="write it like `http://127.0.0.1:8000/v1`",
    )
