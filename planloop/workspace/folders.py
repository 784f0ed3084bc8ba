"""Folders by descriptor: every component is opened without following links.

A folder that changes under us can make a file vanish, but cannot make us read or write elsewhere.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

MAX_DEPTH = 100
"""Levels of folders that are looked into; each costs one descriptor while it is walked."""

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_FILE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
CHUNK = 1 << 20


class Found(NamedTuple):
    """One entry of a folder, seen without following links."""

    path: str
    """Relative, with `/`."""
    name: str
    folder: int
    """Descriptor of the folder that holds it; valid until the walk goes on."""
    status: os.stat_result

    @property
    def is_folder(self) -> bool:
        """Whether it is a real folder."""
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.status.st_mode)


class TooMany(ValueError):
    """A walk saw more entries than it was allowed to."""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """A descriptor of the folder itself; links in the caller's own path are followed."""
    descriptor = os.open(path, _FOLDER | getattr(os, "O_CLOEXEC", 0))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_folder(name: str, parent: int) -> int:
    """A descriptor of a subfolder. Raises OSError (ENOTDIR or ELOOP) if it is a link."""
    return os.open(name, _FOLDER | _NOFOLLOW, dir_fd=parent)


def open_folder_at(root: int, path: str) -> int:
    """A descriptor of the folder at `path` ("" for the root itself). No link is followed."""
    descriptor = os.dup(root)
    for step in path.split("/") if path else ():
        try:
            below = open_folder(step, descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


@contextlib.contextmanager
def folder_at(root: int, path: str) -> Iterator[int]:
    """`open_folder_at`, closed at the end of the block."""
    descriptor = open_folder_at(root, path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def parent_of(root: int, path: str) -> Iterator[tuple[int, str]]:
    """The descriptor of the folder that holds `path`, and the last name. No link is followed."""
    folder, _, name = path.rpartition("/")
    with folder_at(root, folder) as descriptor:
        yield descriptor, name


@contextlib.contextmanager
def made_folder(root: int, path: str) -> Iterator[int]:
    """The descriptor of the folder at `path`, made with its parents where they are missing."""
    descriptor = os.dup(root)
    try:
        for step in path.split("/") if path else ():
            with contextlib.suppress(FileExistsError):
                os.mkdir(step, 0o755, dir_fd=descriptor)
            below = open_folder(step, descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def open_regular(name: str, folder: int) -> int:
    """A descriptor of a regular file, for reading.

    Raises:
        OSError: it is a link, is not a regular file, is gone, or may not be read.
    """
    descriptor = os.open(name, _FILE | _NOFOLLOW, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"`{name}` is no regular file")
    return descriptor


@contextlib.contextmanager
def open_file(name: str, folder: int) -> Iterator[int]:
    """`open_regular`, closed at the end of the block."""
    descriptor = open_regular(name, folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def created_file(name: str, folder: int, mode: int) -> Iterator[int]:
    """A descriptor of a new file, for writing. Raises FileExistsError if the name is taken."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW
    descriptor = os.open(name, flags, mode, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def chunks(descriptor: int, limit: float = math.inf) -> Iterator[bytes]:
    """The rest of an open file, in pieces; at most `limit` bytes of it."""
    while limit > 0 and (piece := os.read(descriptor, int(min(CHUNK, limit)))):
        yield piece
        limit -= len(piece)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def is_text_name(name: str) -> bool:
    """Whether a name is UTF-8, as far as the file system says."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def names_in(folder: int, allowed: int) -> list[str]:
    """The names in a folder, sorted. Raises `TooMany` past `allowed`, without reading further."""
    names: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if len(names) >= allowed:
                raise TooMany(f"more than {allowed} entries")
            names.append(entry.name)
    return sorted(names)


def parents_of(path: str) -> Iterator[str]:
    """The folders that hold a path, outermost first."""
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


def is_too_deep(path: str) -> bool:
    """Whether a folder at `path` lies too deep to be looked into."""
    return path.count("/") + 1 >= MAX_DEPTH


def walk(
    root: int,
    enter: Callable[[Found], bool],
    *,
    max_entries: int = 10_000_000,
    unreadable: Callable[[Found, OSError], None] = lambda found, error: None,
) -> Iterator[Found]:
    """Every entry below a folder in a stable order, parents first; `enter` picks the folders.

    Folders deeper than `MAX_DEPTH` are shown and not entered.

    Raises:
        TooMany: there are more than `max_entries`.
    """
    seen = 0

    def visit(folder: int, prefix: str) -> Iterator[Found]:
        nonlocal seen
        for name in names_in(folder, max_entries - seen):
            seen += 1
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                continue
            found = Found(prefix + name, name, folder, status)
            yield found
            if found.is_folder and enter(found) and not is_too_deep(found.path):
                yield from inside(folder, found)

    def inside(folder: int, found: Found) -> Iterator[Found]:
        try:
            below = open_folder(found.name, folder)
        except OSError as error:
            unreadable(found, error)
            return
        try:
            yield from visit(below, found.path + "/")
        finally:
            os.close(below)

    return visit(root, "")


def link_stays_inside(path: str, target: str) -> bool:
    """Whether a link at `path` can lead only to places inside the folder.

    `..` counts only where it comes first: behind a name it could climb out through another link.
    """
    if not target or target.startswith("/"):
        return False
    steps = [step for step in target.split("/") if step not in ("", ".")]
    up = next((i for i, step in enumerate(steps) if step != ".."), len(steps))
    return up <= path.count("/") and ".." not in steps[up:]
