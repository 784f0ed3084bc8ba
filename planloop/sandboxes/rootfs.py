"""What a bubblewrap sandbox sees: the system, a made-up /etc, and what the stage laid out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from planloop.sandbox import SandboxSpec
from planloop.sandboxes import first_process
from planloop.sandboxes.egress import CERTIFICATES
from planloop.sandboxes.link import memory_file

INSIDE_USER = 1000
GUEST = "/run/planloop/guest.py"
"""Where the first process's source lies inside."""

_ETC_KEPT = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime")
_ETC_MADE = {
    "passwd": "root:x:0:0:root:/:/usr/sbin/nologin\n"
    "sandbox:x:1000:1000:sandbox:/tmp:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    "group": "root:x:0:\nsandbox:x:1000:\nnogroup:x:65534:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "hostname": "sandbox\n",
}
_ETC_ALONE = {"hosts": "127.0.0.1 localhost\n::1 localhost\n", "resolv.conf": ""}
"""Where there is no network; else the machine's own say which names there are."""
_SYSTEM_PYTHONS = ("/usr/bin/python3", "/usr/local/bin/python3", "/bin/python3")


class Mounts:
    """Arguments of bwrap, and the descriptors that they name; closed by `close`.

    Args:
        laid_out: arguments that show the workspace, scratch, and a ready environment.
        seccomp: a filter program.
    """

    def __init__(
        self, laid_out: Sequence[str], spec: SandboxSpec, seccomp: bytes | None = None
    ) -> None:
        self.arguments: list[str] = []
        self.descriptors: list[int] = []
        self._system()
        self._add("--proc", "/proc", "--dev", "/dev", *laid_out)
        self._add("--dir", "/var", "--symlink", "/tmp", "/var/tmp", "--dir", "/run")
        self._etc(spec)
        for name, content in first_process.files().items():
            self._data(str(Path(GUEST).parent / name), content)
        self._add("--remount-ro", "/dev", "--remount-ro", "/")
        if seccomp is not None:
            self._add("--add-seccomp-fd", self._held(seccomp))

    def close(self) -> None:
        """Close the descriptors, once bwrap has its own."""
        while self.descriptors:
            os.close(self.descriptors.pop())

    def _add(self, *arguments: str) -> None:
        self.arguments += arguments

    def _system(self) -> None:
        self._add("--ro-bind", "/usr", "/usr")
        for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
            folder = Path("/", name)
            if folder.is_symlink():
                self._add("--symlink", os.readlink(folder), str(folder))
            elif folder.is_dir():
                self._add("--ro-bind", str(folder), str(folder))
        if not _has_system_python():
            self._add("--ro-bind", sys.base_prefix, sys.base_prefix)

    def _etc(self, spec: SandboxSpec) -> None:
        self._add("--dir", "/etc")
        made, kept = dict(_ETC_MADE), [f"/etc/{name}" for name in _ETC_KEPT]
        if spec.network == "full":
            kept += [f"/etc/{name}" for name in _ETC_ALONE]
        else:
            made |= _ETC_ALONE
        for name, text in made.items():
            self._data(f"/etc/{name}", text.encode("ascii"))
        for path in kept if spec.network == "none" else (*kept, *CERTIFICATES):
            self._add("--ro-bind-try", path, path)

    def _data(self, inside: str, data: bytes) -> None:
        self._add("--perms", "0444", "--ro-bind-data", self._held(data), inside)

    def _held(self, data: bytes) -> str:
        self.descriptors.append(memory_file("data", data))
        return str(self.descriptors[-1])


def reachable(path: str) -> bool:
    """Whether every user may enter all folders above a path."""
    folders = [folder for folder in Path(path).absolute().parents if folder.exists()]
    return all(folder.stat().st_mode & 0o001 for folder in folders)


def python_inside() -> str:
    """The interpreter that runs the first process."""
    for path in _SYSTEM_PYTHONS:
        if Path(path).exists():
            return path
    return f"{sys.base_prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"


def inside_path() -> str:
    """PATH inside the sandbox."""
    usual = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
    return usual if _has_system_python() else f"{usual}:{sys.base_prefix}/bin"


def _has_system_python() -> bool:
    return any(Path(path).exists() for path in _SYSTEM_PYTHONS)
