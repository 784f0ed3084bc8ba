"""Sandboxes by a Docker engine.

One container a sandbox; its first process (`guest.py`) serves every call, so that no call costs
an engine exec. Where that cannot be (the image has no `python3`, or the container does not share
this machine's kernel) calls go by engine exec, and the sandbox says so.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from planloop.errors import SandboxLost
from planloop.marks import make_home
from planloop.sandbox import SandboxSpec
from planloop.sandboxes import egress, tree
from planloop.sandboxes.cgroup import limit_connections, oom_kills, own_cgroup
from planloop.sandboxes.docker_start import Image, Inside, Starter
from planloop.sandboxes.engine import DEFAULT_IMAGE, Engine
from planloop.sandboxes.environment import path_variables
from planloop.sandboxes.files import Files
from planloop.sandboxes.resident import Machinery, ResidentSandbox, open_resident
from planloop.sandboxes.snapshots import Snapshots
from planloop.text import one_line


async def open_docker(spec: SandboxSpec, *, run_id: str, state_dir: Path) -> ResidentSandbox:
    """Start a sandbox by the Docker engine of the environment.

    Raises:
        UserError: no engine answers, it lacks the image or the runtime, or they cannot be used.
        SandboxLost: the engine went away meanwhile.
    """
    begin = partial(_begin, spec, run_id, state_dir)
    return await open_resident("docker", spec.limits, begin, partial(Snapshots, state_dir, run_id))


async def _begin(spec: SandboxSpec, run_id: str, state_dir: Path) -> Machinery:
    plan = egress.plan(spec.network)
    engine = await Engine.connect()
    started = None
    try:
        name = spec.image or DEFAULT_IMAGE
        image = Image.read(name, await engine.image(name))
        home = make_home(state_dir, run_id)
        started = _Sandboxed(Starter(engine, image, spec, plan, run_id, home))
        return await started.start()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await (started.destroy() if started is not None else engine.close())
        raise


@dataclasses.dataclass
class _Sandboxed:
    """A sandbox from its start to its end; it can be taken down from any point."""

    starter: Starter
    way_out: egress.Egress | None = None
    first: int = 0

    async def start(self) -> Machinery:
        inside = await self.starter.start()
        self.first = inside.first
        self.way_out = egress.serve(self.starter.plan, inside.listeners)
        return self._with(inside, self.way_out)

    def _with(self, inside: Inside, way_out: egress.Egress) -> Machinery:
        return Machinery(
            link=inside.orders,
            files=Files(inside.workspace, _owner(inside.workspace)),
            unenforced=(*inside.said, *self._unenforced()),
            environment={
                **self.starter.image.environment,
                **path_variables(self.starter.spec, self.starter.image.path),
                "HOME": "/tmp",
                "LANG": "C.UTF-8",
                "TMPDIR": "/tmp",
                "PYTHONDONTWRITEBYTECODE": "1",
                **self.starter.plan.environment,
            },
            oom_kills=self._oom_counter(),
            how_it_ended=self._how_it_ended,
            destroy=self.destroy,
            refusals=way_out.refusals,
        )

    def _oom_counter(self) -> Callable[[], int]:
        folder = self._memory_group()
        return lambda: (oom_kills(folder) or 0) if folder is not None else 0

    def _memory_group(self) -> Path | None:
        return own_cgroup(self.first, "memory") if self.first else None

    def _bound_connections(self) -> bool:
        """No engine does, where version 1 of control groups counts them apart."""
        folder = self._memory_group()
        return folder is None or limit_connections(self.starter.spec.limits, folder)

    def _unenforced(self) -> tuple[str, ...]:
        said = list(self.starter.facts.unenforced())
        if self._memory_group() is None:
            said.append("kills for want of memory: shown as `killed`, their counter is hidden")
        if not self._bound_connections():
            said.append("memory limit: not for what waits in connections of the sandbox to itself")
        said += self.starter.plan.said
        if self.starter.spec.runtime is not None:
            said.append(
                f"runtime `{one_line(self.starter.spec.runtime, 60)}`: its own walls, not probed"
            )
        return tuple(said)

    async def _how_it_ended(self) -> str:
        from docker.errors import APIError

        try:
            name = self.starter.container or ""
            state = await self.starter.engine.ask(
                lambda client: client.inspect_container(name)["State"]
            )
        except APIError:
            return "its container ended"
        except SandboxLost as lost:
            return lost.message
        killed = state.get("OOMKilled")
        return "its container ran out of memory" if killed else "its first process does not answer"

    async def destroy(self) -> None:
        """End and remove the container, proven, and what was made on the host."""
        if self.way_out is not None:
            await anyio.to_thread.run_sync(self.way_out.close)
        with contextlib.suppress(SandboxLost):
            await self.starter.remove()
        await self.starter.engine.close()
        await anyio.to_thread.run_sync(tree.remove, self.starter.home)


def _owner(workspace: int) -> tuple[int, int] | None:
    """Who owns the files of the workspace, as this machine counts users, if this is root."""
    found = os.fstat(workspace)
    return (found.st_uid, found.st_gid) if os.geteuid() == 0 else None
