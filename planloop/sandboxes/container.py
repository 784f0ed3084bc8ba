"""What a sandbox's container is allowed, and how one is made and removed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import anyio

from planloop.errors import UserError
from planloop.sandbox import WORKSPACE, Limits
from planloop.sandboxes.engine import Engine
from planloop.sandboxes.marks import mark, owner
from planloop.text import one_line

DOOR = "/run/planloop"
"""Where the first process finds its source and the socket of the host."""
_REMOVAL_DEADLINE_S = 20.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Container:
    """A container to be made. `home` holds the folders `workspace` and `door`."""

    image: str
    run_id: str
    home: Path
    limits: Limits
    first: tuple[str, ...]
    """The first process, which runs as root of the container with three capabilities."""
    lifeline: bool = False
    """Whether the first process has an input, closed by the engine when the host is gone."""

    async def start(self, engine: Engine) -> str:
        """Make and start it; returns its id. Nothing of it is left if it cannot be started.

        Raises:
            APIError: the engine refused.
            SandboxLost: the engine does not answer.
        """
        with anyio.CancelScope(shield=True):
            made = str((await engine.ask(self._create))["Id"])
            try:
                await engine.ask(lambda client: client.start(made))
            except BaseException:
                await removed(engine, made)
                raise
        return made

    def _create(self, client: Any) -> Any:
        return client.create_container(
            image=self.image,
            name=mark(self.run_id),
            entrypoint=list(self.first),
            command=[],
            user="0:0",
            working_dir="/",
            hostname="sandbox",
            stdin_open=self.lifeline,
            healthcheck={"test": ["NONE"]},
            labels={"planloop.run": self.run_id, "planloop.owner": owner()},
            host_config=client.create_host_config(**self._host_config()),
        )

    def _host_config(self) -> dict[str, Any]:
        from docker.types import Mount

        limits = self.limits
        return {
            "auto_remove": True,
            "mounts": [
                Mount(WORKSPACE, str(self.home / "workspace"), type="bind"),
                Mount(DOOR, str(self.home / "door"), type="bind", read_only=True),
            ],
            "cap_drop": ["ALL"],
            "cap_add": ["SETUID", "SETGID", "KILL"],
            "init": self.lifeline,
            "ipc_mode": "private",
            "log_config": {"Type": "none"},
            "mem_limit": limits.memory_bytes,
            "memswap_limit": limits.memory_bytes,
            "network_mode": "none",
            "pids_limit": limits.processes,
            "read_only": True,
            "security_opt": ["no-new-privileges"],
            "shm_size": limits.memory_bytes // 8,
            "tmpfs": {"/tmp": f"size={limits.memory_bytes // 4},mode=1777,exec,nosuid,nodev"},
        }


async def removed(engine: Engine, container: str) -> None:
    """Remove a container by force and wait until the engine no longer knows it."""
    from docker.errors import APIError, NotFound

    with anyio.move_on_after(_REMOVAL_DEADLINE_S):
        while True:
            try:
                await engine.ask(lambda c: c.remove_container(container, v=True, force=True))
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
    return UserError(f"sandbox `docker` cannot run: {said}", hint="`planloop doctor` tries it")
