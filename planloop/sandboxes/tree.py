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
_UNSEEN: int = getattr(os, "O_NOATIME", 0)
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


def open_quietly(name: str, parent: int) -> int:
    """A descriptor of a regular file to read, without a trace in its time of access.

    Raises:
        IsADirectoryError, ValueError, OSError: as for `open_regular`.
    """
    try:
        return open_regular(name, parent, os.O_RDONLY | _UNSEEN)
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
        return open_regular(name, parent)  # it is not ours


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
                inner = opened.enter_context(entered(name, directory, ours=ours))
            except OSError as error:
                if is_gone(error):
                    continue
                raise
            yield from _walk(inner, f"{prefix}{name}/", depth + 1, ours)


def is_gone(error: Exception) -> bool:
    """Whether an error says that what was just there is not, or is of another kind by now."""
    gone = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.EINVAL)
    return error.errno in gone if isinstance(error, OSError) else isinstance(error, ValueError)


@contextlib.contextmanager
def entered(name: str, parent: int, *, ours: bool = True) -> Iterator[int]:
    """A descriptor of a folder; one of ours is unlocked for as long as it is used."""
    locked = ours and os.geteuid() != 0 and _lacks(name, parent, 0o500)
    with unlocked(name, parent) if locked else contextlib.nullcontext():
        descriptor = open_directory(name, parent)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def opened_to_read(name: str, parent: int) -> Iterator[int]:
    """A descriptor of a regular file of ours, unlocked if its mode forbids us to read it."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = open_quietly(name, parent)
        except PermissionError:
            stack.enter_context(unlocked(name, parent))
            descriptor = open_quietly(name, parent)
        stack.callback(os.close, descriptor)
        yield descriptor


@contextlib.contextmanager
def opened_to_change(name: str, parent: int) -> Iterator[int]:
    """A descriptor of a folder of ours, whose mode from now on lets us change what is in it."""
    if os.geteuid() != 0 and _lacks(name, parent, 0o700):
        _let_in(name, parent)
    descriptor = open_directory(name, parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lacks(name: str, parent: int, bits: int) -> bool:
    return os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode & bits != bits


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


def remove_entry(name: str, parent: int) -> None:
    """Remove one entry of a folder of ours, whatever it is. Nothing else may be writing there."""
    try:
        os.unlink(name, dir_fd=parent)
    except IsADirectoryError:
        with opened_to_change(name, parent) as inner:
            empty(inner)
        os.rmdir(name, dir_fd=parent)


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
    """Remove everything below a root, however deep. Nothing else should be writing there.

    Raises:
        OSError: something stays, such as a folder on which something is mounted; or a folder was
            moved away or replaced meanwhile. Nothing beyond the root is touched.
    """
    directory = os.dup(root)
    above: list[tuple[int, int]] = []
    emptied = None
    try:
        while True:
            inner = _remove_what_goes(directory, emptied)
            if inner is not None:
                above.append(_identity(directory))
                directory = _step(directory, inner)
            elif above:
                emptied = _identity(directory)
                directory = _step(directory, "..")
                if _identity(directory) != above.pop():
                    raise OSError(errno.ESTALE, "a folder was moved while it was removed")
            else:
                return
    finally:
        os.close(directory)


def _identity(directory: int) -> tuple[int, int]:
    found = os.fstat(directory)
    return found.st_dev, found.st_ino


def _step(directory: int, name: str) -> int:
    stepped = os.open(name, _DIRECTORY, dir_fd=directory)
    os.close(directory)
    return stepped


def _remove_what_goes(directory: int, emptied: tuple[int, int] | None) -> str | None:
    """Remove the files and empty folders of a directory; returns a folder that is not empty.

    Args:
        emptied: the folder that was seen empty last: it goes now, or never.
    """
    for name in os.listdir(directory):
        try:
            os.unlink(name, dir_fd=directory)
        except IsADirectoryError:
            try:
                os.rmdir(name, dir_fd=directory)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                _let_in(name, directory)
                found = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if (found.st_dev, found.st_ino) == emptied:
                    raise
                return name
    return None


def _let_in(name: str, parent: int) -> None:
    """Let the owner change what is in a folder. A link, even one put there just now, is refused."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    place = os.open(name, flags, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{place}", 0o700)
    finally:
        os.close(place)
