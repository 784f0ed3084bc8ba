"""Taking away what dead runs have left on this machine. Blocking.

Another `clean` may do the same at the same moment: what is gone already is no error. Everything
is looked at again right before it goes, by a descriptor that cannot mean something else by then.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

from planloop.marks import parse_mark, state
from planloop.sandboxes import tree
from planloop.sandboxes.leavings import Leaving, is_ours, mark_of_process, mounted_below

_DEADLINE_S = 5.0
_PAUSE_S = 0.005
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8


def remove(leaving: Leaving) -> None:
    """Remove something that `left_here` found.

    Raises:
        OSError: it is still there, and why.
    """
    match leaving.kind:
        case "process":
            _end(int(leaving.id), lambda: _is_dead_run_s(int(leaving.id)))
        case "cgroup":
            _remove_control_group(Path(leaving.id))
        case "mount":
            _unmount(Path(leaving.id))
        case "folder":
            _remove_folder(Path(leaving.id))
        case "file":
            with contextlib.suppress(FileNotFoundError):
                os.unlink(leaving.id)
        case "container" | "volume" | "network" | "image" | "layer":
            raise ValueError(f"a {leaving.kind} is not removed here")


def _is_dead_run_s(pid: int) -> bool:
    mark = mark_of_process(pid)
    return mark is not None and state(mark.owner) == "dead"


def _end(pid: int, still_meant: Callable[[], bool]) -> None:
    """Kill a process and wait until it is gone, unless its id means another one by now."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not still_meant():
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        if not select.select([descriptor], [], [], _DEADLINE_S)[0]:
            raise TimeoutError(errno.ETIMEDOUT, f"it did not end within {_DEADLINE_S:g} s")
    finally:
        os.close(descriptor)


def _remove_control_group(folder: Path) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        for pid in _members(folder):
            _end(pid, lambda pid=pid: pid in _members(folder))  # type: ignore[misc]
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:  # the kernel counts the dead for a moment longer
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)
        else:
            return


def _members(folder: Path) -> set[int]:
    try:
        return {int(pid) for pid in (folder / "cgroup.procs").read_text("ascii").split()}
    except OSError:
        return set()


def _unmount(point: Path) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.umount2(os.fsencode(point), _MNT_DETACH | _UMOUNT_NOFOLLOW) == 0:
        return
    if point in mounted_below(point):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _remove_folder(folder: Path) -> None:
    """Remove a folder of ours; no link in it is followed, and no mount is entered."""
    if mounted_below(folder):
        raise OSError(errno.EBUSY, "something is mounted in it")
    deadline = time.monotonic() + _DEADLINE_S
    while os.path.lexists(folder):
        try:
            _empty_and_remove(folder)
        except OSError as error:  # another `clean` may be at it
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY) or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)


def _empty_and_remove(folder: Path) -> None:
    parent = tree.open_root(folder.parent)
    try:
        root = tree.open_directory(folder.name, parent)
        try:
            if not is_ours(os.fstat(root)) or parse_mark(folder.name) is None:
                raise PermissionError(errno.EPERM, "it belongs to another user")
            tree.empty(root)
        finally:
            os.close(root)
        os.rmdir(folder.name, dir_fd=parent)
    finally:
        os.close(parent)
