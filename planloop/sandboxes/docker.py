"""Sandboxes by a Docker engine that shares this machine's kernel and files.

One container a sandbox; its first process (`guest.py`) serves every call, so that no call costs
an engine exec. Images without `python3` fall back to exec, and the sandbox says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from planloop.errors import SandboxLost, UserError
from planloop.sandbox import SandboxSpec
from planloop.sandboxes import tree
from planloop.sandboxes.cgroup import oom_kills, own_cgroup
from planloop.sandboxes.container import DOOR, Container, lacks_program, refused, removed
from planloop.sandboxes.engine import DEFAULT_IMAGE, Engine
from planloop.sandboxes.exec_link import ExecLink
from planloop.sandboxes.files import Files
from planloop.sandboxes.link import Link, Orders
from planloop.sandboxes.marks import make_home
from planloop.sandboxes.resident import Machinery, ResidentSandbox
from planloop.sandboxes.snapshots import Snapshots
from planloop.text import one_line

NOBODY = 65534
"""The user of calls, where this process is root."""
START_DEADLINE_S = 30.0
_WAITER = ("/bin/sh", "-c", "read -r _")
"""A first process that ends when its input does."""
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


async def open_docker(spec: SandboxSpec, *, run_id: str, state_dir: Path) -> ResidentSandbox:
    """Start a sandbox by the Docker engine of the environment.

    Raises:
        UserError: no engine answers, it lacks the image, or the image cannot be used.
    """
    begin = partial(_begin, spec, run_id, state_dir)
    machinery = await begin()
    snapshots = Snapshots(state_dir, run_id)
    return ResidentSandbox("docker", spec.limits, machinery, begin, snapshots)


async def _begin(spec: SandboxSpec, run_id: str, state_dir: Path) -> Machinery:
    engine = await Engine.connect()
    started = None
    try:
        image = await engine.image(spec.image or DEFAULT_IMAGE)
        host = await engine.ask(lambda client: client.info())
        started = _Started(engine, spec, run_id, image, host, make_home(state_dir, run_id))
        return await started.start()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await (started.destroy() if started is not None else engine.close())
        raise


@dataclasses.dataclass
class _Started:
    """What exists of a sandbox so far, so that it can be taken down from any point."""

    engine: Engine
    spec: SandboxSpec
    run_id: str
    image: dict[str, Any]
    host: dict[str, Any]
    home: Path
    user: int = dataclasses.field(default_factory=lambda: os.geteuid() or NOBODY)
    """Calls run as nobody, or as this process's own user where only that may share files."""
    container: str | None = None
    by_exec: bool = False
    """Whether calls go by the engine's exec."""
    first: int = 0
    """Id of the first process, as the host sees it."""

    async def start(self) -> Machinery:
        self._make_folders()
        orders = await self._first_process()
        return self._with(orders)

    def _make_folders(self) -> None:
        for name, mode in (("workspace", 0o700), ("door", 0o755)):
            (self.home / name).mkdir()
            (self.home / name).chmod(mode)
        if os.geteuid() == 0:
            os.chown(self.home / "workspace", self.user, self.user)
        shutil.copyfile(Path(__file__).with_name("guest.py"), self.home / "door" / "guest.py")
        (self.home / "door" / "guest.py").chmod(0o644)

    async def _first_process(self) -> Orders:
        from docker.errors import APIError

        guest = ("python3", "-I", "-S", f"{DOOR}/guest.py", self._config())
        try:
            with _listening(self.home / "door") as listener:
                self.container = await self._container(guest).start(self.engine)
                return await self._greeted(listener)
        except APIError as error:
            if not lacks_program(error):
                raise refused(error) from None
        try:
            self.container = await self._container(_WAITER, lifeline=True).start(self.engine)
            return await self._by_exec(self.container)
        except APIError as error:
            raise refused(error) from None

    def _container(self, first: tuple[str, ...], *, lifeline: bool = False) -> Container:
        return Container(
            image=self._image_name,
            run_id=self.run_id,
            home=self.home,
            limits=self.spec.limits,
            first=first,
            lifeline=lifeline,
        )

    async def _greeted(self, listener: socket.socket) -> Link:
        with anyio.move_on_after(START_DEADLINE_S):
            await anyio.wait_readable(listener)
        link = _accepted(listener)
        greeting = await link.greeting(START_DEADLINE_S) if link is not None else None
        if link is None or greeting is None:
            raise self._silent()
        self.first = greeting.pid
        return link

    async def _by_exec(self, container: str) -> ExecLink:
        """The fall-back for images without python3; the host must see the container's processes."""
        known = await self.engine.ask(lambda client: client.inspect_container(container))
        self.first = int(known["State"]["Pid"])
        group = own_cgroup(self.first, "memory")
        if group is None or known["Id"] not in str(group):
            raise UserError(
                f"image `{one_line(self._image_name, 80)}` has no python3, "
                "and this engine's processes cannot be seen from here",
                hint="add python3 (3.8 or later) to the image",
            )
        self.by_exec = True
        lifeline = await self.engine.ask(
            lambda client: client.attach_socket(container, params={"stdin": 1, "stream": 1})
        )
        return ExecLink(self.engine, container, group, self.user, lifeline)

    def _config(self) -> str:
        return json.dumps(
            {
                "socket": f"{DOOR}/socket",
                "user": [self.user, self.user],
                "processes": None,
                "address_space": None if self._holds_memory else self.spec.limits.memory_bytes,
            }
        )

    @property
    def _image_name(self) -> str:
        return self.spec.image or DEFAULT_IMAGE

    @property
    def _holds_memory(self) -> bool:
        return bool(self.host.get("MemoryLimit"))

    def _with(self, orders: Orders) -> Machinery:
        owner_inside = (self.user, self.user) if os.geteuid() == 0 else None
        return Machinery(
            link=orders,
            files=Files(tree.open_root(self.home / "workspace"), owner_inside),
            unenforced=self._unenforced(),
            environment={
                "PATH": self._image_path(),
                "HOME": "/tmp",
                "LANG": "C.UTF-8",
                "TMPDIR": "/tmp",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            oom_kills=self._oom_counter(),
            how_it_ended=self._how_it_ended,
            destroy=self.destroy,
        )

    def _image_path(self) -> str:
        """PATH as the image sets it."""
        for variable in self.image.get("Config", {}).get("Env") or ():
            if variable.startswith("PATH="):
                return str(variable.removeprefix("PATH="))
        return _PATH

    def _oom_counter(self) -> Callable[[], int]:
        folder = self._memory_group()
        return lambda: (oom_kills(folder) or 0) if folder is not None else 0

    def _memory_group(self) -> Path | None:
        return own_cgroup(self.first, "memory") if self.first else None

    def _unenforced(self) -> tuple[str, ...]:
        said = ["disk limit: not enforced by docker", "inode limit: not enforced by docker"]
        if self.by_exec:
            said.insert(
                0,
                "calls go by engine exec, slowly, and death by signal N shows as exit "
                "code 128 + N: the image has no python3",
            )
        if not self.host.get("PidsLimit", True):
            said.insert(0, "process limit: this engine's kernel has none")
        if self._memory_group() is None:
            said.insert(0, "kills for want of memory: shown as `killed`, their counter is hidden")
        if not self._holds_memory:
            said.insert(0, "memory limit: per process only")
        return tuple(said)

    def _silent(self) -> UserError:
        image = one_line(self._image_name, 80)
        return UserError(
            f"sandbox `docker` cannot run: the first process in image `{image}` did not answer",
            hint="it needs python3 (3.8 or later), and an engine that shares this machine's files",
        )

    async def _how_it_ended(self) -> str:
        from docker.errors import APIError

        try:
            known = self.container or ""
            state = await self.engine.ask(lambda client: client.inspect_container(known))
        except APIError:
            return "its container ended"
        except SandboxLost as lost:
            return lost.message
        killed = state["State"].get("OOMKilled")
        return "its container ran out of memory" if killed else "its first process does not answer"

    async def destroy(self) -> None:
        """End and remove the container, proven, and what was made on the host."""
        if self.container is not None:
            with contextlib.suppress(SandboxLost):
                await removed(self.engine, self.container)
            self.container = None
        await self.engine.close()
        await anyio.to_thread.run_sync(tree.remove, self.home)


@contextlib.contextmanager
def _listening(folder: Path) -> Iterator[socket.socket]:
    """A socket in a folder, gone afterwards: nothing inside can come later."""
    directory = tree.open_root(folder)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(f"/proc/self/fd/{directory}/socket")  # the folder's own path may be too long
        (folder / "socket").chmod(0o666)
        listener.listen(1)
        listener.setblocking(False)
        yield listener
    finally:
        listener.close()
        os.close(directory)
        (folder / "socket").unlink(missing_ok=True)


def _accepted(listener: socket.socket) -> Link | None:
    try:
        return Link(listener.accept()[0])
    except BlockingIOError:
        return None
