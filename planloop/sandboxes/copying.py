"""Copies of whole folders between descriptors: in, out, snapshots. No link is ever followed."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import stat
from collections.abc import Iterator

from planloop.sandboxes import tree
from planloop.text import one_line

_PIECE = 1 << 20


def copy_tree(origin: int, target: int, owner: tuple[int, int] | None, *, ours: bool) -> None:
    """Copy folders, regular files and links with their modes and times.

    What vanishes meanwhile is left out, and so are pipes, sockets, devices, and what lies in
    folders deeper than `tree.MAX_DEPTH`.

    Args:
        owner: user and group of what is made, if this process may give it away.
        ours: whether files that their owner has locked are read all the same.

    Raises:
        OSError: something could not be read or written.
    """
    with _Placed(target, owner, ours=ours) as placed:
        for parent, name, path, found in tree.walk(origin, ours=ours):
            with contextlib.suppress(FileNotFoundError):
                placed.take(parent, name, path, found)


def copy_tree_out(origin: int, target: int, max_bytes: int, max_files: int) -> tuple[str, ...]:
    """Copy regular files and links that stay inside out of a hostile folder.

    Returns what was refused, one sentence each, at most 1,000 of them.
    """
    taken = _Bounds(max_bytes, max_files)
    refused: list[str] = []
    with _Placed(target, None, ours=True, plain_modes=True) as placed:
        for parent, name, path, found in tree.walk(origin, ours=True):
            why = taken.refusal(parent, name, path, found)
            if why is None:
                why = _attempt(placed, parent, name, path, found)
            if why is not None and len(refused) < 1000:
                refused.append(f"`{one_line(path, 120)}`: {why}")
    return tuple(refused)


def _attempt(
    placed: _Placed, parent: int, name: str, path: str, found: os.stat_result
) -> str | None:
    try:
        placed.take(parent, name, path, found)
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


@dataclasses.dataclass
class _Bounds:
    max_bytes: int
    max_files: int

    def refusal(self, parent: int, name: str, path: str, found: os.stat_result) -> str | None:
        """Why an entry may not be copied out, or None; counts what may."""
        if stat.S_ISDIR(found.st_mode):
            return _folder_refusal(path) or self._count(0)
        if stat.S_ISLNK(found.st_mode):
            return _link_refusal(parent, name, path) or self._count(0)
        if not stat.S_ISREG(found.st_mode):
            return f"not copied: it is a {_kind(found.st_mode)}"
        return self._count(found.st_size)

    def _count(self, size: int) -> str | None:
        if self.max_files < 1:
            return "not copied: too many files"
        if size > self.max_bytes:
            return f"not copied: its {size} bytes are over what is left of the limit"
        self.max_files -= 1
        self.max_bytes -= size
        return None


def _folder_refusal(path: str) -> str | None:
    if path.count("/") >= tree.MAX_DEPTH:
        return f"not copied: more than {tree.MAX_DEPTH} folders deep"
    return None


def _link_refusal(parent: int, name: str, path: str) -> str | None:
    try:
        target = os.readlink(name, dir_fd=parent)
    except OSError as error:
        return f"not copied: {error.strerror}"
    return None if stays_inside(path, target) else "not copied: the link leads out"


def stays_inside(path: str, target: str) -> bool:
    """Whether a link at `path` cannot lead out of the root, given that no other link does.

    `..` may only come first: after a name it could step back from where another link leads.
    """
    names = [name for name in target.split("/") if name not in ("", ".")]
    climbs = next((i for i, name in enumerate(names) if name != ".."), len(names))
    return not target.startswith("/") and ".." not in names[climbs:] and climbs <= path.count("/")


def _kind(mode: int) -> str:
    for test, word in (
        (stat.S_ISFIFO, "named pipe"),
        (stat.S_ISSOCK, "socket"),
        (stat.S_ISCHR, "device"),
        (stat.S_ISBLK, "device"),
    ):
        if test(mode):
            return word
    return "special file"


class _Placed:
    """Writes entries of a walk below a target folder, one open folder at a time."""

    def __init__(
        self,
        target: int,
        owner: tuple[int, int] | None,
        *,
        ours: bool,
        plain_modes: bool = False,
    ) -> None:
        self._target = target
        self._ours = ours
        self._owner = owner
        self._plain_modes = plain_modes
        self._folders: list[tuple[str, int]] = []
        self._modes: list[tuple[int, int]] = []

    def __enter__(self) -> _Placed:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave("")

    def take(self, parent: int, name: str, path: str, found: os.stat_result) -> None:
        """Copy one entry; sockets, pipes and devices are passed over."""
        into = self._into(path)
        if stat.S_ISDIR(found.st_mode):
            self._make_folder(name, path, found, into)
        elif stat.S_ISLNK(found.st_mode):
            os.symlink(os.readlink(name, dir_fd=parent), name, dir_fd=into)
            self._give(name, into)
        elif stat.S_ISREG(found.st_mode):
            self._copy_file(parent, name, into, found.st_size)

    def _into(self, path: str) -> int:
        folder = path.rpartition("/")[0]
        self._leave(folder)
        if (self._folders[-1][0] if self._folders else "") != folder:
            raise ValueError("its folder was not copied")
        return self._folders[-1][1] if self._folders else self._target

    def _leave(self, folder: str) -> None:
        """Close the folders that `folder` does not lie in, and give them their modes."""
        while self._folders and not f"{folder}/".startswith(f"{self._folders[-1][0]}/"):
            _, descriptor = self._folders.pop()
            mode, modified = self._modes.pop()
            os.fchmod(descriptor, mode)
            os.utime(descriptor, ns=(modified, modified))
            os.close(descriptor)

    def _make_folder(self, name: str, path: str, found: os.stat_result, into: int) -> None:
        os.mkdir(name, 0o700, dir_fd=into)
        self._give(name, into)
        self._folders.append((path, tree.open_directory(name, into)))
        mode = 0o755 if self._plain_modes else found.st_mode & 0o777
        self._modes.append((mode, found.st_mtime_ns))

    def _copy_file(self, parent: int, name: str, into: int, most: int) -> None:
        source = self._source(name, parent)
        try:
            found = os.fstat(source)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            made = os.open(name, flags, 0o600, dir_fd=into)
            try:
                _copy_data(source, made, min(found.st_size, most))
                self._finish(made, found)
            finally:
                os.close(made)
        finally:
            os.close(source)

    def _source(self, name: str, parent: int) -> int:
        try:
            return tree.open_regular(name, parent)
        except PermissionError:
            if not self._ours:
                raise
            with tree.unlocked(name, parent):
                return tree.open_regular(name, parent)

    def _finish(self, made: int, found: os.stat_result) -> None:
        if self._owner is not None:
            os.fchown(made, *self._owner)
        mode = found.st_mode & 0o777
        if self._plain_modes:
            mode = 0o755 if mode & 0o100 else 0o644
        os.fchmod(made, mode)
        os.utime(made, ns=(found.st_mtime_ns, found.st_mtime_ns))

    def _give(self, name: str, into: int) -> None:
        if self._owner is not None:
            os.chown(name, *self._owner, dir_fd=into, follow_symlinks=False)


def _copy_data(source: int, target: int, size: int) -> None:
    """Copy at most `size` bytes, holes left out; a file that shrinks meanwhile ends earlier."""
    os.ftruncate(target, size)
    for start, end in _extents(source, size):
        os.lseek(source, start, os.SEEK_SET)
        os.lseek(target, start, os.SEEK_SET)
        left = end - start
        while left and (piece := os.read(source, min(left, _PIECE))):
            left -= len(piece)
            while piece:
                piece = piece[os.write(target, piece) :]


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
