"""What is kept of one output stream: head and tail in memory, a long one whole on disk."""

from __future__ import annotations

import codecs

from planloop.observation import Output
from planloop.sandboxes.spool import SpoolFile


class Capture:
    """Takes a stream piece by piece and holds no more than its ends in memory.

    Args:
        shown_bytes: kept for the observation, half from each end. A stream that is longer goes to
            a file, whole.
        kept_bytes: how much of it that file takes; past it the stream is `flooded`.
    """

    def __init__(self, shown_bytes: int, kept_bytes: int) -> None:
        self._head_room = shown_bytes - shown_bytes // 2
        self._tail_room = shown_bytes // 2
        self._shown_bytes = shown_bytes
        self._kept_bytes = kept_bytes
        self._spools = kept_bytes > shown_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.total = 0
        self.spool: SpoolFile | None = None
        """The whole stream, if it is longer than what is shown."""
        self.trouble: str | None = None
        """Why the whole stream could not be kept, if it could not."""

    @property
    def flooded(self) -> bool:
        """Whether more came than may be kept."""
        return self.total > self._kept_bytes

    def feed(self, piece: bytes) -> str:
        """Take the next piece; returns its text, a split character held back for the next."""
        self._write(piece)
        self.total += len(piece)
        room = self._head_room - len(self._head)
        self._head += piece[:room]
        self._keep_tail(piece[max(room, 0) :])
        return self._decoder.decode(piece)

    def end(self) -> str:
        """The text of a character that was cut off by the stream's end."""
        return self._decoder.decode(b"", final=True)

    def output(self) -> Output:
        """What is shown of the stream so far."""
        tail = bytes(self._tail[-self._tail_room :]) if self._tail_room else b""
        elided = self.total - len(self._head) - len(tail)
        if not elided:
            whole = bytes(self._head) + tail
            return Output(head=whole.decode("utf-8", "replace"), total_bytes=self.total)
        head, tail = _whole_end(bytes(self._head)), _whole_start(tail)
        return Output(
            head=head.decode("utf-8", "replace"),
            tail=tail.decode("utf-8", "replace"),
            elided_bytes=self.total - len(head) - len(tail),
            total_bytes=self.total,
        )

    def _write(self, piece: bytes) -> None:
        """Write a piece to the file, which is made when the first piece does not fit any more.

        A full disk is told, and changes nothing about the call.
        """
        if not self._spools or self.total + len(piece) <= self._shown_bytes:
            return
        try:
            if self.spool is None:
                self.spool = SpoolFile()
                self.spool.write(self._head + self._tail)
            self.spool.write(piece[: max(0, self._kept_bytes - self.spool.size)])
        except OSError as error:
            self._spools, self.spool = False, None
            self.trouble = error.strerror or str(error)

    def _keep_tail(self, piece: bytes) -> None:
        self._tail += piece[-self._tail_room :] if self._tail_room else b""
        if len(self._tail) > 4 * self._tail_room:
            del self._tail[: -self._tail_room]


def _whole_end(data: bytes) -> bytes:
    """`data` without a character that is cut off at its end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            return data[:-back] if byte >= 0xC0 and _width(byte) > back else data
    return data


def _whole_start(data: bytes) -> bytes:
    """`data` without the rest of a character that began before it."""
    skip = 0
    while skip < min(3, len(data)) and data[skip] & 0xC0 == 0x80:
        skip += 1
    return data[skip:]


def _width(lead: int) -> int:
    return 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
