"""File contents by their hash, each once, in a private folder of the host. Blocking."""

from __future__ import annotations

import errno
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

_PIECE = 1 << 20


class Contents:
    """Contents of regular files, found again by their hash, kept as long as somebody needs them.

    Args:
        folder: an empty folder that nobody else reads or writes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._kept: set[bytes] = set()
        self._needed: Counter[bytes] = Counter()

    def keep(self, source: int, size: int) -> bytes:
        """Keep at most `size` bytes of an open file; returns their hash. Holes stay holes."""
        if size <= _PIECE:
            return self._keep_small(os.pread(source, size, 0))
        return self._keep_large(source, size)

    def give(self, digest: bytes, target: int) -> None:
        """Write a kept content into an open, empty file."""
        source = os.open(digest.hex(), os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)
        try:
            copy_data(source, target, os.fstat(source).st_size)
        finally:
            os.close(source)

    def need(self, digests: Iterable[bytes]) -> None:
        """Somebody needs these contents once more."""
        self._needed.update(digests)

    def release(self, digests: Iterable[bytes]) -> None:
        """Somebody does not need these contents any more; what nobody needs is removed."""
        self._needed.subtract(digests)
        for digest in self._kept - (+self._needed).keys():
            os.unlink(digest.hex(), dir_fd=self._folder)
            self._kept.discard(digest)
        self._needed = +self._needed

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._folder)

    def _keep_small(self, data: bytes) -> bytes:
        digest = hashlib.sha256(data).digest()
        if digest not in self._kept:
            made = self._create(digest.hex())
            try:
                write_all(made, data)
            finally:
                os.close(made)
            self._kept.add(digest)
        return digest

    def _keep_large(self, source: int, size: int) -> bytes:
        made = self._create("next")
        try:
            os.ftruncate(made, size)
            found = _Hash(size)
            for offset, piece in data_of(source, size):
                found.add(offset, piece)
                write_all(made, piece, offset)
        finally:
            os.close(made)
        digest = found.digest()
        os.rename("next", digest.hex(), src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._kept.add(digest)
        return digest

    def _create(self, name: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(name, flags, 0o600, dir_fd=self._folder)


def digest_of(source: int, size: int) -> bytes:
    """The hash by which a content of that size is kept."""
    if size <= _PIECE:
        return hashlib.sha256(os.pread(source, size, 0)).digest()
    found = _Hash(size)
    for offset, piece in data_of(source, size):
        found.add(offset, piece)
    return found.digest()


class _Hash:
    """Of a large content: its size and what is not in holes, so that a hole costs nothing."""

    def __init__(self, size: int) -> None:
        self._hash = hashlib.sha256(b"%d bytes " % size)

    def add(self, offset: int, piece: bytes) -> None:
        self._hash.update(b"%d from %d " % (len(piece), offset))
        self._hash.update(piece)

    def digest(self) -> bytes:
        return self._hash.digest()


def copy_data(source: int, target: int, size: int) -> None:
    """Copy at most `size` bytes, holes left out; a file that shrinks meanwhile ends earlier."""
    os.ftruncate(target, size)
    for offset, piece in data_of(source, size):
        write_all(target, piece, offset)


def write_all(target: int, data: bytes, offset: int = 0) -> None:
    """Write all of `data` at an offset, in as many writes as it takes."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(target, rest, offset)
        rest, offset = rest[written:], offset + written


def data_of(source: int, size: int) -> Iterator[tuple[int, bytes]]:
    """The first `size` bytes of a file in pieces, each with its offset, without the holes."""
    for start, end in _extents(source, size):
        while start < end and (piece := os.pread(source, min(end - start, _PIECE), start)):
            yield start, piece
            start += len(piece)


def _extents(source: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of a file that hold data."""
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        if start >= size:
            return
        end = min(os.lseek(source, start, os.SEEK_HOLE), size)
        yield start, end
