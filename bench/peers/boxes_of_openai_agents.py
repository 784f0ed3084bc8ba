"""The docker sandbox of openai-agents."""

from __future__ import annotations

import asyncio
from typing import Any

import docker
from agents.sandbox.sandboxes import DockerSandboxClient, DockerSandboxClientOptions
from boxes import serve

ENGINE = docker.from_env()
CLIENT = DockerSandboxClient(ENGINE)


class OpenaiBox:
    def __init__(self, session: Any) -> None:
        self.session = session

    async def call(self, line: str, timeout_s: float) -> str:
        said = await self.session.exec(line, timeout=timeout_s)
        return str(said.stdout.decode())

    def containers(self) -> list[str]:
        return [self.session._inner.state.container_id]

    async def close(self) -> None:
        """By force: its own way waits ten seconds for each container, which is not measured."""
        (container,) = self.containers()
        await asyncio.to_thread(ENGINE.api.remove_container, container, force=True, v=True)


async def open_box() -> OpenaiBox:
    options = DockerSandboxClientOptions(image="planloop-sandbox:latest", network_mode="none")
    session = await CLIENT.create(options=options)
    await session.start()
    return OpenaiBox(session)


if __name__ == "__main__":
    serve(open_box)
