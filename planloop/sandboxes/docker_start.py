"""Starting a container that takes orders: by its first process, else by the engine's exec."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import posixpath
import re
import resource
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio

from planloop.errors import UserError
from planloop.marks import mark
from planloop.sandbox import WORKSPACE, SandboxSpec
from planloop.sandboxes import door, egress, exec_kills, exec_link, first_process, tree
from planloop.sandboxes.container import DOOR, Container, lacks_program, refused, removed
from planloop.sandboxes.engine import Engine
from planloop.sandboxes.engine_facts import EngineFacts
from planloop.sandboxes.link import Link, Orders
from planloop.sandboxes.seccomp import docker_profile
from planloop.text import one_line

NOBODY = 65534
"""The user of calls, where this process is root."""
START_DEADLINE_S = 30.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_SECRET = re.compile("key|token|secret|passw|credential|auth", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Image:
    """What matters of an image."""

    name: str
    variables: Mapping[str, str]
    """Environment variables that the image sets."""
    volumes: tuple[str, ...]

    @classmethod
    def read(cls, name: str, known: Mapping[str, Any]) -> Image:
        """From the engine's answer about it."""
        config = known.get("Config") or {}
        given = (str(one).partition("=") for one in config.get("Env") or ())
        variables = {variable: value for variable, _, value in given if variable}
        volumes = {posixpath.normpath(str(place)) for place in config.get("Volumes") or ()}
        return cls(name, variables, tuple(sorted(volumes - {DOOR})))

    @property
    def path(self) -> str:
        """PATH as the image sets it."""
        return self.variables.get("PATH", _PATH)

    @property
    def environment(self) -> dict[str, str]:
        """What calls see of its variables: those whose name says secret are left out."""
        return {name: self.variables[name] for name in self.variables if not _SECRET.search(name)}

    def __str__(self) -> str:
        return one_line(self.name, 80)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inside:
    """A container that takes orders."""

    orders: Orders
    workspace: int
    """A descriptor of its folder."""
    first: int = 0
    """Id of a process inside, as the host sees it; 0 if it cannot."""
    listeners: tuple[int, ...] = ()
    said: tuple[str, ...] = ()
    """What does not hold because of how it was started."""


