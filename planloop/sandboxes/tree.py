"""Walking a folder that hostile code may change meanwhile: directory descriptors, no paths.

Every function takes the descriptor of the folder's root and names below it; none follows a link
out of it, opens a device or a pipe, or waits for one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from planloop.sandbox import WORKSPACE

MAX_DEPTH = 128
"""Folders deeper than this are not entered: one descriptor is held for each level."""
_MAX_LINKS = 40
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_QUIET = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_root(path: str | os.PathLike[str]) -> int:
    """A descriptor of a folder whose path is trusted."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def open_directory(name: str, parent: int) -> int:
    """A descriptor of a directory in `parent`; a link is refused."""
    return os.open(name, _DIRECTORY, dir_fd=parent)


def open_regular(name: str, parent: int, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
    """A descriptor of a regular file in `parent`.

    Raises:
        IsADirectoryError: it is a directory.
        ValueError: it is a device, a pipe or a socket.
        OSError: as `open` would; a link is refused.
    """
    try:
        descriptor = os.open(name, flags | _QUIET, mode, dir_fd=parent)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise ValueError("not a regular file") from None
        raise
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise ValueError("not a regular file")


@contextlib.contextmanager
def parent_of(
    root: int, parts: Sequence[str], *, create: bool = False
) -> Iterator[tuple[int, str]]:
    """The directory and the final name that `parts` lead to, links inside the root resolved.

    Args:
        create: make missing directories.

    Raises:
        ValueError: a link leads out of the root, or the links never end.
    """
    walk = _Walk(root, parts, create)
    try:
        yield walk.resolve()
    finally:
        walk.close()


class _Walk:
    """A path walked one name at a time, with one open descriptor for each level."""

    def __init__(self, root: int, parts: Sequence[str], create: bool) -> None:
        self._pending = list(reversed(parts))
        self._create = create
        self._levels = [os.dup(root)]
        self._links = 0

    def resolve(self) -> tuple[int, str]:
        while self._pending:
            name = self._pending.pop()
            if name == "..":
                self._ascend()
            elif (target := self._link_target(name)) is not None:
                self._follow(target)
            elif self._pending:
                self._descend(name)
            else:
                return self._levels[-1], name
        return self._levels[-1], "."

    def close(self) -> None:
        while self._levels:
            os.close(self._levels.pop())

    def _link_target(self, name: str) -> str | None:
        try:
            return os.readlink(name, dir_fd=self._levels[-1])
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return None
            raise

    def _follow(self, target: str) -> None:
        self._links += 1
        if self._links > _MAX_LINKS:
            raise ValueError("too many links")
        if target.startswith("/"):
            if target != WORKSPACE and not target.startswith(WORKSPACE + "/"):
                raise ValueError("a link leads out of the workspace")
            target = target[len(WORKSPACE) :]
            while len(self._levels) > 1:
                os.close(self._levels.pop())
        self._pending.extend(name for name in reversed(target.split("/")) if name not in ("", "."))

    def _ascend(self) -> None:
        if len(self._levels) == 1:
            raise ValueError("a link leads out of the workspace")
        os.close(self._levels.pop())

    def _descend(self, name: str) -> None:
        if len(self._levels) > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} folders deep")
        if self._create:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=self._levels[-1])
        self._levels.append(open_directory(name, self._levels[-1]))


Entry = tuple[int, str, str, os.stat_result]
"""The parent's descriptor (open until the next step), the name in it, the path, the metadata."""


def walk(root: int, *, ours: bool) -> Iterator[Entry]:
    """Everything below a root, folders before what they hold, in no order.

    What vanishes meanwhile is left out; folders deeper than `MAX_DEPTH` are yielded, not entered.

    Args:
        ours: whether folders that their owner has locked may be opened all the same.

    Raises:
        PermissionError: a folder may not be read.
    """
    yield from _walk(root, "", 0, ours)


def _walk(directory: int, prefix: str, depth: int, ours: bool) -> Iterator[Entry]:
    for name in os.listdir(directory):
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            continue
        yield directory, name, prefix + name, found
        if not stat.S_ISDIR(found.st_mode) or depth >= MAX_DEPTH:
            continue
        with contextlib.ExitStack() as opened:
            try:
                inner = opened.enter_context(_entered(name, directory, ours))
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    continue  # it is not a folder any more
                raise
            yield from _walk(inner, f"{prefix}{name}/", depth + 1, ours)


@contextlib.contextmanager
def _entered(name: str, parent: int, ours: bool) -> Iterator[int]:
    """A descriptor of a folder; one of ours is unlocked for as long as it is used."""
    locked = ours and os.geteuid() != 0 and _is_locked(name, parent)
    with unlocked(name, parent) if locked else contextlib.nullcontext():
        descriptor = open_directory(name, parent)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _is_locked(name: str, parent: int) -> bool:
    return os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode & 0o500 != 0o500


@contextlib.contextmanager
def unlocked(name: str, parent: int) -> Iterator[None]:
    """Let the owner, this process, read a file or folder that its mode forbids it to read.

    Raises:
        OSError: it is not ours, or neither file nor folder.
    """
    path = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        mode = os.fstat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        os.chmod(f"/proc/self/fd/{path}", stat.S_IMODE(mode) | 0o500)
        try:
            yield
        finally:
            os.chmod(f"/proc/self/fd/{path}", stat.S_IMODE(mode))
    finally:
        os.close(path)


def remove(folder: Path) -> None:
    """Remove a folder of ours, however deep hostile code made it. No error if it is gone."""
    if folder.exists():
        root = open_root(folder)
        try:
            empty(root)
        finally:
            os.close(root)
        folder.rmdir()


def empty(root: int) -> None:
    """Remove everything below a root, however deep. Nothing else may be writing there."""
    directory = os.dup(root)
    depth = 0
    while True:
        inner = _remove_what_goes(directory)
        if inner is not None:
            directory, depth = _step(directory, inner), depth + 1
        elif depth:
            directory, depth = _step(directory, ".."), depth - 1
        else:
            os.close(directory)
            return


def _step(directory: int, name: str) -> int:
    try:
        return os.open(name, _DIRECTORY, dir_fd=directory)
    finally:
        os.close(directory)


def _remove_what_goes(directory: int) -> str | None:
    """Remove the files and empty folders of a directory; returns a folder that is not empty."""
    for name in os.listdir(directory):
        try:
            os.unlink(name, dir_fd=directory)
        except IsADirectoryError:
            try:
                os.rmdir(name, dir_fd=directory)
            except OSError:
                os.chmod(name, 0o700, dir_fd=directory)
                return name
    return None
