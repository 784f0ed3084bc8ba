"""Become a mode: a private mount namespace, control groups, a user; then run a program.

    python -m sandboxes.entering GROUPS USER PLACE HIDDEN PROGRAM...

Run as root in a mount namespace of its own. What the plain user must reach (the interpreter, this
repository, PLACE) is bound to where it was, and folders above that are closed to others are
covered, so that nothing on the machine changes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def main() -> None:
    groups, user, place, hidden, *program = sys.argv[1:]
    for group in filter(None, groups.split(",")):
        Path(group, "cgroup.procs").write_text(str(os.getpid()))
    if hidden:
        _mount("-t", "tmpfs", "-o", "ro", "none", hidden)
    if int(user):
        os.chown(place, int(user), int(user))
        _make_reachable([Path(sys.base_prefix), Path(sys.prefix), Path.cwd().parent, Path(place)])
        _become(int(user))
    os.execv(program[0], program)


def _make_reachable(wanted: list[Path]) -> None:
    closed = {folder for path in wanted for folder in path.parents if not _open(folder)}
    top = [one for one in closed if not closed & set(one.parents)]
    for number, folder in enumerate(top):
        inner = [path for path in wanted if folder in path.parents]
        kept = [Path(f"/proc/self/fd/{os.open(path, os.O_PATH)}") for path in inner]
        _cover(folder, inner, kept, number)


def _cover(folder: Path, inner: list[Path], kept: list[Path], number: int) -> None:
    _mount("-t", "tmpfs", "-o", "mode=0755", f"cover-{number}", str(folder))
    for path, descriptor in zip(inner, kept, strict=True):
        path.mkdir(parents=True, exist_ok=True)
        _mount("--bind", f"/proc/{os.getpid()}/fd/{descriptor.name}", str(path))


def _open(folder: Path) -> bool:
    return bool(folder.stat().st_mode & 0o001)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", "--no-canonicalize", *arguments], check=True)


def _become(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    os.environ.update({"HOME": "/tmp", "USER": "plain"})
    os.chdir("/")


if __name__ == "__main__":
    main()
