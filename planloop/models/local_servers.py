"""Looks for a model server that listens on this machine."""

from __future__ import annotations

import dataclasses
import io
import json
import socket
import time
from typing import Any
from urllib.parse import urlsplit

DEADLINE_S = 0.3
"""For one server, from the connection to the last byte."""

_MAX_BYTES = 1_000_000


@dataclasses.dataclass(frozen=True)
class Listed:
    """A model that a server lists."""

    name: str
    context_tokens: int | None = None


def listed_models(base_url: str, deadline_s: float = DEADLINE_S) -> tuple[Listed, ...]:
    """The models that a plain-HTTP server lists under `/models`, asked without a key.

    Empty if nothing listens, it is too slow, or it is no model server.
    """
    from http.client import HTTPException

    parts = urlsplit(base_url)
    try:
        answer = _get(parts.hostname or "", parts.port or 80, f"{parts.path}/models", deadline_s)
        return _models(_body(answer))
    except (OSError, HTTPException, ValueError, RecursionError):
        return ()


def _get(host: str, port: int, path: str, deadline_s: float) -> bytes:
    # A socket of our own: client libraries bound each read, not the whole answer.
    end = time.monotonic() + deadline_s
    received = bytearray()
    with socket.create_connection((host, port), timeout=deadline_s) as connection:
        head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode("ascii"))
        while len(received) < _MAX_BYTES:
            connection.settimeout(max(0.001, end - time.monotonic()))
            chunk = connection.recv(65_536)
            if not chunk:
                return bytes(received)
            received += chunk
            if time.monotonic() > end:
                raise TimeoutError
    raise ValueError("the answer is too long")


def _body(answer: bytes) -> bytes:
    from http.client import HTTPResponse

    response = HTTPResponse(_Received(answer))  # type: ignore[arg-type]
    response.begin()
    if response.status != 200:
        raise ValueError(f"status {response.status}")
    return response.read()


class _Received:
    """What the standard library's parser of responses wants for a socket."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._content)


def _models(body: bytes) -> tuple[Listed, ...]:
    document = json.loads(body)
    entries = document.get("data") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        return ()
    return tuple(
        Listed(entry["id"], _context(entry.get("max_model_len")))
        for entry in entries
        if isinstance(entry, dict) and isinstance(entry.get("id"), str) and entry["id"]
    )


def _context(number: Any) -> int | None:
    return number if isinstance(number, int) and 256 <= number <= 100_000_000 else None
