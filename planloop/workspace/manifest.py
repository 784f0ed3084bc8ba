"""What a folder holds: every file and link by its path, with enough to see that it changed."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Literal

from planloop.workspace.folders import (
    Found,
    chunks,
    is_text_name,
    open_file,
    opened,
    walk,
)
from planloop.workspace.selecting import GIT_FOLDER, OWN_FOLDER

LITTER_FOLDERS = frozenset({"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache"})
LITTER_SUFFIXES = (".pyc", ".pyo")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One file or link. A link's target is its content: `size` and `sha256` are of its text."""

    kind: Literal["file", "link"]
    mode: int
    """0o644 or 0o755 for files, 0o777 for links: only the executable bit counts."""
    size: int
    sha256: str
    target: str | None = None
    """Where a link leads."""


def file_entry(mode: int, size: int, sha256: str) -> Entry:
    """The entry of a regular file with these mode bits."""
    return Entry(kind="file", mode=0o755 if mode & 0o111 else 0o644, size=size, sha256=sha256)


def link_entry(target: str) -> Entry:
    """The entry of a link."""
    raw = os.fsencode(target)
    digest = hashlib.sha256(raw).hexdigest()
    return Entry(kind="link", mode=0o777, size=len(raw), sha256=digest, target=target)


def manifest(folder: Path) -> dict[str, Entry]:
    """Every regular file and link below a folder, links not followed, in a stable order.

    Without what running code leaves behind (`__pycache__`, caches, `*.pyc`), without `.git` and
    `.planloop`, and without what no copy holds: special files, names that are not UTF-8, folders
    nested too deep.

    Raises:
        OSError: a file cannot be read.
    """
    entries: dict[str, Entry] = {}
    with opened(folder) as root:
        for found in walk(root, lambda found: not _is_outside(found)):
            if not _is_outside(found) and (entry := entry_of(found)) is not None:
                entries[found.path] = entry
    return entries


def is_litter(path: str) -> bool:
    """Whether a path is what running code leaves behind, or lies in it."""
    names = path.split("/")
    return names[-1].endswith(LITTER_SUFFIXES) or not LITTER_FOLDERS.isdisjoint(names)


def _is_outside(found: Found) -> bool:
    return (
        not is_text_name(found.name)
        or found.name.casefold() in (GIT_FOLDER, OWN_FOLDER)
        or (found.is_folder and found.name in LITTER_FOLDERS)
        or (not found.is_folder and found.name.endswith(LITTER_SUFFIXES))
    )


def entry_of(found: Found) -> Entry | None:
    """The entry of a file or link that a walk found; None for other things and what is gone."""
    try:
        return entry_at(found.name, found.folder)
    except FileNotFoundError:
        return None


def entry_at(name: str, folder: int) -> Entry | None:
    """The entry of a file or link in an open folder; None for folders and special files.

    Raises:
        OSError: there is no such name, or it cannot be read.
    """
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    found = Found(name, name, folder, status)
    if found.is_link:
        return link_entry(os.readlink(name, dir_fd=folder))
    if not found.is_file:
        return None
    with open_file(name, folder) as descriptor:
        digest, size = hashlib.sha256(), 0
        for piece in chunks(descriptor):
            digest.update(piece)
            size += len(piece)
        return file_entry(os.fstat(descriptor).st_mode, size, digest.hexdigest())
