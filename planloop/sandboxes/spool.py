"""A whole output stream on the host's disk, in a file without a name."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator

_PIECE = 1 << 20


class SpoolFile:
    """Takes bytes, gives them back in order. Nothing is left of it when it is let go of.

    Raises:
        OSError: there is no room for temporary files.
    """

    def __init__(self) -> None:
        with tempfile.TemporaryFile(buffering=0) as file:
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        self.size = 0

    def write(self, data: bytes | bytearray) -> None:
        """Append bytes. Raises `OSError` if the disk is full."""
        rest = memoryview(data)
        while rest:
            written = os.write(self._descriptor, rest)
            self.size += written
            rest = rest[written:]

    def pieces(self) -> Iterator[bytes]:
        """The bytes from the beginning, in bounded pieces."""
        offset = 0
        while piece := os.pread(self._descriptor, _PIECE, offset):
            yield piece
            offset += len(piece)
