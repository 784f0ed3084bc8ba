"""The files of a workspace, through the descriptor of its folder. Blocking; run it in a thread.

Where the host is root, each operation acts as the sandbox's own user: permissions count as they
do inside, and what is created belongs to the sandbox.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from planloop.sandbox import FileStamp
from planloop.sandboxes import tree
from planloop.sandboxes.copying import copy_tree, copy_tree_out
from planloop.sandboxes.paths import workspace_parts


class Files:
    """A workspace folder on this machine.

    Args:
        root: descriptor of the folder; closed by `close`.
        owner: the user and group that own the files, if this process is root; else None.
    """

    def __init__(self, root: int, owner: tuple[int, int] | None) -> None:
        self._root = root
        self._owner = owner

    def read(self, path: str, max_bytes: int) -> bytes:
        """As `Sandbox.read_file`."""
        with self._located(path) as (parent, name):
            descriptor = tree.open_regular(name, parent)
            try:
                size = os.fstat(descriptor).st_size
                data = b"" if size > max_bytes else _read_all(descriptor, max_bytes + 1)
            finally:
                os.close(descriptor)
        if size > max_bytes or len(data) > max_bytes:
            raise ValueError(f"file of {max(size, len(data))} bytes is larger than {max_bytes}")
        return data

    def write(self, path: str, data: bytes) -> None:
        """As `Sandbox.write_file`."""
        with self._located(path, create=True) as (parent, name):
            flags = os.O_WRONLY | os.O_CREAT
            descriptor = tree.open_regular(name, parent, flags)
            try:
                os.ftruncate(descriptor, 0)
                _write_all(descriptor, data)
            finally:
                os.close(descriptor)

    def scan(self) -> dict[str, FileStamp]:
        """As `Sandbox.scan`."""
        return {
            path: FileStamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode)
            for _, _, path, found in tree.walk(self._root, ours=True)
            if stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)
        }

    def copy_in(self, source: Path, *, ours: bool = False) -> None:
        """As `Sandbox.copy_in`.

        Args:
            ours: whether the source is a copy that we made, not a person's folder.
        """
        origin = tree.open_root(source)
        try:
            copy_tree(origin, self._root, self._owner, ours=ours)
        finally:
            os.close(origin)

    def copy_out(self, target: Path, max_bytes: int, max_files: int) -> tuple[str, ...]:
        """As `Sandbox.copy_out`."""
        destination = tree.open_root(target)
        try:
            return copy_tree_out(self._root, destination, max_bytes, max_files)
        finally:
            os.close(destination)

    def copy_to(self, target: int) -> None:
        """Copy everything, modes and times kept, into a private folder of the host."""
        copy_tree(self._root, target, None, ours=True)

    def empty(self) -> None:
        """Remove everything in the workspace. Nothing may be running in the sandbox."""
        tree.empty(self._root)

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._root)

    @contextlib.contextmanager
    def _located(self, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        parts = workspace_parts(path)
        with acting_as(self._owner), tree.parent_of(self._root, parts, create=create) as located:
            yield located


@contextlib.contextmanager
def acting_as(owner: tuple[int, int] | None) -> Iterator[None]:
    """Touch files as another user, in this thread only. None for no change."""
    if owner is None:
        yield
        return
    library = ctypes.CDLL(None)
    group, user = library.setfsgid(owner[1]), library.setfsuid(owner[0])
    try:
        yield
    finally:
        library.setfsuid(user)
        library.setfsgid(group)


def _read_all(descriptor: int, limit: int) -> bytes:
    pieces, left = [], limit
    while left and (piece := os.read(descriptor, min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
