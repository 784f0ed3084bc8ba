"""What a sandbox's container is allowed, and how one is made and removed."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio

from planloop.errors import SandboxLost, UserError
from planloop.marks import owner
from planloop.sandbox import ENVIRONMENT, WORKSPACE, SandboxSpec
from planloop.sandboxes import egress
from planloop.sandboxes.engine import Engine
from planloop.text import one_line

DOOR = "/run/planloop"
"""Where the first process finds its source and the socket of the host."""
_REMOVAL_DEADLINE_S = 30.0
_FILES = 16_384
"""Descriptors that one process may hold."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Container:
    """A container to be made."""

    image: str
    variables: tuple[str, ...] = ()
    """Those that the image sets. But for PATH they are taken away: calls get theirs by request."""
    volumes: tuple[str, ...] = ()
    """Places that the image declares as volumes. They get bounded memory: the engine would give
    each a writable folder of the host's disk, without any bound."""
    run_id: str
    name: str
    spec: SandboxSpec
    user: int
    """User and group of calls, who own the workspace."""
    first: Sequence[str]
    """The first process, which runs as root of the container with three capabilities."""
    seccomp: str | None
    """A profile in the engine's form; None where the engine filters no system calls."""
    door: Path | None = None
    """A folder of the host, shown read-only at `DOOR`."""
    workspace: Path | None = None
    """A folder of the host to be the workspace, where memory of bounded size will not do."""
    lifeline: bool = False
    """Whether the first process has an input, closed by the engine when the host is gone."""

    async def start(self, engine: Engine) -> None:
        """Make and start it. Nothing of it is left if it cannot be started.

        Raises:
            APIError: the engine refused.
            SandboxLost: the engine does not answer.
        """
        with anyio.CancelScope(shield=True):
            try:
                await engine.ask(self.create, long=True)
                await engine.ask(lambda client: client.start(self.name), long=True)
            except BaseException:
                with contextlib.suppress(SandboxLost):
                    await removed(engine, self.name)
                raise

    def create(self, client: Any) -> Any:
        """Ask a client of the SDK for the container, which is not started yet."""
        return client.create_container(
            image=self.image,
            name=self.name,
            environment=[name for name in self.variables if name != "PATH"],
            entrypoint=list(self.first),
            command=[],
            user="0:0",
            working_dir=WORKSPACE,
            hostname="sandbox",
            stdin_open=self.lifeline,
            healthcheck={"test": ["NONE"]},
            labels={"planloop.run": self.run_id, "planloop.owner": owner()},
            host_config=client.create_host_config(**self.host_config()),
            use_config_proxy=False,  # the user's proxies may hold passwords
        )

    def host_config(self) -> dict[str, Any]:
        """Every limit and every closed door, as the SDK spells them."""
        from docker.types import Ulimit

        limits = self.spec.limits
        memory = limits.memory_bytes + (0 if self.workspace else limits.files_bytes)
        return {
            "auto_remove": True,
            "cap_drop": ["ALL"],
            "cap_add": ["SETUID", "SETGID", "KILL"],
            "cgroupns": "private",
            "init": self.lifeline,
            "ipc_mode": "private",
            "log_config": {"Type": "none"},
            "mem_limit": memory,
            "memswap_limit": memory,
            "mounts": self._mounts(),
            "network_mode": "bridge" if self.spec.network == "full" else "none",
            "pids_limit": limits.processes,
            "read_only": True,
            "runtime": self.spec.runtime,
            "security_opt": self._security(),
            "sysctls": dict(egress.plan(self.spec.network).sysctls),
            "tmpfs": self._memory_folders(),
            "ulimits": [
                Ulimit(name="core", soft=0, hard=0),
                Ulimit(name="nofile", soft=_FILES, hard=_FILES),
            ],
        }

    def _security(self) -> list[str]:
        filters = [] if self.seccomp is None else [f"seccomp={self.seccomp}"]
        return ["no-new-privileges", *filters]

    def _mounts(self) -> list[Any]:
        from docker.types import Mount

        mounts = []
        if self.door is not None:
            mounts.append(Mount(DOOR, str(self.door), type="bind", read_only=True))
        if self.workspace is not None:
            mounts.append(Mount(WORKSPACE, str(self.workspace), type="bind"))
        if isinstance(self.spec.environment, Path):
            shown = str(self.spec.environment)
            mounts.append(Mount(ENVIRONMENT, shown, type="bind", read_only=True))
        return mounts

    def _memory_folders(self) -> dict[str, str]:
        """Scratch counts as memory; together it stays well below that limit."""
        limits = self.spec.limits
        small = _room(limits.memory_bytes // 8, limits.inodes // 8)
        folders = dict.fromkeys(self.volumes, f"{small},mode=1777,exec")
        folders |= {
            "/tmp": f"{_room(limits.memory_bytes // 4, limits.inodes // 4)},mode=1777,exec",
            "/dev/shm": f"{small},mode=1777,noexec",
        }
        # A write through a mapping shows in the time of access only, and snapshots go by times.
        mine = f"uid={self.user},gid={self.user},mode=0700,exec,strictatime"
        if self.workspace is None:
            folders[WORKSPACE] = f"{_room(limits.files_bytes, limits.inodes)},{mine}"
        if self.spec.environment == "new":
            folders[ENVIRONMENT] = f"{_room(limits.files_bytes, limits.inodes)},{mine}"
        return folders


def _room(size: int, inodes: int) -> str:
    return f"size={max(size, 1)},nr_inodes={max(inodes, 2)},nosuid,nodev"  # 0 means no bound


async def removed(engine: Engine, container: str) -> None:
    """Remove a container by force and wait until the engine no longer knows it.

    Raises:
        SandboxLost: the engine does not answer.
    """
    from docker.errors import APIError, NotFound

    with anyio.move_on_after(_REMOVAL_DEADLINE_S):
        while True:
            try:
                await engine.ask(
                    lambda client: client.remove_container(container, v=True, force=True), long=True
                )
            except NotFound:
                return
            except APIError:
                await anyio.sleep(0.02)  # its removal has begun by itself


def lacks_program(error: Exception) -> bool:
    """Whether a container did not start because its image has no such program."""
    said = str(getattr(error, "explanation", None) or error)
    return "executable file not found" in said or "no such file or directory" in said


def refused(error: Exception) -> UserError:
    """The engine's refusal of a container, for a person."""
    said = one_line(str(getattr(error, "explanation", None) or error), 200)
    elsewhere = "bind source path does not exist" in said
    hint = "the engine must see this machine's files" if elsewhere else "`planloop doctor` tries it"
    return UserError(f"sandbox `docker` cannot run: {said}", hint=hint)
