"""Copies of whole folders between descriptors, in and out. No link is ever followed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
from collections.abc import Iterator

from planloop.sandboxes import tree
from planloop.sandboxes.contents import copy_data
from planloop.text import one_line


def copy_tree(origin: int, target: int, owner: tuple[int, int] | None) -> None:
    """Copy a person's folders, regular files and links with their modes and times.

    What vanishes meanwhile is left out, and so are pipes, sockets, devices, and what lies in
    folders deeper than `tree.MAX_DEPTH`.

    Args:
        owner: user and group of what is made, if this process may give it away.

    Raises:
        OSError: something could not be read or written.
    """
    with _Placed(target, owner, ours=False) as placed:
        for parent, name, path, found in tree.walk(origin, ours=False):
            with contextlib.suppress(FileNotFoundError):
                placed.take(parent, name, path, found)


def copy_tree_out(
    origin: int, target: int, max_bytes: int, max_files: int, *, any_links: bool = False
) -> tuple[str, ...]:
    """Copy regular files and links that stay inside out of a hostile folder.

    Args:
        any_links: take links that lead out too: the copy is never followed on the host.

    Returns what was refused, one sentence each, at most 1,000 of them.
    """
    taken = _Bounds(max_bytes, max_files)
    refused: list[str] = []
    with _Placed(target, None, ours=True, plain_modes=True, any_links=any_links) as placed:
        for parent, name, path, found in tree.walk(origin, ours=True):
            why = taken.refusal(path, found)
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

    def refusal(self, path: str, found: os.stat_result) -> str | None:
        """Why an entry may not be copied out, or None; counts what may."""
        if stat.S_ISDIR(found.st_mode):
            return _folder_refusal(path) or self._count(0)
        if stat.S_ISLNK(found.st_mode):
            return self._count(0)
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
        any_links: bool = True,
    ) -> None:
        self._target = target
        self._ours = ours
        self._owner = owner
        self._plain_modes = plain_modes
        self._any_links = any_links
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
            self._copy_link(parent, name, path, into)
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

    def _copy_link(self, parent: int, name: str, path: str, into: int) -> None:
        target = os.readlink(name, dir_fd=parent)  # read once: it may be another one by now
        if not self._any_links and not stays_inside(path, target):
            raise ValueError("not copied: the link leads out")
        os.symlink(target, name, dir_fd=into)
        self._give(name, into)

    def _copy_file(self, parent: int, name: str, into: int, most: int) -> None:
        with self._source(name, parent) as source:
            found = os.fstat(source)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            made = os.open(name, flags, 0o600, dir_fd=into)
            try:
                copy_data(source, made, min(found.st_size, most))
                self._finish(made, found)
            finally:
                os.close(made)

    @contextlib.contextmanager
    def _source(self, name: str, parent: int) -> Iterator[int]:
        if self._ours:
            with tree.opened_to_read(name, parent) as source:
                yield source
            return
        source = tree.open_quietly(name, parent)
        try:
            yield source
        finally:
            os.close(source)

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
