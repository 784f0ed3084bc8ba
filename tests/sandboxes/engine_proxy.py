"""A real proxy in front of the Docker engine: it counts what is asked, and breaks it on demand."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

_REQUEST = re.compile(rb"(GET|POST|PUT|HEAD|DELETE) (\S+) HTTP/1\.1\r\n")

Means = Literal["refuse", "cut", "stall", "nonsense", "other words"]


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens to the answer of each request whose line contains `to`.

    The engine itself gets the request and carries it out; `refuse` closes every connection.
    """

    means: Means
    to: str = ""
    after_bytes: int = 0
    """How much of the answer comes through first."""
    words: tuple[bytes, bytes] = (b"", b"")
    """For `other words`: what is said in the answer, and what is said instead, as long."""


class EngineProxy:
    """Listens on a socket in `folder` until it is closed."""

    def __init__(self, folder: Path, fault: Fault | None = None) -> None:
        self.fault = fault
        self.requests: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "engine.sock"))
        self._listener.listen(64)
        self._open: set[socket.socket] = {self._listener}
        self._threads: list[threading.Thread] = []
        self.address = f"unix://{folder}/engine.sock"
        self._start(self._accept)

    def close(self) -> None:
        """End it with every connection through it."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join()

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.fault is not None and self.fault.means == "refuse":
                    client.close()
                    continue
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(_engine_socket())
                self._open |= {client, engine}
                connection = _Connection(self, client, engine)
                self._start(connection.carry_requests)
                self._start(connection.carry_answers)


@dataclasses.dataclass
class _Connection:
    proxy: EngineProxy
    client: socket.socket
    engine: socket.socket
    broken: Fault | None = None
    """The fault of the request that is being answered."""
    answered: int = 0

    def carry_requests(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.client.recv(1 << 16):
                self._note(data)
                self.engine.sendall(data)
            self.engine.shutdown(socket.SHUT_WR)

    def _note(self, data: bytes) -> None:
        for method, path in _REQUEST.findall(data):
            line = f"{method.decode()} {path.decode()}"
            self.proxy.requests.append(line)
            fault = self.proxy.fault
            self.broken = fault if fault is not None and fault.to in line else None
            self.answered = 0

    def carry_answers(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.engine.recv(1 << 16):
                if self.broken is not None and self.broken.means == "other words":
                    data = data.replace(*self.broken.words)
                elif self.broken is not None:
                    data = data[: max(0, self.broken.after_bytes - self.answered)]
                self.client.sendall(data)
                self.answered += len(data)
                if self.broken is not None and self.answered >= self.broken.after_bytes:
                    self._break(self.broken)
            self.client.shutdown(socket.SHUT_RDWR)

    def _break(self, fault: Fault) -> None:
        if fault.means == "nonsense":
            self.client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[1]\n")
        if fault.means == "cut":
            self.client.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def engine_proxy(folder: Path, fault: Fault | None = None) -> Iterator[EngineProxy]:
    """A proxy for the length of the block."""
    proxy = EngineProxy(folder, fault)
    try:
        yield proxy
    finally:
        proxy.close()


def _engine_socket() -> str:
    """The engine's own socket; DOCKER_HOST points at the proxy by the time it is needed."""
    return os.environ.get("PLANLOOP_TEST_ENGINE", "/var/run/docker.sock")
