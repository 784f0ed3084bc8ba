"""What is laid out before bwrap, which can bound neither the number of files nor hidden folders.

A small stage makes a mount namespace, mounts file systems of memory there, drops to the sandbox's
user where it is root, and becomes bwrap. All of it ends with bwrap.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from planloop.sandbox import ENVIRONMENT, WORKSPACE, SandboxSpec

_TOOLS = "/usr/bin:/bin:/usr/sbin:/sbin"
_MOUNT_AND_GO_ON = 'mount=$1; shift; "$mount" -n -a -T "$0" && exec "$@"'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Room:
    """A folder of memory with bounds."""

    inside: str
    name: str
    size: int
    inodes: int
    mode: int

    @property
    def options(self) -> str:
        """Of the mount. A bound of 0 would be none at all, and of 1 file no room for any.

        Snapshots go by times, and a write through a mapping shows in the time of access only.
        """
        size, inodes = max(self.size, 1), max(self.inodes, 2)
        return f"size={size},nr_inodes={inodes},mode={self.mode:04o},strictatime"


def rooms(spec: SandboxSpec) -> tuple[Room, ...]:
    """The workspace, and scratch, which counts as memory and stays well below its limit."""
    memory, disk, inodes = spec.limits.memory_bytes, spec.limits.files_bytes, spec.limits.inodes
    made = Room(inside=ENVIRONMENT, name="environment", size=disk, inodes=inodes, mode=0o700)
    return (
        *((made,) if spec.environment == "new" else ()),
        Room(inside=WORKSPACE, name="workspace", size=disk, inodes=inodes, mode=0o700),
        Room(inside="/tmp", name="tmp", size=memory // 4, inodes=inodes // 4, mode=0o1777),
        Room(inside="/dev/shm", name="shm", size=memory // 8, inodes=inodes // 8, mode=0o1777),
    )


@dataclasses.dataclass(frozen=True)
class Stage:
    """File systems that lie below `home` in a mount namespace of the sandbox's own."""

    home: Path
    spec: SandboxSpec
    user: int | None
    """The user to drop to, if this process is root."""
    unshare: str
    mount: str
    setpriv: str

    def prepare(self) -> None:
        """Make the places to mount at, and write down what belongs there."""
        table = [self._line("tmpfs", room.name, "tmpfs", self._owned(room)) for room in self._rooms]
        if isinstance(self.spec.environment, Path):
            source = str(self.spec.environment.absolute())
            table.append(self._line(source, "environment", "none", "bind"))
        self._table.write_text("".join(table), encoding="utf-8", errors="surrogateescape")

    def command(self, bwrap: Sequence[str]) -> list[str]:
        """The command that lays all out and becomes bwrap."""
        user = [] if self.user is not None else ["--user", "--map-root-user"]
        shell = ["/bin/sh", "-c", _MOUNT_AND_GO_ON, str(self._table), self.mount]
        return [
            *(self.unshare, *user, "--mount", "--propagation", "private", "--"),
            *(*shell, *self._drop(), *bwrap),
        ]

    def binds(self) -> list[str]:
        """Arguments of bwrap that show it all inside."""
        shown = [("--bind", str(self.home / room.name), room.inside) for room in self._rooms]
        if isinstance(self.spec.environment, Path):
            shown.append(("--ro-bind", str(self.home / "environment"), ENVIRONMENT))
        return [word for words in shown for word in words]

    @property
    def _rooms(self) -> tuple[Room, ...]:
        return rooms(self.spec)

    @property
    def _table(self) -> Path:
        return self.home / "fstab"

    def _owned(self, room: Room) -> str:
        return (
            room.options if self.user is None else f"{room.options},uid={self.user},gid={self.user}"
        )

    def _line(self, source: str, name: str, kind: str, options: str) -> str:
        place = self.home / name
        place.mkdir(exist_ok=True)
        return " ".join((_escaped(source), _escaped(str(place)), kind, options, "0 0\n"))

    def _drop(self) -> list[str]:
        if self.user is None:
            return []
        user = str(self.user)
        ids = ["--reuid", user, "--regid", user, "--clear-groups"]
        return [self.setpriv, *ids, "--no-new-privs", "--"]


def find_stage(home: Path, spec: SandboxSpec, user: int | None) -> Stage | None:
    """The stage, or None where this machine lacks its programs (of util-linux)."""
    tools = [shutil.which(name, path=_TOOLS) for name in ("unshare", "mount", "setpriv")]
    found = [tool for tool in tools if tool is not None]
    return Stage(home, spec, user, *found) if len(found) == len(tools) else None


def unstaged(spec: SandboxSpec) -> list[str]:
    """Arguments of bwrap that come as near to the stage as it can alone: no bound on inodes."""
    arguments: list[str] = []
    for room in rooms(spec):
        size = str(max(room.size, 1))
        arguments += ["--perms", f"{room.mode:04o}", "--size", size, "--tmpfs", room.inside]
    if isinstance(spec.environment, Path):
        arguments += ["--ro-bind", str(spec.environment), ENVIRONMENT]
    return arguments


def _escaped(path: str) -> str:
    """A path as the table of mounts spells it."""
    return "".join(f"\\{ord(one):03o}" if one in " \t\n\\#" else one for one in path)
