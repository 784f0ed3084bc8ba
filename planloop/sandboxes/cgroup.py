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
_REMOVALS = 200
"""Tries to remove a folder, 5 ms apart."""


@dataclasses.dataclass(frozen=True)
class Cgroup:
    """Folders made for one sandbox, one a hierarchy; empty where none could be had."""

    folders: tuple[Path, ...]
    holds_memory: bool
    holds_processes: bool

    def add(self, pid: int) -> None:
        """Put a process, and all that it will start, under the limits."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid))

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


def make_cgroup(name: str, limits: Limits) -> Cgroup:
    """A control group with as many of the limits as this machine lets us set."""
    folders: list[Path] = []
    held = []
    for controller, fill in (("memory", _limit_memory), ("pids", _limit_processes)):
        folder = _made(_parents(controller), name, functools.partial(fill, limits))
        held.append(folder is not None)
        if folder is not None and folder not in folders:
            folders.append(folder)
    return Cgroup(tuple(folders), holds_memory=held[0], holds_processes=held[1])


def _parents(controller: str) -> list[Path]:
    """Where a group may be made: below our own, else (version 2 often wants it) at the top."""
    own = own_cgroup("self", controller)
    top = [_ROOT] if (_ROOT / "cgroup.controllers").is_file() else []
    return top if own is None else [own, *top]


def _made(parents: list[Path], name: str, fill: Callable[[Path], None]) -> Path | None:
    for parent in parents:
        folder = parent / name
        try:
            folder.mkdir(exist_ok=True)
            fill(folder)
            return folder
        except OSError:
            with contextlib.suppress(OSError):
                folder.rmdir()
    return None


def _limit_memory(limits: Limits, folder: Path) -> None:
    one, two = folder / "memory.limit_in_bytes", folder / "memory.max"
    (one if one.exists() else two).write_text(str(limits.memory_bytes))
    for swap, value in (
        ("memory.memsw.limit_in_bytes", limits.memory_bytes),
        ("memory.swap.max", 0),
    ):
        with contextlib.suppress(OSError):
            if (folder / swap).exists():
                (folder / swap).write_text(str(value))


def _limit_processes(limits: Limits, folder: Path) -> None:
    (folder / "pids.max").write_text(str(limits.processes))


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
            for line in (folder / name).read_text(encoding="ascii").splitlines():
                word, _, number = line.partition(" ")
                if word == "oom_kill":
                    return int(number)
    return None
