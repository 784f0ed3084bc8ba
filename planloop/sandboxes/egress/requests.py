"""The head of a request to a proxy, read strictly: what two readers could take for two things is
refused. Pure.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from planloop.addresses import Host, authority, read_authority

CHUNKED: Final = "chunked"
Body: TypeAlias = "int | str"
"""A length in bytes, or `CHUNKED`."""
Header: TypeAlias = "tuple[str, str]"

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([!-~]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(r"HTTP/1\.[01] ([1-9][0-9]{2})(?: [\t -~\x80-\xff]*)?")
_HEADER = re.compile(rf"({_TOKEN}):[\t ]*([\t -~\x80-\xff]*?)[\t ]*")
_TARGET = re.compile(r"http://([^/?#@]*)([/?][^#]*)?", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,18}")
_MAX_HEADERS = 200
_HOP_BY_HOP = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "upgrade"),
    )
)
_LAST = ("Connection", "close")
"""The connection ends with this exchange."""
_NEVER_HOP_BY_HOP = frozenset(("content-length", "host", "transfer-encoding"))


class BadHead(ValueError):
    """A head that means nothing, or could mean two things. The message says why."""


@dataclasses.dataclass(frozen=True)
class Tunnel:
    """`CONNECT`: bytes to and from a host and port."""

    host: Host
    port: int


@dataclasses.dataclass(frozen=True)
class Forward:
    """One request to pass on, with its head as the server shall get it."""

    host: Host
    port: int
    head: bytes
    body: Body


Request: TypeAlias = Tunnel | Forward


@dataclasses.dataclass(frozen=True)
class Response:
    """The head of a server's response as the client shall get it."""

    status: int
    head: bytes

    @property
    def is_interim(self) -> bool:
        """Whether another head follows."""
        return 100 <= self.status < 200


def read_request(head: bytes) -> Request:
    """The request that a head up to and with its empty line asks for.

    Raises:
        BadHead: it is not well formed, or could be read in two ways.
    """
    first, headers = _lines(head)
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        raise BadHead("its first line is no request")
    method, target, minor = found.groups()
    body = _body(headers, minor)
    if method == "CONNECT":
        return _tunnel(target, headers, body)
    return _forward(method, target, minor, headers, body)


def read_response(head: bytes) -> Response:
    """The response that a head begins; the connection to the client ends after it.

    Raises:
        BadHead: it is not well formed, or leaves HTTP.
    """
    first, headers = _lines(head)
    found = _STATUS_LINE.fullmatch(first)
    if found is None:
        raise BadHead("its first line is no response")
    status = int(found.group(1))
    if status == 101:
        raise BadHead("it leaves HTTP")
    kept = _end_to_end(headers)
    return Response(status, _written(first, kept if status < 200 else [*kept, _LAST]))


def _tunnel(target: str, headers: Sequence[Header], body: Body) -> Tunnel:
    if body != 0:
        raise BadHead("CONNECT has no body")
    host, port = _authority(target, None)
    for value in _all(headers, "host"):
        # Some clients leave the port out here, so only the host can be compared.
        if _authority(value, port)[0] != host:
            raise BadHead("`Host` differs from the target")
    return Tunnel(host, port)


def _forward(
    method: str, target: str, minor: str, headers: Sequence[Header], body: Body
) -> Forward:
    found = _TARGET.fullmatch(target)
    if found is None:
        raise BadHead("its target is no `http://host/path`")
    host, port = _authority(found.group(1), 80)
    named = _all(headers, "host")
    if len(named) > 1 or (not named and minor == "1"):
        raise BadHead("it needs one `Host`")
    if named and _authority(named[0], 80) != (host, port):
        raise BadHead("`Host` differs from the target")
    path = found.group(2) or "/"
    path = path if path.startswith("/") else f"/{path}"
    kept = [one for one in _end_to_end(headers) if one[0].lower() != "host"]
    to_whom = ("Host", authority(host, port).removesuffix(":80"))
    first = f"{method} {path} HTTP/1.{minor}"
    return Forward(host, port, _written(first, [to_whom, *kept, _LAST]), body)


def _authority(text: str, default_port: int | None) -> tuple[Host, int]:
    try:
        return read_authority(text, default_port)
    except ValueError as error:
        raise BadHead(f"its host cannot be read: {error}") from None


def _lines(head: bytes) -> tuple[str, list[Header]]:
    lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    if len(lines) > _MAX_HEADERS:
        raise BadHead("it has too many headers")
    headers = []
    for line in lines[1:]:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise BadHead("a header is not well formed")
        headers.append((found.group(1), found.group(2)))
    return lines[0], headers


def _body(headers: Sequence[Header], minor: str) -> Body:
    lengths, codings = _all(headers, "content-length"), _all(headers, "transfer-encoding")
    if len(lengths) + len(codings) > 1:
        raise BadHead("it says twice how long its body is")
    if codings:
        if codings[0].lower() != CHUNKED or minor == "0":
            raise BadHead("only `chunked` is a transfer encoding here")
        return CHUNKED
    if not lengths:
        return 0
    if not _LENGTH.fullmatch(lengths[0]):
        raise BadHead("its length is no number")
    return int(lengths[0])


def _all(headers: Iterable[Header], name: str) -> list[str]:
    return [value for given, value in headers if given.lower() == name]


def _end_to_end(headers: Sequence[Header]) -> list[Header]:
    """Headers that are for the other end."""
    named = {word.strip().lower() for one in _all(headers, "connection") for word in one.split(",")}
    if named & _NEVER_HOP_BY_HOP:
        raise BadHead("`Connection` names what belongs to the message")
    dropped = _HOP_BY_HOP | named
    return [one for one in headers if one[0].lower() not in dropped]


def _written(first: str, headers: Iterable[Header]) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
