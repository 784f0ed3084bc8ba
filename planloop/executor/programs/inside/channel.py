"""Frames to and from the host, and what the program prints on its way there."""

from __future__ import annotations

import io
import json
import socket
import struct
import threading
from typing import Any

from .errors import Gone

MOST_FRAME = 16 << 20
MOST_PRINTED = 8_000
"""Characters that are printed at once."""


class Channel:
    """Frames to and from the host. Any thread may ask; whoever waits reads for the others."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._sending = threading.Lock()
        self._turn = threading.Condition()
        self._reading = False
        self._answers: dict[int, dict[str, Any]] = {}
        self._numbers = 0
        self._may_ask = False
        self._asking = 0

    def send(self, frame: dict[str, Any]) -> None:
        """Send a frame. Raises `ValueError` for one that is too large."""
        data = json.dumps(frame, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")
        if len(data) > MOST_FRAME:
            raise ValueError(f"{len(data)} bytes are too many for one call")
        with self._sending:
            try:
                self._socket.sendall(struct.pack(">I", len(data)) + data)
            except OSError:
                raise Gone from None

    def receive(self) -> dict[str, Any]:
        """The next frame."""
        size = struct.unpack(">I", self._exactly(4))[0]
        frame: dict[str, Any] = json.loads(self._exactly(size))
        return frame

    def _exactly(self, size: int) -> bytes:
        pieces, left = [], size
        while left:
            try:
                piece = self._socket.recv(min(left, 1 << 20))
            except OSError:
                piece = b""
            if not piece:
                raise Gone
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def begin_statement(self) -> None:
        """From here on calls are made; those of threads have waited for it."""
        with self._turn:
            self._may_ask = True
            self._turn.notify_all()

    def end_statement(self) -> None:
        """Let the calls of threads come to their answers, and no new ones be made."""
        with self._turn:
            self._may_ask = False
            while self._asking:
                self._turn.wait()

    def ask(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Send a call, and wait for its answer."""
        with self._turn:
            while not self._may_ask:
                self._turn.wait()
            self._asking += 1
            self._numbers += 1
            number = self._numbers
        try:
            self.send(dict(frame, call=number))
            return self._answer_to(number)
        finally:
            with self._turn:
                self._asking -= 1
                self._turn.notify_all()

    def _answer_to(self, number: int) -> dict[str, Any]:
        while True:
            with self._turn:
                while number not in self._answers and self._reading:
                    self._turn.wait()
                if number in self._answers:
                    return self._answers.pop(number)
                self._reading = True
            self._read_one()

    def _read_one(self) -> None:
        answer = None
        try:
            answer = self.receive()
        finally:
            with self._turn:
                self._reading = False
                if answer is not None:
                    self._answers[answer["call"]] = answer
                self._turn.notify_all()

    def forget_answers(self) -> None:
        """Answers to calls of threads that a checkpoint does not have."""
        self._answers.clear()


class Written(io.TextIOBase):
    """What the program prints, on its way to the host in pieces."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, channel: Channel, stream: str) -> None:
        super().__init__()
        self._channel = channel
        self._stream = stream
        self._pieces: list[str] = []
        self._size = 0
        self._lock = threading.RLock()
        self.buffer = Bytes(self)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return {"stdout": 1, "stderr": 2}[self._stream]

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            for start in range(0, len(text), MOST_PRINTED):
                self._pieces.append(text[start : start + MOST_PRINTED])
                self._size += len(self._pieces[-1])
                if self._size >= MOST_PRINTED:
                    self.flush()
        return len(text)

    def flush(self) -> None:
        with self._lock:
            text, self._pieces, self._size = "".join(self._pieces), [], 0
            if text:
                text = text.encode("utf-8", "replace").decode("utf-8")
                self._channel.send({"op": "out", "stream": self._stream, "text": text})


class Bytes(io.RawIOBase):
    """The binary side of a stream."""

    def __init__(self, text: Written) -> None:
        super().__init__()
        self._text = text

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._text.write(bytes(data).decode("utf-8", "replace"))
        return len(data)

    def flush(self) -> None:
        self._text.flush()
