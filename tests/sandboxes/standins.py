"""Real servers on loopback that remember what they were told, for tests of the way out."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class StandIn:
    """A TCP server: `answer` gets each connection, whose bytes up to then are in `heard`."""

    def __init__(self, answer: Callable[[StandIn, socket.socket], None], address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, 0), family=family)
        self._answer = answer
        self.address = address
        self.port = int(self._listener.getsockname()[1])
        self.accepted = 0
        self.heard: list[bytes] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def entry(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else self.authority

    @property
    def authority(self) -> str:
        return f"{self.address}:{self.port}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            connection.settimeout(10)
            with connection, contextlib.suppress(OSError):
                self._answer(self, connection)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(15)


def http(stand_in: StandIn, connection: socket.socket) -> None:
    """Answers one request with `ok`, its body read by its length or chunks."""
    data = b""
    while not is_whole(data):
        piece = connection.recv(65536)
        if not piece:
            return
        data += piece
    connection.sendall(OK)
    connection.shutdown(socket.SHUT_WR)
    while piece := connection.recv(65536):
        data += piece
    stand_in.heard.append(data)


def is_whole(data: bytes) -> bool:
    head, end, body = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(end) and len(body) >= int(length or 0)


def echo(stand_in: StandIn, connection: socket.socket) -> None:
    """Sends back what comes, and says all when the other end has."""
    heard = b""
    while piece := connection.recv(65536):
        heard += piece
        connection.sendall(piece)
    stand_in.heard.append(heard)


@contextlib.contextmanager
def standing_in(
    answer: Callable[[StandIn, socket.socket], None] = http, address: str = "127.0.0.1"
) -> Iterator[StandIn]:
    stand_in = StandIn(answer, address)
    try:
        yield stand_in
    finally:
        stand_in.close()
