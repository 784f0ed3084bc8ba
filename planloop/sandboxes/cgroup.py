"""Limits on all processes of a sandbox together, by control groups of version 1 or 2."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path

from planloop.sandbox import Limits

_ROOT = Path("/sys/fs/cgroup")
_OUTSIDE = 1
"""Processes of the group that are not inside the sandbox: bwrap itself waits for the first one."""
_REMOVALS = 200
"""Tries to remove a folder, 5 ms apart."""


@dataclasses.dataclass(frozen=True)
class Cgroup:
    """Folders made for one sandbox, one a hierarchy; empty where none could be had."""

    folders: tuple[Path, ...]
    holds_memory: bool
    holds_processes: bool

    def add(self, pid: int) -> bool:
        """Put a process, and all that it will start, under the limits; False if that is denied.

        Blocking, for some 10 ms, unless it is there.
        """
        try:
            for folder in self.folders:
                if str(pid) not in (folder / "cgroup.procs").read_text("ascii").split():
                    _write(folder / "cgroup.procs", str(pid))
        except OSError:
            return False
        return True

    def oom_kills(self) -> int:
        """Kills for want of memory so far."""
        return next((kills for f in self.folders if (kills := oom_kills(f)) is not None), 0)

    def remove(self) -> None:
        """Remove the folders, once the kernel no longer counts a process in them. Blocking."""
        for folder in self.folders:
            for _ in range(_REMOVALS):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.005)


NO_CGROUP = Cgroup((), holds_memory=False, holds_processes=False)


def make_cgroup(name: str, limits: Limits) -> Cgroup:
    """A control group with as many of the limits as this machine lets us set."""
    memory = _made("memory", name, functools.partial(_limit_memory, limits))
    pids = _made("pids", name, functools.partial(_limit_processes, limits))
    folders = dict.fromkeys(folder for folder in (memory, pids) if folder is not None)
    return Cgroup(tuple(folders), holds_memory=memory is not None, holds_processes=pids is not None)


def _made(controller: str, name: str, fill: Callable[[Path], None]) -> Path | None:
    own = own_cgroup("self", controller)
    for parent in () if own is None else parents(own):
        with contextlib.suppress(OSError):
            return _made_below(parent, name, controller, fill)
    return None


def _made_below(parent: Path, name: str, controller: str, fill: Callable[[Path], None]) -> Path:
    folder = parent / name
    new = not folder.is_dir()  # else another controller of the same hierarchy made it
    folder.mkdir(exist_ok=True)
    try:
        hand_down(parent, controller)
        fill(folder)
    except OSError:
        if new:
            folder.rmdir()
        raise
    return folder


def parents(own: Path, root: Path = _ROOT) -> list[Path]:
    """Where a group may be made: below our own, or on version 2 also above.

    There a group with processes cannot hand controllers down, so that the nearest one without,
    which a user's session owns, must do.
    """
    if not (own / "cgroup.controllers").is_file():
        return [own]
    above = [folder for folder in own.parents if folder == root or root in folder.parents]
    return [own, *above]


def hand_down(parent: Path, controller: str) -> None:
    """Let the groups below a group of version 2 have a controller."""
    switches = parent / "cgroup.subtree_control"
    if switches.is_file() and controller not in switches.read_text("ascii").split():
        switches.write_text(f"+{controller}")


def _limit_memory(limits: Limits, folder: Path) -> None:
    """The workspace lies in memory too, and has a bound of its own."""
    most = str(limits.memory_bytes + limits.files_bytes)
    one, two = folder / "memory.limit_in_bytes", folder / "memory.max"
    _write(one if one.exists() else two, most)
    for file, value in (
        ("memory.memsw.limit_in_bytes", most),
        ("memory.swap.max", "0"),
    ):
        with contextlib.suppress(OSError):
            _write(folder / file, value)
    limit_connections(limits, folder)


def limit_connections(limits: Limits, folder: Path) -> bool:
    """Bound what waits in connections of a sandbox to itself; False where that has no bound.

    Version 1 counts it apart from memory, if asked to; version 2 with it.
    """
    own = folder / "memory.kmem.tcp.limit_in_bytes"
    try:
        _write(own, str(limits.memory_bytes // 4))
    except OSError:
        return not (folder / "memory.limit_in_bytes").exists()
    return True


def _limit_processes(limits: Limits, folder: Path) -> None:
    _write(folder / "pids.max", str(limits.processes + _OUTSIDE))


def _write(file: Path, value: str) -> None:
    """Write to a file that the kernel made: none is ever created."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode("ascii"))
    finally:
        os.close(descriptor)


def own_cgroup(process: int | str, controller: str) -> Path | None:
    """The folder of a process's control group that has `controller`; None if there is none."""
    try:
        lines = Path(f"/proc/{process}/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        mounted = _ROOT / controller if controllers else _ROOT
        folder = Path(os.path.normpath(f"{mounted}/{path}"))
        version_2 = not controllers and (folder / "cgroup.controllers").is_file()
        if (controller in controllers.split(",") or version_2) and folder.is_dir():
            return folder
    return None


def oom_kills(folder: Path) -> int | None:
    """The kernel's counter of kills in a control group; None if it has none."""
    for name in ("memory.oom_control", "memory.events"):
        with contextlib.suppress(OSError, ValueError):
            for line in _read(f"{folder}/{name}").splitlines():
                word, _, number = line.partition(" ")
                if word == "oom_kill":
                    return int(number)
    return None


def _read(file: str) -> str:
    """A small file, read as fast as can be: every call looks at its counter."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096).decode("ascii")
    finally:
        os.close(descriptor)
