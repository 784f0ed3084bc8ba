"""What runs have left on this machine: processes, control groups, mounts, folders. Only looks.

A name proves nothing by itself: what counts is a thing of this very user whose owner is dead.
"""

from __future__ import annotations

import dataclasses
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

from planloop.marks import Mark, Owner, State, marks_in, parse_mark, state, this_process
from planloop.text import one_line

Kind = Literal[
    "container",
    "process",
    "cgroup",
    "mount",
    "folder",
    "file",
    "volume",
    "network",
    "image",
    "layer",
]
ORDER: tuple[Kind, ...] = (
    "container", "process", "cgroup", "mount", "folder", "file", "volume", "network", "image",
    "layer",
)  # fmt: skip
"""What must go first: a process holds its group, a mount its folder, a container its volumes."""
CALL_VARIABLE = b"PLANLOOP_CALL="
"""Marks the processes of calls on the bare host."""

_GUEST = b"/run/planloop/guest.py"
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
_MOST_BYTES = 1 << 22
"""Of a command line or an environment; a process that hides behind more is not ours."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leaving:
    """One thing outside the runs' own folders. `id` is what it is removed by."""

    kind: Kind
    id: str
    name: str
    """For people."""
    run: str
    state: State
    """Of its owner."""


def places(more: Iterable[Path] = ()) -> tuple[Path, ...]:
    """The folders in which runs make theirs, as far as this process can know them."""
    found = (
        *more,
        Path(tempfile.gettempdir()),
        Path("/tmp"),
        Path("/var/tmp"),
        Path.cwd() / ".planloop",
    )
    return tuple(dict.fromkeys(Path(os.path.realpath(one)) for one in found))


def left_here(folders: Iterable[Path]) -> list[Leaving]:
    """Everything on this machine that has an owner, dead or alive, in the order of removal."""
    here = this_process()
    folders = tuple(folders)
    return [
        *_processes(here),
        *_control_groups(here),
        *_mounts(folders, here),
        *left_in(folders, here),
    ]


def left_in(folders: Iterable[Path], here: Owner | None = None) -> list[Leaving]:
    """The folders and files among these: a look at names only, fast enough for every start."""
    here = here or this_process()
    found = [one for folder in folders for one in _entries(folder, here)]
    return sorted(found, key=lambda one: ORDER.index(one.kind))


def mark_of_process(pid: int) -> Mark | None:
    """The mark of a process that serves a sandbox or a call on the bare host; else None."""
    arguments = _read(pid, "cmdline").split(b"\0")
    if _GUEST in arguments:
        return next(iter(marks_in(b"\0".join(arguments).decode("ascii", "replace"))), None)
    for variable in _read(pid, "environ").split(b"\0"):
        if variable.startswith(CALL_VARIABLE):
            name = variable.removeprefix(CALL_VARIABLE).decode("ascii", "replace")
            return parse_mark(name)
    return None


def mounted_below(folder: Path) -> list[Path]:
    """Where something is mounted at or below a folder, the deepest first."""
    points = (point for point in _mount_points() if point.is_relative_to(folder))
    return sorted(points, key=lambda point: len(point.parts), reverse=True)


def is_ours(found: os.stat_result) -> bool:
    """Whether a file belongs to this user: others may give theirs any name."""
    return not hasattr(os, "geteuid") or found.st_uid == os.geteuid()


def _processes(here: Owner) -> Iterator[Leaving]:
    for name in _listed(Path("/proc")):
        if name.isdigit() and int(name) != os.getpid():
            mark = mark_of_process(int(name))
            if mark is not None:
                words = _read(int(name), "cmdline").replace(b"\0", b" ").decode("utf-8", "replace")
                yield _leaving("process", name, f"{name}: {one_line(words, 60)}", mark, here)


def _control_groups(here: Owner) -> Iterator[Leaving]:
    for above, folders, _ in os.walk(_CONTROL_GROUPS):
        for name in folders:
            yield from _marked("cgroup", Path(above, name), here, stat.S_ISDIR)


def _mounts(folders: tuple[Path, ...], here: Owner) -> Iterator[Leaving]:
    for one in left_in(folders, here):
        for point in mounted_below(Path(one.id)):
            yield dataclasses.replace(one, kind="mount", id=str(point), name=str(point))


def _entries(folder: Path, here: Owner) -> Iterator[Leaving]:
    for name in _listed(folder):
        yield from _marked("folder", folder / name, here, stat.S_ISDIR)
        yield from _marked("file", folder / name, here, lambda mode: not stat.S_ISDIR(mode))


def _marked(kind: Kind, path: Path, here: Owner, fits: Callable[[int], bool]) -> Iterator[Leaving]:
    mark = parse_mark(path.name)
    if mark is None:
        return
    try:
        found = path.lstat()
    except OSError:
        return
    if fits(found.st_mode) and is_ours(found):
        yield _leaving(kind, str(path), str(path), mark, here)


def _leaving(kind: Kind, identity: str, name: str, mark: Mark, here: Owner) -> Leaving:
    return Leaving(kind=kind, id=identity, name=name, run=mark.run, state=state(mark.owner, here))


def _mount_points() -> list[Path]:
    try:
        text = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return []
    return [Path(_unescaped(line.split(" ")[4])) for line in text.splitlines() if " " in line]


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _read(pid: int, name: str) -> bytes:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read(_MOST_BYTES)
    except OSError:
        return b""
