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
from planloop.sandboxes.contents import write_all
from planloop.sandboxes.copying import copy_tree, copy_tree_out
from planloop.sandboxes.fitting import NO_ROOM
from planloop.sandboxes.paths import workspace_parts


class Files:
    """A workspace folder on this machine.

    Args:
        root: descriptor of the folder; closed by `close`.
        owner: the user and group that own the files, if this process is root; else None.
    """

    def __init__(self, root: int, owner: tuple[int, int] | None) -> None:
        self._root = root
        self.owner = owner

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
            try:
                descriptor = tree.open_regular(name, parent, os.O_WRONLY)
            except FileNotFoundError:
                _create(name, parent, data)
                return
            try:
                _fill(descriptor, data)
            finally:
                os.close(descriptor)

    def scan(self) -> dict[str, FileStamp]:
        """As `Sandbox.scan`."""
        with self.opened() as root:
            return {
                path: FileStamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode)
                for _, _, path, found in tree.walk(root, ours=True)
                if stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)
            }

    def copy_in(self, source: Path) -> None:
        """As `Sandbox.copy_in`."""
        origin = tree.open_root(source)
        try:
            with self.opened() as root:
                copy_tree(origin, root, self.owner)
        finally:
            os.close(origin)

    def copy_out(
        self, target: Path, max_bytes: int, max_files: int, *, any_links: bool = False
    ) -> tuple[str, ...]:
        """As `Sandbox.copy_out`; `any_links` as for `copy_tree_out`."""
        destination = tree.open_root(target)
        try:
            with self.opened() as root:
                return copy_tree_out(root, destination, max_bytes, max_files, any_links=any_links)
        finally:
            os.close(destination)

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor of the workspace of one's own: two that list one would share a place."""
        with tree.entered(".", self._root) as root:
            yield root

    @contextlib.contextmanager
    def opened_to_change(self) -> Iterator[int]:
        """As `opened`, and the workspace's own mode lets us change it from now on."""
        with tree.opened_to_change(".", self._root) as root:
            yield root

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._root)

    @contextlib.contextmanager
    def _located(self, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        parts = workspace_parts(path)
        with acting_as(self.owner), tree.parent_of(self._root, parts, create=create) as located:
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


def _create(name: str, parent: int, data: bytes) -> None:
    """Make a file; none is left of one that has no room."""
    descriptor = tree.open_regular(name, parent, os.O_WRONLY | os.O_CREAT)
    try:
        _fill(descriptor, data)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=parent)
        raise
    finally:
        os.close(descriptor)


def _fill(descriptor: int, data: bytes) -> None:
    """Make `data` a file's content. The room is taken first: without it the file stays as it was.

    A file beside it, renamed, would need room for both and lose its owner and further names.
    """
    if data:
        try:
            os.posix_fallocate(descriptor, 0, len(data))
        except OSError as error:
            if error.errno in NO_ROOM:
                raise
            # The file system cannot say beforehand.
    write_all(descriptor, data)
    os.ftruncate(descriptor, len(data))


def _read_all(descriptor: int, limit: int) -> bytes:
    pieces, left = [], limit
    while left and (piece := os.read(descriptor, min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)
