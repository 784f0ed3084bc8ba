"""The key of a layer: a hash of everything that could change what its setup makes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from planloop.sandbox import Limits
from planloop.sandboxes import tree

VERSION = 1
"""Counts up when the same commands would make something else here."""

_DATABASES = (
    "/etc/os-release",
    "/var/lib/dpkg/status",
    "/lib/apk/db/installed",
    "/var/lib/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/var/lib/pacman/local/ALPM_DB_VERSION",
)
"""What package managers write down; a change of /usr by one of them changes these."""
_UNMANAGED = ("/usr/local", "/var/lib/pacman/local")
"""Folders whose names and times are looked at, since nobody writes them down."""
_MAX_UNMANAGED = 50_000


def layer_key(*parts: str) -> str:
    """One hash over parts in their order."""
    total = hashlib.sha256(b"planloop layer %d" % VERSION)
    for part in parts:
        data = part.encode("utf-8", "surrogateescape")
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()


def limits_part(limits: Limits) -> str:
    """The limits that a setup could notice and live with."""
    return f"{limits.memory_bytes} {limits.processes} {limits.disk_bytes} {limits.inodes}"


def settings_part(settings: Mapping[str, str]) -> str:
    """Variables that setup commands find."""
    return "\0".join(f"{name}={value}" for name, value in sorted(settings.items()))


def files_part(folder: Path) -> str:
    """A hash of every file, link and folder below a private folder of ours."""
    root = tree.open_root(folder)
    try:
        entries = sorted(
            (path, _content(parent, name, found))
            for parent, name, path, found in tree.walk(root, ours=True)
        )
    finally:
        os.close(root)
    return layer_key(*(text for entry in entries for text in entry))


def _content(parent: int, name: str, found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode):
        return f"link {os.readlink(name, dir_fd=parent)}"
    if not stat.S_ISREG(found.st_mode):
        return "folder"
    digest = hashlib.sha256()
    with os.fdopen(tree.open_regular(name, parent), "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return f"file {found.st_mode & 0o111:o} {digest.hexdigest()}"


def host_part(python: str) -> str:
    """What bubblewrap shows of this machine: its system packages, and which python runs.

    Args:
        python: path of the interpreter inside.
    """
    found = [platform.machine(), *_stamp(Path(os.path.realpath(python)))]
    for path in _DATABASES:
        with contextlib.suppress(OSError):
            found.append(hashlib.sha256(Path(path).read_bytes()).hexdigest())
    for folder in _UNMANAGED:
        found += _stamps(Path(folder))
    return layer_key(*found)


def _stamps(folder: Path) -> list[str]:
    """Names, sizes and times below a folder of the system; at most so many."""
    stamps: list[str] = []
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            stamps += _stamp(Path(place, name))
        if len(stamps) > _MAX_UNMANAGED:
            break
    return stamps


def _stamp(path: Path) -> Iterator[str]:
    with contextlib.suppress(OSError):
        found = path.lstat()
        yield f"{path} {found.st_size} {found.st_mtime_ns}"
