"""Bytes by their hash: in a run's folder, or in a file without a name for runs in memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import threading
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Protocol

from planloop.errors import InfrastructureError

_PIECE = 1 << 20


class Blobs(Protocol):
    """Where a run keeps bytes that are too large for its log. Blocking, and safe in threads."""

    def keep(self, pieces: Iterable[bytes]) -> str:
        """Keep bytes; returns the hash of their whole.

        Raises:
            InfrastructureError: the disk is full or gone.
        """
        ...

    def size(self, name: str) -> int:
        """How many bytes a blob has.

        Raises:
            ValueError: it is not here, or not as it was written.
        """
        ...

    def read(self, name: str, start: int, size: int) -> bytes:
        """At most `size` bytes from `start` on.

        Raises:
            ValueError: as for `size`.
        """
        ...


class FolderBlobs:
    """One file a blob."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)
        self._sizes: dict[str, int] = {}
        """Of those that were looked at, and were as they had been written."""

    def keep(self, pieces: Iterable[bytes]) -> str:
        """As `Blobs.keep`."""
        hashing = hashlib.sha256()
        try:
            number, temporary = tempfile.mkstemp(prefix=".", dir=self._folder)
            try:
                with os.fdopen(number, "wb") as file:
                    for piece in pieces:
                        hashing.update(piece)
                        file.write(piece)
                Path(temporary).replace(self._folder / hashing.hexdigest())
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()
                raise
        except OSError as error:
            raise InfrastructureError(f"cannot write a blob: {error.strerror}") from None
        return hashing.hexdigest()

    def size(self, name: str) -> int:
        """As `Blobs.size`."""
        if name not in self._sizes:
            self._sizes[name] = _checked_size(self._folder, name)
        return self._sizes[name]

    def read(self, name: str, start: int, size: int) -> bytes:
        """As `Blobs.read`."""
        self.size(name)
        with _opened(self._folder, name) as file:
            file.seek(start)
            return file.read(size)


class MemoryBlobs:
    """All blobs in one file without a name: they live as long as this object, not in memory."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[int, int]] = {}
        self._file: BinaryIO | None = None
        self._lock = threading.Lock()

    def keep(self, pieces: Iterable[bytes]) -> str:
        """As `Blobs.keep`."""
        with self._lock:
            try:
                return self._append(self._open(), pieces)
            except OSError as error:
                raise InfrastructureError(f"cannot keep a blob: {error.strerror}") from None

    def size(self, name: str) -> int:
        """As `Blobs.size`."""
        if name not in self._places:
            raise ValueError(f"blob {name[:12]} is missing")
        return self._places[name][1]

    def read(self, name: str, start: int, size: int) -> bytes:
        """As `Blobs.read`."""
        size = max(0, min(size, self.size(name) - start))
        with self._lock:
            file = self._open()
            file.seek(self._places[name][0] + start)
            return file.read(size)

    def _append(self, file: BinaryIO, pieces: Iterable[bytes]) -> str:
        hashing = hashlib.sha256()
        first = file.seek(0, os.SEEK_END)
        try:
            for piece in pieces:
                hashing.update(piece)
                file.write(piece)
            file.flush()
        except OSError:
            file.truncate(first)
            raise
        self._places[hashing.hexdigest()] = (first, file.tell() - first)
        return hashing.hexdigest()

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this object
            weakref.finalize(self, self._file.close)
        return self._file


def read_blob(folder: Path, name: str) -> bytes:
    """A whole blob of a folder.

    Raises:
        ValueError: it is missing, or not as it was written.
    """
    with _opened(folder, name) as file:
        data = file.read()
    if hashlib.sha256(data).hexdigest() != name:
        raise ValueError(f"blob {name[:12]} is not as it was written")
    return data


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file. A run's folder may be a stranger's: no link is followed, and no pipe or
    device waited for.

    Raises:
        OSError: it is something else, or cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    file = os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError("it is no regular file")
    return file


def _opened(folder: Path, name: str) -> BinaryIO:
    if not (len(name) == 64 and name.isascii() and name.isalnum()):
        raise ValueError("it names no blob")
    try:
        return open_regular(folder / name)
    except OSError:
        raise ValueError(f"blob {name[:12]} is missing") from None


def _checked_size(folder: Path, name: str) -> int:
    """The size of a blob that still has the hash that names it."""
    hashing, size = hashlib.sha256(), 0
    with _opened(folder, name) as file:
        while piece := file.read(_PIECE):
            hashing.update(piece)
            size += len(piece)
    if hashing.hexdigest() != name:
        raise ValueError(f"blob {name[:12]} is not as it was written")
    return size