@dataclasses.dataclass
class Starter:
    """Starts one container after the other, until one takes orders."""

    engine: Engine
    image: Image
    spec: SandboxSpec
    plan: egress.Plan
    run_id: str
    home: Path
    """A private folder of the host, for what the container needs of it."""
    user: int = dataclasses.field(default_factory=lambda: os.geteuid() or NOBODY)
    """Calls run as nobody, or as this process's own user where only that may share files."""
    facts: EngineFacts = dataclasses.field(default_factory=EngineFacts.usual)
    """Supposed, until the first container runs; then known."""
    container: str | None = None
    """The name of the one that may exist."""

    async def start(self) -> Inside:
        """Start a container that takes orders.

        Raises:
            UserError: none can, with this image on this engine.
            SandboxLost: the engine does not answer.
        """
        door.make_door(self.home / "door")
        inside = await self._by_guest()
        return await self._by_exec(inside) if isinstance(inside, str) else inside

    async def remove(self) -> None:
        """End and remove the container, proven.

        Raises:
            SandboxLost: the engine does not answer.
        """
        if self.container is not None:
            await removed(self.engine, self.container)
            self.container = None

    async def _by_guest(self) -> Inside | str:
        """Serve calls by the first process, or say why it cannot be."""
        from docker.errors import APIError

        try:
            with door.listening(self.home / "door") as listener:
                if await self._run_while_asking():
                    return await self._answered(listener)
            with door.listening(self.home / "door") as listener:  # the first one cannot come here
                await self._run(self._with_guest())
                return await self._answered(listener)
        except APIError as error:
            if lacks_program(error):
                return "the image has no python3"
            raise refused(error) from None

    async def _answered(self, listener: socket.socket) -> Inside | str:
        with anyio.move_on_after(START_DEADLINE_S):
            link = await door.accept(listener, self._is_over)
            return await self._greeted(link) or await self._unfit()
        raise UserError(
            f"sandbox `docker` cannot run: python3 of image `{self.image}` did not start in time",
            hint="see what `docker run` of this image does with `python3 -c ''`",
        )

    async def _run_while_asking(self) -> bool:
        """Start a container as nearly every engine takes it, while this one is asked what it holds.

        No start waits for the answer, and none goes on without it: False if the engine holds less
        than was supposed. Then that container is gone, before any call.
        """
        from docker.errors import APIError

        supposed, refusal = self.facts, None
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._learn)
                try:
                    await self._run(self._with_guest())
                except APIError as error:
                    refusal = error
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        self.facts.refuse_unknown(self.spec.runtime)
        if self.facts.decisive != supposed.decisive:
            await self.remove()
            return False
        if refusal is not None:
            raise refusal
        return True

    async def _learn(self) -> None:
        self.facts = await self.engine.ask(lambda client: EngineFacts.read(client.info()))

    def _with_guest(self) -> Container:
        source = f"{DOOR}/{first_process.SOURCE.name}"
        first = first_process.command("python3", source, self._words)
        return self._container(first, door=self.home / "door")

    async def _greeted(self, link: Link | None) -> Inside | None:
        if link is None:
            return None
        with contextlib.ExitStack() as stack:
            stack.callback(link.close)
            greeting = await link.greeting(START_DEADLINE_S)
            if greeting is None:
                return None
            for descriptor in greeting.descriptors:
                stack.callback(os.close, descriptor)
            workspace, *listeners = greeting.descriptors
            if not self._is_workspace(workspace):
                raise self._hostile()
            stack.pop_all()
        return Inside(
            orders=link, workspace=workspace, first=greeting.pid, listeners=tuple(listeners)
        )

    async def _unfit(self) -> str:
        await self.remove()
        return "its python3 did not serve, which 3.8 or later does where the kernel is shared"

    async def _by_exec(self, why: str) -> Inside:
        """Serve calls by the engine's exec.

        Raises:
            UserError: that cannot be either, or cannot hold what is asked for.
        """
        from docker.errors import APIError

        if self.plan.listen:
            raise UserError(
                f"sandbox `docker` cannot hold an allow-list with image `{self.image}`: {why}",
                hint="add python3 (3.8 or later) to the image, or leave `network` out",
            )
        said = (
            "calls go by engine exec, slowly, and death by signal N shows as exit code 128 + N: "
            f"{why}",
        )
        try:
            return await self._by_exec_here(said) or await self._by_exec_elsewhere(said)
        except APIError as error:
            raise refused(error) from None

    async def _waiting(self, **more: Any) -> str:
        """A container whose first process only waits; returns its name.

        Raises:
            UserError: the image has no shell that runs.
        """
        container = self._container(exec_link.WAITER, lifeline=True, **more)
        await self._run(container)
        if not await exec_kills.has_shell(self.engine, container.name, self.user):
            raise UserError(
                f"image `{self.image}` cannot be a sandbox: neither python3 (3.8 or later) nor "
                "/bin/sh runs in it",
                hint="add one of them to the image",
            )
        return container.name

    async def _by_exec_here(self, said: tuple[str, ...]) -> Inside | None:
        """With the host's own kills; None where the host does not see the container's processes."""
        name = await self._waiting()
        group = await exec_kills.find_group(self.engine, name)
        if group is None or not self.facts.shares_kernel(self.spec.runtime):
            await self.remove()
            return None
        with contextlib.ExitStack() as stack:
            workspace = await exec_kills.open_workspace(self.engine, name, self.user)
            stack.callback(os.close, workspace)
            if not self._is_workspace(workspace):
                raise self._hostile()
            kills = exec_kills.KillsFromHere(group.folder, self.user)
            link = await exec_link.ExecLink.attach(self.engine, name, self.user, kills)
            stack.pop_all()
        return Inside(orders=link, workspace=workspace, first=group.first, said=said)

    async def _by_exec_elsewhere(self, said: tuple[str, ...]) -> Inside:
        """With kills from inside, and a folder of the host as the workspace."""
        folder = self.home / "workspace"
        folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(folder, self.user, self.user)
        name = await self._waiting(workspace=folder)
        kills = exec_kills.KillsFromInside(self.engine, name, self.user)
        link = await exec_link.ExecLink.attach(self.engine, name, self.user, kills)
        unbounded = "disk and inode limits: none where the engine's kernel is not this machine's"
        return Inside(orders=link, workspace=tree.open_root(folder), said=(*said, unbounded))

    def _container(self, first: Sequence[str], **more: Any) -> Container:
        return Container(
            image=self.image.name,
            variables=tuple(self.image.variables),
            volumes=self.image.volumes,
            run_id=self.run_id,
            name=mark(self.run_id),
            spec=self.spec,
            user=self.user,
            first=first,
            seccomp=docker_profile() if self.facts.filters_calls else None,
            **more,
        )

    async def _run(self, container: Container) -> None:
        self.container = container.name
        await container.start(self.engine)

    async def _is_over(self) -> bool:
        from docker.errors import APIError, NotFound

        name = self.container or ""
        try:
            state = await self.engine.ask(lambda client: client.inspect_container(name)["State"])
        except NotFound:
            return True
        except APIError:
            return False
        return not state["Running"]

    @property
    def _words(self) -> first_process.Words:
        return first_process.Words(
            door=f"{DOOR}/{door.SOCKET}",
            workspace=WORKSPACE,
            listen=self.plan.listen,
            user=self.user,
            address_space=None if self.facts.holds_memory else self.spec.limits.memory_bytes,
        )

    def _hostile(self) -> UserError:
        return UserError(
            f"image `{self.image}` cannot be a sandbox: what it shows is not the workspace",
            hint="its python3 and /bin/sh must be plain ones",
        )

    def _is_workspace(self, descriptor: int) -> bool:
        """Whether a folder is memory of the size that was asked for, and not root's: a hostile
        image could hand over another one. It is made private then.
        """
        limits, page = self.spec.limits, resource.getpagesize()
        wanted = (-(-limits.files_bytes // page) * page, limits.inodes)
        found = os.fstatvfs(descriptor)
        sized = (found.f_blocks * found.f_frsize, found.f_files) == wanted
        if not sized or os.fstat(descriptor).st_uid == 0:
            return False
        os.fchmod(descriptor, 0o700)
        return True
