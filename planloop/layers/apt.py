"""System packages by apt: an image committed from a container that saw no file of the user's."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import shlex
from collections.abc import Callable, Sequence
from typing import Any

import anyio

from planloop.errors import SandboxLost, TaskError, UserError
from planloop.events import Event, SetupOutput, SetupStarted
from planloop.marks import mark, this_process
from planloop.sandbox import Limits
from planloop.sandboxes.container import removed
from planloop.sandboxes.engine import Engine, hang_up
from planloop.text import one_line, sanitise

REPOSITORY = "planloop-layer"
"""Images of layers are `planloop-layer:KEY`, with the label `planloop.layer`."""
_SHOWN_LINES = 15
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID")
"""What dpkg needs to unpack files for other users, and apt to fetch as nobody."""
_POLL_S = 1.0


def apt_command(names: Sequence[str]) -> str:
    """The shell line that installs packages."""
    chosen = shlex.join(names)
    return f"apt-get update && apt-get install -y --no-install-recommends {chosen}"


async def with_packages(
    image: str,
    names: Sequence[str],
    *,
    key: str,
    limits: Limits,
    tell: Callable[[Event], None],
    timeout_s: float,
) -> tuple[str, bool]:
    """The image of a layer, and whether it was there already.

    Raises:
        TaskError: apt failed; the error shows the end of its output.
        UserError: no engine answers, or it refuses.
        SandboxLost: the engine does not answer any more.
    """
    engine = await Engine.connect()
    try:
        tag = f"{REPOSITORY}:{key}"
        if await _exists(engine, tag):
            return tag, True
        tell(SetupStarted(what="apt", command=apt_command(names)))
        job = _Job(
            engine=engine,
            image=image,
            names=tuple(names),
            key=key,
            limits=limits,
            timeout_s=timeout_s,
        )
        await job.run(tell)
        return tag, False
    finally:
        with anyio.CancelScope(shield=True):
            await engine.close()


async def _exists(engine: Engine, tag: str) -> bool:
    from docker.errors import APIError

    with contextlib.suppress(APIError):
        await engine.ask(lambda client: _any(client).inspect_image(tag))
        return True
    return False


def _any(found: object) -> Any:
    """Something of the SDK without its stubs, where they lack types."""
    return found


@dataclasses.dataclass(kw_only=True)
class _Job:
    """One installation, from a container to an image."""

    engine: Engine
    image: str
    names: tuple[str, ...]
    key: str
    limits: Limits
    timeout_s: float
    cut_off: str | None = None
    """Why it was ended before its end."""
    said: collections.deque[str] = dataclasses.field(
        default_factory=lambda: collections.deque(maxlen=_SHOWN_LINES)
    )
    """The end of apt's output, line by line."""

    async def run(self, tell: Callable[[Event], None]) -> None:
        """Install and commit; the container is gone afterwards, whatever happens."""
        from docker.errors import APIError

        try:
            with anyio.CancelScope(shield=True):
                container = str((await self.engine.ask(self._create))["Id"])
            try:
                await self._install(container, tell)
                await self._commit(container)
            finally:
                with anyio.CancelScope(shield=True), contextlib.suppress(SandboxLost):
                    await removed(self.engine, container)
        except APIError as error:
            said = one_line(str(getattr(error, "explanation", None) or error), 200)
            raise UserError(f"the Docker engine refused to install packages: {said}") from None

    def _create(self, client: Any) -> Any:
        return client.create_container(
            image=self.image,
            name=mark("setup"),
            entrypoint=["/bin/sh", "-c", apt_command(self.names)],
            command=[],
            user="0:0",
            working_dir="/",
            healthcheck={"test": ["NONE"]},
            labels={"planloop.run": "setup", "planloop.owner": str(this_process())},
            host_config=client.create_host_config(
                cap_drop=["ALL"],
                cap_add=list(_CAPABILITIES),
                ipc_mode="private",
                mem_limit=self.limits.memory_bytes,
                memswap_limit=self.limits.memory_bytes,
                network_mode="bridge",
                pids_limit=self.limits.processes,
                security_opt=["no-new-privileges"],
                tmpfs={"/var/lib/apt/lists": "", "/var/cache/apt": "", "/tmp": "mode=1777"},
            ),
            use_config_proxy=False,  # they may hold passwords, and would stay in the image
        )

    async def _install(self, container: str, tell: Callable[[Event], None]) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._guard, container)
            code = await self._follow(container, tell)
            tasks.cancel_scope.cancel()
        if code != 0:
            raise self._failure(self.cut_off or f"failed with exit code {code}")

    async def _follow(self, container: str, tell: Callable[[Event], None]) -> int:
        """Tell what apt says until it ends; returns its exit code."""
        from docker.utils import socket as frames_of

        wanted = {"stdout": 1, "stderr": 1, "stream": 1}
        channel = await self.engine.ask(
            lambda client: client.attach_socket(container, params=wanted)
        )
        try:
            await self.engine.ask(lambda client: client.start(container), long=True)
            frames = _any(frames_of).frames_iter(channel, tty=False)
            while frame := await self.engine.ask(lambda _: next(frames, None), long=True):
                text = frame[1].decode("utf-8", "replace")
                self.said.extend(text.splitlines())
                tell(SetupOutput(text=text))
        finally:
            hang_up(channel)
        ended = await self.engine.ask(lambda client: client.wait(container), long=True)
        return int(ended["StatusCode"])

    async def _guard(self, container: str) -> None:
        """End an installation that takes too much, or whose run is interrupted."""
        from docker.errors import APIError

        deadline = anyio.current_time() + self.timeout_s
        try:
            while self.cut_off is None:
                await anyio.sleep(_POLL_S)
                if anyio.current_time() > deadline:
                    self.cut_off = f"ran longer than {self.timeout_s:g} s and was ended"
                elif await self._written(container) > self.limits.disk_bytes:
                    self.cut_off = f"wrote more than {self.limits.disk_bytes:,} bytes"
        finally:
            with anyio.CancelScope(shield=True), contextlib.suppress(APIError, SandboxLost):
                await self.engine.ask(lambda client: client.kill(container))

    async def _written(self, container: str) -> int:
        found = await self.engine.ask(
            lambda client: client.containers(all=True, size=True, filters={"id": container})
        )
        return int(found[0].get("SizeRw") or 0) if found else 0

    async def _commit(self, container: str) -> None:
        changes = [f"LABEL planloop.layer={self.key}", "ENTRYPOINT []", "CMD []"]
        with anyio.CancelScope(shield=True):
            await self.engine.ask(
                lambda client: client.commit(
                    container, repository=REPOSITORY, tag=self.key, changes=changes
                ),
                long=True,
            )

    def _failure(self, how: str) -> TaskError:
        """The error of an installation, with the end of what apt said."""
        excerpt = "\n".join(f"       | {sanitise(row)}" for row in self.said)
        return TaskError(
            f"`{one_line(apt_command(self.names), 200)}` {how}",
            where="apt",
            hint="the image needs apt and sources that answer; no model was asked",
            excerpt=excerpt or None,
        )
