"""What lies now at the paths that an apply or undo would touch. Reads only, follows no link."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import NamedTuple

from planloop.workspace.folders import folder_at, open_folder, parents_of, walk
from planloop.workspace.manifest import Entry, entry_at


class Seen(NamedTuple):
    """What lies at a path."""

    entry: Entry | None = None
    """The file or link; None if there is nothing, or only what the change itself clears away."""
    status: os.stat_result | None = None
    problem: str | None = None
    """Why the path cannot be touched at all."""


class Look:
    """Looks at paths, knowing which ones the change itself touches."""

    def __init__(self, root: int, own: Collection[str]) -> None:
        self._root = root
        self._own = frozenset(own)
        self._own_folders = frozenset(folder for path in own for folder in parents_of(path))

    def at(self, path: str) -> Seen:
        """What lies at a path."""
        try:
            return self._at(path)
        except OSError as error:
            return Seen(problem=f"cannot be read: {error.strerror or error}")

    def _at(self, path: str) -> Seen:
        descriptor = os.dup(self._root)
        try:
            for folder in parents_of(path):
                name = folder.rpartition("/")[2]
                obstacle = _obstacle(name, descriptor)
                if obstacle is not None:
                    return self._behind(folder, obstacle)
                below = open_folder(name, descriptor)
                os.close(descriptor)
                descriptor = below
            return self._last(path, descriptor)
        finally:
            os.close(descriptor)

    def _behind(self, folder: str, obstacle: str) -> Seen:
        if obstacle == "missing" or folder in self._own:
            return Seen()
        return Seen(problem=f"`{folder}` on its way is {obstacle}")

    def _last(self, path: str, folder: int) -> Seen:
        name = path.rpartition("/")[2]
        obstacle = _obstacle(name, folder)
        if obstacle == "missing":
            return Seen()
        if obstacle is None:
            return Seen() if self._only_own(path) else Seen(problem="is a folder with other files")
        entry = entry_at(name, folder)
        if entry is None:
            return Seen(problem="is a special file now")
        return Seen(entry, os.stat(name, dir_fd=folder, follow_symlinks=False))

    def _only_own(self, path: str) -> bool:
        """Whether a folder holds nothing but what the change touches, so that it will be gone."""
        if path not in self._own_folders:
            return False
        with folder_at(self._root, path) as folder:
            for found in walk(folder, lambda found: True):
                known = self._own_folders if found.is_folder else self._own
                if f"{path}/{found.path}" not in known:
                    return False
        return True


def _obstacle(name: str, folder: int) -> str | None:
    """What a name is, other than a real folder."""
    import stat

    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return "missing"
    if stat.S_ISDIR(mode):
        return None
    return "a link" if stat.S_ISLNK(mode) else "no folder"


def is_same(now: os.stat_result, seen: os.stat_result) -> bool:
    """Whether a name still is the file that was looked at, untouched since."""
    return (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns) == (
        seen.st_dev,
        seen.st_ino,
        seen.st_size,
        seen.st_mtime_ns,
        seen.st_ctime_ns,
    )
