"""mini-swe-agent's environments: `boxes_of_mini_swe_agent.py bubblewrap | docker`.

They are synchronous; each call goes by a thread.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from boxes import serve

os.environ["MSWEA_SILENT_STARTUP"] = "1"
KIND = sys.argv[1]
THREADS = ThreadPoolExecutor(64)


class MiniBox:
    def __init__(self, environment: Any) -> None:
        self.environment = environment

    async def call(self, line: str, timeout_s: float) -> str:
        seconds = max(1, round(timeout_s))
        said = await _thread(
            lambda: self.environment.execute({"command": line}, timeout=timeout_s or seconds)
        )
        if said["exception_info"]:
            raise RuntimeError(said["exception_info"])
        return str(said["output"])

    def containers(self) -> list[str]:
        return [self.environment.container_id] if KIND == "docker" else []

    async def close(self) -> None:
        """By force: its own way goes on for ten seconds in the background."""
        for container in self.containers():
            await _thread(partial(subprocess.run, ["docker", "rm", "-f", container], check=True))
        self.environment.container_id = None


async def open_box() -> MiniBox:
    return MiniBox(await _thread(_environment))


def _environment() -> Any:
    if KIND == "docker":
        from minisweagent.environments.docker import DockerEnvironment

        return DockerEnvironment(image="planloop-sandbox:latest", cwd="/tmp")
    from minisweagent.environments.extra.bubblewrap import BubblewrapEnvironment

    return BubblewrapEnvironment()


async def _thread(work: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(THREADS, work)


if __name__ == "__main__":
    serve(open_box)
