"""Reads small text files that a stranger may have put there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from planloop.errors import TaskError


def read_bytes(path: Path, shown: str, limit: int) -> bytes:
    """A regular file's bytes, at most `limit` + 1 of them.

    Raises:
        TaskError: it is no regular file, or cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
        with os.fdopen(handle, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISREG(mode):
                return file.read(limit + 1)
    except IsADirectoryError:
        pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise TaskError(
            f"cannot be read: {reason}", where=shown, hint="is it there, and are you allowed to?"
        ) from None
    raise TaskError("this is no regular file", where=shown, hint="expected a text file")
