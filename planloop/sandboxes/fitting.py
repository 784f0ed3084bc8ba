"""Folders that have no room in a sandbox: one error that says which limit to raise."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from planloop.errors import UserError
from planloop.sandbox import Limits

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a file system that is full."""
_PAGE = 4096


@contextlib.contextmanager
def must_fit(limits: Limits, source: Path) -> Iterator[None]:
    """Around what copies a trusted host folder into a workspace.

    Raises:
        UserError: it did not fit.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise _too_much(limits, source) from None


def _too_much(limits: Limits, source: Path) -> UserError:
    size, entries = _measured(source)
    name = "memory" if limits.memory_bytes < limits.disk_bytes else "disk"
    if entries + 1 >= limits.inodes and size < limits.files_bytes:
        name = "inodes"
    return UserError(
        f"the folder has {size / 1e6:,.1f} MB in {entries:,} files and folders; the sandbox has "
        f"room for {limits.files_bytes / 1e6:,.1f} MB in {limits.inodes:,}",
        hint=f"raise `{name}` in the task's `sandbox: {{limits: …}}`, or leave files out",
    )


def _measured(folder: Path) -> tuple[int, int]:
    """Bytes of the pages, and number of the files and folders, of a trusted folder."""
    size = entries = 0
    for place, folders, files in os.walk(folder):
        entries += len(folders) + len(files)
        for name in files:
            with contextlib.suppress(OSError):
                found = os.lstat(os.path.join(place, name))
                whole = -(-found.st_size // _PAGE) * _PAGE
                size += min(whole, found.st_blocks * 512) if stat.S_ISREG(found.st_mode) else 0
    return size, entries
